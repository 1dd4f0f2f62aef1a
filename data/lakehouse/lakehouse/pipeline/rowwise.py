"""One output row per source row: in batches, each row written, merged as a duplicate, or quarantined.

Belongs here: where batches end, splitting and counting them, committing rows and position together.
Does not: rules (rules.py), aggregates (aggregates.py).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

import narwhals.stable.v2 as nw
import polars as pl

from lakehouse import fault_points
from lakehouse.contracts import POINTER, Contract, quarantine_of
from lakehouse.contracts.encoding import json_ready
from lakehouse.engine.protocol import Engine, Frame, InParts
from lakehouse.errors import Conflict, DataViolation, LakeError, Moved
from lakehouse.landing.files import natural_name
from lakehouse.pipeline import code, holds, lineage, outbox
from lakehouse.pipeline.contention import until_it_lands
from lakehouse.pipeline.context import RefreshContext, RefreshReport, batch_rows
from lakehouse.pipeline.lake import Lake
from lakehouse.pipeline.rules import Validated, height, validate
from lakehouse.pipeline.state import (
    GENERATION,
    MERGED,
    OUTBOX,
    QUARANTINED,
    READ,
    REBUILDING,
    REBUILT,
    REPLAY,
    ROWS,
    TOTALS,
    WATERMARK,
    position_key,
)
from lakehouse.process import release_memory
from lakehouse.store import BaseVersion, CommitOptions, CommitResult, Outcome
from lakehouse.store.integrity.damage import of_reading
from lakehouse.store.validation import duplicated

_TRIES = 40
_HELD = "__held_"
_PLACE = "__place"
LANDED = ("_batch_id", _PLACE, "_row")  # the order in which rows landed, of rows `with_place`
KEPT = (REPLAY, GENERATION)  # state that a full refresh does not start anew


def batches(step: RefreshContext) -> None:
    """Take every row past the table's position, in steps of about `lake.batch_rows`.

    Whatever another flow does to the table meanwhile: a batch lands on the state it was computed from, or is
    computed again.
    """
    lake, table = step.lake, step.table
    lake.store.ensure(quarantine_of(table))
    until_it_lands(lake, table, lambda: _bring_up(step))
    step.report.hold = holds.hold_of(lake, table)


def _bring_up(step: RefreshContext) -> None:
    source = step.table.sources[0]
    name = position_key(source)
    seen = step.lake.store.base_version(source, lineage.OF_SOURCE)
    here = None if step.full else _look(step)
    if here is None or not lineage.fits(source, here.state, seen):
        if step.staged:
            raise Conflict(f"refreshing {step.table}: its source or another flow changed it. Run it again.")
        rebuild(step)
        return
    bounds = _bounds(step, here.state.get(name, 0), seen.version)
    for upper in bounds:
        rows = taken(step.table, step.frame(source, version=seen.version))
        since = here.state.get(name, 0)
        batch = rows.filter(nw.col("_batch_id").is_between(since, upper, closed="right"))
        _batch(step, batch, upper, here, seen, last=upper == bounds[-1])
        here = _look(step)
        if here is None or here.state.get(name) != upper:
            raise Moved(f"refreshing {step.table}: another flow has changed it. Run it again.")


def _look(step: RefreshContext) -> BaseVersion | None:
    """Return the state to compute from; None where only computing the table anew will do."""
    names = [REBUILDING, REBUILT, *lineage.of_consumer(step.table.sources[0])]
    try:
        here = outbox.deliver(step.lake, step.table, names)
    except outbox.Undeliverable:
        return None
    attempt = here.state.get(REBUILDING, 0)
    if not attempt:
        return here
    if attempt != here.state.get(REBUILT):
        return None
    _clear_away(step, attempt)  # killed when its rows were in place
    return _deliver(step, names)


def _deliver(step: RefreshContext, names: Sequence[str] = ()) -> BaseVersion:
    """Deliver right after a commit of our own; what does not fit by now was taken back by another flow."""
    try:
        return outbox.deliver(step.lake, step.table, names)
    except outbox.Undeliverable as exc:
        raise Moved(str(exc)) from None


def rebuild(step: RefreshContext) -> None:
    """Compute table and quarantine anew beside the old ones, then put them in their place.

    Readers see the old table until the new one is whole. A state entry names the attempt: what a kill leaves,
    the next refresh does again from the start, or clears away. Of two attempts at once the later one clears
    the stages of the earlier one away when it ends. The earlier one may stumble over that anywhere: it then
    goes on from what the other made.
    """
    lake, table = step.lake, step.table
    attempt = outbox.fresh_number()
    other = running_attempt(lake, table)
    _say(step, lambda _: attempt)
    fresh, refused = staged = stages(table, attempt)
    inner = replace(step, table=fresh, full=False, report=RefreshReport(), staged=True)
    try:
        for stage in staged:
            lake.store.drop(stage)
            lake.store.ensure(stage)
        batches(inner)
        judged = _put_in_place(step, attempt, fresh, outbox.put_stage(lake, table, refused))
    except BaseException as exc:
        # Only a later attempt, which has taken over, clears the stages of another one away.
        superseded = running_attempt(lake, table) != attempt
        removed = superseded and not all(outbox.whole(lake, stage) for stage in staged)
        if not (removed and (isinstance(exc, LakeError) or of_reading(exc))):
            raise
        for stage in staged:  # what was written after the other one removed them
            lake.store.drop(stage)
        batches(replace(step, full=False))
        return
    fault_points.reach("flow.committed")
    _deliver(step)
    fault_points.reach("flow.rebuilt")
    vars(step.report).update(vars(inner.report) | {"judged": judged})
    _clear_away(step, attempt, other)


def running_attempt(lake: Lake, table: Contract) -> int:
    """Return the attempt that computes a table anew, or was killed at it; 0 for none."""
    return lake.store.read_state(table, [REBUILDING]).get(REBUILDING, 0)


def _put_in_place(step: RefreshContext, attempt: int, fresh: Contract, number: int) -> holds.Judgement | None:
    """Replace the table's rows and state by those of `fresh`, whatever state it is in by now.

    Return what is to say of the rows that it refuses and the old table did not.
    """
    store, table = step.lake.store, step.table
    made = store.all_state(fresh)
    found: list[holds.Judgement | None] = []
    for _ in range(_TRIES):
        here = store.base_version(table)
        gone = dict.fromkeys(store.all_state(table).keys() - made.keys() - set(KEPT), -1)

        def state(
            outcome: Outcome, before: Mapping[str, int], gone: Mapping[str, int] = gone
        ) -> dict[str, int]:
            own = {ROWS: outcome.rows, REBUILDING: attempt, REBUILT: attempt}
            held, judged = holds.rebuilt(table, before, made, step.lake.clock())
            found.append(judged)
            return {**gone, **made, **own, **held, **lineage.raised(before), **outbox.naming(number, before)}

        commit = CommitOptions(
            onto=here, reads=(GENERATION, OUTBOX, QUARANTINED), state=state, info=step.info
        )
        try:
            store.overwrite_from(table, fresh, commit)
        except Moved:
            continue
        return found[-1]
    raise Conflict(f"refreshing {table}: others keep changing it. Run it again.")


def _clear_away(step: RefreshContext, *attempts: int) -> None:
    """Remove the staging tables of these attempts, and say that the first of them has ended."""
    for attempt in attempts:
        for stage in stages(step.table, attempt) if attempt else ():
            step.lake.store.drop(stage)
    step.report.version = _say(step, lambda now: 0 if now == attempts[0] else now)


def stages(table: Contract, attempt: int) -> tuple[Contract, Contract]:
    """Return where an attempt puts rows and refused rows; in older versions all attempts had one name."""
    suffix = f"__rebuild_{attempt:x}" if attempt > 2 else "__rebuild"
    fresh = replace(table, name=f"{table.name}{suffix}")
    return fresh, quarantine_of(fresh)


def _say(step: RefreshContext, attempt: Callable[[int], int]) -> int:
    """Set the state entry of a full refresh to what `attempt` makes of it; return the version."""
    nothing = pl.DataFrame(schema=step.table.polars_schema())

    def state(_: Outcome, before: Mapping[str, int]) -> dict[str, int]:
        return {REBUILDING: attempt(before.get(REBUILDING, 0))}

    said = CommitOptions(reads=(REBUILDING,), state=state, info=step.info)
    return step.lake.store.append(step.table, nothing, said).version


def _bounds(step: RefreshContext, position: int, version: int) -> list[int]:
    """Return the last batch number of each step from `position` to the source's end."""
    lake, table, source = step.lake, step.table, step.table.sources[0]
    most = batch_rows(lake, table)
    rows = step.frame(source, version=version).filter(nw.col("_batch_id") > position)
    is_taken = (
        nw.lit(True)
        if table.source_filter is None
        else nw.col(table.source_filter[0]) == table.source_filter[1]
    )
    sizes = step.engine.stage(
        rows.select("_batch_id", is_taken.cast(nw.Int64).alias("taken"))
        .group_by("_batch_id")
        .agg(nw.col("taken").sum())
        .sort("_batch_id")
    )
    bounds: list[int] = []
    held = last = 0
    for number, size in sizes.iter_rows():
        if held and held + size > most:
            bounds.append(last)
            held = 0
        held, last = held + int(size), number
    # What it takes no row of is behind it all the same.
    return [*bounds, last] if last > (bounds[-1] if bounds else position) else bounds


