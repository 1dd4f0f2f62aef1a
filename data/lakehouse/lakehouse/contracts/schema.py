"""What follows from contracts for people and other programs: JSON Schemas and the data dictionary.

Belongs here: generating both as values. Does not: where they are written (ops/scripts/contract_docs.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lakehouse.contracts.model import POINTER, Column, Contract
from lakehouse.contracts.types import ColumnType, DecimalType, ListType, StructType, Type, nested_fields

_JSON: dict[Type, dict[str, Any]] = {
    Type.STRING: {"type": "string"},
    Type.BOOL: {"type": "boolean"},
    Type.INT32: {"type": "integer", "minimum": -(2**31), "maximum": 2**31 - 1},
    Type.INT64: {"type": "integer", "minimum": -(2**63), "maximum": 2**63 - 1},
    Type.FLOAT64: {"type": "number"},
    Type.DATE: {"type": "string", "format": "date"},
    Type.TIMESTAMP: {"type": "string", "format": "date-time"},
    Type.BINARY: {"type": "string", "contentEncoding": "base64"},
}


def json_schema(table: Contract) -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) of a row as JSON. Each column is there; some may be null."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": f"urn:odp:{table.path.replace('/', ':')}:{table.version}",
        "title": table.path,
        "description": table.description,
        "type": "object",
        "properties": {c.name: _property(c) for c in table.columns},
        "required": [c.name for c in table.columns],
        "additionalProperties": False,
        "x-key": list(table.key),
    }


def landing_schema(table: Contract) -> dict[str, Any]:
    """Return the JSON Schema of a record that may be sent to a Bronze table: any of its own columns.

    They are taken as they come, a payload as a JSON value or as JSON text; rules judge them in Silver.
    """
    own = [c for c in table.columns if c.name not in (*POINTER, "_ingested_at")]
    whole = json_schema(table)
    return {
        **whole,
        "$id": f"{whole['$id']}:landing",
        "properties": {c.name: {"description": c.description, **_marks(c)} for c in own},
        "required": [],
        "minProperties": 1,
        "additionalProperties": True,
    }


def _property(column: Column) -> dict[str, Any]:
    kind = _kind(column.type, nullable=column.nullable)
    return {**kind, "description": column.description, **_marks(column)}


def _kind(type_: ColumnType, *, nullable: bool = True) -> dict[str, Any]:
    kind = _values(type_)
    return {**kind, "type": [kind["type"], "null"]} if nullable else kind


def _values(type_: ColumnType) -> dict[str, Any]:
    """Return the JSON Schema of a value that is not null.

    A decimal is text: JSON numbers are read as floats.
    """
    match type_:
        case DecimalType():
            return {"type": "string", "pattern": _decimal(type_)}
        case ListType():
            return {"type": "array", "items": _kind(type_.element)}
        case StructType():
            fields = {f.name: {**_kind(f.type), "description": f.description} for f in type_.fields}
            return {
                "type": "object",
                "properties": fields,
                "required": list(fields),
                "additionalProperties": False,
            }
        case _:
            return dict(_JSON[type_])


def _decimal(type_: DecimalType) -> str:
    """Return the pattern of a decimal as it is written: with every digit of its scale."""
    most = type_.precision - type_.scale
    whole = f"(0|[1-9][0-9]{{0,{most - 1}}})" if most else "0"
    part = rf"\.[0-9]{{{type_.scale}}}" if type_.scale else ""
    return f"^-?{whole}{part}$"


def _marks(column: Column) -> dict[str, Any]:
    marks: dict[str, Any] = {}
    if column.unit:
        marks["x-unit"] = column.unit
    if column.pii:
        marks["x-pii"] = True
    return marks


def dictionary(tables: Sequence[Contract]) -> str:
    """Return the data dictionary as Markdown: every table, column, rule and source."""
    parts = ["| table | one row is | key | from |", "|---|---|---|---|"]
    for t in tables:
        sources = ", ".join(f"`{s.path}`" for s in t.sources) or "landing"
        key = ", ".join(f"`{k}`" for k in t.key) or "–"
        parts.append(f"| [`{t.path}`](#{t.layer}{t.name}) | {t.description} | {key} | {sources} |")
    return "\n".join([*parts, *(line for t in tables for line in _table(t))]) + "\n"


def _named(type_: ColumnType) -> str:
    """Return a type's name; the fields of a struct have lines of their own."""
    match type_:
        case ListType():
            return f"list of {_named(type_.element)}"
        case StructType():
            return "struct"
        case _:
            return type_.value


def _table(table: Contract) -> list[str]:
    said = f"{table.description} Contract {table.version}, materialized: {table.materialization.value}."
    lines = ["", f"## {table.path}", "", said, ""]
    lines += ["| column | type | unit | null | PII | what it is | from |", "|---|---|---|---|---|---|---|"]
    for c in table.columns:
        origin = ", ".join(f"`{s}`" for s in c.sources)
        flags = (c.unit or "", "yes" if c.nullable else "", "yes" if c.pii else "")
        lines.append(f"| `{c.name}` | {_named(c.type)} | {' | '.join(flags)} | {c.description} | {origin} |")
        lines += [
            f"| `{path}` | {_named(f.type)} |  | yes | {flags[2]} | {f.description} | |"
            for path, f in nested_fields(c.name, c.type)
        ]
    if table.rules:
        lines += ["", "| rule | a row that breaks it | must hold |", "|---|---|---|"]
        for r in table.rules:
            fate = "goes to quarantine" if r.severity == "error" else "is counted"
            lines.append(f"| `{r.name}` | {fate} | {r.description} |")
    return lines
