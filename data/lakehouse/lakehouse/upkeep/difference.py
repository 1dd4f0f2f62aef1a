"""What changed between two runs, table by table.

Belongs here: counting rows that came, went or changed. Does not: the rows themselves (`store.changes`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from lakehouse.contracts import Contract
from lakehouse.errors import Unsupported
from lakehouse.flow import Lake
from lakehouse.upkeep.points import kept_tables, point_of


@dataclass(frozen=True, kw_only=True)
class TableDiff:
    """One table in two runs. A row whose key is in both with other values counts as changed."""

    table: str
    version_a: int | None
    version_b: int | None
    added: int
    removed: int
    changed: int


def diff(lake: Lake, run_a: str, run_b: str, tables: Sequence[Contract]) -> list[TableDiff]:
    """Return what run b has that run a had not, and the other way round. Raises Unsupported (unknown run)."""
    first, second = point_of(lake, run_a), point_of(lake, run_b)
    named = {*first.versions, *second.versions}
    return [
        _diff(lake, table, first.versions.get(table.path), second.versions.get(table.path))
        for table in kept_tables(tables)
        if table.path in named
    ]


def _diff(lake: Lake, table: Contract, a: int | None, b: int | None) -> TableDiff:
    added, removed = _moved(lake, table, a, b)
    if not table.key:
        return TableDiff(
            table=table.path, version_a=a, version_b=b, added=added.height, removed=removed.height, changed=0
        )
    key = list(table.key)
    changed = added.select(key).join(removed.select(key), on=key, how="inner").height
    return TableDiff(
        table=table.path,
        version_a=a,
        version_b=b,
        added=added.height - changed,
        removed=removed.height - changed,
        changed=changed,
    )


def _moved(lake: Lake, table: Contract, a: int | None, b: int | None) -> tuple[pl.DataFrame, pl.DataFrame]:
    nothing = pl.DataFrame(schema=table.polars_schema())
    if a is None or b is None:
        there = lake.store.scan(table, version=b if a is None else a).collect()
        return (there, nothing) if a is None else (nothing, there)
    if a == b:
        return nothing, nothing
    moved = lake.store.changes(table, since=min(a, b), until=max(a, b))
    if not moved.complete:
        raise Unsupported(f"comparing {table} at versions {a} and {b}: what lies between is no longer kept")
    came, went = (part.collect(engine="streaming") for part in (moved.added, moved.removed))
    return (came, went) if a < b else (went, came)
