"""Messages about held tables, and the recorded decision to go on despite a hold.

Belongs here: messages about holds, accepting one, and the record of it. Does not: deciding when a table is
held (pipeline/holds.py), or replaying rejected rows (replaying.py).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import polars as pl

from lakehouse.contracts import ACCEPTED_REJECTS, Contract
from lakehouse.errors import Conflict, TableNotFound, Unsupported
from lakehouse.pipeline import Lake, holds
from lakehouse.pipeline.state import HELD, ROWS
from lakehouse.quarantine.listing import by_rule, open_rejects
from lakehouse.store import CommitOptions, Outcome
from lakehouse.store.integrity.damage import readable

_MOST_FREQUENT = 3
_LONGEST_REASON = 500


@dataclass(frozen=True, kw_only=True)
class Accepted:
    """One recorded decision; the columns are those of the contract ACCEPTED_REJECTS."""

    table: str
    at: datetime
    who: str
    why: str
    held_since: datetime
    rows_read: int
    rows_quarantined: int
    rules: Mapping[str, int]


def check_name(table: Contract) -> str:
    """Return the name of the check on a table's share of rejects, as Dagster shows it."""
    return f"{table.name}_reject_share"


def reasons(lake: Lake, table: Contract, hold: holds.Hold) -> dict[str, int]:
    """Return how many open rejects of the held batches broke each rule, the most frequent first."""
    return by_rule(open_rejects(lake, table, batches=(hold.after, hold.upto), records=False))


def share(table: Contract, read: int, quarantined: int) -> str:
    """Return the share of rejected rows and its limit as text."""
    part = quarantined / read if read else 0.0
    return f"{quarantined} of {read} rows quarantined ({part:.1%}, limit {table.max_reject_ratio * 100:g}%)"


def named(rules: Mapping[str, int]) -> str:
    """Return the most frequent rules with their row counts as text."""
    return ", ".join(f"{rule} ({rows})" for rule, rows in list(rules.items())[:_MOST_FREQUENT])


def describe(lake: Lake, table: Contract, hold: holds.Hold) -> str:
    """Return why and since when a table is held, and what can be done, as text."""
    return f"{why_held(lake, table, hold)}. {what_to_do(table)}"


def why_held(lake: Lake, table: Contract, hold: holds.Hold) -> str:
    """Return why and since when a table is held, as text."""
    return (
        f"{share(table, hold.read, hold.quarantined)}: {named(reasons(lake, table, hold))}. "
        f"{table} is held by {check_name(table)} since {hold.since:%Y-%m-%d %H:%M:%S} UTC: its good rows are "
        "in, and the Gold tables made of it wait"
    )


def what_to_do(table: Contract) -> str:
    """Return the commands that end a hold, as they are typed."""
    return (
        f'Look: make odp ARGS="quarantine show {table}". '
        f'After a fix: make odp ARGS="quarantine replay {table}". '
        f"To go on as it is: make odp ARGS='quarantine accept {table} --who NAME --why \"REASON\"'"
    )


def waiting(table: Contract, held: Sequence[holds.Hold]) -> str:
    """Return why a table was not refreshed, as text."""
    names = ", ".join(hold.table for hold in held)
    verb = "is" if len(held) == 1 else "are"
    return f"{table} was left as it is: {names} {verb} held by too many rejects"


def held_tables(lake: Lake, tables: Sequence[Contract]) -> list[tuple[Contract, holds.Hold]]:
    """Return the tables that are held, each with its hold."""
    return [(table, hold) for table in tables if (hold := holds.hold_of(lake, table)) is not None]


def accept(
    lake: Lake, table: Contract, *, who: str, why: str, info: Mapping[str, str] | None = None
) -> Accepted:
    """End the hold on a table by a decision: its rejects stay in quarantine, its consumers go on.

    The decision is recorded in system/accepted_rejects first, and then in the commit that ends the hold; a
    kill in between leaves the hold, and a record without effect. Raises Unsupported (no hold, no name or
    reason given), Conflict (the hold has changed in the meantime).
    """
    who, why = _checked("--who", who), _checked("--why", why)
    hold = holds.hold_of(lake, table)
    if hold is None:
        raise Unsupported(
            f"{table} is not held: there is nothing to accept. `odp quarantine list` shows which tables are"
        )
    decision = Accepted(
        table=table.path,
        at=lake.clock(),
        who=who,
        why=why,
        held_since=hold.since,
        rows_read=hold.read,
        rows_quarantined=hold.quarantined,
        rules=reasons(lake, table, hold),
    )
    _record(lake, decision)
    _end(lake, table, hold, {**(info or {}), "odp.accepted_by": who, "odp.accepted_why": why})
    return decision


def _checked(option: str, text: str) -> str:
    plain = " ".join(text.split())
    if not plain or len(plain) > _LONGEST_REASON or not plain.isprintable():
        raise Unsupported(f"accepting rejects: {option} needs a text of 1 to {_LONGEST_REASON} characters")
    return plain


def _record(lake: Lake, decision: Accepted) -> None:
    row = {**vars(decision), "rules": json.dumps(dict(decision.rules))}
    frame = pl.DataFrame([row], schema=ACCEPTED_REJECTS.polars_schema())

    def state(outcome: Outcome, before: Mapping[str, int]) -> dict[str, int]:
        return {ROWS: before.get(ROWS, 0) + outcome.inserted}

    lake.store.append(ACCEPTED_REJECTS, frame, CommitOptions(reads=(ROWS,), state=state))


def _end(lake: Lake, table: Contract, hold: holds.Hold, info: Mapping[str, str]) -> None:
    def state(_outcome: Outcome, before: Mapping[str, int]) -> dict[str, int]:
        if holds.from_state(table, before) != hold:
            raise Conflict(
                f"accepting rejects of {table}: the hold has changed meanwhile. "
                f'Look again, then accept: make odp ARGS="quarantine show {table}"'
            )
        return {HELD: 0}

    no_rows = pl.DataFrame(schema=table.polars_schema())
    lake.store.append(table, no_rows, CommitOptions(reads=holds.HOLD, state=state, info=info))


def accepted(lake: Lake) -> list[Accepted]:
    """Return every recorded decision, oldest first."""
    try:
        with readable(lake.store, [ACCEPTED_REJECTS]):
            rows = lake.store.scan(ACCEPTED_REJECTS).sort("at").collect()
    except TableNotFound:
        return []
    return [Accepted(**{**row, "rules": json.loads(row["rules"])}) for row in rows.iter_rows(named=True)]
