"""The processes of runs, forked off a helper that has imported Dagster once.

Belongs here: where the process of a run comes from. Does not: anything about code locations or runs.

The helper is multiprocessing's forkserver with a preloaded module (warm_imports). It has one thread and never
runs anything, so a fork of it is safe; Polars and deltalake, which are not safe to fork, are imported by each
run itself. Should Dagster ask for its processes in another way one day, runs start cold again and nothing
else changes.

Reason: Dagster starts each run as a fresh Python that imports Dagster and its storage anew.
Gain: one CPU-second of every run, before its first step.
Pin: dagster 1.13.27.
Drop when: Dagster lets a code server choose the start method of its runs.
"""

from __future__ import annotations

import multiprocessing
from multiprocessing import forkserver
from multiprocessing.context import BaseContext

WARM = f"{__package__}.warm_imports"


def fork_runs_off_a_warm_helper() -> None:
    """From here on, whoever asks for the start method `spawn` in this process gets the warm forkserver."""
    ask = multiprocessing.get_context
    warm = ask("forkserver")
    warm.set_forkserver_preload([WARM])

    def get_context(method: str | None = None) -> BaseContext:
        return warm if method == "spawn" else ask(method)

    multiprocessing.get_context = get_context  # type: ignore[assignment]
    forkserver.ensure_running()  # so that the first run finds it warm