def taken(table: Contract, source: Frame) -> Frame:
    """Return the rows of its source that the table takes."""
    return (
        source
        if table.source_filter is None
        else source.filter(nw.col(table.source_filter[0]) == table.source_filter[1])
    )


@dataclass(kw_only=True)
class _Computed:
    """What the rows of a batch came to: good ones, and refused ones as rows of quarantine."""

    good: list[pl.DataFrame] = field(default_factory=list)
    refused: list[pl.DataFrame] = field(default_factory=list)
    read: int = 0
    failures: Counter[str] = field(default_factory=Counter)
    warnings: Counter[str] = field(default_factory=Counter)

    @property
    def quarantined(self) -> int:
        return sum(frame.height for frame in self.refused)

    def take(self, step: RefreshContext, source: Frame) -> None:
        """Compute rows of the source and add what they came to."""
        engine = step.engine
        parts = validate(step.table, step.compute(source), engine=engine)
        _refuse_other_rows(step.table, parts.read, height(source, engine=engine))
        # In one piece while it is small: columns that are cut differently are copied as a whole later.
        self.good.append(engine.stage(parts.good).rechunk())
        if parts.refused.height:
            self.refused.append(_refused(step, source, parts))
        self.read += parts.read
        self.failures.update(parts.failures)
        self.warnings.update(parts.warnings)


