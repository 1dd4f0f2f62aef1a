# shellcheck shell=bash
# Shared by the scripts of this directory: names and places, one-line failures, timed steps, private apt lists.
# Sourced, never run. Sourcing it changes nothing on the machine; what a single script needs stays in that script.

CI_DIR=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
CACHE=${ODP_CI_CACHE:-${HOME:?HOME is not set}/.cache/odp-ci}
STATE=/var/lib/odp-ci
# shellcheck source=names.env
. "$CI_DIR/names.env"

say() { printf '%s\n' "ci: $*"; }

die() {
  printf '%s\n' "ci: error: $*" >&2
  exit 1
}

# step NAME COMMAND… runs quietly, prints one line with the seconds, and shows the tail of its output only if it failed.
step() {
  local name=$1 log begin
  shift
  log=$(mktemp)
  begin=$(date +%s%N)
  # A subshell under its own `set -e`: in an `if` bash would ignore a failing line inside a function.
  set +e
  (set -e; "$@") >"$log" 2>&1
  local status=$?
  set -e
  local tenths=$((($(date +%s%N) - begin) / 100000000))
  if [ "$status" -ne 0 ]; then
    tail -n 25 "$log" >&2
    die "$name failed with status $status after $((tenths / 10)) s; full output: $log"
  fi
  rm -f "$log"
  say "$(printf '%-44s %4d.%d s' "$name" $((tenths / 10)) $((tenths % 10)))"
}

need_root() {
  [ "$(id -u)" -eq 0 ] || die "this needs root (it installs Debian packages or starts dockerd): run it with sudo"
}

# One caller at a time: a second one waits here and then finds the work done.
lock() {
  mkdir -p "$CACHE"
  exec 9>"$CACHE/$1.lock"
  flock -w 900 9 || die "another $1 run holds $CACHE/$1.lock for 15 minutes: end it, then run this again"
}

# apt with lists, pins and sources of its own, so the machine's apt configuration stays as it was. Trixie is there for
# Compose and Buildx, which Debian 12 lacks; pinned low, it gives a package only when it is asked for by name.
apt_private() {
  apt-get -qq -o Dir::Etc::SourceList="$STATE/apt/sources.list" -o Dir::Etc::SourceParts=- \
    -o Dir::Etc::Preferences="$STATE/apt/preferences" -o Dir::Etc::PreferencesParts=- \
    -o Dir::State::Lists="$STATE/apt/lists" -o Dir::Cache="$STATE/apt/cache" \
    -o DPkg::Lock::Timeout=300 -o Acquire::Retries=3 "$@"
}

apt_lists() {
  command -v apt-get >/dev/null || die "no apt-get here: these scripts know Debian 12 and 13 only; install the tools by hand"
  local host
  host=$(. /etc/os-release && printf '%s' "${ID:-}:${VERSION_CODENAME:-}")
  case $host in
    debian:bookworm | debian:trixie) ;;
    *) die "this machine is $host: these scripts know Debian 12 and 13 only; install the tools by hand" ;;
  esac
  # Lists younger than a day are good enough: Debian's stable suites change by point release.
  [ -z "$(find "$STATE/apt/fresh" -mmin -1440 2>/dev/null)" ] || return 0
  mkdir -p "$STATE/apt/lists/partial" "$STATE/apt/cache/archives/partial"
  local code=${host#debian:} base=http://deb.debian.org
  {
    printf 'deb %s/debian %s main\n' "$base" "$code" "$base" "$code-updates"
    printf 'deb %s/debian-security %s-security main\n' "$base" "$code"
    [ "$code" = trixie ] || printf 'deb %s/debian trixie main\n' "$base"
  } >"$STATE/apt/sources.list"
  printf 'Package: *\nPin: release n=trixie\nPin-Priority: %s\n' "$([ "$code" = trixie ] && echo 500 || echo 100)" \
    >"$STATE/apt/preferences"
  apt_private update
  touch "$STATE/apt/fresh"
}

# apt_install [-t SUITE] PACKAGE…
apt_install() {
  DEBIAN_FRONTEND=noninteractive apt_private install --yes --no-install-recommends "$@" </dev/null
}
