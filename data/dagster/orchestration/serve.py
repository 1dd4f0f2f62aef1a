"""The code server: `python -m orchestration.serve api grpc ...`, with the arguments of `dagster`.

Belongs here: what its process needs before Dagster's own command line takes over. Does not: that runs start
warm (workarounds.warm_runs), or anything about code locations.
"""

from __future__ import annotations

import os
import runpy

from orchestration.workarounds.warm_runs import fork_runs_off_a_warm_helper


def main() -> None:
    """Run Dagster's own command line in this process."""
    os.umask(0o077)  # what runs print and keep is for the platform's user alone
    fork_runs_off_a_warm_helper()
    runpy.run_module("dagster", run_name="__main__")


if __name__ == "__main__":
    main()
