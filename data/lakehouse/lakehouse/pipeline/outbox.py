"""Refused rows on their way to quarantine: written down first, named by the table's commit, delivered after
it.

Belongs here: the outbox of a table (the pattern "transactional outbox"). Does not: which rows are refused
(rules.py), or what quarantine says of them (quarantine/).

A table and its quarantine are two tables with a log each, and no commit spans both. So one of them decides:

    put      the refused rows of a batch lie in a file of the lake's own; nobody knows of it yet
    commit   the table's commit has rows, position and counters, and names the file as its outbox
    deliver  the file's rows are appended to quarantine, which notes the name; then the file goes

A kill before the commit leaves a file that nothing names, a kill after it leaves an outbox to deliver: every
flow over the table delivers first. Quarantine notes one name after the other, so that each is delivered once.
Names are random numbers: nobody takes another's batch for its own. Where the names do not follow each other,
one of the two tables was taken back without the other, and the table is computed anew.
"""

from __future__ import annotations

import io
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime

import orjson
import polars as pl

from lakehouse import fault_points
from lakehouse.contracts import Contract, quarantine_of
from lakehouse.errors import Conflict, DamagedTable, LakeError, Moved, TableNotFound
from lakehouse.pipeline.lake import Lake
from lakehouse.pipeline.state import DELIVERED, OUTBOX, OUTBOX_BEFORE, REPLAY, ROWS, position_key
from lakehouse.store import BaseVersion, CommitOptions, Outcome
from lakehouse.store.integrity.damage import of_reading

_PARQUET = b"PAR1"
_TRIES = 20


class Undeliverable(Conflict):
    """Table and quarantine do not belong together; only computing the table anew mends it."""


def fresh_number() -> int:
    """Return a random number that nobody else has: the name of an outbox or of an attempt."""
    return secrets.randbits(61) + 3  # 1 and 2 had a meaning in older logs


def put(lake: Lake, table: Contract, rows: pl.DataFrame) -> int:
    """Write down rows of the quarantine table; return the name by which a commit has to name them."""
    body = io.BytesIO()
    rows.write_parquet(body, compression="zstd")
    return _write(lake, table, body.getvalue())


def put_stage(lake: Lake, table: Contract, stage: Contract) -> int:
    """Write down that all of quarantine is to be replaced by the rows of table `stage`."""
    return _write(lake, table, orjson.dumps({"replace_by": stage.name}))


def naming(number: int, before: Mapping[str, int]) -> dict[str, int]:
    """Return the state by which a commit names outbox `number`; `before` needs OUTBOX."""
    return {OUTBOX: number, OUTBOX_BEFORE: before.get(OUTBOX, 0)} if number else {}


def pending(lake: Lake, table: Contract) -> bool:
    """Return whether refused rows of the table's last commits are not in quarantine yet."""
    named = lake.store.read_state(table, [OUTBOX]).get(OUTBOX, 0)
    return named != lake.store.read_state(quarantine_of(table), [DELIVERED]).get(DELIVERED, 0)


def deliver(lake: Lake, table: Contract, names: Sequence[str] = ()) -> BaseVersion:
    """Bring the table's outbox, if it has one, into quarantine. Whoever else does so at once: it is done
    once.

    Return the state of the table, with the state `names`, to which nothing is left to deliver. Raises
    Undeliverable when the outbox does not follow what quarantine holds.
    """
    target = quarantine_of(table)
    for _ in range(_TRIES):
        here = lake.store.base_version(table, [*names, OUTBOX, OUTBOX_BEFORE, REPLAY, *_positions(table)])
        there = lake.store.base_version(target, [DELIVERED, REPLAY, *_positions(table)])
        number = here.state.get(OUTBOX, 0)
        delivered = there.state.get(DELIVERED, 0) == number
        found = None if delivered else _content(lake, table, number)
        problem = _torn(table, here, there) or (None if delivered else _unfit(table, here, there, found))
        if problem:
            if lake.store.unchanged(table, here) and lake.store.unchanged(target, there):
                raise Undeliverable(problem)
            continue  # looked at while another flow went on
        if found is None:  # it is delivered
            return here
        try:
            _append(lake, table, number, found, there)
        except Moved:
            continue
        forget(lake, table, number)
    raise Conflict(f"{table}: others keep writing its quarantine. Run it again.")


def forget(lake: Lake, table: Contract, number: int) -> None:
    """Remove an outbox that is delivered, or that no commit will name."""
    lake.store.files.forget(_name(table, number))


