"""What a change of one percent costs against computing everything, on a Silver of ten million rows.

Belongs here: loading, changing and measuring one lake. Does not: what `make bench` prints besides.
The change (the median of three) is the common one: new events of the last day, and corrections of two days
some months back. `spread` is the worst one: corrections of rows all over the year, which touch every file and
every group.

    python ops/bench/increment.py [--rows 10000000] [--json]
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

ROWS = 10_000_000
MONTHS = 12
CHANGES = 3
SHARE = 0.01


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=ROWS)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(argv)
    result = measure(options.rows)
    print(json.dumps(result) if options.json else as_text(result))
    return 0


def measure(rows: int) -> dict[str, Any]:
    """Load a year of events, change one percent, refresh, compute everything anew; return what each took."""
    with tempfile.TemporaryDirectory(prefix="odp-bench-") as folder:
        return _measure(Path(folder), rows)


def _measure(root: Path, rows: int) -> dict[str, Any]:
    from lakehouse.domains.pipelines import contracts as c
    from lakehouse.materialize import materialize
    from lakehouse.pipeline import open_lake
    from lakehouse.registry import find
    from lakehouse.settings import Settings
    from lakehouse.verify import content_hash

    landing = root / "landing" / "pipeline_events"
    landing.mkdir(parents=True)
    places = {"LAKE_URL": str(root / "lake"), "LANDING_URL": str(root / "landing")}
    lake = open_lake(Settings.from_env(engine() | places))
    bronze = find(c.RAW_PIPELINE_EVENTS)
    steps = {"silver": find(c.PIPELINE_EVENTS), "gold": find(c.PIPELINE_METRICS)}

    def go(*, full: bool = False) -> dict[str, Any]:
        taken = {}
        for layer, table in steps.items():
            taken[layer] = _cost(lake.store, table.contract, partial(materialize, lake, table, full=full))
        return taken

    def hashes() -> list[str]:
        return [content_hash(table.contract, lake.store.scan(table.contract)) for table in steps.values()]

    _year(landing, rows)
    materialize(lake, bronze)
    result: dict[str, Any] = {"rows": rows, "changed": int(rows * SHARE), "load": go()}
    result["files"] = {layer: lake.store.snapshot(table.contract).files for layer, table in steps.items()}
    changes = []
    for number in range(CHANGES):
        _change(landing, rows, number)
        materialize(lake, bronze)
        changes.append(go())
    result["change"] = {layer: _median([change[layer] for change in changes]) for layer in steps}
    changed = hashes()
    _spread(landing, rows)
    materialize(lake, bronze)
    result["spread"] = go()
    spread = hashes()
    result["full"] = go(full=True)
    result["equal"] = hashes() == spread != changed
    result["ratio"] = {layer: _ratios(result, layer) for layer in steps}
    return result


def engine() -> dict[str, str]:
    """Return what of the environment says where rows are computed; nothing else of it counts here."""
    names = ("ODP_ENGINE", "SPARK_REMOTE", "SPARK_READS_LAKE")
    return {name: os.environ[name] for name in names if name in os.environ}


def _cost(store: Any, table: Any, do: Callable[[], Any]) -> dict[str, float]:
    """Return seconds, and the rows and bytes of the data files that the table's commits brought."""
    from lakehouse.store.delta.log import read_commit

    before = store.snapshot(table).version if store.exists(table) else -1
    started = time.monotonic()
    do()
    seconds = time.monotonic() - started
    after = store.snapshot(table).version
    written = [f for v in range(before + 1, after + 1) for f in read_commit(store.files, table.path, v).added]
    return {
        "seconds": seconds,
        "rows": sum(file.rows for file in written),
        "bytes": sum(file.size_bytes for file in written),
    }


def _ratios(result: dict[str, Any], layer: str) -> dict[str, float]:
    """The change against the cheaper way of computing everything: the first load, or a full refresh."""
    return {
        figure: result["change"][layer][figure]
        / min(result["load"][layer][figure], result["full"][layer][figure])
        for figure in ("rows", "seconds", "bytes")
    }


def _month(number: int, rows: int) -> Any:
    """Return a month of events of some hundred workspaces; the generator itself knows twenty."""
    import polars as pl

    from lakehouse.domains.pipelines import sample

    clock = sample.CLOCK - timedelta(days=30 * (MONTHS - 1 - number))
    events = sample.events(rows // MONTHS, seed=number, clock=clock)
    team = pl.col("pipeline_id").str.tail(2)
    return events.with_columns(pl.concat_str("workspace_id", pl.lit("-"), team).alias("workspace_id"))


def _year(landing: Path, rows: int) -> None:
    from lakehouse.domains.pipelines import sample

    for number in range(MONTHS):
        sample.write(_month(number, rows), landing / f"{number:02d}.parquet")


def _median(costs: list[dict[str, float]]) -> dict[str, float]:
    return {figure: statistics.median(cost[figure] for cost in costs) for figure in costs[0]}


def _change(landing: Path, rows: int, number: int) -> None:
    """Half of it new events of the last day, half corrections of adjoining rows of an earlier month."""
    import polars as pl

    half = int(rows * SHARE / 2)
    new = _month(MONTHS - 1, rows).tail(half).with_columns(pl.col("pipeline_id") + f"-new-{number}")
    old = _corrected(_month(MONTHS // 2 - number, rows).slice(rows // MONTHS // 2, half))
    pl.concat([new, old]).write_parquet(landing / f"5{number}.parquet")


def _spread(landing: Path, rows: int) -> None:
    import polars as pl

    step = int(1 / SHARE)
    every = [_corrected(_month(number, rows).gather_every(step)) for number in range(MONTHS)]
    pl.concat(every).write_parquet(landing / "60.parquet")


def _corrected(frame: Any) -> Any:
    import polars as pl

    return frame.with_columns(pl.lit('{"duration_ms":4321,"steps":2}').alias("raw_data"))


def as_text(result: dict[str, Any]) -> str:
    lines = [
        f"A change of {result['changed']:,} rows to {result['rows']:,}, against computing everything; "
        f"content {'equal' if result['equal'] else 'DIFFERS'}",
        f"{'':<28} {'rows written':>14} {'seconds':>9} {'MB written':>11}",
    ]
    names = {
        "load": "first load",
        "full": "full refresh",
        "change": "change",
        "spread": "spread over the year",
    }
    for layer in ("silver", "gold"):
        for name, cost in ((name, result[way][layer]) for way, name in names.items()):
            megabytes = cost["bytes"] / 1e6
            title = f"{layer} {name}"
            lines.append(f"{title:<28} {cost['rows']:>14,.0f} {cost['seconds']:>9.2f} {megabytes:>11.2f}")
        rows, seconds, written = (result["ratio"][layer][figure] for figure in ("rows", "seconds", "bytes"))
        lines.append(f"{'  change (goal: 5 %)':<28} {rows:>14.1%} {seconds:>9.1%} {written:>11.1%}")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
