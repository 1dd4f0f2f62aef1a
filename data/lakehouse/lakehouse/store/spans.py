"""Where along an ordered column a set of values lies, as few spans: what files need to be looked at.

Belongs here: spans of values and their two spellings. Does not: reading files.
One span from the least to the largest value would reach from a late row of last year to those of today.
"""

from __future__ import annotations

from typing import Any

import polars as pl

from lakehouse.contracts import Contract, Type
from lakehouse.store.predicate import literal, quoted

_MOST = 32

Span = tuple[Any, Any]


def spans(values: pl.Series, *, most: int = _MOST) -> list[Span]:
    """Return at most `most` closed spans that hold every value but nulls, cut at the widest gaps."""
    ordered = values.drop_nulls().unique().sort()
    if ordered.is_empty():
        return []
    if not (ordered.dtype.is_temporal() or ordered.dtype.is_numeric()) or len(ordered) == 1:
        return [(ordered[0], ordered[-1])]
    gaps = ordered.diff().slice(1).to_physical()
    cuts = sorted((gaps.arg_sort(descending=True).head(most - 1) + 1).to_list())
    starts, ends = [0, *cuts], [*cuts, len(ordered)]
    return [(ordered[start], ordered[end - 1]) for start, end in zip(starts, ends, strict=True)]


def within(column: str, found: list[Span]) -> pl.Expr:
    """Return the condition that `column` lies in one of the spans."""
    return pl.any_horizontal([pl.col(column).is_between(low, high) for low, high in found] or [pl.lit(False)])


def within_sql(column: str, found: list[Span]) -> str:
    """Return the same as Delta SQL about the target of a merge."""
    name = f"target.{quoted(column)}"
    return " OR ".join(f"({name} >= {literal(low)} AND {name} <= {literal(high)})" for low, high in found)


def pruning_column(table: Contract) -> str | None:
    """Return the key column along which the table's files can be told apart, if there is one."""
    ordered = [n for n in table.key if table.by_name[n].type in (Type.DATE, Type.TIMESTAMP)]
    clustered = [n for n in table.cluster_by if n in table.key]
    return next(iter([*clustered, *ordered]), None)
