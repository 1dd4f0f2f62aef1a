"""The manifest of a corpus as one JSON document, for training on it, publishing it or checking it later.

Belongs here: recording tables as they are. Does not: what a corpus covers (the domains define it).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from lakehouse.contracts import Contract, quarantine_of
from lakehouse.errors import Conflict
from lakehouse.pipeline import Lake
from lakehouse.table import Manifest
from lakehouse.verify import content_hash

_TRIES = 5


def manifest(lake: Lake, tables: Sequence[Contract], coverage: Mapping[str, Any]) -> dict[str, Any]:
    """Return contract version, store version, rows and content hash of every table, and the coverage."""
    described: dict[str, Any] = {}
    with lake.store.pinned_reads():
        for table in tables:
            snapshot = lake.store.snapshot(table)
            described[table.path] = {
                "contract_version": table.version,
                "version": snapshot.version,
                "rows": snapshot.rows,
                "content": content_hash(table, lake.store.scan(table)),
            }
            if table.row_wise and lake.store.exists(quarantine_of(table)):
                described[table.path]["quarantined"] = lake.store.snapshot(quarantine_of(table)).rows
    return {"tables": described, "coverage": dict(coverage)}


def write_manifest(lake: Lake, what: Manifest) -> tuple[str, dict[str, Any]]:
    """Write a document about tables as they are over an older one; return its address, and the document."""
    document = manifest(lake, what.tables, what.coverage(lake))
    place = f"manifests/{what.file}.json"
    body = orjson.dumps(document, option=orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS) + b"\n"
    for _ in range(_TRIES):
        before = lake.store.files.read_tagged(place)
        if lake.store.files.put_if(place, body, before[1] if before else None) is not None:
            return lake.store.files.own_uri(place), document
    raise Conflict(f"writing {place}: others kept writing it. Run it again.")
