"""How names and texts stand in SQL, and what DuckDB and Delta call the types of a contract.

Belongs here: what engine, store, outputs and the API write alike. Does not: an engine, or whole statements.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from lakehouse.contracts.types import ColumnType, DecimalType, ListType, StructType, Type

_PATTERN = re.compile(r"[*?\[]")

_TYPES: dict[Type, str] = {
    Type.STRING: "VARCHAR",
    Type.BOOL: "BOOLEAN",
    Type.INT32: "INTEGER",
    Type.INT64: "BIGINT",
    Type.FLOAT64: "DOUBLE",
    Type.DATE: "DATE",
    Type.TIMESTAMP: "TIMESTAMP WITH TIME ZONE",
    Type.BINARY: "BLOB",
}

DELTA_TYPES: dict[Type, str] = {
    Type.STRING: "string",
    Type.BOOL: "boolean",
    Type.INT32: "integer",
    Type.INT64: "long",
    Type.FLOAT64: "double",
    Type.DATE: "date",
    Type.TIMESTAMP: "timestamp",
    Type.BINARY: "binary",
}
"""What Delta, and so Spark, calls the types that are neither decimals nor nested."""


def duckdb_type(type_: ColumnType) -> str:
    """Return a column's type as DuckDB declares it, to the letter."""
    match type_:
        case DecimalType():
            return f"DECIMAL({type_.precision},{type_.scale})"
        case ListType():
            return f"{duckdb_type(type_.element)}[]"
        case StructType():
            return f"STRUCT({', '.join(f'{quoted(f.name)} {duckdb_type(f.type)}' for f in type_.fields)})"
        case _:
            return _TYPES[type_]


def quoted(name: str) -> str:
    """Return a name as an SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def text(value: str) -> str:
    """Return a text as an SQL literal."""
    return "'" + value.replace("'", "''") + "'"


def parquet_rows(files: Iterable[Path]) -> str:
    """Return what DuckDB reads the rows of these very files by, with the columns that any of them has.

    By itself it takes a path for a pattern, and a folder named `a=b` for the value of every row's column `a`.
    """
    listed = ", ".join(text(_PATTERN.sub(r"[\g<0>]", str(file))) for file in files)
    return f"read_parquet([{listed}], union_by_name = true, hive_partitioning = false)"
