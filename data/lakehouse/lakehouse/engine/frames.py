"""Frames at the edge: a transform gets and gives the kind of frame its annotations name.

Belongs here: conversion between narwhals, Polars, pandas and Arrow. Does not: schema checks (store).
Such a transform sees all rows, in this process, whatever engine its table has.
An unannotated parameter gets a narwhals frame.
"""

from __future__ import annotations

import functools
import inspect
import typing
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from lakehouse.errors import SchemaViolation

if TYPE_CHECKING:
    import narwhals.stable.v2 as nw
    import polars as pl

    from lakehouse.contracts import Contract

_KINDS = {
    ("narwhals", "LazyFrame"): "narwhals",
    ("polars", "LazyFrame"): "polars_lazy",
    ("polars", "DataFrame"): "polars",
    ("pandas", "DataFrame"): "pandas",
    ("pyarrow", "Table"): "arrow",
}
NAMES = "narwhals.LazyFrame, polars.LazyFrame, polars.DataFrame, pandas.DataFrame, pyarrow.Table"


def kinds(function: Callable[..., Any], sources: int = 0) -> list[str]:
    """Return the kind of frame each parameter of `function` asks for; `*frames` stands for all that are left.

    Raises TypeError for an annotation that is no frame, or names something not imported at run time.
    """
    try:
        hints = typing.get_type_hints(function)
    except NameError as exc:
        raise TypeError(
            f"{function.__name__}: an annotation cannot be read ({exc}). "
            "Import its name outside `if TYPE_CHECKING`."
        ) from None
    asked: list[str] = []
    for name, parameter in inspect.signature(function).parameters.items():
        rest = sources - len(asked) if parameter.kind is parameter.VAR_POSITIONAL else 1
        asked += [_kind(function, name, hints.get(name))] * rest
    return asked


def _kind(function: Callable[..., Any], name: str, hint: Any) -> str:
    if hint is None:
        return "narwhals"
    hint = typing.get_origin(hint) or hint
    found = _KINDS.get((hint.__module__.split(".")[0], hint.__name__)) if isinstance(hint, type) else None
    if found is None:
        raise TypeError(f"{function.__name__}({name}: {hint}): not a frame. Use one of {NAMES}.")
    return found


def adapt(function: Callable[..., Any], table: Contract) -> Callable[..., nw.LazyFrame]:
    """Return `function` as the library calls it: narwhals frames in, a narwhals frame out."""
    wanted = kinds(function, len(table.sources))

    def build(*sources: pl.LazyFrame) -> pl.LazyFrame:
        given = [give(frame, kind) for frame, kind in zip(sources, wanted, strict=True)]
        return take(function(*given), table).lazy()

    @functools.wraps(function)
    def transform(*sources: nw.LazyFrame) -> nw.LazyFrame:
        from lakehouse.engine import xp

        return xp.in_polars(build)(*sources)

    transform.__wrapped__ = function  # what decides the rows (pipeline/source.py)
    return transform


def as_transform(function: Callable[..., Any], table: Contract) -> Callable[..., Any]:
    """Return `function` itself where it works on narwhals frames, else adapted to them."""
    asked = kinds(function, len(table.sources))
    return function if set(asked) <= {"narwhals"} else adapt(function, table)


def give(frame: pl.LazyFrame, kind: str) -> Any:
    """Convert a lazy Polars frame to `kind`. pandas gets Arrow-backed columns: nulls and integers stay."""
    if kind == "narwhals":
        import narwhals.stable.v2 as nw

        return nw.from_native(frame)
    if kind == "polars_lazy":
        return frame
    collected = frame.collect()
    if kind == "pandas":
        return collected.to_pandas(use_pyarrow_extension_array=True)
    return collected.to_arrow() if kind == "arrow" else collected


def take(made: Any, table: Contract) -> pl.LazyFrame | pl.DataFrame:
    """Convert what an asset returned to Polars. Raises SchemaViolation for what is no frame."""
    import narwhals.stable.v2 as nw
    import polars as pl

    if isinstance(made, nw.LazyFrame | nw.DataFrame):
        made = nw.to_native(made)
    if isinstance(made, pl.LazyFrame | pl.DataFrame):
        return made
    module = type(made).__module__.split(".")[0]
    if module == "pandas":
        return _from_pandas(made, table)
    if module == "pyarrow":
        return _same_types(_from_arrow(made, table), table)
    raise SchemaViolation(f"the transform of {table} returned {type(made).__name__}; return one of {NAMES}.")


def _from_arrow(made: Any, table: Contract) -> pl.DataFrame:
    import polars as pl

    try:
        return pl.DataFrame(made)
    except pl.exceptions.PanicException:  # no Exception: it would end the process
        kinds = ", ".join(
            f"{field.name}: {field.type}" for field in made.schema if field.name in table.by_name
        )
        raise SchemaViolation(
            f"the transform of {table} returned an Arrow table with a type that Polars has not ({kinds}). "
            "Cast it to what the contract says."
        ) from None


def _from_pandas(made: Any, table: Contract) -> pl.DataFrame:
    import polars as pl

    if made.index.names != [None]:
        raise SchemaViolation(
            f"the transform of {table} returned a pandas frame with a named index, which would "
            "be lost. Call reset_index() first."
        )
    return _same_types(pl.from_pandas(made), table)


def _same_types(frame: pl.DataFrame, table: Contract) -> pl.DataFrame:
    """Undo what pandas cannot say (a null among integers makes them floats, times are nanoseconds).

    Only lossless casts: a value that would change raises SchemaViolation later, in the store. So does a float
    where the contract has a decimal: 0.1 is none.
    """
    import polars as pl

    for name, wanted in table.polars_schema().items():
        if name not in frame.columns or frame.schema[name] == wanted:
            continue
        if _float_for_decimal(frame.schema[name], wanted):
            continue
        try:
            cast = frame[name].cast(wanted, strict=True)
            if cast.cast(frame.schema[name]).equals(frame[name], null_equal=True):
                frame = frame.with_columns(cast)
        except pl.exceptions.PolarsError:
            continue
    return frame


def _float_for_decimal(found: pl.DataType, wanted: pl.DataType) -> bool:
    """Return whether a decimal would be made of a float, also within nested values."""
    import polars as pl

    from lakehouse.contracts.types import as_instance

    if isinstance(found, pl.List) and isinstance(wanted, pl.List):
        return _float_for_decimal(as_instance(found.inner), as_instance(wanted.inner))
    if isinstance(found, pl.Struct) and isinstance(wanted, pl.Struct):
        asked = {field.name: as_instance(field.dtype) for field in wanted.fields}
        given = [
            (as_instance(field.dtype), asked[field.name]) for field in found.fields if field.name in asked
        ]
        return any(_float_for_decimal(one, other) for one, other in given)
    return found.is_float() and isinstance(wanted, pl.Decimal)
