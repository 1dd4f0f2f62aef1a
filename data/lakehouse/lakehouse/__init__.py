"""ODP's library: contracts, the persistence authority, landing, and the domains.

Belongs here: everything that is true of the data, whoever runs it.
Does not: Dagster, HTTP, Compose. Arrows run one way: domains -> engine, store -> contracts.

    from lakehouse import Column, Contract, Type, Materialization, open_lake      see docs/lakehouse.md

These names are found on first use, so that `import lakehouse` itself costs nothing.
"""

from __future__ import annotations

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lakehouse.contracts import (
        Column,
        Contract,
        DecimalType,
        ListType,
        Materialization,
        StructField,
        StructType,
        Type,
    )
    from lakehouse.pipeline import open_lake
    from lakehouse.store import CommitOptions, StagedFiles, Term, Transaction, Where

# Read by Polars for its allocator when it is loaded: what was freed goes back to the system after 0.1 s and
# not 1.5. That is a seventh of the peak at a million rows, for 3 % of the time.
os.environ.setdefault("_RJEM_MALLOC_CONF", "dirty_decay_ms:100,muzzy_decay_ms:0")

__all__ = [
    "Column",
    "CommitOptions",
    "Contract",
    "DecimalType",
    "ListType",
    "Materialization",
    "StagedFiles",
    "StructField",
    "StructType",
    "Term",
    "Transaction",
    "Type",
    "Where",
    "open_lake",
]

_ROOMS = {
    "lakehouse.contracts": (
        "Column", "Contract", "DecimalType", "ListType", "StructField", "StructType", "Type",
        "Materialization",
    ),
    "lakehouse.pipeline": ("open_lake",),
    "lakehouse.store": ("CommitOptions", "StagedFiles", "Term", "Transaction", "Where"),
}  # fmt: skip


def __getattr__(name: str) -> Any:
    for room, names in _ROOMS.items():
        if name in names:
            return getattr(import_module(room), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