def written(lake: Lake, table: Contract) -> dict[int, datetime]:
    """Return when each outbox of the table was written that is still there, by its name."""
    found = lake.store.files.own_files(f"outbox/{table.path}")
    return {int(name, 16): at for name, at in found.items()}


def _torn(table: Contract, here: BaseVersion, there: BaseVersion) -> str | None:
    """Return what older versions of this library left when they were killed: quarantine ahead of its
    table."""
    names = (REPLAY, *_positions(table))
    ahead = any(there.state.get(name, 0) > here.state.get(name, 0) for name in names)
    return f"{table}: its quarantine is ahead of it. {_remedy(table)}" if ahead else None


def _content(lake: Lake, table: Contract, number: int) -> pl.DataFrame | str | None:
    """Return the refused rows of an outbox, or the table that replaces quarantine.

    None for one that is gone, or is not what was written.
    """
    found = lake.store.files.read_tagged(_name(table, number))
    if found is None:
        return None
    try:
        if found[0].startswith(_PARQUET):
            return pl.read_parquet(io.BytesIO(found[0])).select(quarantine_of(table).column_names)
        return str(orjson.loads(found[0])["replace_by"])
    except (pl.exceptions.PolarsError, OSError, ValueError, KeyError, TypeError):
        return None


def _unfit(
    table: Contract, here: BaseVersion, there: BaseVersion, found: pl.DataFrame | str | None
) -> str | None:
    """Return why the outbox cannot be delivered."""
    follows = there.state.get(DELIVERED, 0) == here.state.get(OUTBOX_BEFORE, 0)
    if isinstance(found, str) or (found is not None and follows):
        return None
    if found is None and follows:
        return f"{table}: rows that it refused last are lost on their way to quarantine. {_remedy(table)}"
    return (
        f"{table}: its quarantine does not belong to it, one of them was taken back alone. {_remedy(table)}"
    )


def _remedy(table: Contract) -> str:
    return f"`odp refresh {table}` computes both anew from {table.sources[0]}."


def _append(
    lake: Lake, table: Contract, number: int, content: pl.DataFrame | str, there: BaseVersion
) -> None:
    target = quarantine_of(table)
    if isinstance(content, pl.DataFrame):

        def grown(outcome: Outcome, before: Mapping[str, int]) -> dict[str, int]:
            return {ROWS: before.get(ROWS, 0) + outcome.inserted, DELIVERED: number}

        lake.store.append(target, content, CommitOptions(onto=there, reads=(ROWS,), state=grown))
    else:
        replace_quarantine(lake, table, content, number, there)
    fault_points.reach("flow.delivered")


def replace_quarantine(lake: Lake, table: Contract, stage: str, number: int, there: BaseVersion) -> None:
    """Put the rows of the table `stage` in the place of all of quarantine. Raises Undeliverable, Moved."""
    target = quarantine_of(table)

    def counted(outcome: Outcome, _: Mapping[str, int]) -> dict[str, int]:
        old = dict.fromkeys((*_positions(table), REPLAY), -1)
        return {**old, ROWS: outcome.rows, DELIVERED: number}

    source = replace(target, name=stage)
    try:
        lake.store.overwrite_from(target, source, CommitOptions(onto=there, state=counted))
    except Moved:
        raise
    except BaseException as exc:
        if not (isinstance(exc, LakeError) or of_reading(exc)):
            raise
        if not lake.store.unchanged(target, there):  # who delivered it removes the staging table
            raise Moved(f"{target}: another flow has changed it.") from None
        if whole(lake, source):
            raise
        raise Undeliverable(
            f"{table}: the staging table of its full refresh is gone. {_remedy(table)}"
        ) from None


def whole(lake: Lake, stage: Contract) -> bool:
    """Return whether a staging table is there, with all of its files: removing it takes a while."""
    try:
        return lake.store.exists(stage) and not lake.store.missing_files(stage)
    except (TableNotFound, DamagedTable):
        return False


def _positions(table: Contract) -> list[str]:
    return [position_key(source) for source in table.sources]


def _name(table: Contract, number: int) -> str:
    return f"outbox/{table.path}/{number:016x}"


def _write(lake: Lake, table: Contract, body: bytes) -> int:
    number = fresh_number()
    if lake.store.files.put_if(_name(table, number), body, None) is None:
        raise Conflict(f"{table}: outbox {number:016x} is there already. Run it again.")
    fault_points.reach("flow.refused")
    return number
