"""Lists of a resource as columns of lists: their types, and how values become them.

Belongs here: the structs that a list may hold, and building such columns. Does not: taking the values of a
resource (taking.py, parts.py), or which table has which list (resources.py).

A value of a struct is a tuple of its fields, in their order. They are built as Arrow, a field at a time:
Polars looks at each value of a list of tuples several times.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import accumulate, chain
from operator import attrgetter, not_
from typing import TYPE_CHECKING, Any

import polars as pl

from lakehouse.contracts.types import (
    ColumnType,
    ListType,
    StructField,
    StructType,
    Type,
    arrow_type,
    polars_type,
)

if TYPE_CHECKING:
    import pyarrow as pa

Tuples = Sequence[tuple[Any, ...]]


def _struct(**fields: tuple[ColumnType, str]) -> StructType:
    return StructType(
        tuple(StructField(name=name, type=type_, description=says) for name, (type_, says) in fields.items())
    )


TEXTS = ListType(Type.STRING)

CODING = _struct(
    system=(Type.STRING, "Code system"),
    version=(Type.STRING, "Its version"),
    code=(Type.STRING, "Code"),
    display=(Type.STRING, "In words"),
    user_selected=(Type.BOOL, "Chosen by a person"),
)
CODINGS = ListType(CODING)
as_coding = attrgetter("system", "version", "code", "display", "userSelected")
"""Takes of a Coding what the struct has."""

IDENTIFIERS = ListType(
    _struct(system=(Type.STRING, "Who it is unique for"), value=(Type.STRING, "The identifier"))
)
LINKED = ListType(
    _struct(type=(Type.STRING, "replaced-by, replaces, refer or seealso"),
            reference=(Type.STRING, "The other record, as stated"))
)  # fmt: skip

COMPONENTS = ListType(
    _struct(
        code=(Type.STRING, "What was observed: code; the first with a code system"),
        code_system=(Type.STRING, "What was observed: code system"),
        code_display=(Type.STRING, "What was observed: in words"),
        code_codings=(CODINGS, "What was observed: all codings"),
        value=(Type.FLOAT64, "Value as a quantity: as a float; null for a bound"),
        value_text=(Type.STRING, "Value as a quantity: the decimal as it is written; null for a bound"),
        value_unit=(Type.STRING, "Value as a quantity: unit, by UCUM, else in words"),
        value_comparator=(
            Type.STRING, "<, <=, >= or > where it is no value but a bound, ? where which is not said"
        ),
        value_bound=(Type.STRING, "The bound that the comparator is of, as it is written"),
        value_code=(Type.STRING, "Value as a code: code; the first with a code system"),
        value_code_system=(Type.STRING, "Value as a code: code system"),
        value_code_display=(Type.STRING, "Value as a code: in words"),
        value_type=(Type.STRING, "Type of the value: Quantity, CodeableConcept …; null where there is none"),
        value_json=(Type.STRING, "Value of type Range, Ratio, SampledData or Period, as JSON"),
        value_string=(Type.STRING, "Value as text; also of a boolean, a whole number or a time"),
        absent_reason=(Type.STRING, "Why there is no value: code"),
        interpretation=(TEXTS, "High, low, normal …: codes, of one without a code its words"),
    )
)  # fmt: skip


def series(
    values: Sequence[Sequence[Any] | None],
    type_: ListType,
    as_element: Callable[[Any], tuple[Any, ...]] | None = None,
) -> pl.Series:
    """Return lists as a column; `as_element` makes of a list's values what its type says.

    An empty list is null: FHIR's JSON has none.
    """
    if not any(values):
        return pl.Series([None], dtype=polars_type(type_)).new_from_index(0, len(values))
    return pl.Series(pl.from_arrow(_lists(values, type_, as_element)), dtype=polars_type(type_))


def _lists(
    values: Sequence[Sequence[Any] | None],
    type_: ListType,
    as_element: Callable[[Any], tuple[Any, ...]] | None = None,
) -> pa.Array:
    import pyarrow as pa

    offsets = pa.array(list(accumulate(map(_length, values), initial=0)), pa.int32())
    missing = pa.array(list(map(not_, values)), pa.bool_())
    within = list(chain.from_iterable(filter(None, values)))
    made = list(map(as_element, within)) if as_element else within
    return pa.ListArray.from_arrays(offsets, _array(made, type_.element), mask=missing)


def _array(values: Sequence[Any], type_: ColumnType) -> pa.Array:
    import pyarrow as pa

    if isinstance(type_, ListType):
        return _lists(values, type_)
    if isinstance(type_, StructType):
        columns = zip(*values, strict=True) if values else ((),) * len(type_.fields)
        arrays = [_array(column, field.type) for column, field in zip(columns, type_.fields, strict=True)]
        return pa.StructArray.from_arrays(arrays, fields=list(arrow_type(type_)))
    return pa.array(values, arrow_type(type_))


def _length(value: Any) -> int:
    return len(value) if value else 0
