"""Aggregates: touched groups computed whole, or everything computed anew.

Belongs here: what to read for an aggregate and how its result replaces the old one. Does not: rows that
map one to one (rowwise.py).
"""

from __future__ import annotations

from collections.abc import Mapping

import narwhals.stable.v2 as nw
import polars as pl

from lakehouse.contracts import Groups
from lakehouse.errors import DataViolation, StaleWriter
from lakehouse.flow.marks import ROWS, WATERMARK, identity_mark, position_mark
from lakehouse.flow.rules import split
from lakehouse.flow.step import Step
from lakehouse.store import Commit, Outcome, Token


def groups(step: Step, spec: Groups) -> None:
    """Compute the groups that new source rows touch, each from all of its source rows."""
    lake, table, source = step.lake, step.table, step.table.sources[0]
    name = position_mark(source)
    position = lake.store.marks(table, [name]).get(name, 0)
    # Watermark before version: rows that land in between are then computed twice rather than never.
    end = lake.store.marks(source, [WATERMARK]).get(WATERMARK, 0)
    if end <= position:
        return
    rows = lake.store.scan(source, version=lake.store.snapshot(source).version)
    keyed = nw.from_native(rows).with_columns(*spec.by()).to_native()
    touched = keyed.filter(pl.col("_batch_id") > position).select(table.key).unique()
    old = keyed.join(touched, on=list(table.key), how="semi") if position else keyed
    made = _good(step, step.compute(old.select(source.column_names)))
    write = lake.store.merge
    if position and _vanished(step, touched, made):
        made, write = _good(step, step.compute(rows)), lake.store.overwrite

    def marks(outcome: Outcome, before: Mapping[str, int]) -> dict[str, int]:
        kept = before.get(ROWS, 0) if write == lake.store.merge else 0
        return {WATERMARK: end, ROWS: kept + outcome.inserted}

    commit = Commit(token=Token(name, end), reads=(ROWS,), marks=marks, info=step.info)
    result = write(table, made, commit)
    step.report.version = result.version
    step.report.batches = int(result.landed == "now")
    step.report.written = result.outcome.inserted
    step.report.updated = result.outcome.updated


def _vanished(step: Step, touched: pl.LazyFrame, made: pl.DataFrame) -> bool:
    """Say whether a touched group has a row in the table but none in the result: a merge would keep it."""
    key = list(step.table.key)
    gone = touched.join(made.lazy().select(key), on=key, how="anti")
    stale = step.lake.store.scan(step.table).select(key).join(gone, on=key, how="semi")
    return not stale.head(1).collect().is_empty()


def everything(step: Step) -> None:
    """Compute the whole table, unless each source is at the version it was computed from."""
    lake, table = step.lake, step.table
    seen = {source: lake.store.snapshot(source) for source in table.sources}
    names = {position_mark(source): snapshot.version for source, snapshot in seen.items()}
    these = {identity_mark(source): _number(snapshot.identity) for source, snapshot in seen.items()}
    if lake.store.marks(table, [*names, *these]) == {**names, **these}:
        return
    made = _good(step, step.compute(*[lake.store.scan(s, version=at.version) for s, at in seen.items()]))

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
