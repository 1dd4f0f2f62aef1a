"""The one persistence authority. Only this package imports a table-format library.

Belongs here: committing, scanning and describing tables, and the promises about them.
Does not: what a table means (contracts), or when to write it (pipeline).
"""

from importlib import import_module
from types import ModuleType

from lakehouse.errors import SettingsError
from lakehouse.settings import BACKENDS, Settings
from lakehouse.store.commits import COMMIT_ID, commit_of
from lakehouse.store.predicate import Term, Where
from lakehouse.store.protocol import TableStore, whole_files
from lakehouse.store.results import (
    ArrowStream,
    BaseVersion,
    Changes,
    CommitOptions,
    CommitResult,
    DataFile,
    DataFiles,
    HistoryEntry,
    MaintenanceOptions,
    MaintenanceResult,
    Outcome,
    Rows,
    Snapshot,
    StagedFiles,
    State,
    Transaction,
)

__all__ = [
    "COMMIT_ID",
    "ArrowStream",
    "BaseVersion",
    "Changes",
    "CommitOptions",
    "CommitResult",
    "DataFile",
    "DataFiles",
    "HistoryEntry",
    "MaintenanceOptions",
    "MaintenanceResult",
    "Outcome",
    "Rows",
    "Snapshot",
    "StagedFiles",
    "State",
    "TableStore",
    "Term",
    "Transaction",
    "Where",
    "commit_of",
    "open_store",
    "whole_files",
]


def open_store(settings: Settings) -> TableStore:
    """Return the store that `settings.lake_format` names.

    Raises SettingsError when the packages of that format are not installed.
    """
    store: TableStore = backend(settings.lake_format).open_store(settings)
    return store


def backend(lake_format: str) -> ModuleType:
    """Return the package of a format, whose libraries are imported by it alone. Raises SettingsError."""
    try:
        return import_module(BACKENDS[lake_format])
    except ModuleNotFoundError as exc:
        raise SettingsError(
            f"LAKE_FORMAT={lake_format} needs the package {exc.name}: install the library with its extra "
            f"`{lake_format}`. `make start` does, and builds the image anew."
        ) from None
