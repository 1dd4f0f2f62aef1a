"""What a column may hold: the types, and what each is to Polars and Arrow.

Belongs here: the types of a contract, their text, their Polars and Arrow types. Does not: what a format calls
them (store), which values of a type are kept (bounds.py), or their JSON Schema (schema.py).

    Type.STRING  DecimalType(18, 2)  ListType(Type.STRING)
    StructType((StructField(name="zip", type=Type.STRING, description="Postal code"),))

An element of a list and a field of a struct may always be null: DuckLake and Polars have no word for less. A
row rule asks for more. Lists and structs keep their order: the one of fields is part of the type. They stand
in no key, order, partitioning or clustering: formats have no statistics of them and no order over them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, TypeAlias

import polars as pl

from lakehouse.errors import ContractError

if TYPE_CHECKING:
    import pyarrow as pa

COLUMN_NAME = re.compile(r"^_?[a-z][a-z0-9_]*$")
"""The name of a column, and of a field within one: what every engine takes without quotes."""

MOST_DIGITS = 38  # of a decimal: what 128 bits hold


class Type(StrEnum):
    """A type without parameters, in the words every engine shares. Timestamps are UTC, microseconds."""

    STRING = "string"
    BOOL = "bool"
    INT32 = "int32"
    INT64 = "int64"
    FLOAT64 = "float64"
    DATE = "date"
    TIMESTAMP = "timestamp"
    BINARY = "binary"


@dataclass(frozen=True)
class DecimalType:
    """An exact number of at most `precision` digits, `scale` of them after the point."""

    precision: int
    scale: int

    def __post_init__(self) -> None:
        if not (1 <= self.precision <= MOST_DIGITS and 0 <= self.scale <= self.precision):
            raise ContractError(
                f"{self}: a decimal has 1 to {MOST_DIGITS} digits, and no more of them after the point"
            )

    @property
    def value(self) -> str:
        return f"decimal({self.precision}, {self.scale})"

    def __str__(self) -> str:
        return self.value


@dataclass(frozen=True)
class ListType:
    """Any number of values of one type, in their order."""

    element: ColumnType

    @property
    def value(self) -> str:
        return f"list<{self.element.value}>"

    def __str__(self) -> str:
        return self.value


@dataclass(frozen=True, kw_only=True)
class StructField:
    """One field of a struct. Its name keeps the rule of a column's."""

    name: str
    type: ColumnType
    description: str


@dataclass(frozen=True)
class StructType:
    """Named fields, in this order."""

    fields: tuple[StructField, ...]

    def __post_init__(self) -> None:
        names = [field.name for field in self.fields]
        if not names or len(set(names)) < len(names):
            raise ContractError(f"{self}: a struct has at least one field, and no two of one name")
        for name in names:
            if not COLUMN_NAME.fullmatch(name):
                raise ContractError(f"field {name!r} of a struct must match {COLUMN_NAME.pattern}")

    @property
    def value(self) -> str:
        return f"struct<{', '.join(f'{field.name}: {field.type.value}' for field in self.fields)}>"

    def __str__(self) -> str:
        return self.value


ColumnType: TypeAlias = Type | DecimalType | ListType | StructType

POLARS_TYPES: dict[Type, pl.DataType] = {
    Type.STRING: pl.String(),
    Type.BOOL: pl.Boolean(),
    Type.INT32: pl.Int32(),
    Type.INT64: pl.Int64(),
    Type.FLOAT64: pl.Float64(),
    Type.DATE: pl.Date(),
    Type.TIMESTAMP: pl.Datetime("us", "UTC"),
    Type.BINARY: pl.Binary(),
}


def is_nested(type_: ColumnType) -> bool:
    """Return whether values of the type hold values."""
    return isinstance(type_, ListType | StructType)


def as_instance(dtype: Any) -> pl.DataType:
    """Return a Polars type that stands within another: it may be a class there."""
    found: pl.DataType = dtype() if isinstance(dtype, type) else dtype
    return found


def polars_type(type_: ColumnType) -> pl.DataType:
    """Return the one Polars type of a column's values."""
    match type_:
        case DecimalType():
            return pl.Decimal(type_.precision, type_.scale)
        case ListType():
            return pl.List(polars_type(type_.element))
        case StructType():
            return pl.Struct([pl.Field(field.name, polars_type(field.type)) for field in type_.fields])
        case _:
            return POLARS_TYPES[type_]


def arrow_type(type_: ColumnType) -> pa.DataType:
    """Return the same as an Arrow type."""
    import pyarrow as pa

    match type_:
        case DecimalType():
            return pa.decimal128(type_.precision, type_.scale)
        case ListType():
            return pa.list_(arrow_type(type_.element))
        case StructType():
            return pa.struct([pa.field(field.name, arrow_type(field.type)) for field in type_.fields])
        case _:
            plain: dict[Type, pa.DataType] = {
                Type.STRING: pa.string(),
                Type.BOOL: pa.bool_(),
                Type.INT32: pa.int32(),
                Type.INT64: pa.int64(),
                Type.FLOAT64: pa.float64(),
                Type.DATE: pa.date32(),
                Type.TIMESTAMP: pa.timestamp("us", tz="UTC"),
                Type.BINARY: pa.binary(),
            }
            return plain[type_]


def nested_fields(name: str, type_: ColumnType) -> Iterator[tuple[str, StructField]]:
    """Yield each field within a column with its path: `address.zip`, `visits[].at`."""
    if isinstance(type_, ListType):
        yield from nested_fields(f"{name}[]", type_.element)
    if isinstance(type_, StructType):
        for field in type_.fields:
            path = f"{name}.{field.name}"
            yield path, field
            yield from nested_fields(path, field.type)
