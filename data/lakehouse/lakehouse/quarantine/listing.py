"""What lies in quarantine and why.

Belongs here: reading. Does not: trying again (replaying.py).
A refusal is open until a replay has taken it up. Both are rows of the quarantine table, which only grows:
`replay` is null in a refusal and the replay's number in the row that takes it up.
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
from lakehouse.flow import Lake

MASK = "•••"


@dataclass(frozen=True, kw_only=True)
class Rejects:
    """One table's quarantine in figures. `by_rule` counts open rows; one that breaks two rules is in both."""

    table: str
    open: int
    replayed: int
    by_rule: Mapping[str, int]
    newest: datetime | None


@dataclass(frozen=True, kw_only=True)
class Reject:
    """One open refusal. Without `reveal_pii` the record and the values its rules saw are masked."""

    source: str
    row: int
    batch: int
    at: datetime
    contract_version: str
    rules: tuple[str, ...]
    reasons: Sequence[Mapping[str, Any]]
    record: Mapping[str, Any] | str


def open_rejects(lake: Lake, table: Contract) -> pl.DataFrame:
    """Return the refusals that no replay has taken up, one row per Bronze row, oldest first."""
    if not table.row_wise:
        raise Unsupported(f"{table} refuses no rows: it is not computed row by row, so it has no quarantine")
    try:
        told = lake.store.scan(quarantine_of(table)).collect()
    except TableNotFound:
        return pl.DataFrame(schema=quarantine_of(table).polars_schema())
    is_refusal = pl.col("replay").is_null()
    counts = told.group_by(POINTER).agg((is_refusal.sum().cast(pl.Int64) - (~is_refusal).sum()).alias("left"))
    still = counts.filter(pl.col("left") > 0)
    return (
        told.filter(is_refusal)
        .join(still, on=list(POINTER), how="semi", nulls_equal=True)
        .sort("contract_version")
        .unique(subset=list(POINTER), keep="last", maintain_order=True)
        .sort("_batch_id", "_source", "_row")
    )


def list_rejects(lake: Lake, tables: Sequence[Contract]) -> list[Rejects]:
    """Return the figures of every table that can refuse rows."""
    return [_figures(lake, table) for table in tables if table.row_wise]


def _figures(lake: Lake, table: Contract) -> Rejects:
    here = open_rejects(lake, table)
    try:
        told = lake.store.scan(quarantine_of(table)).select(pl.col("replay").is_not_null().sum())
        replayed = int(told.collect().item() or 0)
    except TableNotFound:
        replayed = 0
    rules = here.select(pl.col("rules").str.split(",").alias("rule")).explode("rule")
    counts = rules.group_by("rule").len().sort(["len", "rule"], descending=[True, False])
    newest = here["_ingested_at"].max()
    return Rejects(
        table=table.path,
        open=here.height,
        replayed=replayed,
        by_rule=dict(counts.iter_rows()),
        newest=newest if isinstance(newest, datetime) else None,
    )


def show(
    lake: Lake, table: Contract, *, rule: str | None = None, limit: int = 20, reveal_pii: bool = False
) -> list[Reject]:
    """Return the newest open refusals (of one rule) with every reason. Raises Unsupported: unknown rule."""
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
        reasons = [{"rule": r["rule"], "values": dict.fromkeys(r["values"], MASK)} for r in reasons]
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
