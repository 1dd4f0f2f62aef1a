"""The Delta backend of the persistence authority.

Belongs here: everything that knows Delta's log and its library. Does not: anything of another format, nor
what holds for every format (the modules of store/).
"""

from lakehouse.settings import Settings
from lakehouse.store.delta.write import DeltaStore

__all__ = ["DeltaStore", "open_store"]


def open_store(settings: Settings) -> DeltaStore:
    """Return the store of these settings. Nothing is read yet."""
    return DeltaStore(settings)
