"""What changed between two runs, table by table.

Belongs here: counting rows that were added, removed or changed. Does not: the rows themselves
(`store.changes`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from lakehouse.contracts import Contract, with_side_tables
from lakehouse.errors import Unsupported
from lakehouse.maintenance.points import point_of
from lakehouse.maintenance.restoring import refuse_another
from lakehouse.pipeline import Lake


@dataclass(frozen=True, kw_only=True)
class TableDiff:
    """One table in two runs. A row with the same key and different values counts as changed."""

    table: str
    version_a: int | None
    version_b: int | None
    added: int
    removed: int
    changed: int


def diff(lake: Lake, run_a: str, run_b: str, tables: Sequence[Contract]) -> list[TableDiff]:
    """Return how many rows were added, removed and changed from run a to run b, by table.

    Raises Unsupported: unknown run, or a table that was recreated since one of them.
    """
    first, second = point_of(lake, run_a), point_of(lake, run_b)
    named = {*first.versions, *second.versions}
    for table in with_side_tables(tables):
        for point in (first, second) if table.path in named else ():
            refuse_another(lake, table, point)
    return [
        _diff(lake, table, first.versions.get(table.path), second.versions.get(table.path))
        for table in with_side_tables(tables)
        if table.path in named
    ]


def _diff(lake: Lake, table: Contract, a: int | None, b: int | None) -> TableDiff:
    added, removed = _changes(lake, table, a, b)
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


def _changes(lake: Lake, table: Contract, a: int | None, b: int | None) -> tuple[pl.DataFrame, pl.DataFrame]:
    no_rows = pl.DataFrame(schema=table.polars_schema())
    if a is None or b is None:
        rows = lake.store.scan(table, version=b if a is None else a).collect()
        return (rows, no_rows) if a is None else (no_rows, rows)
    if a == b:
        return no_rows, no_rows
    changes = lake.store.changes(table, since=min(a, b), until=max(a, b))
    if not changes.complete:
        raise Unsupported(
            f"comparing {table} at versions {a} and {b}: the versions between them are no longer kept"
        )
    added, removed = (part.collect(engine="streaming") for part in (changes.added, changes.removed))
    return (added, removed) if a < b else (removed, added)
