"""Types of a result: DuckDB's, and those of contracts, which formats know.

Belongs here: from the one to the other. Does not: values.

    whole numbers to 32 bits   int32            VARCHAR                     string
    BIGINT, HUGEINT, …         int64            BLOB                        binary
    UBIGINT                    decimal(20, 0)   DATE                        date
    FLOAT, DOUBLE              float64          TIMESTAMP of any kind       timestamp, UTC
    DECIMAL                    decimal          lists and structs           the same
    everything else (INTERVAL, TIME, UUID, MAP, ENUM, …)                    string
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lakehouse.contracts import ColumnType, DecimalType, Type
from lakehouse.contracts.types import COLUMN_NAME, ListType, StructField, StructType

if TYPE_CHECKING:
    from duckdb.sqltypes import DuckDBPyType  # not loaded: the door itself has no use for DuckDB

_TYPES: dict[str, ColumnType] = {
    "boolean": Type.BOOL,
    **dict.fromkeys(("tinyint", "smallint", "integer", "utinyint", "usmallint"), Type.INT32),
    **dict.fromkeys(("uinteger", "bigint", "hugeint", "uhugeint"), Type.INT64),
    **dict.fromkeys(("float", "double"), Type.FLOAT64),
    "ubigint": DecimalType(20, 0),
    "varchar": Type.STRING,
    "blob": Type.BINARY,
    "date": Type.DATE,
    **dict.fromkeys(
        ("timestamp", "timestamp_s", "timestamp_ms", "timestamp_ns", "timestamp with time zone"),
        Type.TIMESTAMP,
    ),
}


def column_type(of: DuckDBPyType) -> ColumnType | None:
    """Return the type that a column of a result is given; None for one that becomes text."""
    kind = of.id
    if kind not in ("decimal", "list", "array", "struct"):
        return _TYPES.get(kind)
    children: list[tuple[str, Any]] = list(of.children)
    if kind == "decimal":
        precision, scale = (int(value) for _, value in children)
        return DecimalType(precision, scale)
    if kind == "struct":
        return _struct([(name, column_type(inner)) for name, inner in children])
    element = column_type(children[0][1])
    return ListType(element) if element is not None else None


def _struct(fields: list[tuple[str, ColumnType | None]]) -> StructType | None:
    known = [
        StructField(name=name, type=inner, description="")
        for name, inner in fields
        if inner is not None and COLUMN_NAME.fullmatch(name)
    ]
    return StructType(tuple(known)) if len(known) == len(fields) else None


def encoded(type_: ColumnType) -> Any:
    """Return a type as a JSON value."""
    match type_:
        case DecimalType():
            return {"decimal": [type_.precision, type_.scale]}
        case ListType():
            return {"list": encoded(type_.element)}
        case StructType():
            return {"struct": [[field.name, encoded(field.type)] for field in type_.fields]}
    return type_.value


def decoded(value: Any) -> ColumnType:
    """Return the type that `encoded` made the value of."""
    match value:
        case {"decimal": [int(precision), int(scale)]}:
            return DecimalType(precision, scale)
        case {"list": element}:
            return ListType(decoded(element))
        case {"struct": list(fields)}:
            return StructType(
                tuple(StructField(name=str(n), type=decoded(t), description="") for n, t in fields)
            )
    return Type(value)
