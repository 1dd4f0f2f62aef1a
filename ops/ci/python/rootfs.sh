#!/usr/bin/env bash
# The file tree of the Python base image, from Debian packages; images.sh imports it.
# What the official python:3.13-slim image has is kept or made, what it strips is stripped.
set -euo pipefail

usage='usage: ODP_CI_DEBS=DIRECTORY ops/ci/python/rootfs.sh DIRECTORY (as root)'
case ${1:-} in
  -h | --help)
    echo "$usage"
    exit 0
    ;;
  '' | -*)
    echo "$usage" >&2
    exit 2
    ;;
esac
root=$1
suite=trixie
mirror=http://deb.debian.org
debs=${ODP_CI_DEBS:?the directory that keeps downloaded packages}

mkdir -p "$debs"
debootstrap --variant=minbase --include=python3,python3-venv,ca-certificates,netbase --cache-dir="$debs" \
  "$suite" "$root" "$mirror/debian"

# The suites of the official image, security updates included; no debootstrap leftovers.
rm -f "$root/etc/apt/sources.list"
cat >"$root/etc/apt/sources.list.d/debian.sources" <<SOURCES
Types: deb
URIs: $mirror/debian
Suites: $suite $suite-updates
Components: main
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg

Types: deb
URIs: $mirror/debian-security
Suites: $suite-security
Components: main
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg
SOURCES

# Later `apt-get install` in a Dockerfile leaves no more behind than it does on the official image.
cat >"$root/etc/apt/apt.conf.d/docker-clean" <<'CLEAN'
DPkg::Post-Invoke { "rm -f /var/cache/apt/archives/*.deb /var/cache/apt/*.bin || true"; };
Dir::Cache::pkgcache ""; Dir::Cache::srcpkgcache "";
Acquire::Languages "none";
Acquire::GzipIndexes "true";
Apt::AutoRemove::SuggestsImportant "false";
CLEAN
cat >"$root/etc/dpkg/dpkg.cfg.d/docker" <<'DPKG'
force-unsafe-io
path-exclude /usr/share/doc/*
path-exclude /usr/share/info/*
path-exclude /usr/share/locale/*
path-exclude /usr/share/man/*
path-exclude /usr/share/lintian/*
DPKG

# Debian forbids pip on its own Python; the official image's Python is pip's to use, so the marker goes and pip comes,
# from the wheel that python3-venv has brought along.
rm -f "$root"/usr/lib/python3*/EXTERNALLY-MANAGED
# shellcheck disable=SC2016 # expanded inside the tree
chroot "$root" sh -euc '
  wheel=$(ls /usr/share/python-wheels/pip-*.whl)
  python3 "$wheel/pip" install --quiet --no-index --no-compile --root-user-action=ignore "$wheel"
  python=$(readlink -f /usr/bin/python3)
  for name in python python3 "${python##*/}"; do ln -s "$python" "/usr/local/bin/$name"; done'

# Behind a TLS-inspecting mirror only the host's bundle reaches the package index, so it replaces Debian's.
cp /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/ca-certificates.crt"

rm -rf "$root"/var/cache/apt/* "$root"/var/lib/apt/lists/* "$root"/var/cache/debconf/*-old \
  "$root"/var/log/{apt,bootstrap.log,dpkg.log,alternatives.log} "$root"/debootstrap "$root"/var/lib/dpkg/*-old \
  "$root"/usr/share/{doc,info,locale,man,lintian}/* "$root"/tmp/* "$root"/root/.cache
mkdir -p "$root/var/cache/apt/archives/partial" "$root/var/lib/apt/lists/partial"
# The official image ships no byte code and no test suite.
find "$root/usr" -depth -type d -name __pycache__ -exec rm -rf {} +
rm -rf "$root"/usr/lib/python3*/test
