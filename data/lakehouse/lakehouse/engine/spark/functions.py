"""What differs from engine to engine, on a Spark Connect server.

Belongs here: one function per operation of xp, equal to the reference (polars/functions.py) to the bit. Does
not: what narwhals says for every engine (xp.py).

What is made of each row alone is made by the reference itself, on the server and beside its data
(`mapInArrow`): regular expressions, JSON and calendars differ between servers, and none of them is ours.
Figures of groups are Spark's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import narwhals.stable.v2 as nw
import polars as pl
import pyarrow as pa

from lakehouse.engine.polars import functions as reference
from lakehouse.engine.protocol import Frame
from lakehouse.engine.spark.floats import guarded
from lakehouse.engine.spark.transfer import (
    arrow_of,
    arrow_types,
    kept,
    polars_of,
    polars_types,
    sent,
    spark_types,
)

if TYPE_CHECKING:
    from pyspark.sql.connect.dataframe import DataFrame

Column = Any  # the client's own types differ between its two kinds
_DIGITS = "decimal(38,0)"
_MAPPED_ROWS, _MAPPED_BYTES = 1 << 17, 32 << 20  # in one piece of a partition, whichever it has first


def row_by_row(frame: Frame, build: Callable[[pl.DataFrame], pl.DataFrame]) -> Frame:
    """Return what `build` makes of the rows, on the server, a batch of them at a time."""
    native: DataFrame = nw.to_native(frame)
    given = polars_types(native.schema)
    made = build(pl.DataFrame(schema=given)).schema
    mapped = native.mapInArrow(partial(_mapped, build, given, arrow_types(made)), spark_types(made))
    framed: Frame = nw.from_native(mapped)
    return framed


def _mapped(
    build: Callable[[pl.DataFrame], pl.DataFrame],
    given: pl.Schema,
    made: pa.Schema,
    batches: Iterator[pa.RecordBatch],
) -> Iterator[pa.RecordBatch]:
    """Run on the server: rows as Polars has them, and back.

    One partition may have batches of several files, whose texts are of other kinds of Arrow, or can be null.
    """
    for some in _together(batches):
        rows = pl.concat(pl.DataFrame(pa.Table.from_batches([batch])).cast(given) for batch in some)
        yield from arrow_of(build(rows)).cast(made).to_batches()


def _together(batches: Iterator[pa.RecordBatch]) -> Iterator[list[pa.RecordBatch]]:
    """Yield the batches of a server, which are small, some at a time: each call costs milliseconds."""
    some: list[pa.RecordBatch] = []
    rows = size = 0
    for batch in batches:
        some.append(batch)
        rows, size = rows + batch.num_rows, size + batch.nbytes
        if rows >= _MAPPED_ROWS or size >= _MAPPED_BYTES:
            yield some
            some, rows, size = [], 0, 0
    if some:
        yield some


def by_rows(build: Callable[[pl.DataFrame], pl.DataFrame]) -> Callable[[Frame], Frame]:
    return lambda frame: row_by_row(frame, build)


def in_polars(build: Callable[..., pl.LazyFrame]) -> Callable[..., Frame]:
    """It may look at all rows at once, so they come to this process."""

    def transform(*frames: Frame) -> Frame:
        made = build(*(polars_of(nw.to_native(frame)).lazy() for frame in frames))
        return sent(nw.to_native(frames[0]).sparkSession, made.collect(engine="streaming"))

    return transform


def _as_the_reference(operation: Callable[..., Frame]) -> Callable[..., Frame]:
    """Return an operation that adds columns row by row, as Polars does it."""

    def added(frame: Frame, *args: Any, **how: Any) -> Frame:
        return row_by_row(frame, partial(_added, operation, args, how))

    return added


def _added(
    operation: Callable[..., Frame], args: tuple[Any, ...], how: Mapping[str, Any], rows: pl.DataFrame
) -> pl.DataFrame:
    made: pl.LazyFrame = nw.to_native(operation(nw.from_native(rows.lazy()), *args, **how))
    return made.collect()


json_fields = _as_the_reference(reference.json_fields)
by_value = _as_the_reference(reference.by_value)
json_length = _as_the_reference(reference.json_length)
timestamp = _as_the_reference(reference.timestamp)
span_start = _as_the_reference(reference.span_start)
snake_case = _as_the_reference(reference.snake_case)
date_after = _as_the_reference(reference.date_after)
extracted = _as_the_reference(reference.extracted)
percent_decoded = _as_the_reference(reference.percent_decoded)
decimal = _as_the_reference(reference.decimal)
rounded_decimals = _as_the_reference(reference.rounded_decimals)


def computed(frame: Frame) -> Frame:
    """The server keeps the rows until this process lets go of them."""
    native: DataFrame = nw.to_native(frame)
    made: Frame = nw.from_native(guarded(kept(native)))
    return made


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
    from pyspark.sql.connect import functions as F  # noqa: N812  # Spark's own name for it

    native: DataFrame = nw.to_native(frame)
    value = native[of]
    asked = [
        (
            F.count(F.lit(1)) if part is None else F.coalesce(F.sum(native[part].cast("bigint")), F.lit(0))
        ).cast("bigint").alias(name)
        for name, part in counts.items()
    ]  # fmt: skip
    asked += [
        F.sum(value.cast(_DIGITS)).alias("__sum"),
        F.count(value).cast("int").alias("__n"),
        F.sort_array(F.collect_list(value)).alias("__sorted"),  # without nulls
    ]
    grouped = native.groupBy(*by).agg(*asked)
    some = grouped["__n"] > 0
    figures = [F.when(some, _quotient(F.col("__sum"), F.col("__n") * F.lit(per))).alias(mean)]
    figures += [
        F.when(some, _percentile(F, percent, per)).alias(name) for name, percent in percentiles.items()
    ]
    framed: Frame = nw.from_native(grouped.select(*by, *counts, *figures))
    return framed


def _percentile(F: Any, percent: int, per: int) -> Column:  # noqa: N803
    """Return the percentile of `__sorted`, by the two values that it lies between."""
    last, sorted_ = F.col("__n") - 1, F.col("__sorted")
    weight = (last * percent % 100).cast(_DIGITS)
    place = F.floor(last * percent / F.lit(100)).cast("int")
    below = F.element_at(sorted_, place + 1).cast(_DIGITS)
    above = F.element_at(sorted_, F.least(place + 2, F.col("__n"))).cast(_DIGITS)
    weighed = below * (F.lit(100).cast(_DIGITS) - weight) + above * weight
    return _quotient(weighed.cast(_DIGITS), F.lit(100 * per))


def _quotient(numerator: Column, denominator: Column) -> Column:
    """Return a quotient of whole numbers as doubles; by way of text, whose double is the nearest one."""
    return numerator.cast("string").cast("double") / denominator.cast("double")
