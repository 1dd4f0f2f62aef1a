"""Rows of DuckDB queries as Polars frames, computed when they are asked for.

Belongs here: composing a query, and handing Polars' columns, conditions and limits down to it. Does not:
knowing tables.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import polars as pl
from polars.io.plugins import register_io_source

from lakehouse.contracts import Contract
from lakehouse.store.ducklake.connection import DuckLake
from lakehouse.store.ducklake.pushdown import pushed
from lakehouse.store.ducklake.schema import columns

_BATCH_ROWS = 122_880  # DuckDB's own row group


@dataclass(frozen=True)
class Query:
    """A SELECT with its values: `source` is what stands after FROM, `selected` what after SELECT."""

    source: str
    selected: str = "*"
    conditions: tuple[str, ...] = ()
    values: tuple[Any, ...] = ()

    def where(self, condition: str, values: Sequence[Any] = ()) -> Query:
        """Return the rows that `condition` also holds for."""
        return replace(self, conditions=(*self.conditions, condition), values=(*self.values, *values))

    def without(self, other: Query) -> Query:
        """Return the rows that `other` has not, each as often as it is here more often than there."""
        return Query(f"({self.text} EXCEPT ALL {other.text})", values=(*self.values, *other.values))

    @property
    def text(self) -> str:
        condition = f" WHERE {' AND '.join(f'({c})' for c in self.conditions)}" if self.conditions else ""
        return f"SELECT {self.selected} FROM {self.source}{condition}"


def lazy(lake: DuckLake, table: Contract, query: Query) -> pl.LazyFrame:
    """Return the rows of `query`, which has the contract's columns, with the contract's types."""
    schema = table.polars_schema()

    def source(
        with_columns: list[str] | None,
        predicate: pl.Expr | None,
        n_rows: int | None,
        batch_size: int | None,
    ) -> Iterator[pl.DataFrame]:
        names = table.column_names if with_columns is None else with_columns
        asked = _asked(table, query, names, predicate, n_rows)
        empty = pl.DataFrame(schema={name: schema[name] for name in names})
        yield empty if predicate is None else empty.filter(predicate)
        with lake.asking(f"reading {table}") as cursor:
            reader = cursor.execute(asked.text, list(asked.values)).to_arrow_reader(batch_size or _BATCH_ROWS)
            for batch in reader:
                frame = pl.DataFrame(batch).cast(empty.schema)
                yield frame if predicate is None else frame.filter(predicate)

    return register_io_source(source, schema=schema, is_pure=True)


def _asked(
    table: Contract, query: Query, names: Sequence[str], predicate: pl.Expr | None, n_rows: int | None
) -> Query:
    """Return what DuckDB is asked: Polars cuts to `n_rows` before it filters, so a limit stands alone."""
    asked = Query(f"({query.text})", columns(names), values=query.values)
    if n_rows is not None:
        return replace(asked, source=f"({query.text} LIMIT {int(n_rows)})")
    if predicate is None:
        return asked
    for condition, values in pushed(table, predicate):
        asked = asked.where(condition, values)
    return asked
