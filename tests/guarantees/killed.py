"""kill -9 at every named step: the next run ends where an undisturbed one does.

Belongs here: a child that kills itself at a step of fault_points.py. Does not: other faults.

    python killed.py '{"settings": …, "point": "commit.done", "nth": 2, "work": "run"}'
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson
from verdicts import Verdict, judged, summed

from lakehouse import fault_points
from lakehouse.domains.pipelines import contracts as c
from lakehouse.maintenance import points, record_point, restore_run
from lakehouse.pipeline import Lake, ingest, open_lake, refresh
from lakehouse.registry import sources, transform_of
from lakehouse.settings import Settings
from lakehouse.store.results import MaintenanceOptions

EVENTS = replace(c.PIPELINE_EVENTS, max_reject_ratio=1.0)  # what is tried is not what holds a table
TABLES = (c.RAW_PIPELINE_EVENTS, EVENTS, c.PIPELINE_METRICS)
FLOW = ("commit.begin", "commit.done", "flow.landed", "flow.refused", "flow.committed", "flow.delivered",
        "flow.batch")  # fmt: skip
DUCKLAKE = ("commit.written",)
REBUILD = ("flow.rebuilt",)
CARE = ("maintain.compacted", "maintain.checkpointed", "maintain.vacuumed")
NOON = datetime(2026, 1, 10, 12, tzinfo=UTC)


def lake_of(settings: Settings) -> Lake:
    return replace(open_lake(settings), batch_rows=6, clock=lambda: NOON)


def land(lake: Lake, name: str, start: int) -> None:
    """Twenty events of four days; every tenth breaks a rule."""
    lines = [
        {"pipeline_id": f"p{n}", "event_type": "pipeline.completed", "workspace_id": "w",
         "timestamp": f"2026-01-{1 + n % 4:02d}T{n % 24:02d}:00:00Z",
         "raw_data": {"duration_ms": -1 if n % 10 == 9 else n}}
        for n in range(start, start + 20)
    ]  # fmt: skip
    lake.landing.put(f"pipeline_events/{name}", b"".join(orjson.dumps(x) + b"\n" for x in lines))


def run(lake: Lake) -> None:
    """One init of the domain's event tables."""
    ingest(lake, TABLES[0], [s for s in sources() if s.table is TABLES[0]])
    for table in TABLES[1:]:
        refresh(lake, table, transform_of(table))


def maintain(lake: Lake) -> None:
    for table in TABLES:
        lake.store.maintain(table, MaintenanceOptions(retain=timedelta(days=1)))


def restore(lake: Lake) -> None:
    restore_run(lake, "first", TABLES)


WORK: dict[str, Callable[[Lake], None]] = {"run": run, "maintain": maintain, "restore": restore}


def content(lake: Lake) -> list[tuple[Any, ...]]:
    """Every row of every table, without the columns that say when and in which batch it came."""
    rows = []
    for table in TABLES:
        frame = lake.store.scan(table).select(table.content_columns).collect()
        rows += [(f"{table.path}/{row[:4]}", *row) for row in frame.iter_rows()]
    return rows


def kills(settings: Settings, *, most: int = 3) -> Verdict:
    """Kill a child at the first, second, … time it reaches each step; then do the work again and compare."""
    lake = lake_of(settings)
    land(lake, "1.ndjson", 0)
    verdicts = []
    steps = FLOW + (DUCKLAKE if settings.lake_format == "ducklake" else ())
    for turn, (point, nth) in enumerate((p, n) for p in steps for n in range(1, most + 1)):
        land(lake, f"{turn + 2}.ndjson", 20 * (turn + 1))
        verdicts.append(_killed(settings, point, nth, "run", after=None))
    record_point(lake, "first", TABLES)
    wanted = content(lake)
    for point in CARE:
        verdicts.append(_killed(settings, point, 1, "maintain", after=wanted))
    for nth in range(1, most + 1):
        land(lake, f"9{nth}.ndjson", 5000 + 20 * nth)
        run(lake)
        verdicts.append(_killed(settings, "restore.table", nth, "restore", after=wanted))
    assert [p.run_id for p in points(lake)] == ["first"]
    return summed(verdicts)


def _killed(
    settings: Settings, point: str, nth: int, work: str, *, after: list[tuple[Any, ...]] | None
) -> Verdict:
    order = {"settings": asdict(settings), "point": point, "nth": nth, "work": work}
    path = {"PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    done = subprocess.run(
        [sys.executable, __file__, orjson.dumps(order).decode()],
        env={**os.environ, **path},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode not in (0, -signal.SIGKILL):
        raise AssertionError(done.stderr)
    lake = lake_of(settings)
    WORK[work](lake)
    wanted = after if after is not None else undisturbed(lake)
    return judged(content(lake), wanted, trials=int(done.returncode == -signal.SIGKILL))


def undisturbed(lake: Lake) -> list[tuple[Any, ...]]:
    """What a run over the same landing gives that nobody disturbs: a fresh lake in a folder."""
    import tempfile

    with tempfile.TemporaryDirectory(prefix="guarantees-") as folder:
        calm = lake_of(Settings(lake_url=f"{folder}/lake", landing_url=f"{folder}/landing"))
        for file in lake.landing.list():
            calm.landing.put(file.name, file.read())
        run(calm)
        return content(calm)


def _child(order: dict[str, Any]) -> None:
    left = order["nth"]

    def kill(point: str) -> None:
        nonlocal left
        left -= point == order["point"]
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    lake = lake_of(Settings(**order["settings"]))
    fault_points.arm(kill)
    WORK[order["work"]](lake)


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent))
    _child(orjson.loads(sys.argv[1]))
