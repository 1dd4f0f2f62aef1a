"""Commands about quarantine: list, show, replay, accept.

Belongs here: calling the library and printing the result. Does not: arguments (commands.py).
"""

from __future__ import annotations

from collections.abc import Sequence

from lakehouse import quarantine
from lakehouse.cli.base import Options
from lakehouse.cli.main import OK
from lakehouse.cli.output import as_json, as_table, lake_of, table_of
from lakehouse.cli.terminal import printable, say
from lakehouse.contracts import Contract
from lakehouse.pipeline import Lake
from lakehouse.registry import contracts, transform_of

_BY = {"odp.by": "odp quarantine replay"}
_ACCEPTED_BY = {"odp.by": "odp quarantine accept"}


def listed(options: Options) -> int:
    """Count open rejects by table and rule, warn of tables that are held, list what was accepted."""
    lake = lake_of(options)
    if options.held:
        warn_of_held(lake, contracts())
        return OK
    found, decisions = quarantine.list_rejects(lake, contracts()), quarantine.accepted(lake)
    if options.json:
        as_json([{**vars(f), "accepted": [a for a in decisions if a.table == f.table]} for f in found])
        return OK
    rows = [
        {"table": f.table, "open": f.open, "replayed": f.replayed, "newest": f.newest,
         "held since": f.hold.since if f.hold else None,
         "rules": ", ".join(f"{rule} ({count})" for rule, count in f.by_rule.items()) or None}
        for f in found
    ]  # fmt: skip
    as_table(rows, "no table refuses rows")
    warn_of_held(lake, contracts())
    if decisions:
        say("\naccepted:")
        as_table([{"table": a.table, "at": a.at, "who": a.who, "why": a.why,
                   "rows": f"{a.rows_quarantined} of {a.rows_read}"} for a in decisions], "")  # fmt: skip
    return OK


def warn_of_held(lake: Lake, tables: Sequence[Contract]) -> None:
    """Print a warning for each table that is held."""
    for table, hold in quarantine.held_tables(lake, tables):
        say(f"! {quarantine.describe(lake, table, hold)}", error=True)


def accept(options: Options) -> int:
    """End the hold on a table by a recorded decision."""
    lake, table = lake_of(options), table_of(options.table)
    done = quarantine.accept(lake, table, who=options.who, why=options.why, info=_ACCEPTED_BY)
    if options.json:
        as_json(done)
        return OK
    say(f"accepted: {done.rows_quarantined} of {done.rows_read} rows of {table} stay in quarantine")
    say("`odp refresh` or the next run brings Gold up to it")
    return OK


def show(options: Options) -> int:
    """Show open rejects, the newest first."""
    table = table_of(options.table)
    found = quarantine.show(
        lake_of(options), table, rule=options.rule, limit=options.rows, reveal_pii=options.reveal_pii
    )
    if options.json:
        as_json(found)
        return OK
    if not found:
        say(f"{table} has no open reject")
    for reject in found:
        source = printable(reject.source)
        say(f"{source} row {reject.row}, batch {reject.batch}, contract {reject.contract_version}")
        for reason in reject.reasons:
            values = ", ".join(f"{name} = {value!r}" for name, value in reason["values"].items())
            say(f"  ✗ {reason['rule']}{': ' + values if values else ''}")
        if options.reveal_pii:
            say(f"  {printable(str(reject.record))}")
    broken = {reason["rule"] for reject in found for reason in reject.reasons}
    for rule in table.rules:
        if rule.name in broken:
            say(f"{rule.name}: {rule.description}")
    return OK


def replay(options: Options) -> int:
    """Put open rejects through today's transform and rules again."""
    lake, table = lake_of(options), table_of(options.table)
    done = quarantine.replay(
        lake,
        table,
        transform_of(table),
        rule=options.rule,
        contract_version=options.contract_version,
        info=_BY,
    )
    if options.json:
        as_json(done)
        return OK
    counts = f"{done.written} written, {done.merged} merged, {done.still_refused} still refused"
    say(f"{done.tried} tried: {counts}")
    for rule, rows in done.failures.items():
        say(f"  ✗ {rule}: {rows}")
    warn_of_held(lake, [table])
    if done.written or done.merged:
        say(f"{table} is at version {done.version}; `odp refresh` or the next run brings Gold up to it")
    return OK
