"""One output row per source row: in batches, each row written, merged as a duplicate, or quarantined.

Belongs here: where batches end, splitting and counting them, committing rows and position together.
Does not: rules (rules.py), aggregates (aggregates.py).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import polars as pl

from lakehouse.contracts import POINTER, Contract, quarantine_of
from lakehouse.errors import DataViolation
from lakehouse.flow.marks import (
    MERGED,
    QUARANTINED,
    READ,
    REBUILDING,
    ROWS,
    RUN_QUARANTINED,
    RUN_READ,
    TOTALS,
    WATERMARK,
    position_mark,
)
from lakehouse.flow.rules import Split, split
from lakehouse.flow.step import RefreshReport, Step, batch_rows
from lakehouse.store import Commit, CommitResult, Outcome, Token, faults, repeats

_COMPUTING, _IN_PLACE = 1, 2  # how far a full refresh has come


def batches(step: Step) -> None:
    """Take every row past the table's position, in steps of about `lake.batch_rows`."""
    lake, table, source = step.lake, step.table, step.table.sources[0]
    under_way = lake.store.marks(table, [REBUILDING]).get(REBUILDING, 0)
    if step.full or under_way == _COMPUTING:
        rebuild(step)
        return
    if under_way == _IN_PLACE:
        _clear_away(step)
    lake.store.ensure(quarantine_of(table))
    name = position_mark(source)
    position = lake.store.marks(table, [name]).get(name, 0)
    version = lake.store.snapshot(source).version
    for upper in _bounds(step, position, version):
        rows = taken(table, lake.store.scan(source, version=version))
        _batch(
            step,
            rows.filter(pl.col("_batch_id").is_between(position, upper, closed="right")).collect(),
            Token(name, upper),
        )
        position = upper
    last = lake.store.marks(table, [RUN_READ, RUN_QUARANTINED])
    step.report.last_read, step.report.last_quarantined = last.get(RUN_READ, 0), last.get(RUN_QUARANTINED, 0)


def rebuild(step: Step) -> None:
    """Compute table and quarantine anew beside the old ones, then put them in their place.

    Readers see the old table until the new one is whole. A mark says how far the work is: whatever a kill
    leaves, the next refresh does it again from the start, or clears away what is left of it.
    """
    lake, table = step.lake, step.table
    _say(step, _COMPUTING)
    fresh, refused = stages = _stages(table)
    for stage in stages:
        lake.store.drop(stage)
        lake.store.ensure(stage)
    inner = replace(step, table=fresh, full=False, report=RefreshReport())
    batches(inner)
    lake.store.ensure(quarantine_of(table))
    kept = Commit(marks=_just(lake.store.all_marks(refused)), info=step.info)
    lake.store.overwrite_from(quarantine_of(table), refused, kept)
    kept = Commit(marks=_just({**lake.store.all_marks(fresh), REBUILDING: _IN_PLACE}), info=step.info)
    lake.store.overwrite_from(table, fresh, kept)
    vars(step.report).update(vars(inner.report))
    _clear_away(step)


def _clear_away(step: Step) -> None:
    for stage in _stages(step.table):
        step.lake.store.drop(stage)
    step.report.version = _say(step, 0)


def _stages(table: Contract) -> tuple[Contract, Contract]:
    fresh = replace(table, name=f"{table.name}__rebuild")
    return fresh, quarantine_of(fresh)


def _say(step: Step, how_far: int) -> int:
    nothing = pl.DataFrame(schema=step.table.polars_schema())
    said = Commit(marks=_just({REBUILDING: how_far}), info=step.info)
    return step.lake.store.append(step.table, nothing, said).version


def _just(marks: Mapping[str, int]) -> Callable[[Outcome, Mapping[str, int]], Mapping[str, int]]:
    """These marks, whatever the commit does and finds."""
    return lambda _outcome, _before: marks


def _bounds(step: Step, position: int, version: int) -> list[int]:
    """Return the last batch number of each step from `position` to the source's end.

    Quarantine is committed before the table. A kill between the two leaves it one step ahead; that very
    step is done again first, so that its token recognises the refused rows.
    """
    lake, table, source = step.lake, step.table, step.table.sources[0]
    most = batch_rows(lake, table)
    name = position_mark(source)
    ahead = lake.store.marks(quarantine_of(table), [name]).get(name, 0)
    sizes = (
        lake.store.scan(source, version=version)
        .filter(pl.col("_batch_id") > position)
        .group_by("_batch_id")
        .agg(pl.len() if table.takes is None else (pl.col(table.takes[0]) == table.takes[1]).sum())
        .sort("_batch_id")
        .collect(engine="streaming")
    )
    bounds: list[int] = []
    held = last = 0
    for number, rows in sizes.iter_rows():
        if held and number > ahead and held + rows > most:
            bounds.append(last)
            held = 0
        held, last = held + rows, number
        if number == ahead:
            bounds.append(number)
            held = 0
    # What it takes no row of is behind it all the same.
    return [*bounds, last] if last > (bounds[-1] if bounds else position) else bounds


