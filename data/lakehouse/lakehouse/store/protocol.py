"""What the persistence authority promises, as types: the Protocol and its results.

Belongs here: shapes shared by every backend. Does not: any backend's code.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Literal, Protocol

import polars as pl

from lakehouse.contracts import Contract
from lakehouse.store.files import Files
from lakehouse.store.predicate import Where


@dataclass(frozen=True)
class Token:
    """A consumer's position: committed with the rows, so a kill leaves both or neither."""

    name: str
    value: int


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What a commit is about to do, known before it is made."""

    rows: int  # rows in the frame
    inserted: int
    updated: int
    deleted: int = 0


Marks = Mapping[str, int]
"""Durable integers of a table (positions, counters), replaced in the same commit as rows."""


@dataclass(frozen=True, kw_only=True)
class Commit:
    """What goes with the rows into one commit.

    `token` makes the commit idempotent. `marks` computes further integers from the outcome and the marks
    as they stood (`reads` names them); it runs again when a conflict makes the commit start over.
    `info` is text for people: run id, code version. Never put data into it.
    """

    token: Token | None = None
    reads: Sequence[str] = ()
    marks: Callable[[Outcome, Mapping[str, int]], Marks] | None = None
    info: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class CommitResult:
    """What became of a commit.

    `landed` is `now`, `earlier` (the token was there already: nothing written) or `noop` (no rows).
    """

    table: str
    version: int
    outcome: Outcome
    landed: Literal["now", "earlier", "noop"]
    attempts: int = 1


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """A table at one version, from its log alone."""

    table: str
    uri: str
    identity: str  # of this very table: another one under the same name has another
    version: int
    rows: int
    size_bytes: int
    files: int
    columns: Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class HistoryEntry:
    """One commit of a table's log."""

    version: int
    at: datetime
    operation: str
    info: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Changes:
    """What changed between two versions: rows by content, so that compaction or a restart changes nothing.

    `added` and `removed` have the contract's columns; a replaced row is in both. `complete` is False when
    the older version can no longer be read (its files were vacuumed, or the table is another one under the
    same name): then `added` is the whole table and `removed` is empty. `compared_rows` says what looking at
    them costs: the rows of all files that came or went, where the store knows.
    """

    table: str
    since: int
    until: int
    added: pl.LazyFrame
    removed: pl.LazyFrame
    compared_rows: int
    complete: bool = True


@dataclass(frozen=True, kw_only=True)
class Upkeep:
    """What one maintenance run may do to a table.

    Files of versions older than `retain` go, except those that a version in `keep` or the newest one needs.
    """

    retain: timedelta
    keep: Sequence[int] = ()
    compact: bool = True
    orphans: bool = False  # also files that no version ever named, once they are older than `retain`


@dataclass(frozen=True, kw_only=True)
class Maintained:
    """What one maintenance run did. `rows` is the same before and after, or the run raised."""

    table: str
    version: int
    rows: int
    files_before: int
    files_after: int
    bytes_before: int  # data files of every version
    bytes_after: int
    removed_files: int

    @property
    def reclaimed_bytes(self) -> int:
        return self.bytes_before - self.bytes_after


class TableStore(Protocol):
    """The persistence authority. `files` are the bytes below it, where leases are kept too.

    Every write checks the frame's schema exactly, refuses null keys and repeated keys, commits rows and
    marks atomically, and after any exception reads the log before it says success or failure.

    Raises (all methods): StorageUnavailable. Readers: TableNotFound. Writers: SchemaViolation,
    DataViolation, Conflict, StaleWriter, Unsupported.
    """

    files: Files

    def steady(self) -> AbstractContextManager[None]:
        """While it is open, reads may see each table as it was at the first look, and own commits."""
        ...

    def uri(self, table: Contract) -> str: ...
    def exists(self, table: Contract) -> bool: ...

    def ensure(self, table: Contract) -> int:
        """Create the table, or bring it to a contract that only adds nullable columns. Return its version."""
        ...

    def append(self, table: Contract, frame: pl.DataFrame, commit: Commit = ...) -> CommitResult: ...
    def merge(self, table: Contract, frame: pl.DataFrame, commit: Commit = ...) -> CommitResult: ...
    def replace_partitions(
        self, table: Contract, frame: pl.DataFrame, commit: Commit = ...
    ) -> CommitResult: ...
    def overwrite(self, table: Contract, frame: pl.DataFrame, commit: Commit = ...) -> CommitResult: ...

    def overwrite_from(self, table: Contract, other: Contract, commit: Commit = ...) -> CommitResult:
        """Replace every row by those of table `other`, which has the same columns, in bounded memory."""
        ...

    def drop(self, table: Contract) -> None:
        """Remove a table and all its versions; one that is not there is no error. For staging only."""
        ...

    def delete(self, table: Contract, where: Where, commit: Commit = ...) -> CommitResult:
        """Remove the rows that `where` holds for; `outcome.deleted` counts them. None: no commit."""
        ...

    def scan(
        self, table: Contract, *, version: int | None = None, where: Where | None = None
    ) -> pl.LazyFrame: ...
    def snapshot(self, table: Contract, *, version: int | None = None) -> Snapshot: ...

    def changes(self, table: Contract, *, since: int, until: int | None = None) -> Changes:
        """Return the rows that came and went after version `since`, up to `until` (None: now)."""
        ...

    def data_version(self, table: Contract) -> int:
        """Return the newest version that changed rows; maintenance does not move it."""
        ...

    def history(self, table: Contract, *, limit: int | None = None) -> list[HistoryEntry]: ...

    def restore(self, table: Contract, version: int, commit: Commit = ...) -> CommitResult:
        """Bring rows and marks back to how they stood at `version`, as one new commit."""
        ...

    def check_version(self, table: Contract, version: int) -> None:
        """Raise Unsupported when `version` can no longer be restored as a whole."""
        ...

    def maintain(self, table: Contract, upkeep: Upkeep) -> Maintained: ...
    def marks(self, table: Contract, names: Sequence[str]) -> dict[str, int]: ...
    def all_marks(self, table: Contract, *, version: int | None = None) -> dict[str, int]: ...
    def schema_problems(self, table: Contract) -> list[str]: ...
    def missing_files(self, table: Contract) -> list[str]: ...
    def found(self) -> list[str]: ...
    def probe(self) -> None: ...
