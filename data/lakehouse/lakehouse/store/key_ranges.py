"""Where along an ordered column a set of values lies, as few spans: what files need to be looked at.

Belongs here: spans of values and their three spellings. Does not: reading files, or literals (values.py).
One span from the least to the largest value would reach from a late row of last year to those of today.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any, NamedTuple

import polars as pl

from lakehouse.contracts import Contract, Type
from lakehouse.contracts.sql import quoted
from lakehouse.store.values import sql, typed

_MOST = 32
# Whether a float lies between two others has several answers once one of them is no number.
_ORDERED = (Type.STRING, Type.INT32, Type.INT64, Type.DATE, Type.TIMESTAMP)


class Span(NamedTuple):
    """A closed span of values of one type. The ends of dates and times are the numbers they are stored as."""

    low: Any
    high: Any
    dtype: pl.DataType


def spans(values: pl.Series, *, most: int = _MOST) -> list[Span]:
    """Return at most `most` closed spans that hold every value but nulls, cut at the widest gaps."""
    ordered = values.drop_nulls().unique().sort().to_physical()
    if ordered.is_empty():
        return []
    if not ordered.dtype.is_numeric() or len(ordered) == 1:
        return [Span(ordered[0], ordered[-1], values.dtype)]
    gaps = ordered.cast(pl.Float64).diff().slice(1)  # as whole numbers, the widest gap of all would overflow
    cuts = sorted((gaps.arg_sort(descending=True).head(most - 1) + 1).to_list())
    starts, ends = [0, *cuts], [*cuts, len(ordered)]
    return [
        Span(ordered[start], ordered[end - 1], values.dtype) for start, end in zip(starts, ends, strict=True)
    ]


def widened(found: list[Span], by: timedelta) -> list[Span]:
    """Return spans of dates or times that each reach further by `by`, up to the last that there is."""

    def reach(span: Span) -> Span:
        whole = timedelta(days=1) if span.dtype == pl.Date else timedelta(microseconds=1)
        last = 2**31 - 1 if span.dtype == pl.Date else 2**63 - 1
        return span._replace(high=min(span.high + by // whole, last))

    return [reach(span) for span in found]


def within(column: str, found: list[Span]) -> pl.Expr:
    """Return the condition that `column` lies in one of the spans."""
    return pl.any_horizontal(
        [
            pl.col(column).is_between(typed(span.low, span.dtype), typed(span.high, span.dtype))
            for span in found
        ]
        or [pl.lit(False)]
    )


def within_sql(column: str, found: list[Span]) -> str:
    """Return the same as Delta SQL about the target of a merge."""
    name = f"target.{quoted(column)}"
    return " OR ".join(
        f"({name} >= {sql(span.low, span.dtype)} AND {name} <= {sql(span.high, span.dtype)})"
        for span in found
    )


def within_duckdb(column: str, found: list[Span]) -> tuple[str, list[Any]]:
    """Return the same as DuckDB SQL about `t`, with one `?` per end, and the ends."""
    hole = {pl.Date: "(DATE '1970-01-01' + ?::INTEGER)", pl.Datetime: "make_timestamptz(?)"}
    terms = []
    for span in found:
        end = hole.get(type(span.dtype), "?")
        terms.append(f"t.{quoted(column)} BETWEEN {end} AND {end}")
    return " OR ".join(terms) or "false", [end for span in found for end in (span.low, span.high)]


def pruning_column(table: Contract) -> str | None:
    """Return the key column along which the table's files can be told apart, if there is one."""
    ordered = [n for n in table.key if table.by_name[n].type in (Type.DATE, Type.TIMESTAMP)]
    clustered = [n for n in table.cluster_by if n in table.key and table.by_name[n].type in _ORDERED]
    return next(iter([*clustered, *ordered]), None)
