"""ODP's library: contracts, the persistence authority, landing, and the domains.

Belongs here: everything that is true of the data, whoever runs it.
Does not: Dagster, HTTP, Compose. Arrows run one way: domains -> engine, store -> contracts.

    from lakehouse import Column, Contract, Type, Write, open_lake      see docs/lakehouse.md

These names are found on first use, so that `import lakehouse` itself costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lakehouse.contracts import Column, Contract, Type, Write
    from lakehouse.flow import open_lake
    from lakehouse.store import Commit, Term, Token, Where

__all__ = ["Column", "Commit", "Contract", "Term", "Token", "Type", "Where", "Write", "open_lake"]

_ROOMS = {
    "lakehouse.contracts": ("Column", "Contract", "Type", "Write"),
    "lakehouse.flow": ("open_lake",),
    "lakehouse.store": ("Commit", "Term", "Token", "Where"),
}


def __getattr__(name: str) -> Any:
    for room, names in _ROOMS.items():
        if name in names:
            return getattr(import_module(room), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
