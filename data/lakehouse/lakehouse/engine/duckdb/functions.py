"""What differs from engine to engine, on DuckDB.

Belongs here: one function per operation of xp, equal to the reference (polars/functions.py) to the bit. Does
not: what narwhals says for every engine (xp.py).

Text that somebody else wrote (JSON, times, names) is read by the reference itself: two readers would differ
on what is malformed. Figures are SQL.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from typing import Any, Literal

import duckdb
import narwhals.stable.v2 as nw
import polars as pl

from lakehouse.contracts.sql import quoted, text
from lakehouse.engine.duckdb.floats import guarded
from lakehouse.engine.polars import functions as reference
from lakehouse.engine.protocol import Frame

_TICK = timedelta(microseconds=1)


def polars_of(frame: Frame) -> pl.DataFrame:
    """Return the rows of a DuckDB frame."""
    relation: duckdb.DuckDBPyRelation = nw.to_native(frame)
    return relation.pl()


def beside(frame: Frame, rows: pl.DataFrame) -> Frame:
    """Return rows as a frame of the same database as `frame`."""
    handed = rows.to_arrow()  # found by DuckDB by its name here
    relation = nw.to_native(frame).query("unused", "SELECT * FROM handed")
    del handed
    made: Frame = nw.from_native(guarded(relation))
    return made


def by_rows(build: Callable[[pl.DataFrame], pl.DataFrame]) -> Callable[[Frame], Frame]:
    return lambda frame: beside(frame, build(polars_of(frame)))


def in_polars(build: Callable[..., pl.LazyFrame]) -> Callable[..., Frame]:
    def transform(*frames: Frame) -> Frame:
        made = build(*(polars_of(frame).lazy() for frame in frames))
        return beside(frames[0], made.collect(engine="streaming"))

    return transform


def _as_the_reference(operation: Callable[..., Frame]) -> Callable[..., Frame]:
    """Return an operation that adds columns row by row, as Polars does it."""

    def added(frame: Frame, *args: Any, **how: Any) -> Frame:
        rows = nw.from_native(polars_of(frame).lazy())
        return beside(frame, nw.to_native(operation(rows, *args, **how)).collect(engine="streaming"))

    return added


json_fields = _as_the_reference(reference.json_fields)
json_length = _as_the_reference(reference.json_length)
timestamp = _as_the_reference(reference.timestamp)
decimal = _as_the_reference(reference.decimal)
rounded_decimals = _as_the_reference(reference.rounded_decimals)
snake_case = _as_the_reference(reference.snake_case)
percent_decoded = _as_the_reference(reference.percent_decoded)


def by_value(frame: Frame, column: str, made: Mapping[str, nw.Expr]) -> Frame:  # noqa: ARG001  # it groups itself
    return frame.with_columns(**made)


def computed(frame: Frame) -> Frame:
    return beside(frame, polars_of(frame))


def extracted(frame: Frame, column: str, pattern: str, group: int, *, to: str) -> Frame:
    value, how = quoted(column), text(pattern)
    found = f"CASE WHEN regexp_matches({value}, {how}) THEN regexp_extract({value}, {how}, {group}) END"
    return _with(frame, found, to)


def date_after(frame: Frame, column: str, number: str, unit: Literal["mo", "d"], *, to: str) -> Frame:
    after = {"mo": "to_months", "d": "to_days"}[unit]
    at = f"({quoted(column)} + {after}(round_even({quoted(number)}, 0)::INTEGER))::DATE"
    return _with(frame, at, to)


def span_start(frame: Frame, column: str, length: timedelta, *, to: str) -> Frame:
    relation: duckdb.DuckDBPyRelation = nw.to_native(frame)
    kind = dict(zip(relation.columns, relation.types, strict=True))[column]
    ticks, each = f"epoch_us({quoted(column)})", length // _TICK
    start = f"{ticks} - ((({ticks}) % {each}) + {each}) % {each}"
    return _with(frame, f"CAST(make_timestamptz({start}) AS {kind})", to)


def durations(
    frame: Frame,
    *,
    by: Sequence[str],
    of: str,
    per: int,
    mean: str,
    percentiles: Mapping[str, int],
    counts: Mapping[str, str | None],
) -> Frame:
    keys, value = ", ".join(map(quoted, by)), quoted(of)
    asked = [
        f"{'count(*)' if part is None else f'coalesce(sum({quoted(part)}), 0)'}::BIGINT AS {quoted(name)}"
        for name, part in counts.items()
    ]
    figures = [f"CASE WHEN __n > 0 THEN {_quotient('__sum', f'__n * {per}')} END AS {quoted(mean)}"]
    figures += [f"{_percentile(percent, per)} AS {quoted(name)}" for name, percent in percentiles.items()]
    asked += [
        f"sum({value}::HUGEINT) AS __sum",
        f"count({value}) AS __n",
        f"list({value} ORDER BY {value}) FILTER ({value} IS NOT NULL) AS __sorted",
    ]
    grouped = nw.to_native(frame).aggregate(", ".join([keys, *asked]), keys)
    made: duckdb.DuckDBPyRelation = grouped.select(", ".join([keys, *map(quoted, counts), *figures]))
    return nw.from_native(made)


def _with(frame: Frame, expression: str, to: str) -> Frame:
    """Add a column, or put it in the place of the one of its name."""
    relation: duckdb.DuckDBPyRelation = nw.to_native(frame)
    added = f"{expression} AS {quoted(to)}"
    return nw.from_native(
        relation.select(f"* REPLACE ({added})" if to in relation.columns else f"*, {added}")
    )


def _percentile(percent: int, per: int) -> str:
    """Return the percentile of `__sorted`, by the two values that it lies between."""
    place = f"(__n - 1) * {percent}"
    below = f"__sorted[({place}) // 100 + 1]::HUGEINT"
    above = f"__sorted[least(({place}) // 100 + 2, __n)]::HUGEINT"
    weighed = f"{below} * (100 - ({place}) % 100) + {above} * (({place}) % 100)"
    return f"CASE WHEN __n > 0 THEN {_quotient(weighed, str(100 * per))} END"


def _quotient(numerator: str, denominator: str) -> str:
    """Return a quotient of whole numbers as doubles; by way of text, since a HUGEINT is rounded twice."""
    return f"(({numerator})::VARCHAR)::DOUBLE / ({denominator})::DOUBLE"
