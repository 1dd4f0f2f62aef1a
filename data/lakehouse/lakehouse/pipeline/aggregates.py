"""Aggregates: touched groups computed whole, or everything computed anew.

Belongs here: what to read for an aggregate and how its result replaces the old one. Does not: rows that
map one to one (rowwise.py).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import narwhals.stable.v2 as nw
import orjson
import polars as pl

from lakehouse.contracts import BUILT_FROM, Groups
from lakehouse.engine import xp
from lakehouse.engine.protocol import Frame, StagesFiles
from lakehouse.errors import DataViolation
from lakehouse.pipeline import code, pins
from lakehouse.pipeline.contention import until_it_lands
from lakehouse.pipeline.context import RefreshContext, batch_rows
from lakehouse.pipeline.lineage import number
from lakehouse.pipeline.rules import Validated, described, validate
from lakehouse.pipeline.state import ROWS, identity_key, position_key
from lakehouse.scratch import scratch_without
from lakehouse.store import CommitOptions, Outcome, Rows, Snapshot, StagedFiles
from lakehouse.store.key_ranges import pruning_column, spans, widened, within

_SPAN = "__span"
_PREFIX = "odp-staged-"
_TICK = timedelta(microseconds=1)


def groups(step: RefreshContext, spec: Groups) -> None:
    """Compute the groups that changed source rows touch, each from all of its source rows.

    Changes are taken by the source's versions: new, corrected, replayed and deleted rows all count.
    """
    until_it_lands(step.lake, step.table, lambda: _groups(step, spec))


def _groups(step: RefreshContext, spec: Groups) -> None:
    lake, table, source = step.lake, step.table, step.table.sources[0]
    here, identity = position_key(source), identity_key(source)
    onto = lake.store.base_version(table, [here, identity, ROWS])
    lake.store.base_version(source)  # a look at the source that is no older than the one at the table
    # The position before the version: rows that land in between are then computed twice rather than never.
    end, seen = lake.store.data_version(source), lake.store.snapshot(source)
    state, this = onto.state, {identity: number(seen.identity)}
    known = here in state and state.get(identity) == this[identity]
    if known and not step.full and state[here] >= end:
        return
    stored = lake.store.scan(source, version=seen.version)
    touched = _touched(step, spec, state[here], seen) if known and not step.full else None
    many = seen.rows > batch_rows(lake, table)

    @contextmanager
    def whole() -> Iterator[Rows]:
        if step.engine.reads_files:  # and bounds its own memory
            made = step.compute(step.frame(source, version=seen.version))
            with _staged(step, made) as rows:
                yield rows
        else:
            yield _made(step, spec, stored, many=many)

    part = None
    if touched is not None and 2 * touched.height < state.get(ROWS, 0):
        part = _made(step, spec, stored, touched, many=many)
        if _vanished(step, touched, part):
            part = None

    def counted(outcome: Outcome, before: Mapping[str, int]) -> dict[str, int]:
        kept = before.get(ROWS, 0) if part is not None else 0
        versions = code.state_of(table, step.transform, before, whole=part is None)
        return {here: end, **this, ROWS: kept + outcome.inserted, **versions}

    commit = CommitOptions(onto=onto, reads=(ROWS, *code.STATE), state=counted, info=step.info)
    if part is not None:
        result = lake.store.merge(table, part, commit)
    else:
        with whole() as rows:
            result = lake.store.overwrite(table, rows, commit)
    step.report.version = result.version
    step.report.batches = 1
    step.report.written = result.outcome.inserted
    step.report.updated = result.outcome.updated


def _touched(step: RefreshContext, spec: Groups, since: int, seen: Snapshot) -> pl.DataFrame | None:
    """Return the keys of the groups whose source rows changed, with the start of the span they lie in.

    None when the source no longer tells what changed, or telling costs more than computing everything.
    """
    changed = step.lake.store.changes(step.table.sources[0], since=since, until=seen.version)
    if not changed.complete or 2 * changed.compared_rows > seen.rows:
        return None
    engine = step.engine
    rows = nw.concat([engine.scan(changed.added), engine.scan(changed.removed)])
    keyed, columns = _keyed(spec, rows), [*step.table.key]
    if spec.within is not None:
        name, length = spec.within
        keyed, columns = xp.span_start(keyed, name, length, to=_SPAN), [*columns, _SPAN]
    return engine.stage(keyed.select(*columns).unique())


def _made(
    step: RefreshContext,
    spec: Groups,
    stored: pl.LazyFrame,
    touched: pl.DataFrame | None = None,
    *,
    many: bool,
) -> pl.DataFrame:
    """Return the touched groups (all where None) from all of their source rows.

    From the files of their spans where these are known; of `many` rows some spans at a time, so that what is
    in memory does not grow with the table.
    """
    if touched is not None and spec.within is not None:
        name, length = spec.within
        lies = within(name, widened(spans(touched[_SPAN]), length - _TICK))
        stored = stored.filter(lies | pl.col(name).is_null() if touched[_SPAN].has_nulls() else lies)
    parts = [stored.filter(part) for part in _cut(step, spec, stored)] if many else [stored]
    made: list[pl.DataFrame] = []
    warnings: Counter[str] = Counter()
    for part in parts:
        made.append(good_rows(step, step.compute(_rows_of(step, spec, part, touched))))
        warnings.update(step.report.warnings)
    step.report.warnings = dict(warnings)
    return pl.concat(made)


def _cut(step: RefreshContext, spec: Groups, stored: pl.LazyFrame) -> list[pl.Expr]:
    """Return conditions that cut the source rows into batches, between spans; a larger span is one alone."""
    if spec.within is None:
        return [pl.lit(True)]
    (name, length), engine = spec.within, step.engine
    started = xp.span_start(engine.scan(stored.select(name)), name, length, to=_SPAN)
    sizes = engine.stage(started.group_by(_SPAN).agg(nw.len().alias("rows"))).sort(_SPAN)
    most, held, part, parts = batch_rows(step.lake, step.table), 0, 0, []
    for rows in sizes["rows"]:
        if held and held + rows > most:
            held, part = 0, part + 1
        held += rows
        parts.append(part)
    placed = sizes.with_columns(part=pl.Series(parts, dtype=pl.Int64)).drop_nulls(_SPAN)
    found = [
        within(name, widened(spans(one[_SPAN], most=1), length - _TICK))
        for one in placed.partition_by("part", maintain_order=True)
    ]
    return [*found, pl.col(name).is_null()] if sizes[_SPAN].has_nulls() else found or [pl.lit(True)]


def _rows_of(step: RefreshContext, spec: Groups, stored: pl.LazyFrame, touched: pl.DataFrame | None) -> Frame:
    """Return those of the source rows that belong to the touched groups."""
    key, engine = list(step.table.key), step.engine
    if touched is None:
        return engine.scan(stored)
    keys = engine.scan(touched.lazy().select(key).unique())
    found = _keyed(spec, engine.scan(stored)).join(keys, on=key, how="semi")
    return found.select(*step.table.sources[0].column_names)


def _keyed(spec: Groups, rows: Frame) -> Frame:
    return rows.with_columns(*spec.by())


def _vanished(step: RefreshContext, touched: pl.DataFrame, made: pl.DataFrame) -> bool:
    """Return whether a touched group has a row in the table but none in the result: a merge would keep it."""
    key, engine = list(step.table.key), step.engine
    gone = touched.select(key).join(made.select(key), on=key, how="anti")
    if gone.is_empty():
        return False
    here = step.lake.store.scan(step.table).select(key)
    if (column := pruning_column(step.table)) is not None:
        here = here.filter(within(column, spans(gone[column])))
    stale = engine.scan(here).join(engine.scan(gone.lazy()), on=key, how="semi")
    return not engine.stage(stale.head(1)).is_empty()


def everything(step: RefreshContext) -> None:
    """Compute the whole table, unless each source is at the version it was computed from."""
    until_it_lands(step.lake, step.table, lambda: _everything(step))


def _everything(step: RefreshContext) -> None:
    lake, table = step.lake, step.table
    onto = lake.store.base_version(table, pins.state_names(table))
    seen = pins.pins_of(lake, table.sources)
    these = pins.state_of(table, seen)
    if not step.full and onto.state == these:
        return
    made = step.compute(*(step.frame(one, version=seen[one.path].version) for one in table.sources))
    if BUILT_FROM in table.by_name:
        versions = {path: pin.version for path, pin in seen.items()}
        made = made.with_columns(nw.lit(orjson.dumps(versions).decode()).alias(BUILT_FROM))

    def state(outcome: Outcome, before: Mapping[str, int]) -> dict[str, int]:
        versions = code.state_of(table, step.transform, before, whole=True)
        return {**these, ROWS: outcome.inserted, **versions}

    commit = CommitOptions(onto=onto, state=state, info=step.info)
    with _staged(step, made) as rows:
        result = lake.store.overwrite(table, rows, commit)
    step.report.version = result.version
    step.report.batches = 1
    step.report.written = result.outcome.inserted


def good_rows(step: RefreshContext, made: Frame) -> pl.DataFrame:
    """Return the rows of an aggregate, at once."""
    return step.engine.stage(_good(step, made).good)


def _good(step: RefreshContext, made: Frame) -> Validated:
    """Validate the rows of an aggregate; there a broken rule is a fault of the transform, so it is fatal."""
    parts = validate(step.table, made, engine=step.engine)
    step.report.warnings = parts.warnings
    if parts.failures:
        raise DataViolation(
            f"refreshing {step.table}: rows that its transform made break rules, which no aggregate may: "
            f"{described(step.table, parts.failures)}. Nothing was written; the table stays as it was. "
            "Change the transform, or leave such rows out by a rule of the table it reads, then run `odp "
            f"refresh {step.table}`."
        )
    return parts


@contextmanager
def _staged(step: RefreshContext, made: Frame) -> Iterator[Rows]:
    """Give good rows as the store takes them: in files where they are many and the engine can stage them."""
    engine, parts = step.engine, _good(step, made)
    if not isinstance(engine, StagesFiles) or parts.kept <= batch_rows(step.lake, step.table):
        yield engine.stage(parts.good)
        return
    with TemporaryDirectory(prefix=_PREFIX, dir=scratch_without(_PREFIX)) as folder:
        yield StagedFiles(engine.stage_files(parts.good, Path(folder)))
