"""Commands about quarantine: list, show, replay.

Belongs here: what they ask the library and print. Does not: arguments (main.py).
"""

from __future__ import annotations

import argparse

from lakehouse import quarantine
from lakehouse.cli.main import OK
from lakehouse.cli.output import as_json, as_table, lake_of, table_of
from lakehouse.domains import contracts, transform_of

_BY = {"odp.by": "odp quarantine replay"}


def listed(options: argparse.Namespace) -> int:
    """Count open rejects by table and rule."""
    found = quarantine.list_rejects(lake_of(options), contracts())
    if options.json:
        as_json(found)
        return OK
    rows = [
        {"table": f.table, "open": f.open, "replayed": f.replayed, "newest": f.newest,
         "rules": ", ".join(f"{rule} ({count})" for rule, count in f.by_rule.items()) or None}
        for f in found
    ]  # fmt: skip
    as_table(rows, "no table refuses rows")
    return OK


def show(options: argparse.Namespace) -> int:
    """Show open rejects, the newest first."""
    table = table_of(options.table)
    found = quarantine.show(
        lake_of(options), table, rule=options.rule, limit=options.rows, reveal_pii=options.reveal_pii
    )
    if options.json:
        as_json(found)
        return OK
    if not found:
        print(f"{table} has no open reject")
    for reject in found:
        print(f"{reject.source} row {reject.row}, batch {reject.batch}, contract {reject.contract_version}")
        for reason in reject.reasons:
            values = ", ".join(f"{name} = {value!r}" for name, value in reason["values"].items())
            print(f"  ✗ {reason['rule']}{': ' + values if values else ''}")
        if options.reveal_pii:
            print(f"  {reject.record}")
    return OK


def replay(options: argparse.Namespace) -> int:
    """Try open rejects again."""
    table = table_of(options.table)
    done = quarantine.replay(
        lake_of(options),
        table,
        transform_of(table),
        rule=options.rule,
        contract_version=options.contract_version,
        info=_BY,
    )
    if options.json:
        as_json(done)
        return OK
    told = f"{done.written} written, {done.merged} merged, {done.still_refused} still refused"
    print(f"{done.tried} tried: {told}")
    for rule, rows in done.failures.items():
        print(f"  ✗ {rule}: {rows}")
    if done.written or done.merged:
        print(f"{table} is at version {done.version}; `odp refresh` or the next run brings Gold up to it")
    return OK
