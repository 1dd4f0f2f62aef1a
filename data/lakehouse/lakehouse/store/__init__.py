"""The one persistence authority. Only this package imports a table-format library.

Belongs here: committing, scanning and describing tables, and the promises about them.
Does not: what a table means (contracts), or when to write it (flow).
"""

from lakehouse.errors import SettingsError
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
        try:
            from lakehouse.store.ducklake import DuckLakeStore
        except ModuleNotFoundError as exc:
            raise SettingsError(
                f"LAKE_FORMAT=ducklake needs the package {exc.name}: install the library with its extra "
                "`ducklake`. `make start` does, and builds the image anew."
            ) from exc
        return DuckLakeStore(settings)
    return DeltaStore(settings)
