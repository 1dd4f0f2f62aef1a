"""The code location as `dagster asset materialize` finds it by default: a process per step.

Belongs here: nothing else. The peer of `make init-data-layers` in init.py.
"""

import dagster as dg

from orchestration.definitions import build_defs

defs = build_defs(executor=dg.multiprocess_executor, jobs=[], sensors=[])
