"""Commits per second to one table by several processes at once, with the store of this library.

Belongs here: the measurement the simulation (contention.py) is held against. Does not: a model.
Every process appends one row so many times, as fast as it can; all start at one moment. Afterwards the table
must hold exactly the rows that were acknowledged.

    python ops/bench/commits.py [--processes 1 2 4 8] [--commits 40] [--json]
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

PROCESSES = (1, 2, 4, 8)
COMMITS = 40


def measure(processes: int, commits: int = COMMITS) -> dict[str, Any]:
    """Return commits per second, the share that failed and how long one took; AssertionError at a loss."""
    from lakehouse.domains.pipelines.contracts import RAW_PIPELINE_EVENTS as TABLE
    from lakehouse.settings import Settings
    from lakehouse.store import open_store

    spawned = multiprocessing.get_context("spawn")  # Delta's library does not survive a fork
    with tempfile.TemporaryDirectory(prefix="odp-bench-") as root:
        store = open_store(Settings.at(root))
        store.ensure(TABLE)
        ready, answers = spawned.Barrier(processes), spawned.Queue()
        writers = [
            spawned.Process(target=_write, args=(root, commits, ready, answers)) for _ in range(processes)
        ]
        for writer in writers:
            writer.start()
        found = [answers.get(timeout=300) for _ in writers]
        for writer in writers:
            writer.join()
        took = max(end for _, end, _, _ in found) - min(start for start, _, _, _ in found)
        landed = sum(len(times) for _, _, times, _ in found)
        failed = sum(failures for _, _, _, failures in found)
        rows = store.snapshot(TABLE).rows
        assert rows == landed, f"{landed} commits were acknowledged, {rows} rows are there"
    every = sorted(milliseconds for _, _, times, _ in found for milliseconds in times)
    return {
        "processes": processes,
        "commits": landed,
        "per_second": landed / took,
        "failed_share": failed / (failed + landed),
        "seconds": took,
        "median_ms": statistics.median(every),
        "p99_ms": every[int(0.99 * (len(every) - 1))],
    }


def _write(root: str, commits: int, ready: Any, answers: Any) -> None:
    import polars as pl

    from lakehouse.domains.pipelines.contracts import RAW_PIPELINE_EVENTS as TABLE
    from lakehouse.errors import Conflict
    from lakehouse.settings import Settings
    from lakehouse.store import open_store

    store = open_store(Settings.at(root))
    schema = TABLE.polars_schema()
    values = {pl.String: "x", pl.Int64: 1, pl.Datetime("us", "UTC"): datetime(2026, 1, 1, tzinfo=UTC)}
    row = pl.DataFrame({name: [values[kind]] for name, kind in schema.items()}, schema=schema)
    store.snapshot(TABLE)
    times, failed = [], 0
    ready.wait(120)
    started = time.monotonic()  # of the machine, not of the process
    for _ in range(commits):
        begun = time.perf_counter()
        try:
            store.append(TABLE, row)
        except Conflict:
            failed += 1
        else:
            times.append((time.perf_counter() - begun) * 1000)
    answers.put((started, time.monotonic(), times, failed))


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--processes", type=int, nargs="+", default=PROCESSES)
    parser.add_argument("--commits", type=int, default=COMMITS)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args(argv)
    found = [measure(processes, given.commits) for processes in given.processes]
    if given.json:
        print(json.dumps(found))
        return 0
    for line in found:
        print("  ".join(f"{name} {value:.3g}" for name, value in line.items()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