def _batch(
    step: RefreshContext, source: Frame, upper: int, here: BaseVersion, seen: BaseVersion, *, last: bool
) -> None:
    lake, table = step.lake, step.table
    done = _Computed()
    for part in _parts(step.engine, source):
        done.take(step, part)
    kept = latest(table, done.good)
    if table.sequence_by:
        kept = step.engine.stage(drop_stale(step, step.engine.scan(kept.lazy()), table.sequence_by))
    refused = done.quarantined
    repeats = done.read - refused - kept.height
    number = outbox.put(lake, table, pl.concat(done.refused)) if refused else 0
    found: list[holds.Judgement | None] = []
    count = _state(step, done, repeats, upper, seen, number)

    def state(outcome: Outcome, before: Mapping[str, int]) -> dict[str, int]:
        held, judged = holds.judged(
            table, before, upto=upper, read=done.read, quarantined=refused, last=last, now=lake.clock()
        )
        found.append(judged)
        made_by = code.state_of(table, step.transform, before, whole=not before.get(READ, 0))
        return {**count(outcome, before), **held, **made_by}

    reads = (ROWS, *TOTALS, OUTBOX, WATERMARK, *holds.STATE, *code.STATE)
    commit = CommitOptions(onto=here, reads=reads, state=state, info=step.info)
    try:
        result = lake.store.merge(table, kept, commit)
    except Moved:
        if number:
            outbox.forget(lake, table, number)
        raise
    step.report.version, step.report.judged = result.version, found[-1]
    _count(step, done, repeats, result)
    del kept
    release_memory()
    fault_points.reach("flow.committed")
    _deliver(step)
    fault_points.reach("flow.batch")


def _parts(engine: Engine, batch: Frame) -> Iterator[Frame]:
    """Yield a batch as the engine computes it: in parts, of which one at a time is in memory, or whole."""
    if isinstance(engine, InParts):
        yield from engine.parts(batch)
    else:
        yield engine.persist(batch)


def _refuse_other_rows(table: Contract, made: int, came: int) -> None:
    if made != came:
        raise DataViolation(
            f"refreshing {table}: the transform made {made} rows of {came}. "
            "It must return one row per source row; refuse rows by rules, so that each is accounted for."
        )


def _state(
    step: RefreshContext, done: _Computed, repeats: int, upper: int, seen: BaseVersion, number: int
) -> Callable[[Outcome, Mapping[str, int]], dict[str, int]]:
    """Return the state of one batch as a function of what its merge will do."""
    source, refused = step.table.sources[0], done.quarantined

    def state(outcome: Outcome, before: Mapping[str, int]) -> dict[str, int]:
        return {
            position_key(source): upper,
            **lineage.recorded(source, seen),
            WATERMARK: upper,
            ROWS: before.get(ROWS, 0) + outcome.inserted,
            READ: before.get(READ, 0) + done.read,
            MERGED: before.get(MERGED, 0) + repeats + outcome.updated,
            QUARANTINED: before.get(QUARANTINED, 0) + refused,
            **outbox.naming(number, before),
        }

    return state


