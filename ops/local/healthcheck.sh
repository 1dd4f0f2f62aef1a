#!/bin/sh
# A container's health check: healthcheck REST PROBE [ARGUMENT...], where PROBE exits 0 if the service answers.
# First time in a container's life: ask for up to 30 s, so that Docker learns of readiness the moment it is there.
# After that: rest REST seconds, then ask for up to 8 s. Resting in here costs a sleeping shell; letting Docker ask more
# often costs a new process in the container each time. Docker Engine 25 would do this by start_interval; older ones must
# work too. PATIENCE tells a probe that waits by itself how long it may.
set -u
seen=/tmp/.healthy
rest=$1
shift
PATIENCE=30
if [ -e "$seen" ]; then
  sleep "$rest"
  PATIENCE=8
fi
export PATIENCE
end=$(($(date +%s) + PATIENCE))
until "$@"; do
  [ "$(date +%s)" -lt "$end" ] || exit 1
  sleep 0.2
done
: >"$seen"
