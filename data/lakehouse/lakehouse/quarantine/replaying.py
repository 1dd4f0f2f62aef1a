"""Refused rows through today's transform and rules; what passes goes into the table, once.

Belongs here: taking rows up and bringing them in. Does not: rules (contracts), Gold (its next refresh).

Two commits, killable between: rows that pass are first noted in quarantine as taken up by replay N, then
merged into the table under token N. A replay that finds N noted and not merged ends that one first.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import polars as pl

from lakehouse.contracts import POINTER, Contract, quarantine_of
from lakehouse.errors import Conflict
from lakehouse.flow import Lake
from lakehouse.flow.marks import MERGED, QUARANTINED, REPLAY, ROWS, WATERMARK
from lakehouse.flow.rowwise import latest, not_overtaken
from lakehouse.flow.rules import Split, split
from lakehouse.flow.step import Step, Transform
from lakehouse.quarantine.listing import _of_rule, open_rejects
from lakehouse.store import Commit, Outcome, Token, faults


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
    (unknown rule), Conflict (a run came in between; nothing of this replay is lost, do it again).
    """
    step = Step(lake=lake, table=table, transform=transform, info=info or {})
    _finish(step)
    rows = _of_rule(table, open_rejects(lake, table), rule)
    if contract_version is not None:
        rows = rows.filter(pl.col("contract_version") == contract_version)
    parts = _judge(step, rows)
    if parts.good.is_empty():
        version = lake.store.snapshot(table).version
        return _told(step, rows.height, parts, written=0, version=version)
    number = lake.store.marks(table, [REPLAY]).get(REPLAY, 0) + 1
    _take_up(step, rows, parts.good, number)
    faults.reach("flow.quarantined")
    written, version = _bring_in(step, parts.good, number)
    return _told(step, rows.height, parts, written=written, version=version)


def _told(step: Step, tried: int, parts: Split, *, written: int, version: int) -> Replayed:
    return Replayed(
        table=step.table.path,
        tried=tried,
        written=written,
        merged=parts.good.height - written,
        still_refused=parts.refused.height,
        failures=parts.failures,
        version=version,
    )


def _judge(step: Step, rows: pl.DataFrame) -> Split:
    """Compute and judge the Bronze rows that the refusals point to, as they landed."""
    source = step.table.sources[0]
    batches = rows["_batch_id"].unique().to_list()
    bronze = step.lake.store.scan(source).filter(pl.col("_batch_id").is_in(batches))
    taken = bronze.join(rows.lazy().select(POINTER), on=list(POINTER), how="semi").collect()
    return split(step.table, step.compute(taken.lazy()))


def _take_up(step: Step, rows: pl.DataFrame, good: pl.DataFrame, number: int) -> None:
    target = quarantine_of(step.table)
    noted = (
        rows.join(good.select(POINTER), on=list(POINTER), how="semi")
        .with_columns(
            replay=pl.lit(number, pl.Int64),
            reasons=pl.lit("[]"),
            rules=pl.lit(""),
            contract_version=pl.lit(step.table.version),
        )
        .select(target.column_names)
    )

    def marks(outcome: Outcome, before: Mapping[str, int]) -> dict[str, int]:
        return {ROWS: before.get(ROWS, 0) + outcome.inserted}

    commit = Commit(token=Token(REPLAY, number), reads=(ROWS,), marks=marks, info=step.info)
    step.lake.store.append(target, noted, commit)


def _bring_in(step: Step, good: pl.DataFrame, number: int) -> tuple[int, int]:
    """Merge the rows that nothing later stands for; return how many are new, and the version."""
    lake, table = step.lake, step.table
    seen = lake.store.marks(table, [WATERMARK]).get(WATERMARK, 0)
    kept = not_overtaken(step, latest(table, good), (*table.newest_by, "_batch_id", "_source", "_row"))

    def marks(outcome: Outcome, before: Mapping[str, int]) -> dict[str, int]:
        if before.get(WATERMARK, 0) != seen:
            raise Conflict(
                f"replaying into {table}: a run came in between. Run it again; it goes on from here."
            )
        return {
            ROWS: before.get(ROWS, 0) + outcome.inserted,
            MERGED: before.get(MERGED, 0) + good.height - outcome.inserted,
            QUARANTINED: before.get(QUARANTINED, 0) - good.height,
        }

    reads = (ROWS, MERGED, QUARANTINED, WATERMARK)
    commit = Commit(token=Token(REPLAY, number), reads=reads, marks=marks, info=step.info)
    result = lake.store.merge(table, kept, commit)
    return result.outcome.inserted, result.version


def _finish(step: Step) -> None:
    """End a replay that was killed after it had noted its rows."""
    lake, table = step.lake, step.table
    target = quarantine_of(table)
    lake.store.ensure(target)
    noted = lake.store.marks(target, [REPLAY]).get(REPLAY, 0)
    if noted <= lake.store.marks(table, [REPLAY]).get(REPLAY, 0):
        return
    rows = lake.store.scan(target).filter(pl.col("replay") == noted).collect()
    parts = _judge(step, rows)
    if parts.refused.height:
        _put_back(step, rows, parts, noted)
    _bring_in(step, parts.good, noted)


def _put_back(step: Step, rows: pl.DataFrame, parts: Split, number: int) -> None:
    """Rows that were taken up and fail by now, since the rules have changed meanwhile, are open again."""
    target = quarantine_of(step.table)
    again = (
        rows.drop("reasons", "rules")
        .join(parts.refused, on=list(POINTER), how="inner")
        .with_columns(replay=pl.lit(None, pl.Int64), contract_version=pl.lit(step.table.version))
        .select(target.column_names)
    )

    def marks(outcome: Outcome, before: Mapping[str, int]) -> dict[str, int]:
        return {ROWS: before.get(ROWS, 0) + outcome.inserted}

    commit = Commit(token=Token("replay_back", number), reads=(ROWS,), marks=marks, info=step.info)
    step.lake.store.append(target, again, commit)
