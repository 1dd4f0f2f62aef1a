"""Aggregates: touched groups computed whole, or everything computed anew.

Belongs here: what to read for an aggregate and how its result replaces the old one. Does not: rows that
map one to one (rowwise.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta

import narwhals.stable.v2 as nw
import orjson
import polars as pl

from lakehouse.contracts import BUILT_FROM, Groups
from lakehouse.errors import DataViolation, StaleWriter
from lakehouse.flow.marks import ROWS, identity_mark, position_mark
from lakehouse.flow.rules import split
from lakehouse.flow.step import Step
from lakehouse.store import Commit, Outcome, Snapshot
from lakehouse.store.spans import pruning_column, spans, within

_SPAN = "__span"
_TICK = timedelta(microseconds=1)


def groups(step: Step, spec: Groups) -> None:
    """Compute the groups that changed source rows touch, each from all of its source rows.

    Changes are taken by the source's versions: new, corrected, replayed and deleted rows all count.
    """
    lake, table, source = step.lake, step.table, step.table.sources[0]
    # The position before the version: rows that land in between are then computed twice rather than never.
    end, seen = lake.store.data_version(source), lake.store.snapshot(source)
    here, this = position_mark(source), {identity_mark(source): _number(seen.identity)}
    marks = lake.store.marks(table, [here, *this, ROWS])
    known = here in marks and all(marks.get(name) == number for name, number in this.items())
    if known and not step.full and marks[here] >= end:
        return
    rows = lake.store.scan(source, version=seen.version)
    touched = _touched(step, spec, marks[here], seen) if known and not step.full else None
    if touched is None or 2 * touched.height >= marks.get(ROWS, 0):
        made, write = _good(step, step.compute(rows)), lake.store.overwrite
    else:
        made, write = _good(step, step.compute(_rows_of(step, spec, rows, touched))), lake.store.merge
        if _vanished(step, touched, made):
            made, write = _good(step, step.compute(rows)), lake.store.overwrite

    def counted(outcome: Outcome, before: Mapping[str, int]) -> dict[str, int]:
        if all(before.get(name) == number for name, number in this.items()) and before.get(here, -1) > end:
            raise StaleWriter(
                f"refreshing {table}: another run has computed it from a later {source}. "
                "Nothing was written; its result stands."
            )
        kept = before.get(ROWS, 0) if write == lake.store.merge else 0
        return {here: end, **this, ROWS: kept + outcome.inserted}

    result = write(table, made, Commit(reads=(here, *this, ROWS), marks=counted, info=step.info))
    step.report.version = result.version
    step.report.batches = 1
    step.report.written = result.outcome.inserted
    step.report.updated = result.outcome.updated


def _touched(step: Step, spec: Groups, since: int, seen: Snapshot) -> pl.DataFrame | None:
    """Return the keys of the groups whose source rows changed, with the start of the span they lie in.

    None when the source no longer tells what changed, or telling costs more than computing everything.
    """
    changed = step.lake.store.changes(step.table.sources[0], since=since, until=seen.version)
    if not changed.complete or 2 * changed.compared_rows > seen.rows:
        return None
    return (
        _keyed(spec, pl.concat([changed.added, changed.removed]))
        .select(*step.table.key, *_span(spec))
        .unique()
        .collect(engine="streaming")
    )


def _rows_of(step: Step, spec: Groups, rows: pl.LazyFrame, touched: pl.DataFrame) -> pl.LazyFrame:
    """Return all source rows of the touched groups, from the files of their spans where these are known."""
    if spec.within is not None:
        name, length = spec.within
        starts = spans(touched[_SPAN])
        rows = rows.filter(within(name, [(low, high + length - _TICK) for low, high in starts]))
    keys = touched.lazy().select(step.table.key).unique()
    found = _keyed(spec, rows).join(keys, on=list(step.table.key), how="semi")
    return found.select(step.table.sources[0].column_names)


def _keyed(spec: Groups, rows: pl.LazyFrame) -> pl.LazyFrame:
    keyed: pl.LazyFrame = nw.from_native(rows).with_columns(*spec.by()).to_native()
    return keyed


def _span(spec: Groups) -> list[pl.Expr]:
    if spec.within is None:
        return []
    name, length = spec.within
    return [pl.col(name).dt.truncate(length).alias(_SPAN)]


def _vanished(step: Step, touched: pl.DataFrame, made: pl.DataFrame) -> bool:
    """Say whether a touched group has a row in the table but none in the result: a merge would keep it."""
    key = list(step.table.key)
    gone = touched.select(key).join(made.select(key), on=key, how="anti")
    if gone.is_empty():
        return False
    here = step.lake.store.scan(step.table).select(key)
    if (column := pruning_column(step.table)) is not None:
        here = here.filter(within(column, spans(gone[column])))
    stale = here.join(gone.lazy(), on=key, how="semi")
    return not stale.head(1).collect().is_empty()


def everything(step: Step) -> None:
    """Compute the whole table, unless each source is at the version it was computed from."""
    lake, table = step.lake, step.table
    ends = {source: lake.store.data_version(source) for source in table.sources}
    seen = {source: lake.store.snapshot(source) for source in table.sources}
    names = {position_mark(source): version for source, version in ends.items()}
    these = {identity_mark(source): _number(snapshot.identity) for source, snapshot in seen.items()}
    if not step.full and lake.store.marks(table, [*names, *these]) == {**names, **these}:
        return
    made = step.compute(*[lake.store.scan(s, version=at.version) for s, at in seen.items()])
    if BUILT_FROM in table.by_name:
        versions = {source.path: at.version for source, at in seen.items()}
        made = made.with_columns(pl.lit(orjson.dumps(versions).decode()).alias(BUILT_FROM))
    made = _good(step, made)

    def marks(outcome: Outcome, before: Mapping[str, int]) -> dict[str, int]:
        same = all(before.get(name, number) == number for name, number in these.items())
        newer = [name for name, version in names.items() if same and before.get(name, -1) > version]
        if newer:
            raise StaleWriter(
                f"refreshing {table}: another run has computed it from a later {newer[0]}. "
                "Nothing was written; its result stands."
            )
        return {**names, **these, ROWS: outcome.inserted}

    result = lake.store.overwrite(table, made, Commit(reads=(*names, *these), marks=marks, info=step.info))
    step.report.version = result.version
    step.report.batches = 1
    step.report.written = result.outcome.inserted


def _number(identity: str) -> int:
    """A mark is a whole number: 60 bits of the table's UUID."""
    return int(identity.replace("-", "")[:15], 16)


def _good(step: Step, made: pl.DataFrame) -> pl.DataFrame:
    """Return the rows of an aggregate; there a broken rule is a fault of the transform, so it is fatal."""
    parts = split(step.table, made)
    step.report.warnings = parts.warnings
    if parts.failures:
        counts = ", ".join(f"{rule} ({rows} rows)" for rule, rows in parts.failures.items())
        raise DataViolation(
            f"refreshing {step.table}: the transform breaks its own rules: {counts}. Nothing was written."
        )
    return parts.good
