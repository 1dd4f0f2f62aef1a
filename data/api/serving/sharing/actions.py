"""The lines of an answer: protocol, metadata and files, in the format `parquet` or `delta`.

Belongs here: what a line says. Does not: which files (hints.py), or where they can be fetched (urls.py).

In the format `delta` each line wraps an action of a Delta log; a recipient makes a log of them and reads it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

import orjson

from lakehouse.contracts import ColumnType, Contract, DecimalType, ListType, StructType
from lakehouse.contracts.sql import DELTA_TYPES
from lakehouse.store import DataFile, DataFiles
from serving.problems import Problem
from serving.sharing.urls import Link

Format = Literal["parquet", "delta"]
HEADER = "delta-sharing-capabilities"


def chosen(header: str | None) -> Format:
    """Return the format that a client asks for: parquet where it reads both. Raises Problem 400."""
    for capability in (header or "").lower().split(";"):
        key, _, values = capability.partition("=")
        if key.strip() == "responseformat":
            asked = [value.strip() for value in values.split(",")]
            if "parquet" in asked:
                return "parquet"
            if "delta" in asked:
                return "delta"
            raise Problem(400, "responseformat is parquet or delta")
    return "parquet"


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What is told of a version. `dated` says that this very version was asked for."""

    contract: Contract
    found: DataFiles
    dated: bool = False

    def head(self, form: Format) -> Iterator[dict[str, Any]]:
        """Yield the two lines that come first."""
        table, found = self.contract, self.found
        size = sum(file.size_bytes for file in found.files)
        extent: dict[str, Any] = {"size": size, "numFiles": len(found.files)}
        if self.dated:
            extent["version"] = found.version
        what: dict[str, Any] = {
            "id": found.identity,
            "name": table.path,
            "description": table.description,
            "format": {"provider": "parquet"},
            "schemaString": schema_string(table, found.columns),
            "partitionColumns": list(found.partition_by),
            "configuration": {},
        }
        if form == "parquet":
            yield {"protocol": {"minReaderVersion": 1}}
            yield {"metaData": what | extent}
        else:
            yield {"protocol": {"deltaProtocol": {"minReaderVersion": 1, "minWriterVersion": 2}}}
            what["format"] = {"provider": "parquet", "options": {}}
            yield {"metaData": {"deltaMetadata": what} | extent}

    def file(self, file: DataFile, link: Link, form: Format) -> dict[str, Any]:
        """Return the line of a file."""
        head = {
            "id": hashlib.sha256(f"{self.found.identity}/{file.name}".encode()).hexdigest()[:32],
            "size": file.size_bytes,
            "expirationTimestamp": link.expires_ms,
        }
        stats = {} if file.rows is None else {"stats": orjson.dumps({"numRecords": file.rows}).decode()}
        if form == "parquet":
            # An empty text is how the protocol writes null, whatever the type.
            values = {name: value or "" for name, value in file.partition.items()}
            return {"file": {"url": link.url, "partitionValues": values, **head, **stats}}
        add = {
            "path": link.url,
            "partitionValues": dict(file.partition),
            "size": file.size_bytes,
            "modificationTime": int(file.written_at.timestamp() * 1000) if file.written_at else 0,
            "dataChange": True,
            **stats,
        }
        return {"file": {**head, "deltaSingleAction": {"add": add}}}


def schema_string(table: Contract, columns: Iterable[str]) -> str:
    """Return columns of a contract as the JSON in which Delta keeps a schema."""
    fields = [
        _field(column.name, column.type, column.nullable, column.description)
        for column in (table.by_name[name] for name in columns)
    ]
    return orjson.dumps({"type": "struct", "fields": fields}).decode()


def _field(name: str, kind: ColumnType, nullable: bool, description: str) -> dict[str, Any]:
    return {
        "name": name, "type": _type(kind), "nullable": nullable, "metadata": {"comment": description},
    }  # fmt: skip


def _type(kind: ColumnType) -> Any:
    """Return a type in the words of Spark; what lies within another value may be null."""
    match kind:
        case DecimalType():
            return f"decimal({kind.precision},{kind.scale})"
        case ListType():
            return {"type": "array", "elementType": _type(kind.element), "containsNull": True}
        case StructType():
            return {
                "type": "struct",
                "fields": [_field(f.name, f.type, True, f.description) for f in kind.fields],
            }
        case _:
            return DELTA_TYPES[kind]
