"""Reading quarantine tables: open rejects with their reasons.

Belongs here: reading. Does not: replay (replaying.py).
A reject is open until a replay has resolved it. Both are rows of the quarantine table, which is append-only:
`replay` is null in a reject, and holds the replay's number in the row that resolves it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import polars as pl

from lakehouse.contracts import POINTER, Contract, quarantine_of
from lakehouse.errors import TableNotFound, Unsupported
from lakehouse.masking import MASK
from lakehouse.pipeline import Lake
from lakehouse.pipeline.holds import Hold, hold_of
from lakehouse.store.integrity.damage import readable


@dataclass(frozen=True, kw_only=True)
class Rejects:
    """The counts of one table's quarantine, and its hold.

    `by_rule` counts open rejects; one that broke two rules counts for both.
    """

    table: str
    open: int
    replayed: int
    by_rule: Mapping[str, int]
    newest: datetime | None
    hold: Hold | None = None


@dataclass(frozen=True, kw_only=True)
class Reject:
    """One open reject. Without `reveal_pii`, the record and the values its rules checked are masked.

    A null is shown as such: it tells of nobody, and mostly is the reason.
    """

    source: str
    row: int
    batch: int
    at: datetime
    contract_version: str
    rules: tuple[str, ...]
    reasons: Sequence[Mapping[str, Any]]
    record: Mapping[str, Any] | str


def open_rejects(
    lake: Lake, table: Contract, *, batches: tuple[int, int] | None = None, records: bool = True
) -> pl.DataFrame:
    """Return the rejects that no replay has resolved, one row per Bronze row, oldest first.

    `batches` limits them to Bronze batches above the first number and up to the second. Without `records`,
    neither the records nor the values in the reasons are read.
    """
    if not table.row_wise:
        raise Unsupported(f"{table} refuses no rows: it is not computed row by row, so it has no quarantine")
    try:
        stored = lake.store.scan(quarantine_of(table))
        if batches is not None:
            stored = stored.filter(pl.col("_batch_id").is_between(*batches, closed="right"))
        with readable(lake.store, [quarantine_of(table)]):
            rows = (stored if records else stored.drop("record", "reasons")).collect()
    except TableNotFound:
        return pl.DataFrame(schema=quarantine_of(table).polars_schema())
    is_reject = pl.col("replay").is_null()
    counts = rows.group_by(POINTER).agg((is_reject.sum().cast(pl.Int64) - (~is_reject).sum()).alias("left"))
    unresolved = counts.filter(pl.col("left") > 0)
    return (
        rows.filter(is_reject)
        .join(unresolved, on=list(POINTER), how="semi", nulls_equal=True)
        .sort("contract_version")
        .unique(subset=list(POINTER), keep="last", maintain_order=True)
        .sort("_batch_id", "_source", "_row")
    )


def list_rejects(lake: Lake, tables: Sequence[Contract]) -> list[Rejects]:
    """Return the counts of every table that can reject rows."""
    return [_counts(lake, table) for table in tables if table.row_wise]


def _counts(lake: Lake, table: Contract) -> Rejects:
    rejects = open_rejects(lake, table)
    try:
        resolved = lake.store.scan(quarantine_of(table)).select(pl.col("replay").is_not_null().sum())
        replayed = int(resolved.collect().item() or 0)
    except TableNotFound:
        replayed = 0
    newest = rejects["_ingested_at"].max()
    return Rejects(
        table=table.path,
        open=rejects.height,
        replayed=replayed,
        by_rule=by_rule(rejects),
        newest=newest if isinstance(newest, datetime) else None,
        hold=hold_of(lake, table),
    )


def by_rule(rejects: pl.DataFrame) -> dict[str, int]:
    """Return how many rows broke each rule, the most frequent first."""
    rules = rejects.select(pl.col("rules").str.split(",").alias("rule")).explode("rule")
    counts = rules.group_by("rule").len().sort(["len", "rule"], descending=[True, False])
    return dict(counts.iter_rows())


def show(
    lake: Lake, table: Contract, *, rule: str | None = None, limit: int = 20, reveal_pii: bool = False
) -> list[Reject]:
    """Return the newest open rejects (of one rule) with all reasons. Raises Unsupported: unknown rule."""
    rows = _of_rule(table, open_rejects(lake, table), rule).tail(limit).reverse()
    return [_reject(row, reveal_pii=reveal_pii) for row in rows.iter_rows(named=True)]


def _of_rule(table: Contract, rows: pl.DataFrame, rule: str | None) -> pl.DataFrame:
    if rule is None:
        return rows
    known = {r.name for r in table.rules} | {f"{c.name}_not_null" for c in table.columns if not c.nullable}
    if rule not in known and rule not in set(rows["rules"].str.split(",").explode()):
        raise Unsupported(f"{table} has no rule {rule!r}; it has {', '.join(sorted(known))}")
    return rows.filter(pl.col("rules").str.split(",").list.contains(rule))


def _reject(row: Mapping[str, Any], *, reveal_pii: bool) -> Reject:
    reasons = json.loads(row["reasons"])
    record: Mapping[str, Any] | str = json.loads(row["record"])
    if not reveal_pii:
        record = MASK
        reasons = [
            {"rule": r["rule"], "values": {name: v if v is None else MASK for name, v in r["values"].items()}}
            for r in reasons
        ]
    return Reject(
        source=row["_source"],
        row=row["_row"],
        batch=row["_batch_id"],
        at=row["_ingested_at"],
        contract_version=row["contract_version"],
        rules=tuple(row["rules"].split(",")),
        reasons=reasons,
        record=record,
    )
