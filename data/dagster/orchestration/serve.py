"""The code server, whose runs start warm: `python -m orchestration.serve api grpc ...`.

Belongs here: where the process of a run comes from. Does not: anything about code locations or runs. The
arguments are those of `dagster`.

Dagster starts each run as a fresh Python that imports Dagster and its storage anew: a CPU-second before the
first step. Here runs are forked off a helper process (multiprocessing's forkserver) that has imported them
once (warm.py). The helper has one thread and never runs anything, so a fork of it is safe; Polars and
deltalake, which are not safe to fork, are imported by each run itself. Should Dagster ask for its processes
in another way one day, runs start cold again and nothing else changes; a test tells.
"""

from __future__ import annotations

import multiprocessing
import sys
from importlib.metadata import entry_points
from multiprocessing import forkserver
from multiprocessing.context import BaseContext
from typing import Any

WARM = "orchestration.warm"


def fork_runs_off_a_warm_helper() -> None:
    """From here on, whoever asks for the start method `spawn` in this process gets the warm forkserver."""
    ask = multiprocessing.get_context
    warm = ask("forkserver")
    warm.set_forkserver_preload([WARM])

    def get_context(method: str | None = None) -> BaseContext:
        return warm if method == "spawn" else ask(method)

    multiprocessing.get_context = get_context  # type: ignore[assignment]
    forkserver.ensure_running()  # so that the first run finds it warm


def main() -> Any:
    """Run Dagster's own command line in this process."""
    fork_runs_off_a_warm_helper()
    (command,) = entry_points(group="console_scripts", name="dagster")
    return command.load()()


if __name__ == "__main__":
    sys.exit(main())
