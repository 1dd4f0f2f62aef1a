#!/usr/bin/env bash
# The browser of the end-to-end tests: Debian's Chromium, which Playwright drives through executable_path.
# Playwright's own download needs a host that is not reachable everywhere; Debian's mirror is.
set -euo pipefail
# shellcheck source=lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

BROWSER=/usr/bin/chromium

usage() {
  cat <<TEXT
usage: ops/ci/browser.sh

Installs Debian's chromium as $BROWSER, with fonts, if it is absent. Debian 12 or 13, as root.
Start it with --no-sandbox --disable-gpu when the tests run as root.
TEXT
}

install_browser() {
  apt_lists
  # A font is only recommended by the package; without one every screenshot is blank.
  apt_install chromium fonts-liberation
}

case ${1:-} in
  '') ;;
  -h | --help)
    usage
    exit 0
    ;;
  *)
    usage >&2
    exit 2
    ;;
esac
if [ ! -x "$BROWSER" ]; then
  need_root
  lock browser
  step "install chromium" install_browser
fi
say "browser: $("$BROWSER" --version 2>/dev/null)"
