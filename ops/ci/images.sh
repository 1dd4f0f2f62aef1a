#!/usr/bin/env bash
# The images of the stack that a registry would give, made on this machine under the names of names.env.
# What each image must be is said beside it (python/, postgres/, silo/); here is only when to build, keep and load it.
set -euo pipefail
# shellcheck source=lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

usage() {
  cat <<'TEXT'
usage: ops/ci/images.sh [--list]

Builds stand-ins for the Python, Postgres and object store images, or loads them from the cache, or finds them in the
engine already (under 2 s). A changed input means a new key, so a stale image is never taken for a fresh one.

  --list  print name, size and key of the images in the engine, and build nothing

Needs a running engine (ops/ci/engine.sh up), root for debootstrap, and Go 1.24 or newer for the object store.
ODP_CI_CACHE sets the cache directory (default ~/.cache/odp-ci); remove it to build everything anew.
TEXT
}

LABEL=odp.ci.key
CA_BUNDLE=/etc/ssl/certs/ca-certificates.crt
ARCH=$(dpkg --print-architecture)

# key TEXT FILE…: what the image is made of, in 16 digits. A comment line is no part of it.
key() {
  local text=$1
  shift
  { printf '%s\n' "$text" "$ARCH" && sed '/^ *#/d' "$@"; } | sha256sum | cut -c1-16
}