def _count(step: RefreshContext, done: _Computed, repeats: int, result: CommitResult) -> None:
    report = step.report
    report.read += done.read
    report.written += result.outcome.inserted
    report.merged += repeats + result.outcome.updated
    report.updated += result.outcome.updated
    report.quarantined += done.quarantined
    report.batches += 1
    for total, part in ((report.failures, done.failures), (report.warnings, done.warnings)):
        for rule, rows in part.items():
            total[rule] = total.get(rule, 0) + rows


def latest(table: Contract, parts: list[pl.DataFrame]) -> pl.DataFrame:
    """Keep one row per key: the last by `sequence_by`, of equal ones the one that landed last.

    Takes the parts out of the list one by one, so that their rows are in memory once.
    """
    key = list(table.key)
    repeated = duplicated(pl.concat([part.select(key) for part in parts]), key)
    single: list[pl.DataFrame] = []
    several: list[pl.DataFrame] = []
    at = 0
    while parts:
        part = parts.pop(0)
        here = repeated.slice(at, part.height)
        at += part.height
        single.append(part.filter(~here))
        several.append(part.filter(here))
    rows = pl.concat(several)
    if "_source" in rows.columns:
        rows = with_place(rows, places(rows["_source"]))
    order = [*table.sequence_by, *(n for n in LANDED if n in rows.columns)]
    newest = rows.sort(order, maintain_order=True).unique(subset=key, keep="last", maintain_order=True)
    return pl.concat([*single, newest.drop(_PLACE, strict=False)])


def places(*sources: Iterable[str]) -> dict[str, int]:
    """Number files in the order in which one ingest takes them: the natural one of their names."""
    names = sorted({name for some in sources for name in some}, key=natural_name)
    return {name: place for place, name in enumerate(names)}


def with_place(rows: pl.DataFrame, numbers: Mapping[str, int]) -> pl.DataFrame:
    """Add the place of each row's file; file names as text are in another order than files land in."""
    place = pl.col("_source").replace_strict(list(numbers), list(numbers.values()), return_dtype=pl.Int64)
    return rows.with_columns(place.alias(_PLACE))


def drop_stale(step: RefreshContext, rows: Frame, order: Sequence[str], among: Frame | None = None) -> Frame:
    """Drop rows whose key the table (or `among` some of its rows) holds by one that comes later in `order`;
    null comes first.
    """
    key, table = list(step.table.key), step.frame(step.table) if among is None else among
    held = table.select(
        *key, *(nw.col(name).alias(_HELD + name) for name in order), nw.lit(True).alias(_HELD)
    )
    both = rows.join(held, on=key, how="left")
    stale = nw.col(_HELD).fill_null(False) & _after(order)
    return both.filter(~stale).select(*step.table.column_names)


def _after(order: Sequence[str]) -> nw.Expr:
    """Return whether the held row's place is after the row's own, compared part by part."""
    after: nw.Expr = nw.lit(False)
    for name in reversed(order):
        held, own = nw.col(_HELD + name), nw.col(name)
        later = (held > own).fill_null(False) | (~held.is_null() & own.is_null())
        equal = (held == own).fill_null(False) | (held.is_null() & own.is_null())
        after = later | (equal & after)
    return after


def _refused(step: RefreshContext, source: Frame, parts: Validated) -> pl.DataFrame:
    """Return the refused rows as they were, with their reasons, as rows of quarantine."""
    table, engine = step.table, step.engine
    refused = source.join(engine.scan(parts.refused.lazy()), on=list(POINTER), how="inner")
    payload = [name for name in source.columns if not name.startswith("_")]
    return engine.stage(engine.map_batches(refused, partial(_records, table, payload)))


def _records(table: Contract, payload: list[str], refused: pl.DataFrame) -> pl.DataFrame:
    encoded = [json_ready(pl.col(name), refused.schema[name]).alias(name) for name in payload]
    return refused.with_columns(
        pl.struct(encoded).struct.json_encode().alias("record"),
        contract_version=pl.lit(table.version),
        replay=pl.lit(None, pl.Int64),
    ).select(quarantine_of(table).column_names)
