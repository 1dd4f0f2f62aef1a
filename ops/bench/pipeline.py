"""Rows per second and peak memory of Bronze -> Silver -> Gold, against two floors, in one run.

Belongs here: the ways over the same landed file. Does not: what `make bench` prints besides (run.py).
One floor is our own transforms in plain Polars, one `write_deltalake` per table; no positions, no quarantine,
no checks, no restart: what the platform adds. The other is SQL by hand for DuckDB (by_hand.py), whose tables
are compared with ours: what somebody has who does without us. Each measurement is a fresh process, so that
peak memory is its own.

    python ops/bench/pipeline.py [--rows 100000 1000000] [--repeat 3] [--json]
    python ops/bench/pipeline.py --once platform|floor|by_hand --file F --lake DIR
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from tree import own_peak_mb

WAYS = ("by_hand", "floor", "platform")
SHARES = {"duplicates": 0.05, "late": 0.02, "broken": 0.01}


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, nargs="+", default=[100_000, 1_000_000])
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--once", choices=WAYS)
    parser.add_argument("--file", type=Path)
    parser.add_argument("--lake", type=Path)
    options = parser.parse_args(argv)
    if options.once:
        print(json.dumps(once(options.once, options.file, options.lake)))
        return 0
    results = [compare(rows, options.repeat) for rows in options.rows]
    print(json.dumps(results) if options.json else as_text(results))
    return 0


def compare(rows: int, repeat: int) -> dict[str, Any]:
    """Run both ways `repeat` times in turn on one generated file; return medians and ratios of pairs."""
    from by_hand import refuse_other_tables

    from lakehouse.domains.pipelines import sample

    with tempfile.TemporaryDirectory(prefix="odp-bench-") as folder:
        file = Path(folder) / "landing" / "pipeline_events" / "events.parquet"
        file.parent.mkdir(parents=True)
        sample.write(sample.events(rows, seed=1, clock=sample.CLOCK, **SHARES), file)
        pairs = []
        for _ in range(repeat):
            pairs.append({way: _fresh(way, file, Path(folder) / way) for way in WAYS})
        refuse_other_tables(Path(folder) / "by_hand", Path(folder) / "platform")
    return {
        "rows": rows,
        **{
            f"{way}_{figure}": statistics.median(pair[way][figure] for pair in pairs)
            for way in WAYS
            for figure in ("seconds", "peak_mb", "cpu_seconds")
        },
        **{
            name: statistics.median(pair[way]["seconds"] / pair["platform"]["seconds"] for pair in pairs)
            for name, way in (("ratio", "floor"), ("of_by_hand", "by_hand"))
        },
        "steps": pairs[-1]["platform"]["steps"],
        "floor_steps": pairs[-1]["floor"]["steps"],
        "tables": {way: pairs[-1][way]["tables"] for way in WAYS},
    }


def _fresh(way: str, file: Path, lake: Path) -> dict[str, Any]:
    shutil.rmtree(lake, ignore_errors=True)
    command = [sys.executable, __file__, "--once", way, "--file", str(file), "--lake", str(lake)]
    # Polars tells its children how its allocator works, in their environment; nobody tells a fresh process.
    env = {name: value for name, value in os.environ.items() if name != "_RJEM_MALLOC_CONF"}
    out = subprocess.run(command, check=True, capture_output=True, text=True, env=env).stdout
    return json.loads(out)


def once(way: str, file: Path, lake: Path) -> dict[str, Any]:
    """Do it once in this process and say what it took. Importing is not counted, on either side."""
    do = {"platform": platform, "floor": floor, "by_hand": by_hand}[way]
    prepared = do(file, lake)
    before = time.process_time()
    started = time.monotonic()
    steps, tables = prepared()
    return {
        "seconds": time.monotonic() - started,
        "cpu_seconds": time.process_time() - before,
        "peak_mb": own_peak_mb(),
        "steps": steps,
        "tables": tables,
    }


def platform(file: Path, lake: Path):
    """The way of the product: landing, positions, rules, quarantine, counters."""
    from lakehouse.domains.pipelines import contracts as c
    from lakehouse.materialize import materialize
    from lakehouse.pipeline import open_lake
    from lakehouse.registry import find
    from lakehouse.settings import Settings

    raw, events, metrics = map(find, (c.RAW_PIPELINE_EVENTS, c.PIPELINE_EVENTS, c.PIPELINE_METRICS))

    def run() -> tuple[dict[str, float], dict[str, int]]:
        opened = open_lake(Settings(lake_url=str(lake), landing_url=str(file.parent.parent)))
        clock = _Clock()
        bronze = materialize(opened, raw).report
        clock.mark("bronze")
        silver = materialize(opened, events).refreshed
        clock.mark("silver")
        materialize(opened, metrics)
        clock.mark("gold")
        assert silver.balances
        return clock.steps, {
            "bronze": bronze.rows,
            "silver": silver.written,
            "merged": silver.merged,
            "quarantined": silver.quarantined,
        }

    return run


def floor(file: Path, lake: Path):
    """The least by hand: the same transforms, one plain write per table."""
    import narwhals.stable.v2 as nw
    import polars as pl
    from deltalake import write_deltalake

    from lakehouse.domains.pipelines import contracts as c
    from lakehouse.domains.pipelines import transforms

    def write(table: str, frame: pl.DataFrame) -> None:
        path = lake / table
        path.parent.mkdir(parents=True, exist_ok=True)
        write_deltalake(str(path), frame.to_arrow(), mode="overwrite")

    def run() -> tuple[dict[str, float], dict[str, int]]:
        clock = _Clock()
        raw = pl.read_parquet(file).with_columns(
            pl.lit(str(file)).alias("_source"),
            pl.lit("-").alias("_fingerprint"),
            pl.int_range(pl.len(), dtype=pl.Int64).alias("_row"),
            pl.lit(1, pl.Int64).alias("_batch_id"),
            pl.lit(None, pl.Datetime("us", "UTC")).alias("_ingested_at"),
        )
        write("bronze/raw_pipeline_events", raw)
        clock.mark("bronze")
        made = transforms.pipeline_events(nw.from_native(raw.lazy())).to_native().collect()
        key = list(c.PIPELINE_EVENTS.key)
        good = made.drop_nulls(key).unique(subset=key, keep="last").select(c.PIPELINE_EVENTS.column_names)
        write("silver/pipeline_events", good)
        clock.mark("silver")
        gold = transforms.pipeline_metrics(nw.from_native(good.lazy())).to_native().collect()
        write("gold/pipeline_metrics", gold)
        clock.mark("gold")
        return clock.steps, {"bronze": raw.height, "silver": good.height}

    return run


def by_hand(file: Path, lake: Path):
    """SQL for DuckDB."""
    import by_hand as sql

    def run() -> tuple[dict[str, float], dict[str, int]]:
        clock = _Clock()
        return clock.steps, sql.flow(file, lake, clock.mark)

    return run


class _Clock:
    """Seconds since the last mark, by name."""

    def __init__(self) -> None:
        self.steps: dict[str, float] = {}
        self._last = time.monotonic()

    def mark(self, name: str) -> None:
        now = time.monotonic()
        self.steps[name] = round(now - self._last, 3)
        self._last = now


def as_text(results: list[dict[str, Any]]) -> str:
    lines = [
        "Bronze -> Silver -> Gold of generated events, against our transforms in plain Polars with one "
        "write_deltalake per table (floor), and against SQL by hand for DuckDB that writes equal tables",
        f"{'rows':>10} {'platform':>10} {'floor':>8} {'by hand':>8} {'rows/s':>10} {'of floor':>9} "
        f"{'of by hand':>11} {'peak MB':>8} {'floor MB':>9} {'by hand MB':>11}",
    ]
    for r in results:
        lines.append(
            f"{r['rows']:>10,} {r['platform_seconds']:>8.2f} s {r['floor_seconds']:>6.2f} s "
            f"{r['by_hand_seconds']:>6.2f} s {r['rows'] / r['platform_seconds']:>10,.0f} {r['ratio']:>9.2f} "
            f"{r['of_by_hand']:>11.2f} {r['platform_peak_mb']:>8,.0f} {r['floor_peak_mb']:>9,.0f} "
            f"{r['by_hand_peak_mb']:>11,.0f}"
        )
    if len(results) > 1:
        first, last = results[0], results[-1]
        lines.append(
            f"memory grew {last['platform_peak_mb'] / first['platform_peak_mb']:.1f} x for "
            f"{last['rows'] / first['rows']:.0f} x the rows"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
