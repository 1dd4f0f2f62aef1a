"""From one table to the next: only what is new, once, and every row accounted for.

Belongs here: reading past a position, calling the transform, committing result and position together.
Does not: the transform. Three shapes, chosen by the contract alone:

    rows     write merge, no groups: one output row per source row (Silver). In batches of bounded size
    groups   write merge, groups:    touched groups are computed whole (Gold)
    whole    write overwrite:        everything is computed anew whenever a source has a new version
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import narwhals.stable.v2 as nw
import polars as pl

from lakehouse.contracts import POINTER, Contract, Groups, Write, quarantine_of
from lakehouse.errors import ContractError, DataViolation, TableNotFound
from lakehouse.flow.lake import Lake
from lakehouse.flow.marks import (
    MERGED,
    QUARANTINED,
    READ,
    ROWS,
    RUN_QUARANTINED,
    RUN_READ,
    TOTALS,
    WATERMARK,
    position_mark,
)
from lakehouse.flow.rules import Split, split
from lakehouse.store import Commit, Outcome, Token

Transform = Callable[..., nw.LazyFrame]
"""Source frames in, in the order of the contract's `sources`; the table's frame out."""


@dataclass(kw_only=True)
class RefreshReport:
    """What one refresh did. `read == written + merged + quarantined` holds for tables of shape `rows`.

    `last_read` and `last_quarantined` are those of the last run that read anything, this one or an earlier
    one: a batch with too many rejects goes on blocking until a better one comes.
    """

    read: int = 0
    written: int = 0
    merged: int = 0
    quarantined: int = 0
    updated: int = 0
    batches: int = 0
    version: int = -1
    failures: dict[str, int] = field(default_factory=dict)
    warnings: dict[str, int] = field(default_factory=dict)
    last_read: int = 0
    last_quarantined: int = 0

    @property
    def balances(self) -> bool:
        return self.read == self.written + self.merged + self.quarantined


def refresh(
    lake: Lake, table: Contract, transform: Transform, *, info: Mapping[str, str] | None = None
) -> RefreshReport:
    """Bring `table` up to its sources. A second call without new rows commits nothing.

    Raises TableNotFound (a source was never written), SchemaViolation, DataViolation, StaleWriter,
    Conflict, StorageUnavailable. Whatever was committed by then stays; a re-run goes on from it.
    """
    for source in table.sources:
        if not lake.store.exists(source):
            raise TableNotFound(
                f"refreshing {table}: its source {source} has never been written; do that first"
            )
    report = RefreshReport(version=lake.store.ensure(table))
    if table.write is Write.OVERWRITE:
        _whole(lake, table, transform, info or {}, report)
    elif table.write is Write.MERGE and table.groups is not None:
        _groups(lake, table, table.groups, transform, info or {}, report)
    elif table.row_wise:
        _rows(lake, table, transform, info or {}, report)
    else:
        raise ContractError(
            f"refreshing {table}: write {table.write} from {len(table.sources)} sources is not known"
        )
    return report


# -- one output row per source row ---------------------------------------------------------------------


def _rows(
    lake: Lake, table: Contract, transform: Transform, info: Mapping[str, str], report: RefreshReport
) -> None:
    source = table.sources[0]
    refused_table = quarantine_of(table)
    report.version = lake.store.ensure(table)
    lake.store.ensure(refused_table)
    name = position_mark(source)
    position = lake.store.marks(table, [name]).get(name, 0)
    version = lake.store.snapshot(source).version
    for upper in _bounds(lake, table, position, version):
        batch = lake.store.scan(source, version=version).filter(
            pl.col("_batch_id").is_between(position, upper, closed="right")
        )
        _batch(lake, table, transform, batch, Token(name, upper), info, report)
        position = upper
    last = lake.store.marks(table, [RUN_READ, RUN_QUARANTINED])
    report.last_read, report.last_quarantined = last.get(RUN_READ, 0), last.get(RUN_QUARANTINED, 0)


def _bounds(lake: Lake, table: Contract, position: int, version: int) -> list[int]:
    """Return the last batch number of each step from `position` to the source's end.

    Quarantine is committed before the table. A kill between the two leaves it one step ahead; that very
    step is done again first, so that its token recognises the refused rows.
    """
    source = table.sources[0]
    name = position_mark(source)
    ahead = lake.store.marks(quarantine_of(table), [name]).get(name, 0)
    sizes = (
        lake.store.scan(source, version=version)
        .filter(pl.col("_batch_id") > position)
        .group_by("_batch_id")
        .len()
        .sort("_batch_id")
        .collect(engine="streaming")
    )
    bounds: list[int] = []
    held = last = 0
    for number, rows in sizes.iter_rows():
        if held and number > ahead and held + rows > lake.batch_rows:
            bounds.append(last)
            held = 0
        held, last = held + rows, number
        if number == ahead:
            bounds.append(number)
            held = 0
    return [*bounds, last] if held else bounds


def _batch(
    lake: Lake,
    table: Contract,
    transform: Transform,
    batch: pl.LazyFrame,
    token: Token,
    info: Mapping[str, str],
    report: RefreshReport,
) -> None:
    taken = batch.collect()
    made = _collect(transform(nw.from_native(taken.lazy())))
    if made.height != taken.height:
        raise DataViolation(
            f"refreshing {table}: the transform made {made.height} rows of {taken.height}. It must return one row "
            "per source row; refuse rows by rules, so that each is accounted for."
        )
    parts = split(table, made)
    kept = latest(table, parts.good)
    repeats = parts.good.height - kept.height
    refused = parts.refused.height
    _keep_refused(lake, table, taken, parts, token, info)

    def marks(outcome: Outcome, before: Mapping[str, int]) -> dict[str, int]:
        return {
            WATERMARK: token.value,
            ROWS: before.get(ROWS, 0) + outcome.inserted,
            READ: before.get(READ, 0) + taken.height,
            MERGED: before.get(MERGED, 0) + repeats + outcome.updated,
            QUARANTINED: before.get(QUARANTINED, 0) + refused,
            RUN_READ: report.read + taken.height,
            RUN_QUARANTINED: report.quarantined + refused,
        }

    commit = Commit(token=token, reads=(ROWS, *TOTALS), marks=marks, info=info)
    result = lake.store.merge(table, kept, commit)
    report.version = result.version
    if result.landed != "now":
        return
    report.read += taken.height
    report.written += result.outcome.inserted
    report.merged += repeats + result.outcome.updated
    report.updated += result.outcome.updated
    report.quarantined += refused
    report.batches += 1
    _add(report.failures, parts.failures)
    _add(report.warnings, parts.warnings)


def latest(table: Contract, frame: pl.DataFrame) -> pl.DataFrame:
    """Keep one row per key: the one that landed last."""
    repeated = frame.select(pl.struct(table.key).is_duplicated()).to_series() if frame.height else None
    if repeated is None or not repeated.any():
        return frame
    order = [name for name in ("_batch_id", "_source", "_row") if name in frame.columns]
    newest = (
        frame.filter(repeated).sort(order).unique(subset=list(table.key), keep="last", maintain_order=True)
    )
    return pl.concat([frame.filter(~repeated), newest])


def _keep_refused(
    lake: Lake, table: Contract, taken: pl.DataFrame, parts: Split, token: Token, info: Mapping[str, str]
) -> None:
    if parts.refused.is_empty():
        return
    target = quarantine_of(table)
    payload = [name for name in taken.columns if not name.startswith("_")]
    pointer = list(POINTER)
    rows = (
        taken.join(parts.refused, on=pointer, how="inner")
        .with_columns(
            pl.struct(payload).struct.json_encode().alias("record"),
            contract_version=pl.lit(table.version),
        )
        .select(target.column_names)
    )

    def marks(outcome: Outcome, before: Mapping[str, int]) -> dict[str, int]:
        return {ROWS: before.get(ROWS, 0) + outcome.inserted}

    lake.store.append(target, rows, Commit(token=token, reads=(ROWS,), marks=marks, info=info))


# -- touched groups, computed whole ---------------------------------------------------------------------


def _groups(
    lake: Lake,
    table: Contract,
    groups: Groups,
    transform: Transform,
    info: Mapping[str, str],
    report: RefreshReport,
) -> None:
    source = table.sources[0]
    name = position_mark(source)
    position = lake.store.marks(table, [name]).get(name, 0)
    # Watermark before version: rows that land in between are then computed twice rather than never.
    end = lake.store.marks(source, [WATERMARK]).get(WATERMARK, 0)
    if end <= position:
        return
    version = lake.store.snapshot(source).version
    rows = lake.store.scan(source, version=version)
    keyed = nw.from_native(rows).with_columns(*groups.by()).to_native()
    touched = keyed.filter(pl.col("_batch_id") > position).select(table.key).unique()
    if position:
        keyed = keyed.join(touched, on=list(table.key), how="semi")
    made = _collect(transform(nw.from_native(keyed.select(source.column_names))))

    def marks(outcome: Outcome, before: Mapping[str, int]) -> dict[str, int]:
        return {WATERMARK: end, ROWS: before.get(ROWS, 0) + outcome.inserted}

    commit = Commit(token=Token(name, end), reads=(ROWS,), marks=marks, info=info)
    result = lake.store.merge(table, _good(table, made, report), commit)
    report.version = result.version
    report.batches = int(result.landed == "now")
    report.written = result.outcome.inserted
    report.updated = result.outcome.updated


# -- everything anew ------------------------------------------------------------------------------------


def _whole(
    lake: Lake, table: Contract, transform: Transform, info: Mapping[str, str], report: RefreshReport
) -> None:
    versions = {s: lake.store.snapshot(s).version for s in table.sources}
    names = {position_mark(s): v for s, v in versions.items()}
    if lake.store.marks(table, list(names)) == names:
        return
    frames = [nw.from_native(lake.store.scan(s, version=v)) for s, v in versions.items()]
    made = _good(table, _collect(transform(*frames)), report)

    def marks(outcome: Outcome, _: Mapping[str, int]) -> dict[str, int]:
        return {**names, ROWS: outcome.inserted}

    result = lake.store.overwrite(table, made, Commit(reads=(ROWS,), marks=marks, info=info))
    report.version = result.version
    report.batches = 1
    report.written = result.outcome.inserted


def _good(table: Contract, made: pl.DataFrame, report: RefreshReport) -> pl.DataFrame:
    """Return the rows of an aggregate; there a broken rule is a fault of the transform, so it is fatal."""
    parts = split(table, made)
    report.warnings = parts.warnings
    if parts.failures:
        counts = ", ".join(f"{rule} ({rows} rows)" for rule, rows in parts.failures.items())
        raise DataViolation(
            f"refreshing {table}: the transform breaks its own rules: {counts}. Nothing was written."
        )
    return parts.good


def _collect(frame: nw.LazyFrame) -> pl.DataFrame:
    native = nw.to_native(frame)
    return native.collect(engine="streaming") if isinstance(native, pl.LazyFrame) else pl.DataFrame(native)


def _add(total: dict[str, int], part: Mapping[str, int]) -> None:
    for name, count in part.items():
        total[name] = total.get(name, 0) + count
