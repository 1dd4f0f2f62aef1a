"""Commands about tables: tables, head, history, verify, refresh.

Belongs here: calling the library and printing the result. Does not: arguments (commands.py).
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

from lakehouse.catalog import personal
from lakehouse.cli.base import Options
from lakehouse.cli.main import FOUND, OK
from lakehouse.cli.output import as_json, as_table, every_table, lake_of, table_of
from lakehouse.cli.terminal import say
from lakehouse.contracts import Contract
from lakehouse.errors import DamagedTable, SettingsError, Unsupported
from lakehouse.masking import masked
from lakehouse.pipeline import Lake, RefreshReport
from lakehouse.pipeline.ledger import mend
from lakehouse.registry import contracts, find
from lakehouse.store.integrity.damage import readable
from lakehouse.store.integrity.foreign_commits import is_ours
from lakehouse.store.values import sayable
from lakehouse.table import Kind

if TYPE_CHECKING:
    from lakehouse.materialize import Materialization


def tables(options: Options) -> int:
    """List every table that exists, and the declared ones that do not exist yet."""
    lake = lake_of(options)
    found = set(lake.store.found())
    rows: list[dict[str, Any]] = []
    damaged: list[str] = []
    for table in every_table():
        if table.path not in found:
            if table in contracts():
                rows.append({"table": table.path, "rows": None, "size_bytes": None, "files": None,
                             "version": None, "written_at": None})  # fmt: skip
            continue
        try:
            now = lake.store.snapshot(table)
            written = lake.store.history(table, limit=1)[0].at
        except DamagedTable as exc:
            damaged.append(str(exc))
            rows.append({"table": table.path, "rows": None, "size_bytes": None, "files": None,
                         "version": None, "written_at": None})  # fmt: skip
            continue
        rows.append({"table": table.path, "rows": now.rows, "size_bytes": now.size_bytes, "files": now.files,
                     "version": now.version, "written_at": written})  # fmt: skip
    if options.json:
        as_json(rows)
    else:
        as_table(rows, "no table is declared")
    for message in damaged:
        say(f"✗ {message}", error=True)
    return FOUND if damaged else OK


def head(options: Options) -> int:
    """Show rows. Personal data is masked without --reveal-pii."""
    lake, table = lake_of(options), table_of(options.table)
    names = _columns(table, options.columns)
    version = options.version if options.as_of is None else _version_at(lake, table, options.as_of)
    with readable(lake.store, [table]):
        rows = lake.store.scan(table, version=version).select(names).head(options.rows).collect()
    if not options.reveal_pii:
        rows = masked(rows, personal(table, names))
    shown = list(sayable(table, rows).iter_rows(named=True))
    if options.json:
        as_json(shown)
    else:
        as_table(shown, f"{table} has no rows")
    return OK


def _columns(table: Contract, asked: str | None) -> list[str]:
    if asked is None:
        return [c.name for c in table.columns if not c.name.startswith("_")]
    names = [name.strip() for name in asked.split(",")]
    if unknown := [name for name in names if name not in table.by_name]:
        raise Unsupported(f"{table} has no column {', '.join(unknown)}; it has {', '.join(table.by_name)}")
    return names


def _version_at(lake: Lake, table: Contract, text: str) -> int:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise SettingsError(f"--as-of {text!r} is no ISO 8601 time, as 2026-01-15T12:00:00Z") from None
    if moment.tzinfo is None:
        raise SettingsError(f"--as-of {text!r} has no offset; add Z for UTC")
    for entry in lake.store.history(table):
        if entry.at <= moment:  # as instants: in UTC it may be of the year 0
            return entry.version
    raise Unsupported(f"{table} has no version as old as {text}")


def history(options: Options) -> int:
    """List commits, newest first."""
    lake, table = lake_of(options), table_of(options.table)
    if options.accept is not None:
        if not (options.why or "").strip():
            raise SettingsError("--accept needs --why TEXT: what the commit was, and why it may stand")
        lake.store.accept_foreign(table, options.accept, options.why)
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
                "operation": e.info.get("odp.maintenance")
                or (e.info.get("odp.by") if "odp.accepted_by" in e.info else None)
                or e.operation,
                "run": e.info.get("odp.run") or e.info.get("odp.restored_run"),
                "by": "us" if is_ours(e) else "SOMETHING ELSE",
            }
            for e in entries
        ],
        "no commit",
    )
    return OK


def verify(options: Options) -> int:
    """Check the lake as `make verify-data-layers` does, but without the versions that Dagster recorded."""
    from lakehouse.verify import verify as check  # 10 ms that the other commands do not need
    from lakehouse.verify.report import as_json as report_json
    from lakehouse.verify.report import as_text as report_text

    result = check(lake_of(options), contracts(), deep=options.deep)
    if options.json:
        print(report_json(result))
    else:
        say(report_text(result))
    return OK if result.ok else FOUND


def refresh(options: Options) -> int:
    """Bring computed tables up to their sources, sources before the tables computed from them."""
    from lakehouse.materialize import materialize, materialize_models  # it brings verify and quarantine along

    lake = lake_of(options)
    chosen = [table_of(options.table)] if options.table else [t for t in contracts() if t.sources]
    rows: list[dict[str, Any]] = []
    has_refused = has_waited = False

    def told(made: Materialization) -> None:
        nonlocal has_refused, has_waited
        done = made.refreshed
        has_refused |= _report(lake, made.table, done)
        has_waited |= bool(done.waits_for)
        counts = {"read": done.read, "written": done.written, "merged": done.merged}
        counts |= {"quarantined": done.quarantined, "version": done.version}
        rows.append({"table": made.table.path, **counts})

    of_dbt = []  # one build for all of them, after the others, which they are made of
    for table in chosen:
        if not table.sources:
            if (files := mend(lake, table, _BY)) is None:
                raise Unsupported(
                    f"{table} is not computed from other tables; files of landing bring its rows"
                )
            say(f"{table}: its rows come from {files} files; the next run reads what lies in landing again")
        elif find(table).kind is Kind.DBT:
            of_dbt.append(find(table))
        else:
            told(materialize(lake, find(table), full=options.full_refresh, info=_BY, checks=False))
    if of_dbt:
        for made in materialize_models(lake, of_dbt, full=options.full_refresh, info=_BY, checks=False):
            told(made)
    if options.json:
        as_json(rows)
    else:
        as_table(rows, "no table is computed")
    return FOUND if has_refused or (has_waited and options.table) else OK


def _report(lake: Lake, table: Contract, done: RefreshReport) -> bool:
    """Print what holds the table or what it waits for. Return whether this refresh rejected too many rows."""
    from lakehouse import quarantine

    refused = done.judged is not None and done.judged.verdict == "bad"
    if done.hold is not None:
        mark = "✗" if refused else "!"
        say(f"{mark} {quarantine.describe(lake, table, done.hold)}", error=True)
    if done.waits_for:
        say(f"! {quarantine.waiting(table, done.waits_for)}", error=True)
    return refused


_BY = {"odp.by": "odp refresh"}
