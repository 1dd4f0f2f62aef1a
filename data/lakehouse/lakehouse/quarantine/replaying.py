"""Refused rows through today's transform and rules; what passes goes into the table, once.

Belongs here: taking rows up and bringing them in. Does not: rules (contracts), Gold (its next refresh).

One commit decides: that of the table, with the rows that pass. The note in quarantine that they were taken up
waits in the table's outbox, as refused rows do (pipeline/outbox.py).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import narwhals.stable.v2 as nw
import polars as pl

from lakehouse import fault_points
from lakehouse.contracts import POINTER, Contract, quarantine_of
from lakehouse.errors import Moved, TableNotFound, only_ours
from lakehouse.pipeline import Lake, code, holds, lineage, outbox
from lakehouse.pipeline.contention import until_it_lands
from lakehouse.pipeline.context import RefreshContext, Transform
from lakehouse.pipeline.rowwise import LANDED, drop_stale, latest, places, with_place
from lakehouse.pipeline.rules import Validated, validate
from lakehouse.pipeline.state import GENERATION, MERGED, OUTBOX, QUARANTINED, REPLAY, ROWS
from lakehouse.quarantine.listing import _of_rule, open_rejects
from lakehouse.store import BaseVersion, CommitOptions, Outcome
from lakehouse.store.integrity.damage import readable

_READS = (ROWS, MERGED, QUARANTINED, GENERATION, OUTBOX, *holds.HOLD)


@dataclass(frozen=True, kw_only=True)
class Replayed:
    """What a replay did: `tried` rows, of which some were written, some merged, and the others still fail."""

    table: str
    tried: int
    written: int
    merged: int
    still_refused: int
    failures: Mapping[str, int]
    version: int


def replay(
    lake: Lake,
    table: Contract,
    transform: Transform,
    *,
    rule: str | None = None,
    contract_version: str | None = None,
    info: Mapping[str, str] | None = None,
) -> Replayed:
    """Try the open refusals again (of one rule, of one contract version). A second call changes nothing.

    A row never takes the place of one with its key that landed later: it counts as merged. Raises Unsupported
    (unknown rule), Conflict (others kept changing the table, or it has to be computed anew first),
    DamagedTable (a file cannot be read, it is named).
    """
    step = RefreshContext(lake=lake, table=table, transform=transform, info=info or {})
    read = [*table.sources, table, *([quarantine_of(table)] if table.row_wise else [])]
    with only_ours(f"replaying {table}"), readable(lake.store, read):
        code.refuse_changed_key(lake, table)
        rows = _of_rule(
            table, open_rejects(lake, table), rule
        )  # refuses an unknown rule before anything else
        if not rows.is_empty():
            lake.store.ensure(quarantine_of(table))
        return until_it_lands(lake, table, lambda: _replay(step, rule, contract_version))


def _replay(step: RefreshContext, rule: str | None, contract_version: str | None) -> Replayed:
    lake, table = step.lake, step.table
    here = _look(step)
    rows = _of_rule(table, open_rejects(lake, table), rule)
    if contract_version is not None:
        rows = rows.filter(pl.col("contract_version") == contract_version)
    parts = _validate(step, rows)
    if not parts.kept:
        return _told(step, rows.height, parts, written=0, version=here.version)
    engine = step.engine
    good = engine.stage(parts.good)
    kept = _not_overtaken(step, latest(table, [good]))
    taken_up = good.select(POINTER)
    number = here.state.get(REPLAY, 0) + 1
    notes = outbox.put(lake, table, _taken_up(step, rows, taken_up, number))
    state = _state(table, taken_up, number, notes)
    commit = CommitOptions(onto=here, reads=_READS, state=state, info=step.info)
    try:
        result = lake.store.merge(table, kept, commit)
    except Moved:
        outbox.forget(lake, table, notes)
        raise
    fault_points.reach("flow.committed")
    outbox.deliver(lake, table)
    return _told(step, rows.height, parts, written=result.outcome.inserted, version=result.version)


def _not_overtaken(step: RefreshContext, rows: pl.DataFrame) -> pl.DataFrame:
    """Return the rows that nothing later stands for."""
    table, engine = step.table, step.engine
    keys = engine.scan(rows.lazy().select(table.key))
    held = engine.stage(step.frame(table).join(keys, on=list(table.key), how="semi"))
    numbers = places(rows["_source"], held["_source"])
    mine, theirs = (engine.scan(with_place(one, numbers).lazy()) for one in (rows, held))
    return engine.stage(drop_stale(step, mine, (*table.sequence_by, *LANDED), among=theirs))


def _look(step: RefreshContext) -> BaseVersion:
    """Return the state to compute from. Raises Conflict where the table has to be computed anew first."""
    try:
        return outbox.deliver(step.lake, step.table, [REPLAY])
    except TableNotFound:
        return step.lake.store.base_version(step.table)


def _told(step: RefreshContext, tried: int, parts: Validated, *, written: int, version: int) -> Replayed:
    return Replayed(
        table=step.table.path,
        tried=tried,
        written=written,
        merged=parts.kept - written,
        still_refused=parts.refused.height,
        failures=parts.failures,
        version=version,
    )


def _validate(step: RefreshContext, rows: pl.DataFrame) -> Validated:
    """Compute and judge the Bronze rows that the refusals point to, as they landed."""
    source = step.table.sources[0]
    batches, engine = rows["_batch_id"].unique().to_list(), step.engine
    bronze = step.frame(source).filter(nw.col("_batch_id").is_in(batches))
    taken = bronze.join(engine.scan(rows.lazy().select(POINTER)), on=list(POINTER), how="semi")
    return validate(step.table, step.compute(engine.persist(taken)), engine=engine)


def _taken_up(step: RefreshContext, rows: pl.DataFrame, good: pl.DataFrame, number: int) -> pl.DataFrame:
    """Return the rows of quarantine that say: replay `number` has taken these up."""
    return (
        rows.join(good.select(POINTER), on=list(POINTER), how="semi")
        .with_columns(
            replay=pl.lit(number, pl.Int64),
            reasons=pl.lit("[]"),
            rules=pl.lit(""),
            contract_version=pl.lit(step.table.version),
        )
        .select(quarantine_of(step.table).column_names)
    )


def _state(
    table: Contract, good: pl.DataFrame, number: int, notes: int
) -> Callable[[Outcome, Mapping[str, int]], dict[str, int]]:
    taken_up = good.height

    def state(outcome: Outcome, before: Mapping[str, int]) -> dict[str, int]:
        return {
            ROWS: before.get(ROWS, 0) + outcome.inserted,
            MERGED: before.get(MERGED, 0) + taken_up - outcome.inserted,
            QUARANTINED: before.get(QUARANTINED, 0) - taken_up,
            REPLAY: number,
            **holds.replayed(table, before, good["_batch_id"]),
            **lineage.raised(before),
            **outbox.naming(notes, before),
        }

    return state
