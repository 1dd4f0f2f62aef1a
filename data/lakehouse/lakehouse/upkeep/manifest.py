"""What a corpus consists of, as one JSON document: for whoever trains on it, publishes it or checks it later.

Belongs here: writing down tables as they are. Does not: what a corpus covers (the domains say it).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from lakehouse.contracts import Contract, quarantine_of
from lakehouse.errors import Conflict
from lakehouse.flow import Lake
from lakehouse.verify import content_hash

_TRIES = 5


def manifest(lake: Lake, tables: Sequence[Contract], coverage: Mapping[str, Any]) -> dict[str, Any]:
    """Return contract version, store version, rows and content hash of every table, and what is covered."""
    told: dict[str, Any] = {}
    with lake.store.steady():
        for table in tables:
            at = lake.store.snapshot(table)
            told[table.path] = {
                "contract_version": table.version,
                "version": at.version,
                "rows": at.rows,
                "content": content_hash(table, lake.store.scan(table)),
            }
            if table.row_wise and lake.store.exists(quarantine_of(table)):
                told[table.path]["quarantined"] = lake.store.snapshot(quarantine_of(table)).rows
    return {"tables": told, "coverage": dict(coverage)}


def keep(lake: Lake, name: str, document: Mapping[str, Any]) -> str:
    """Write the document over an older one of that name; return its address."""
    place = f"manifests/{name}.json"
    body = orjson.dumps(document, option=orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS) + b"\n"
    for _ in range(_TRIES):
        before = lake.store.files.read_tagged(place)
        if lake.store.files.put_if(place, body, before[1] if before else None) is not None:
            return lake.store.files.own_uri(place)
    raise Conflict(f"writing {place}: others kept writing it. Run it again.")
