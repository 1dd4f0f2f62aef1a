"""Many small batches, one after the other, with and without maintenance in between.

Belongs here: what each batch costs as they go on, and what lies there afterwards. Does not: one large load
(ways.py). A batch is a landed file of a hundred events, taken to Bronze, Silver and Gold. Maintenance is that
of the product, of every layer; its time is told apart and is no part of a batch's, and the last batches are
read before it has merged them.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

EVENTS = 100
_AT_ONCE = 25  # batches that one figure is the median of
_READS = 7


def measure(batches: int, every: int) -> dict[str, Any]:
    """Run so many batches, maintaining after each `every` (0: never); return the course of their seconds."""
    from increment import engine

    from lakehouse.domains.pipelines import contracts as c
    from lakehouse.domains.pipelines import sample
    from lakehouse.maintenance.maintenance import maintain_all
    from lakehouse.materialize import materialize
    from lakehouse.pipeline import open_lake
    from lakehouse.registry import find
    from lakehouse.settings import Settings

    tables = (c.RAW_PIPELINE_EVENTS, c.PIPELINE_EVENTS, c.PIPELINE_METRICS)
    steps = [find(table) for table in tables]
    with tempfile.TemporaryDirectory(prefix="odp-bench-") as root:
        landing = Path(root, "landing", "pipeline_events")
        landing.mkdir(parents=True)
        places = {"LAKE_URL": str(Path(root, "lake")), "LANDING_URL": str(Path(root, "landing"))}
        lake = open_lake(Settings.from_env(engine() | places))
        taken: list[float] = []
        kept: list[dict[str, float]] = []
        for number in range(batches):
            clock = sample.CLOCK + timedelta(minutes=number)
            sample.write(sample.events(EVENTS, seed=number, clock=clock), landing / f"{number:06d}.parquet")
            started = time.monotonic()
            for step in steps:
                materialize(lake, step)
            taken.append(time.monotonic() - started)
            if every and (number + 1) % every == 0 and number + 1 < batches:
                started = time.monotonic()
                done = maintain_all(lake, tables)
                kept.append(
                    {
                        "seconds": round(time.monotonic() - started, 3),
                        "merged": sum(one.files_before - one.files_after for one in done),
                    }
                )
        rows, read = _read(lake)
        files = {table.layer: lake.store.snapshot(table).files for table in tables}
        # What one write of the same rows takes to read: nothing is better compacted.
        at_once = open_lake(Settings.from_env(engine() | places | {"LAKE_URL": str(Path(root, "compacted"))}))
        at_once.store.overwrite(c.PIPELINE_EVENTS, lake.store.scan(c.PIPELINE_EVENTS).collect())
        _, compacted = _read(at_once)
        on_disk = [path for path in Path(root, "lake").rglob("*") if path.is_file()]
        return {
            "batches": batches,
            "every": every,
            "seconds": round(sum(taken), 3),
            "course": [
                [start + 1, round(statistics.median(taken[start : start + _AT_ONCE]) * 1000, 1)]
                for start in range(0, batches, _AT_ONCE)
            ],
            "maintenance_seconds": round(sum(one["seconds"] for one in kept), 3),
            "merged_per_second": _per_second(kept),
            "rows": rows,
            "read_ms": round(read * 1000, 1),
            "read_compacted_ms": round(compacted * 1000, 1),
            "files": files,
            "files_on_disk": len(on_disk),
            "mb_on_disk": round(sum(path.stat().st_size for path in on_disk) / 1e6, 1),
        }


def _read(lake: Any) -> tuple[int, float]:
    """Return the rows of Silver, and the median of the seconds that reading them takes."""
    from lakehouse.domains.pipelines import contracts as c

    taken, rows = [], 0
    for _ in range(_READS):
        started = time.monotonic()
        rows = lake.store.scan(c.PIPELINE_EVENTS).collect().height
        taken.append(time.monotonic() - started)
    return rows, statistics.median(taken)


def _per_second(kept: list[dict[str, float]]) -> float | None:
    took = sum(one["seconds"] for one in kept)
    return round(sum(one["merged"] for one in kept) / took, 1) if took else None
