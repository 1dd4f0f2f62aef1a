"""The one persistence authority. Only this package imports a table-format library.

Belongs here: committing, scanning and describing tables, and the promises about them.
Does not: what a table means (contracts), or when to write it (flow).
"""

from lakehouse.settings import Settings
from lakehouse.store.delta import DeltaStore
from lakehouse.store.frames import repeats
from lakehouse.store.predicate import Term, Where
from lakehouse.store.protocol import (
    Changes,
    Commit,
    CommitResult,
    HistoryEntry,
    Maintained,
    Marks,
    Outcome,
    Snapshot,
    TableStore,
    Token,
    Upkeep,
)
from lakehouse.store.retry import COMMIT_ID

__all__ = [
    "COMMIT_ID",
    "Changes",
    "Commit",
    "CommitResult",
    "DeltaStore",
    "HistoryEntry",
    "Maintained",
    "Marks",
    "Outcome",
    "Snapshot",
    "TableStore",
    "Term",
    "Token",
    "Upkeep",
    "Where",
    "open_store",
    "repeats",
]


def open_store(settings: Settings) -> TableStore:
    """Return the store that `settings.lake_format` names. DuckDB is imported for `ducklake` alone.

    Raises SettingsError when the packages of that format are not installed.
    """
    if settings.lake_format == "ducklake":
        from lakehouse.store.ducklake import DuckLakeStore

        return DuckLakeStore(settings)
    return DeltaStore(settings)
