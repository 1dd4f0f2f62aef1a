"""What a build of the dbt models costs, beside the same SQL in bare DuckDB over the same files.

Belongs here: loans of nobody, one build of all marts, and its floor. Does not: what else `make bench` prints.
`models` are the seconds that dbt measured of the three marts, `bare` those of the very SQL that dbt compiled,
in DuckDB alone, each the least of three runs in turn: other work on the machine only adds to a run. `all` is
the whole refresh once: loading dbt, tests, the history, and the commits.

    python ops/bench/models.py [--rows 42000 4000000] [--json]
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROWS = (42_000, 4_000_000)
MARTS = ("loan_performance", "borrower_segments", "vintage_curves")
_PROJECT = Path(__file__).resolve().parents[2] / "data" / "dbt"
_CHUNK = 500_000
_RUNS = 3


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, nargs="+", default=list(ROWS))
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(argv)
    result = [measure(rows) for rows in options.rows]
    print(json.dumps(result) if options.json else as_text(result))
    return 0


def measure(rows: int) -> dict[str, Any]:
    """Build the marts of so many loans once, and run their SQL bare; return seconds."""
    with tempfile.TemporaryDirectory(prefix="odp-bench-") as folder:
        root = Path(folder)
        project = root / "project"
        shutil.copytree(_PROJECT, project, ignore=shutil.ignore_patterns("target", "logs", "lake.duckdb*"))
        kept = {
            name: os.environ.get(name)
            for name in ("ODP_DBT_PROJECT", "ODP_DBT_KEEP", "ODP_SCRATCH", "ODP_DBT_THREADS")
        }
        os.environ |= {
            "ODP_DBT_PROJECT": str(project),
            "ODP_DBT_KEEP": str(root / "kept"),
            "ODP_SCRATCH": str(root / "scratch"),
            "ODP_DBT_THREADS": "1",  # two models at once would be charged for each other's time
        }
        try:
            return _measure(root, rows)
        finally:
            for name, value in kept.items():
                os.environ.pop(name) if value is None else os.environ.__setitem__(name, value)


def _measure(root: Path, rows: int) -> dict[str, Any]:
    from lakehouse import dbt, registry
    from lakehouse.domains.lending import contracts as lending
    from lakehouse.pipeline import open_lake

    registry.clear()
    lake = open_lake(root / "lake")
    lake.store.ensure(lending.LOANS)
    for start in range(0, rows, _CHUNK):
        lake.store.append(lending.LOANS, _loans(start, min(rows, start + _CHUNK)))
    models = registry.models()
    dbt.refresh_models(lake, models[:1], models)  # dbt's own parsing is kept from here on
    started = time.monotonic()
    dbt.refresh_models(lake, models, models, full=True)
    whole = time.monotonic() - started
    marts = [table for table in models if table.contract.name in MARTS]
    runs: list[tuple[dict[str, float], dict[str, float]]] = []
    for _ in range(_RUNS):
        done = dbt.refresh_models(lake, marts, models, full=True)
        seconds = {name: done.built.seconds[f"model.odp.{name}"] for name in MARTS} if done.built else {}
        file, _ = dbt.prepare(lake, models)
        runs.append((seconds, _bare(file, root / "kept" / "target" / "compiled" / "odp")))
    seconds, bare = ({name: min(run[side][name] for run in runs) for name in MARTS} for side in (0, 1))
    return {
        "rows": rows,
        "all": whole,
        "models": sum(seconds.values()),
        "bare": sum(bare.values()),
        "each": {name: {"models": seconds[name], "bare": bare[name]} for name in MARTS},
        "ratio": sum(bare.values()) / sum(seconds.values()),
    }


def _bare(file: Path, compiled: Path) -> dict[str, float]:
    """Return the seconds of each mart's SQL in DuckDB alone, with the settings of the profile."""
    import duckdb

    taken = {}
    with duckdb.connect(str(file)) as database:
        database.execute("SET threads = 2; SET memory_limit = '2GB'; SET preserve_insertion_order = false")
        database.execute("SET parquet_metadata_cache = true")
        database.execute("CREATE SCHEMA IF NOT EXISTS gold")
        for schema, folder, names in (
            ("staging", "staging", ("stg_loans",)),
            ("intermediate", "intermediate", ("int_loans",)),
        ):
            database.execute(f"CREATE SCHEMA {schema}")
            for name in names:
                sql = (compiled / "models" / folder / f"{name}.sql").read_text()
                database.execute(f"CREATE VIEW {schema}.{name} AS {sql}")
        for name in MARTS:
            sql = (compiled / "models" / "marts" / f"{name}.sql").read_text()
            started = time.monotonic()
            database.execute(f"CREATE TABLE gold.{name} AS {sql}")
            taken[name] = time.monotonic() - started
    return taken


def _loans(start: int, end: int) -> Any:
    """Loans number `start` to `end`, of nobody, whose payments add up."""
    import polars as pl

    from lakehouse.domains.lending.contracts import LOANS

    number = pl.int_range(start, end, eager=False, dtype=pl.Int64)
    money = pl.Decimal(18, 2)
    amount = (number * 7919 % 34000 + 1000).cast(money)
    charged_off = number * 31 % 100 < 14
    made = {
        "loan_key": number.cast(pl.String).str.zfill(64),
        "issue_month": pl.lit("2007-01-01").str.to_date().dt.offset_by(pl.format("{}mo", number * 13 % 132)),
        "grade": (number * 17 % 7).replace_strict(dict(enumerate("ABCDEFG"))),
        "term_months": pl.when(number % 3 == 0).then(60).otherwise(36).cast(pl.Int32),
        "interest_rate": ((number * 11 % 2000 + 500).cast(pl.Decimal(18, 6)) / 10_000).cast(pl.Decimal(9, 6)),
        "state": (number * 29 % 50).cast(pl.String),
        "home_ownership": (number % 4).replace_strict(dict(enumerate(("RENT", "OWN", "MORTGAGE", "OTHER")))),
        "annual_income": (number * 101 % 200_000).cast(money),
        "loan_status": pl.when(charged_off).then(pl.lit("Charged Off")).otherwise(pl.lit("Fully Paid")),
        "meets_credit_policy": pl.lit(True),
        "loan_amount": amount,
        "funded_amount": amount,
        "principal_paid": amount,
        "interest_paid": pl.lit(0).cast(money),
        "late_fees_paid": pl.lit(0).cast(money),
        "recoveries": pl.lit(0).cast(money),
        "total_paid": amount,
    }
    made["last_payment_month"] = made["issue_month"].dt.offset_by(pl.format("{}mo", number * 23 % 60))
    schema = LOANS.polars_schema()
    missing = [LOANS.by_name[name] for name in schema if name not in made]
    other = {c.name: pl.lit(None if c.nullable else 0) for c in missing}
    frame = pl.select(**made, **other).select(schema.names())
    return frame.with_columns(pl.col(name).cast(kind) for name, kind in schema.items())


def as_text(results: list[dict[str, Any]]) -> str:
    """The table of `make bench`."""
    lines = [
        "dbt models             loans      all   models     bare   bare / models",
        *(
            f"{'':<14} {one['rows']:>13,} {one['all']:>7.1f}s {one['models']:>7.2f}s {one['bare']:>7.2f}s"
            f" {one['ratio']:>15.2f}"
            for one in results
        ),
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
