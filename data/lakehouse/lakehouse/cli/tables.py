"""Commands about tables: tables, head, history, verify, refresh.

Belongs here: what they ask the library and print. Does not: arguments (main.py).
"""

from __future__ import annotations

import argparse
from datetime import UTC, datetime
from typing import Any

import polars as pl

from lakehouse.cli.main import FOUND, OK
from lakehouse.cli.output import MASK, as_json, as_table, every_table, lake_of, table_of
from lakehouse.contracts import Contract
from lakehouse.domains import contracts, transform_of
from lakehouse.errors import SettingsError, Unsupported
from lakehouse.flow import Lake
from lakehouse.flow import refresh as bring_up
from lakehouse.verify import verify as check
from lakehouse.verify.report import as_json as report_json
from lakehouse.verify.report import as_text as report_text


def tables(options: argparse.Namespace) -> int:
    """List every table that is there, and the declared ones that are not."""
    lake = lake_of(options)
    found = set(lake.store.found())
    rows: list[dict[str, Any]] = []
    for table in every_table():
        if table.path not in found:
            if table in contracts():
                rows.append({"table": table.path, "rows": None, "size_bytes": None, "files": None,
                             "version": None, "written_at": None})  # fmt: skip
            continue
        now = lake.store.snapshot(table)
        written = lake.store.history(table, limit=1)[0].at
        rows.append({"table": table.path, "rows": now.rows, "size_bytes": now.size_bytes, "files": now.files,
                     "version": now.version, "written_at": written})  # fmt: skip
    if options.json:
        as_json(rows)
    else:
        as_table(rows, "no table is declared")
    return OK


def head(options: argparse.Namespace) -> int:
    """Show rows. PII is masked unless asked for."""
    lake, table = lake_of(options), table_of(options.table)
    names = _columns(table, options.columns)
    version = options.version if options.as_of is None else _version_at(lake, table, options.as_of)
    rows = lake.store.scan(table, version=version).select(names).head(options.rows).collect()
    if not options.reveal_pii:
        masked = [pl.when(pl.col(n).is_not_null()).then(pl.lit(MASK)).alias(n)
                  for n in names if table.by_name[n].pii]  # fmt: skip
        rows = rows.with_columns(masked)
    shown = list(rows.iter_rows(named=True))
    if options.json:
        as_json(shown)
    else:
        as_table(shown, f"{table} has no rows")
    return OK


def _columns(table: Contract, asked: str | None) -> list[str]:
    if asked is None:
        return [c.name for c in table.columns if not c.name.startswith("_")]
    names = [name.strip() for name in asked.split(",")]
    if strangers := [name for name in names if name not in table.by_name]:
        raise Unsupported(f"{table} has no column {', '.join(strangers)}; it has {', '.join(table.by_name)}")
    return names


def _version_at(lake: Lake, table: Contract, text: str) -> int:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as exc:
        raise SettingsError(f"--as-of {text!r} is no ISO 8601 time, as 2026-01-15T12:00:00Z") from exc
    if moment.tzinfo is None:
        raise SettingsError(f"--as-of {text!r} has no offset; add Z for UTC")
    for entry in lake.store.history(table):
        if entry.at <= moment.astimezone(UTC):
            return entry.version
    raise Unsupported(f"{table} has no version as old as {text}")


def history(options: argparse.Namespace) -> int:
    """List commits, newest first."""
    lake, table = lake_of(options), table_of(options.table)
    entries = lake.store.history(table, limit=options.rows)
    if options.json:
        as_json(
            [{"version": e.version, "at": e.at, "operation": e.operation, "info": e.info} for e in entries]
        )
        return OK
    as_table(
        [
            {
                "version": e.version,
                "at": e.at,
                "operation": e.info.get("odp.maintenance") or e.operation,
                "run": e.info.get("odp.run") or e.info.get("odp.restored_run"),
                "by": "us"
                if "odp.commit" in e.info or e.operation.startswith("CREATE")
                else "SOMETHING ELSE",
            }
            for e in entries
        ],
        "no commit",
    )
    return OK


def verify(options: argparse.Namespace) -> int:
    """Check the lake as `make verify-data-layers` does, without asking Dagster for versions."""
    result = check(lake_of(options), contracts())
    print(report_json(result) if options.json else report_text(result))
    return OK if result.ok else FOUND


def refresh(options: argparse.Namespace) -> int:
    """Bring computed tables up to their sources, in the order they hang together."""
    lake = lake_of(options)
    chosen = [table_of(options.table)] if options.table else [t for t in contracts() if t.sources]
    rows = []
    for table in chosen:
        if not table.sources:
            raise Unsupported(f"{table} is not computed from other tables; files of landing bring its rows")
        done = bring_up(lake, table, transform_of(table), full=options.full_refresh, info=_BY)
        rows.append({"table": table.path, "read": done.read, "written": done.written, "merged": done.merged,
                     "quarantined": done.quarantined, "version": done.version})  # fmt: skip
    if options.json:
        as_json(rows)
    else:
        as_table(rows, "no table is computed")
    return OK


_BY = {"odp.by": "odp refresh"}
