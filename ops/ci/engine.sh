#!/usr/bin/env bash
# The container engine of a machine that has none: installs Docker from Debian packages and runs one dockerd.
# An engine that already answers is used as it is and never stopped. Images are images.sh's business.
set -euo pipefail
# shellcheck source=lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

usage() {
  cat <<'TEXT'
usage: ops/ci/engine.sh up|down|status

  up      install Docker Engine, Compose and Buildx where absent, start dockerd, wait until it answers
  down    end the dockerd that `up` started, and wait for it; another engine is left alone
  status  say who runs the engine; exit 0 if it answers, 3 if not

Debian 12 or 13, as root. dockerd's pid and log are kept in /var/lib/odp-ci.
TEXT
}

PID_FILE=$STATE/dockerd.pid # "PID START": the start time tells our dockerd from a later process with the same pid
LOG_FILE=$STATE/dockerd.log
UP_SECONDS=60
DOWN_SECONDS=60

answers() { timeout 10 docker info >/dev/null 2>&1; }

started_at() { sed 's/.*) //' "/proc/$1/stat" 2>/dev/null | cut -d' ' -f20; }

# Prints the pid of the dockerd we started if it still lives.
our_pid() {
  local pid start
  [ -r "$PID_FILE" ] && read -r pid start <"$PID_FILE" || return 1
  [ -n "$start" ] && [ "$(started_at "$pid")" = "$start" ] && printf '%s\n' "$pid"
}

install_engine() {
  apt_lists
  apt_install docker.io iptables debootstrap
}

install_plugins() {
  apt_lists
  apt_install -t trixie docker-compose docker-buildx
}

start_dockerd() {
  mkdir -p "$STATE"
  # Its own session and no inherited lock: dockerd must outlive the shell and must not hold the next caller up.
  setsid dockerd >"$LOG_FILE" 2>&1 </dev/null 9>&- &
  local pid=$! deadline=$((SECONDS + UP_SECONDS))
  printf '%s %s\n' "$pid" "$(started_at "$pid")" >"$PID_FILE"
  until answers; do
    kill -0 "$pid" 2>/dev/null || die "dockerd ended at once: $(tail -n 1 "$LOG_FILE") (log: $LOG_FILE)"
    [ "$SECONDS" -lt "$deadline" ] || die "dockerd did not answer within $UP_SECONDS s: read $LOG_FILE"
    sleep 0.2
  done
}

up() {
  if ! { command -v dockerd && command -v iptables && command -v debootstrap; } >/dev/null && ! answers; then
    need_root
    step "install docker.io, iptables, debootstrap" install_engine
  fi
  if ! { docker compose version && docker buildx version; } >/dev/null 2>&1; then
    need_root
    step "install docker-compose, docker-buildx" install_plugins
  fi
  if ! answers; then
    need_root
    step "start dockerd" start_dockerd
  fi
  status
}

down() {
  local pid deadline=$((SECONDS + DOWN_SECONDS))
  if ! pid=$(our_pid); then
    say "no dockerd of ours is running: nothing to end"
    return 0
  fi
  need_root
  kill "$pid"
  while our_pid >/dev/null; do
    [ "$SECONDS" -lt "$deadline" ] || die "dockerd (pid $pid) did not end within $DOWN_SECONDS s: read $LOG_FILE"
    sleep 0.2
  done
  rm -f "$PID_FILE"
  say "dockerd (pid $pid) ended"
}

status() {
  if ! answers; then
    say "no engine answers: run ops/ci/engine.sh up"
    return 3
  fi
  local pid owner="not started by us: down leaves it alone"
  if pid=$(our_pid); then owner="ours, pid $pid"; fi
  say "engine $(docker version --format '{{.Server.Version}}'), compose $(docker compose version --short)," \
    "buildx $(docker buildx version | cut -d' ' -f2) ($owner)"
}

case ${1:-} in
  up) lock engine && up ;;
  down) lock engine && down ;;
  status) status ;;
  -h | --help) usage ;;
  *)
    usage >&2
    exit 2
    ;;
esac
