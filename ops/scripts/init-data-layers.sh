#!/bin/sh
# Land what is new in landing/, then run every layer once, on the running platform. A second run changes nothing.
# usage: ops/scripts/init-data-layers.sh [--help] [options of orchestration.launch, e.g. --json, --full-refresh]
# exit:  0 done · 1 the run failed · 2 the platform is not ready · 3 the run is complete but a check failed
#        4 the run did not end in time · 130 ended by Ctrl-C
set -eu
case "${1:-}" in -h | --help) sed -n '2,5s/^# //p' "$0" && exit 0 ;; esac
exec "${PYTHON:-python3}" "$(dirname "$0")/odp.py" init-data-layers "$@"
