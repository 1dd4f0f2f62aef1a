"""Bringing a lake that an older version wrote to today's contracts, rules and transforms.

Belongs here: which tables are of another version, and computing them anew. Does not: how a table is computed
(pipeline.refresh), or its columns changed (store.redeclare).

Bronze keeps what came, and only ever gains columns; every other table is made of it. So nothing is migrated:
a table of another version is computed anew from its sources. Readers see the old rows meanwhile, unless its
columns changed: such a table is empty until its rows are in. A kill leaves a state entry that it is to be
computed anew, which any later run goes by, and upgrading again goes on from there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from lakehouse.contracts import Contract
from lakehouse.dbt import is_history, refresh_models
from lakehouse.landing import Source
from lakehouse.pipeline import Lake, code, holds, ingest, lineage, outbox, refresh
from lakehouse.pipeline.context import Transform
from lakehouse.pipeline.rowwise import KEPT
from lakehouse.pipeline.state import CODE, GENERATION, REBUILDING
from lakehouse.registry import models
from lakehouse.store import CommitOptions, Outcome
from lakehouse.table import Table

UNKNOWN = "which version made its rows is not recorded"
OLDER = "its rows were made by an older version of its transform, rules or contract"


@dataclass(frozen=True, kw_only=True)
class Upgraded:
    """One table that had something to do, and how many rows it has before and after (after: None, only told).

    `waits_for` names the sources that keep it from being computed: too many of their rows were refused.
    """

    table: str
    reason: str
    rows_before: int
    rows: int | None = None
    waits_for: tuple[str, ...] = ()


def reason_to_upgrade(lake: Lake, table: Contract, transform: Transform) -> str | None:
    """Return why the table has to be computed anew; None where its rows are of today's version."""
    if not lake.store.exists(table):
        return None
    if problems := lake.store.schema_problems(table):
        return f"its columns are not the contract's ({'; '.join(problems)})"
    if code.is_older(lake, table, transform):
        return OLDER
    if CODE not in lake.store.read_state(table, [CODE]) and lake.store.snapshot(table).rows:
        return UNKNOWN
    return None


def upgrade(
    lake: Lake,
    tables: Sequence[Contract],
    sources: Sequence[Source],
    transforms: Callable[[Contract], Transform],
    *,
    dry_run: bool = False,
    info: Mapping[str, str] | None = None,
) -> list[Upgraded]:
    """Bring every table of an older version to today's, sources before what is made of them.

    Files of landing that an older version passed over or refused land first, if today's can read them.
    Tables that are of today's version already are brought up to their sources. With `dry_run` nothing is
    written. Raises SchemaViolation (a Bronze table has other columns, or a key changed without a new major
    version) and whatever a refresh raises; what was done by then stays, and upgrading again goes on from it.
    """
    done: list[Upgraded] = []
    by_dbt = [one for one in models() if one.contract in tables]
    of_dbt = {one.path for one in by_dbt}
    for table in tables:
        if table.path in of_dbt:
            continue
        if not table.sources:
            if not dry_run:
                done += _landed(lake, table, [s for s in sources if s.table.path == table.path], info)
            continue
        reason = reason_to_upgrade(lake, table, transforms(table))
        before = _rows(lake, table)
        if dry_run:
            done += [Upgraded(table=table.path, reason=reason, rows_before=before)] if reason else []
            continue
        waits = _computed(lake, table, transforms(table), anew=reason is not None, info=info)
        done += _told(lake, table, reason, before, waits)
    return done + _built(lake, by_dbt, dry_run=dry_run, info=info)


def _built(
    lake: Lake, tables: Sequence[Table], *, dry_run: bool, info: Mapping[str, str] | None
) -> list[Upgraded]:
    """Build the tables of dbt that are of an older version, all of them at once."""
    reasons = {table.path: reason_to_upgrade(lake, table.contract, table.compute) for table in tables}
    before = {table.path: _rows(lake, table.contract) for table in tables}
    if dry_run:
        told = ((path, reason) for path, reason in reasons.items() if reason)
        return [Upgraded(table=path, reason=reason, rows_before=before[path]) for path, reason in told]
    ready = []
    for table in tables:
        # Nothing can make the rows of a history again: the store adds columns to it, or refuses.
        anew = reasons[table.path] is not None and not is_history(table)
        if _made_ready(lake, table.contract, anew=anew, info=info) is not None:
            ready.append(table)
    reports = refresh_models(lake, ready, models(), info=info).reports if ready else {}
    done = []
    for table in ready:
        waits = tuple(hold.table for hold in reports[table.path].waits_for)
        done += _told(lake, table.contract, reasons[table.path], before[table.path], waits)
    return done


def _told(
    lake: Lake, table: Contract, reason: str | None, before: int, waits: tuple[str, ...]
) -> list[Upgraded]:
    """Return what became of a table, where it had something to do."""
    if not (reason or waits):
        return []
    said, rows = reason or "its sources have changed", _rows(lake, table)
    return [Upgraded(table=table.path, reason=said, rows_before=before, rows=rows, waits_for=waits)]


def _rows(lake: Lake, table: Contract) -> int:
    return lake.store.snapshot(table).rows if lake.store.exists(table) else 0


def _landed(
    lake: Lake, table: Contract, sources: Sequence[Source], info: Mapping[str, str] | None
) -> list[Upgraded]:
    before = _rows(lake, table)
    report = ingest(lake, table, sources, info=info)
    if not report.rows:
        return []
    reason = f"{report.files} files of landing had not landed"
    return [Upgraded(table=table.path, reason=reason, rows_before=before, rows=before + report.rows)]


def _computed(
    lake: Lake, table: Contract, transform: Transform, *, anew: bool, info: Mapping[str, str] | None
) -> tuple[str, ...]:
    waits = _made_ready(lake, table, anew=anew, info=info)
    if waits == ():
        refresh(lake, table, transform, full=anew, info=info)
    return waits or ()


def _made_ready(
    lake: Lake, table: Contract, *, anew: bool, info: Mapping[str, str] | None
) -> tuple[str, ...] | None:
    """Give a table its columns where nothing keeps it from being computed; return the held sources that do.

    None where a source has never been written.
    """
    if not all(lake.store.exists(source) for source in table.sources):
        return None
    if held := (() if table.row_wise else holds.on_sources(lake, table)):
        return tuple(hold.table for hold in held)
    if anew and lake.store.schema_problems(table):
        _redeclare(lake, table, info)
    return ()


def _redeclare(lake: Lake, table: Contract, info: Mapping[str, str] | None) -> None:
    """Give the table its columns, and a state entry that its rows are to be computed: a kill must not lose
    them."""
    store = lake.store
    here = store.base_version(table)
    gone = dict.fromkeys(store.all_state(table).keys() - set(KEPT), -1)
    attempt = outbox.fresh_number()

    def state(_: Outcome, before: Mapping[str, int]) -> dict[str, int]:
        rebuilding = {REBUILDING: attempt, **lineage.raised(before)} if table.row_wise else {}
        return {**gone, **rebuilding}

    store.redeclare(table, CommitOptions(onto=here, reads=(GENERATION,), state=state, info=info or {}))
