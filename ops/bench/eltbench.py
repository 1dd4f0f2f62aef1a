# /// script
# requires-python = ">=3.11"
# dependencies = ["lakebench[polars,duckdb]==2.2.0", "duckdb-extension-delta==1.5.5"]
# ///
"""LakeBench's ELTBench, light mode, as its authors wrote it: a yardstick that is not ours.

Belongs here: making its data (TPC-DS by the generator it brings) and running it on one engine. Does
not: our own code; LakeBench pins other versions of polars and deltalake, so it runs in an environment
of its own.

    uv run --no-project --script ops/bench/eltbench.py data --scale 1 --data DIR
    uv run --no-project --script ops/bench/eltbench.py lakebench-polars --data DIR
"""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
import tempfile
import time
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

TABLES = ["store_sales", "date_dim", "store", "item", "customer"]


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=("data", "lakebench-polars", "lakebench-duckdb"))
    parser.add_argument("--scale", type=float, default=1.0)
    parser.add_argument("--data", type=Path, required=True)
    given = parser.parse_args(argv)
    with tempfile.TemporaryDirectory(prefix="odp-bench-") as folder, contextlib.redirect_stdout(sys.stderr):
        if given.what == "data":
            found = make(given.scale, given.data)
        else:
            found = measure(given.what, given.data, Path(folder))
    print(json.dumps(found))
    return 0


def make(scale: float, data: Path) -> dict[str, object]:
    """Make the tables that the benchmark reads, as Parquet."""
    from lakebench.datagen import TPCDSDataGenerator

    TPCDSDataGenerator(scale_factor=scale, target_folder_uri=str(data), table_list=TABLES).run()
    return {}


def measure(name: str, data: Path, lake: Path) -> dict[str, object]:
    """Run ELTBench; return seconds by phase."""
    from lakebench.benchmarks import ELTBench
    from lakebench.engines import DuckDB, Polars

    kind = {"lakebench-polars": Polars, "lakebench-duckdb": DuckDB}[name]
    engine = kind(schema_or_working_directory_uri=str(lake))
    if name == "lakebench-duckdb":
        engine.duckdb.execute(f"LOAD '{_extension()}'")
    bench = ELTBench(
        engine=engine,
        scenario_name="light",
        input_parquet_folder_uri=str(data),
        save_results=False,
    )
    started = time.monotonic()
    bench.run(mode="light")
    seconds = time.monotonic() - started
    phases: dict[str, float] = {}
    for row in bench.results:
        if not row["success"]:
            raise SystemExit(f"{row['phase']}: {row['error_message']}")
        phases[row["phase"]] = round(phases.get(row["phase"], 0) + row["duration_ms"] / 1000, 3)
    packages = ("lakebench", "polars", "duckdb", "deltalake")
    return {
        "seconds": round(seconds, 3),
        "steps": phases,
        "versions": {package: version(package) for package in packages},
    }


def _extension() -> Path:
    """Return DuckDB's extension for Delta, of its wheel; else DuckDB asks the network for it."""
    import duckdb_extension_delta as wheel

    [file] = sorted(Path(wheel.__file__).parent.rglob("delta.duckdb_extension"))
    return file


if __name__ == "__main__":
    sys.exit(main())