in_engine() { [ "$(docker image inspect --format "{{index .Config.Labels \"$LABEL\"}}" "$1" 2>/dev/null)" = "$2" ]; }

# provide SHORT NAME KEY BUILDER: engine, else cache, else build and keep.
provide() {
  local short=$1 name=$2 key=$3 builder=$4 archive=$CACHE/$1-$3.tar
  if in_engine "$name" "$key"; then
    return 0
  fi
  if [ -s "$archive" ]; then
    step "load $name" docker load --input "$archive"
  else
    "$builder"
    step "keep $short in the cache" save "$name" "$archive" "$short"
  fi
  in_engine "$name" "$key" || die "$name has not the key $key after its build: remove $archive and run this again"
}

# save NAME ARCHIVE SHORT: by rename, as a save that was cut short must not look like a cached image. Archives of the
# same image under older keys go: they are hundreds of megabytes each.
save() {
  docker save --output "$2.part" "$1"
  mv "$2.part" "$2"
  find "$CACHE" -maxdepth 1 -name "$3-*.tar" ! -name "${2##*/}" -delete
}

# import DIRECTORY NAME CHANGE…: a directory as an image of one layer.
import() {
  local root=$1 name=$2 change changes=()
  shift 2
  for change in "$@"; do changes+=(--change "$change"); done
  tar -C "$root" --numeric-owner --sort=name -c . | docker import "${changes[@]}" - "$name"
}

build_python() {
  local root
  root=$(mktemp -d)
  step "$PYTHON_IMAGE: debootstrap" env ODP_CI_DEBS="$CACHE/debs" "$CI_DIR/python/rootfs.sh" "$root"
  # SSL_CERT_FILE is the one setting the official image lacks: tools with certificates of their own (uv) need it to
  # reach the package index through a TLS-inspecting mirror.
  step "$PYTHON_IMAGE: import" import "$root" "$PYTHON_IMAGE" "LABEL $LABEL=$PYTHON_KEY" \
    "ENV PATH=/usr/local/bin:/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin" \
    "ENV SSL_CERT_FILE=$CA_BUNDLE" \
    "ENV PYTHON_VERSION=$(chroot "$root" python3 -c 'import platform; print(platform.python_version())')" \
    'CMD ["python3"]'
  rm -rf "$root"
}

build_postgres() {
  step "$POSTGRES_IMAGE: build" docker build --progress plain --tag "$POSTGRES_IMAGE" --label "$LABEL=$POSTGRES_KEY" \
    --build-arg "PYTHON_IMAGE=$PYTHON_IMAGE" "$CI_DIR/postgres"
  # Debian moves to the next minor release without asking. Minor releases share their data format, so this is worth a
  # line and not a failure.
  local found
  found=$(docker run --rm --network none "$POSTGRES_IMAGE" postgres --version | cut -d' ' -f3)
  [[ $POSTGRES_IMAGE == *:"$found"-* ]] ||
    say "note: Debian has Postgres $found, the name says ${POSTGRES_IMAGE##*:}: set POSTGRES_IMAGE in ops/ci/names.env"
}

build_minio() {
  rm -rf "$1.part"
  mkdir -p "$1.part"
  "$CI_DIR/silo/build.sh" "$1.part"
  mv "$1.part" "$1"
}

silo_tree() {
  local root=$1 minio=$2
  chmod 0755 "$root"
  mkdir -p "$root"/{data,tmp,etc/ssl/certs,usr/bin,usr/libexec}
  chmod 0777 "$root/data"
  chmod 1777 "$root/tmp"
  cp "$CA_BUNDLE" "$root/etc/ssl/certs/"
  echo 'root:x:0:0:root:/root:/sbin/nologin' >"$root/etc/passwd"
  echo 'root:x:0:' >"$root/etc/group"
  cp "$minio" "$root/usr/libexec/minio"
  cd "$CI_DIR/silo"
  CGO_ENABLED=0 go build -trimpath -ldflags '-s -w' -o "$root/usr/bin/silo" .
}

build_silo() {
  command -v go >/dev/null || die "no Go here, the object store is compiled: install Go 1.24 or newer and put it on PATH"
  local root minio
  minio=$CACHE/minio-$(key '' "$CI_DIR/silo/build.sh")
  [ -x "$minio/minio" ] || step "minio: go install" build_minio "$minio"
  root=$(mktemp -d)
  step "$MINIO_IMAGE: tree" silo_tree "$root" "$minio/minio"
  step "$MINIO_IMAGE: import" import "$root" "$MINIO_IMAGE" "LABEL $LABEL=$SILO_KEY" \
    'ENTRYPOINT ["/usr/bin/silo"]' 'ENV HOME=/tmp' 'VOLUME /data' 'EXPOSE 9000' \
    'HEALTHCHECK --interval=30s --timeout=10s CMD ["/usr/bin/silo", "healthcheck", "ready"]'
  rm -rf "$root"
}

list() {
  local name
  for name in "$PYTHON_IMAGE" "$POSTGRES_IMAGE" "$MINIO_IMAGE"; do
    docker image inspect --format "$name {{.Size}} {{index .Config.Labels \"$LABEL\"}}" "$name" 2>/dev/null ||
      printf '%s absent\n' "$name"
  done
}

build_all() {
  need_root
  command -v debootstrap >/dev/null || die "no debootstrap here: run apt-get install debootstrap"
  lock images
  PYTHON_KEY=$(key "$PYTHON_IMAGE $LABEL" "$CA_BUNDLE" "$CI_DIR/python/rootfs.sh")
  POSTGRES_KEY=$(key "$POSTGRES_IMAGE $PYTHON_KEY" "$CI_DIR/postgres/Dockerfile" "$CI_DIR/postgres/entrypoint.sh")
  SILO_KEY=$(key "$MINIO_IMAGE $LABEL" "$CA_BUNDLE" "$CI_DIR"/silo/{build.sh,go.mod,main.go})

  # Both sides run to their end even if one fails: what the other made is in the cache for the next call.
  local postgres silo failed=0
  {
    provide python "$PYTHON_IMAGE" "$PYTHON_KEY" build_python
    provide postgres "$POSTGRES_IMAGE" "$POSTGRES_KEY" build_postgres
  } &
  postgres=$!
  provide silo "$MINIO_IMAGE" "$SILO_KEY" build_silo &
  silo=$!
  wait "$postgres" || failed=1
  wait "$silo" || failed=1
  [ "$failed" -eq 0 ] || exit 1
  say "images ready: $PYTHON_IMAGE $POSTGRES_IMAGE $MINIO_IMAGE"
}

case ${1:-} in
  '' | --list) docker info >/dev/null 2>&1 || die "no container engine answers, or not to this user: as root run ops/ci/engine.sh up" ;;
esac
case ${1:-} in
  '') build_all ;;
  --list) list ;;
  -h | --help) usage ;;
  *)
    usage >&2
    exit 2
    ;;
esac