def taken(table: Contract, source: pl.LazyFrame) -> pl.LazyFrame:
    """Return the rows of its source that the table takes."""
    return source if table.takes is None else source.filter(pl.col(table.takes[0]) == table.takes[1])


def _batch(step: Step, source: pl.DataFrame, token: Token) -> None:
    made = step.compute(source.lazy())
    if made.height != source.height:
        raise DataViolation(
            f"refreshing {step.table}: the transform made {made.height} rows of {source.height}. "
            "It must return one row per source row; refuse rows by rules, so that each is accounted for."
        )
    parts = split(step.table, made)
    kept = latest(step.table, parts.good)
    if step.table.newest_by:
        kept = not_overtaken(step, kept, step.table.newest_by)
    repeats = parts.good.height - kept.height
    _keep_refused(step, source, parts, token)
    faults.reach("flow.quarantined")
    commit = Commit(
        token=token, reads=(ROWS, *TOTALS), marks=_counters(step, parts, repeats, token), info=step.info
    )
    result = step.lake.store.merge(step.table, kept, commit)
    step.report.version = result.version
    if result.landed == "now":
        _count(step, parts, repeats, result)
    faults.reach("flow.batch")


def _counters(
    step: Step, parts: Split, repeats: int, token: Token
) -> Callable[[Outcome, Mapping[str, int]], dict[str, int]]:
    """Return the marks of one batch as a function of what its merge will do."""
    refused = parts.refused.height
    read = parts.good.height + refused

    def marks(outcome: Outcome, before: Mapping[str, int]) -> dict[str, int]:
        return {
            WATERMARK: token.value,
            ROWS: before.get(ROWS, 0) + outcome.inserted,
            READ: before.get(READ, 0) + read,
            MERGED: before.get(MERGED, 0) + repeats + outcome.updated,
            QUARANTINED: before.get(QUARANTINED, 0) + refused,
            RUN_READ: step.report.read + read,
            RUN_QUARANTINED: step.report.quarantined + refused,
        }

    return marks


def _count(step: Step, parts: Split, repeats: int, result: CommitResult) -> None:
    report = step.report
    report.read += parts.good.height + parts.refused.height
    report.written += result.outcome.inserted
    report.merged += repeats + result.outcome.updated
    report.updated += result.outcome.updated
    report.quarantined += parts.refused.height
    report.batches += 1
    for total, part in ((report.failures, parts.failures), (report.warnings, parts.warnings)):
        for rule, rows in part.items():
            total[rule] = total.get(rule, 0) + rows


def latest(table: Contract, frame: pl.DataFrame) -> pl.DataFrame:
    """Keep one row per key: the last by `newest_by`, of equal ones the one that landed last."""
    repeated = repeats(frame, table.key)
    if not repeated.any():
        return frame
    order = [*table.newest_by, *(n for n in ("_batch_id", "_source", "_row") if n in frame.columns)]
    newest = (
        frame.filter(repeated).sort(order).unique(subset=list(table.key), keep="last", maintain_order=True)
    )
    return pl.concat([frame.filter(~repeated), newest])


def not_overtaken(step: Step, rows: pl.DataFrame, order: Sequence[str]) -> pl.DataFrame:
    """Drop rows whose key is held by a row that comes later in `order`; null comes first."""
    if rows.is_empty():
        return rows
    key = list(step.table.key)
    held = step.lake.store.scan(step.table).select(*key, pl.struct(order).alias("__held"))
    both = rows.lazy().join(held, on=key, how="left", maintain_order="left").collect()
    later = pl.col("__held").is_not_null() & _after(order)
    return both.filter(~later.fill_null(False)).select(rows.columns)


def _after(order: Sequence[str]) -> pl.Expr:
    """Say whether the held row's place is after the row's own, compared part by part."""
    after: pl.Expr = pl.lit(False)
    for name in reversed(order):
        held, own = pl.col("__held").struct.field(name), pl.col(name)
        later = (held > own) | (held.is_not_null() & own.is_null())
        after = later.fill_null(False) | (held.eq_missing(own) & after)
    return after


def _keep_refused(step: Step, taken: pl.DataFrame, parts: Split, token: Token) -> None:
    """Write refused rows as they were, with their reasons, under the same token as the batch."""
    if parts.refused.is_empty():
        return
    target = quarantine_of(step.table)
    payload = [name for name in taken.columns if not name.startswith("_")]
    rows = (
        taken.join(parts.refused, on=list(POINTER), how="inner")
        .with_columns(
            pl.struct(payload).struct.json_encode().alias("record"),
            contract_version=pl.lit(step.table.version),
            replay=pl.lit(None, pl.Int64),
        )
        .select(target.column_names)
    )

    def marks(outcome: Outcome, before: Mapping[str, int]) -> dict[str, int]:
        return {ROWS: before.get(ROWS, 0) + outcome.inserted}

    step.lake.store.append(target, rows, Commit(token=token, reads=(ROWS,), marks=marks, info=step.info))
