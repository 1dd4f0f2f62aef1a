"""What the persistence authority promises, by what people do: read, write, maintain, audit.

Belongs here: the methods that every backend has. Does not: what goes into them and comes out (results.py), or
any backend's code.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Protocol

import polars as pl

from lakehouse.contracts import Contract
from lakehouse.errors import Unsupported
from lakehouse.storage.files import Files
from lakehouse.store.integrity.checksums import Checked
from lakehouse.store.predicate import Where
from lakehouse.store.results import (
    BaseVersion,
    Changes,
    CommitOptions,
    CommitResult,
    DataFiles,
    Fault,
    HistoryEntry,
    MaintenanceOptions,
    MaintenanceResult,
    Rows,
    Snapshot,
)


class ReadsTables(Protocol):
    """Rows, versions and state. Raises StorageUnavailable, TableNotFound, DamagedTable."""

    def pinned_reads(self) -> AbstractContextManager[None]:
        """While it is open, reads may see each table as it was at the first look, and own commits."""
        ...

    def uri(self, table: Contract) -> str: ...
    def exists(self, table: Contract) -> bool: ...

    def found(self) -> list[str]:
        """Return every `<layer>/<name>` that holds anything, declared or not."""
        ...

    def scan(
        self, table: Contract, *, version: int | None = None, where: Where | None = None
    ) -> pl.LazyFrame: ...
    def snapshot(self, table: Contract, *, version: int | None = None) -> Snapshot: ...

    def data_files(self, table: Contract, *, version: int | None = None) -> DataFiles:
        """Return the files of a version (None: the newest), for who reads them without this library.

        Raises SchemaViolation when the version has columns that the contract does not know, and Unsupported
        when its rows are more or less than what plain Parquet files below the table hold.
        """
        ...

    def base_version(self, table: Contract, names: Sequence[str] = ()) -> BaseVersion:
        """Return the table's identity, version and the state `names`, all of one moment."""
        ...

    def mark(self, table: Contract, version: int) -> str:
        """Return what tells a version from another one of its number, as a backup that was put back comes to;
        empty where nothing tells. Who keeps something of a version keeps it with its mark.
        """
        ...

    def unchanged(self, table: Contract, since: BaseVersion) -> bool:
        """Return whether nothing but maintenance has happened to the table since that version."""
        ...

    def changes(self, table: Contract, *, since: int, until: int | None = None) -> Changes:
        """Return the rows that came and went after version `since`, up to `until` (None: now)."""
        ...

    def data_version(self, table: Contract) -> int:
        """Return the newest version that changed rows; maintenance does not move it."""
        ...

    def history(self, table: Contract, *, limit: int | None = None) -> list[HistoryEntry]: ...
    def read_state(self, table: Contract, names: Sequence[str]) -> dict[str, int]: ...
    def all_state(self, table: Contract, *, version: int | None = None) -> dict[str, int]: ...


class WritesTables(Protocol):
    """Commits. Rows come as whatever hands over an Arrow stream (a frame of Polars, a table or reader of
    pyarrow, a relation of DuckDB) or as Parquet files that an engine staged. Each write checks their schema
    exactly, refuses null keys and repeated keys, commits rows and state atomically, and after any exception
    reads the log before it says success or failure.

    Raises StorageUnavailable, SchemaViolation, DataViolation, Conflict, Moved, StaleWriter, Unsupported.
    """

    def ensure(self, table: Contract) -> int:
        """Create the table, or bring it to a contract that only adds nullable columns. Return its version."""
        ...

    def append(self, table: Contract, rows: Rows, commit: CommitOptions = ...) -> CommitResult: ...
    def merge(self, table: Contract, rows: Rows, commit: CommitOptions = ...) -> CommitResult: ...
    def replace_partitions(
        self, table: Contract, rows: Rows, commit: CommitOptions = ...
    ) -> CommitResult: ...
    def overwrite(self, table: Contract, rows: Rows, commit: CommitOptions = ...) -> CommitResult: ...

    def overwrite_from(self, table: Contract, other: Contract, commit: CommitOptions = ...) -> CommitResult:
        """Replace every row by those of table `other`, which has the same columns, in bounded memory."""
        ...

    def delete(self, table: Contract, where: Where, commit: CommitOptions = ...) -> CommitResult:
        """Remove the rows that `where` holds for; `outcome.deleted` counts them. None: no commit."""
        ...

    def redeclare(self, table: Contract, commit: CommitOptions = ...) -> CommitResult:
        """Empty the table and give it the contract's columns, in one commit.

        On DuckLake it is another table afterwards, whose older versions cannot be read any more.
        """
        ...

    def drop(self, table: Contract) -> None:
        """Remove a table and all its versions; one that is not there is no error. For staging only."""
        ...


class MaintainsTables(Protocol):
    """Older versions, and the files of all. Raises StorageUnavailable, Conflict, DamagedTable,
    Unsupported."""

    def restore(self, table: Contract, version: int, commit: CommitOptions = ...) -> CommitResult:
        """Bring rows and state back to how they stood at `version`, as one new commit."""
        ...

    def check_version(self, table: Contract, version: int) -> None:
        """Raise Unsupported when `version` can no longer be restored as a whole."""
        ...

    def maintain(self, table: Contract, options: MaintenanceOptions) -> MaintenanceResult: ...


class AuditsTables(Protocol):
    """Whether what lies in the store is what was written. Raises StorageUnavailable."""

    reads_what_it_replaces: bool  # so that a file that cannot be read can only be put back

    def schema_problems(self, table: Contract) -> list[str]: ...
    def missing_files(self, table: Contract) -> list[str]: ...

    def file_names(self, table: Contract, *, version: int | None = None) -> list[str]:
        """Return the data files of a version (None: the newest), as named below the table."""
        ...

    def log_faults(self, table: Contract) -> list[Fault]:
        """Return which files of the log are missing or empty, also where the newest version opens without."""
        ...

    def check_bytes(self, table: Contract) -> Checked:
        """Compare every file of the newest version with the checksum taken when it was written."""
        ...

    def settings_faults(self) -> list[Fault]:
        """Return which settings of the lake itself make it silently wrong."""
        ...

    def foreign_commits(self, table: Contract) -> list[HistoryEntry]:
        """Return the commits of other programs that still stand, newest first, however long ago they were."""
        ...

    def accept_foreign(self, table: Contract, version: int, why: str) -> None:
        """Let a commit of another program stand, and keep why."""
        ...


class TableStore(ReadsTables, WritesTables, MaintainsTables, AuditsTables, Protocol):
    """The persistence authority. `files` are the bytes below it, where leases are kept too."""

    files: Files


def whole_files(store: ReadsTables, table: Contract, *, version: int | None = None) -> DataFiles | None:
    """Return the files of a version; None where they are not all there is to its rows.

    Partition columns stand in the log alone, and a format may hold deletions beside the files.
    """
    try:
        found = store.data_files(table, version=version)
    except Unsupported:
        return None
    return None if found.partition_by else found
