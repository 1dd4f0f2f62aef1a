"""Floats of rows that are not DuckDB's own, so that a condition on them finds what it would among its own.

Belongs here: keeping such conditions from the reader of Arrow or Parquet. Does not: reading.

DuckDB hands a condition on a bare column to the reader. That of Arrow compares as IEEE 754 does, so that it
drops NaN of `>`, and -0.0 of a join or `IN`. That of Parquet goes by the file's least and greatest value,
among which no NaN counts: it drops them, or takes them for what is between.
"""

from __future__ import annotations

from typing import Any

import duckdb

from lakehouse.contracts.sql import quoted, text


def guarded(relation: duckdb.DuckDBPyRelation) -> duckdb.DuckDBPyRelation:
    """Return the same rows, with no float that is a bare column."""
    kinds = dict(zip(relation.columns, relation.types, strict=True))
    return relation.select(selection(kinds)) if any(map(_has_floats, kinds.values())) else relation


def selection(kinds: dict[str, Any]) -> str:
    """Return what to select of columns of these DuckDB types."""
    return ", ".join(f"{_guarded(quoted(name), kind)} AS {quoted(name)}" for name, kind in kinds.items())


def _guarded(value: str, kind: Any) -> str:
    if kind.id in ("double", "float"):
        return f"CASE WHEN isnan({value}) THEN 'nan'::{kind} ELSE {value} END"
    if kind.id == "struct" and _has_floats(kind):
        fields = (
            f"{quoted(name)} := {_guarded(f'struct_extract({value}, {text(name)})', inner)}"
            for name, inner in kind.children
        )
        return f"CASE WHEN {value} IS NOT NULL THEN struct_pack({', '.join(fields)}) END"
    return value


def _has_floats(kind: Any) -> bool:
    """Return whether a condition may reach a float in it: within lists, none is handed on."""
    if kind.id == "struct":
        return any(_has_floats(inner) for _, inner in kind.children)
    return kind.id in ("double", "float")
