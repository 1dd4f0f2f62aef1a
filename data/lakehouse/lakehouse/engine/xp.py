"""The few operations that differ from engine to engine, so that transforms need not know which one runs.

Belongs here: the operations' names, and those that one expression says for every engine. Does not: what an
engine does under such a name (`<engine>/functions.py`), or anything narwhals already offers.

The engine is told by the frame. What an operation promises stands at its reference, on Polars.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec

import narwhals.stable.v2 as nw

from lakehouse.engine.polars import functions as reference
from lakehouse.engine.protocol import Frame
from lakehouse.errors import Unsupported

if TYPE_CHECKING:
    import polars as pl

__all__ = [
    "Frame", "by_rows", "by_value", "computed", "date_after", "decimal", "divided", "durations",
    "extracted", "in_polars", "json_fields", "json_length", "percent_decoded",
    "round_half_up", "rounded_decimals", "snake_case", "span_start", "timestamp",
]  # fmt: skip

P = ParamSpec("P")
_ENGINES = {
    nw.Implementation.POLARS: "polars",
    nw.Implementation.DUCKDB: "duckdb",
    nw.Implementation.PYSPARK_CONNECT: "spark",
}


def _on_its_engine(frame: Frame, name: str) -> Callable[..., Any]:
    """Return the function of this name that serves the frame's engine."""
    engine = _ENGINES.get(frame.implementation)
    if engine is None:
        raise Unsupported(
            f"xp.{name} serves frames of {', '.join(_ENGINES.values())}; got one of {frame.implementation}. "
            "Collect it to Polars first."
        )
    function: Callable[..., Any] = getattr(import_module(f"lakehouse.engine.{engine}.functions"), name)
    return function


def _per_engine(
    function: Callable[Concatenate[Frame, P], Frame],
) -> Callable[Concatenate[Frame, P], Frame]:
    """Return what calls the function of this name of the frame's engine."""

    @functools.wraps(function)  # what decides the rows (pipeline/source.py)
    def dispatched(frame: Frame, /, *args: P.args, **kwargs: P.kwargs) -> Frame:
        made: Frame = _on_its_engine(frame, function.__name__)(frame, *args, **kwargs)
        return made

    return dispatched


def _transform(
    make: Callable[[Callable[..., Any]], Callable[..., Frame]], build: Callable[..., Any]
) -> Callable[..., Frame]:
    """Return the transform that `make` makes of `build` on the engine of the frames it gets."""

    def transform(*frames: Frame) -> Frame:
        made: Frame = _on_its_engine(frames[0], make.__name__)(build)(*frames)
        return made

    transform.__wrapped__ = make(build)  # type: ignore[attr-defined]  # what decides the rows
    return transform


def by_rows(build: Callable[[pl.DataFrame], pl.DataFrame]) -> Callable[..., Frame]:
    """Return a transform that computes whole frames: for what no expression can say.

    `build` gives one row for each row it gets.
    """
    return _transform(reference.by_rows, build)


def in_polars(build: Callable[..., pl.LazyFrame]) -> Callable[..., Frame]:
    """Return a transform written in Polars, for what narwhals has no words for."""
    return _transform(reference.in_polars, build)


json_fields = _per_engine(reference.json_fields)
by_value = _per_engine(reference.by_value)
json_length = _per_engine(reference.json_length)
timestamp = _per_engine(reference.timestamp)
span_start = _per_engine(reference.span_start)
snake_case = _per_engine(reference.snake_case)
durations = _per_engine(reference.durations)
date_after = _per_engine(reference.date_after)
extracted = _per_engine(reference.extracted)
percent_decoded = _per_engine(reference.percent_decoded)
computed = _per_engine(reference.computed)
decimal = _per_engine(reference.decimal)
rounded_decimals = _per_engine(reference.rounded_decimals)


def round_half_up(expr: nw.Expr, digits: int) -> nw.Expr:
    """Round non-negative numbers half up.

    Bare `round` differs per engine: half-even on Polars, half-up on DuckDB. Spark's `floor` gives whole
    numbers of 64 bits, and from 2**53 on a double has no fraction.
    """
    factor = 10**digits
    scaled = expr * factor + 0.5
    return divided(nw.when(scaled < 2**53).then(scaled.floor()).otherwise(scaled), factor)


def divided(expr: nw.Expr, by: int) -> nw.Expr:
    """Divide by a constant, to the double that is nearest.

    Polars multiplies by the reciprocal instead when a column of more than one row is divided by a
    constant: an eighth of the quotients by 100 are then off by the last bit, and not those of a row
    alone.
    """
    quotient: nw.Expr = expr / (expr * 0 + by)
    return quotient
