"""Commands about what is handed to others: export, mart, report.

Belongs here: calling the library and printing the result. Does not: arguments (commands.py).
"""

from __future__ import annotations

from lakehouse.cli.base import Options
from lakehouse.cli.main import OK
from lakehouse.cli.output import as_json, as_table, lake_of, settings_of, table_of
from lakehouse.cli.terminal import say
from lakehouse.errors import Unsupported
from lakehouse.outputs.selection import gold
from lakehouse.outputs.settings import OutputSettings
from lakehouse.registry import contracts


def export(options: Options) -> int:
    """Write files of Gold. Personal data goes with them where it is asked for."""
    from lakehouse.outputs.exports import export as written

    settings = OutputSettings.from_env(settings_of(options))
    tables = [table_of(path) for path in options.tables] or gold(contracts())
    if other := [table for table in tables if table.layer != "gold"]:
        raise Unsupported(
            f"{other[0]} is no table of Gold: only these are exported; `odp head {other[0]}` shows it"
        )
    pii = options.pii or settings.exports_pii
    done = written(lake_of(options), tables, settings, pii=pii, whole=not options.tables)
    if options.json:
        as_json(done)
        return OK
    rows = [{"table": t.table, "version": t.version, "rows": t.rows, "bytes": t.size_bytes, "new": t.written}
            for t in done.tables]  # fmt: skip
    as_table(rows, "no table of Gold has been written yet; `make init-data-layers` does")
    _left_out({t.table: t.left_out for t in done.tables}, "--pii")
    _absent(done.absent)
    say(f"exports: {done.place}")
    return OK


def mart(options: Options) -> int:
    """Refresh the mart. What it cannot hold as it is, is told."""
    from lakehouse.outputs.mart import refresh_mart

    settings = OutputSettings.from_env(settings_of(options))
    done = refresh_mart(lake_of(options), gold(contracts()), settings)
    if options.json:
        as_json({**{name: getattr(done, name) for name in ("place", "tables", "absent", "removed")}})
        return OK
    rows = [{"table": t.table, "version": t.version, "rows": t.rows, "new": t.changed} for t in done.tables]
    as_table(rows, "no table of Gold has been written yet; `make init-data-layers` does")
    _left_out({t.table: t.left_out for t in done.tables}, "MART_PII=true")
    for table in done.tables:
        for name, count in table.shown_nul.items():
            say(
                f"! {table.table}: {count} rows of {name} hold NUL, which stands as ␀ in Postgres", error=True
            )
    for path in done.removed:
        say(f"{path} is declared no more: removed from the mart")
    _absent(done.absent)
    say(f"mart: {done.place}")
    return OK


def report(options: Options) -> int:
    """Write the report, and say what it says in short."""
    from lakehouse.outputs.quality import report as written

    settings = OutputSettings.from_env(settings_of(options))
    done = written(lake_of(options), contracts(), settings)
    if options.json:
        as_json(done.quality)
        return OK
    rows = [
        {"table": t.table, "rows": t.rows, "refused": t.open_rejects, "age": t.age_seconds,
         "fresh": t.is_fresh, "checks": t.passed, "held": t.is_held}
        for t in done.quality.tables
    ]  # fmt: skip
    as_table(rows, "no table is declared")
    say(f"report: {done.html}")
    return OK


def _left_out(columns: dict[str, tuple[str, ...]], ask: str) -> None:
    told = [f"{table} ({', '.join(names)})" for table, names in columns.items() if names]
    if told:
        say(f"left out, as personal data: {', '.join(told)}; {ask} takes it along")


def _absent(paths: tuple[str, ...]) -> None:
    if paths:
        say(f"! not written yet in the lake: {', '.join(paths)}", error=True)
