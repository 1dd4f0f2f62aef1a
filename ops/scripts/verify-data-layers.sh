#!/bin/sh
# Read the lake itself, table by table, and say whether it is complete and sound. Changes nothing.
# usage: ops/scripts/verify-data-layers.sh [--help] [--json] [--deep]
# exit:  0 sound · 1 problems, each named with its table · 2 the lake cannot be reached · 130 ended by Ctrl-C
set -eu
case "${1:-}" in -h | --help) sed -n '2,4s/^# //p' "$0" && exit 0 ;; esac
exec "${PYTHON:-python3}" "$(dirname "$0")/odp.py" verify-data-layers "$@"
