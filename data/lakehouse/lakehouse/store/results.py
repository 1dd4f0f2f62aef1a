"""What goes into the persistence authority and what comes out of it.

Belongs here: options and results that every backend shares. Does not: the methods (protocol.py), or any
backend's code.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Literal, Protocol, TypeAlias

import polars as pl


class ArrowStream(Protocol):
    """Rows of any library, handed over by the Arrow PyCapsule interface.

    https://arrow.apache.org/docs/format/CDataInterface/PyCapsuleInterface.html
    """

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object: ...


@dataclass(frozen=True)
class StagedFiles:
    """Parquet files that an engine wrote for one commit: their rows, together, are the rows of the write.

    `files` are absolute paths, or `s3://` addresses that the lake's own key reads. Each has the columns of
    the table in its types. The store writes their rows in files of its own, as the table is laid out; these
    belong to who staged them, who removes them, and changes none until the write has ended.
    """

    files: Sequence[str]


Rows: TypeAlias = ArrowStream | StagedFiles


@dataclass(frozen=True)
class Transaction:
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


State = Mapping[str, int]
"""Durable integers of a table (positions, counters), replaced in the same commit as rows."""


@dataclass(frozen=True, kw_only=True)
class BaseVersion:
    """A table at one look: what rows are computed from, and what their commit may land on.

    `identity` is of this very table, another one under the same name has another. `state` are those that were
    asked for. `mark` is the version's, see ReadsTables.mark.
    """

    identity: str
    version: int
    state: Mapping[str, int] = field(default_factory=dict)
    mark: str = ""


@dataclass(frozen=True, kw_only=True)
class CommitOptions:
    """What goes with the rows into one commit.

    With `onto` it is a compare-and-swap: the commit lands only while nothing but maintenance has happened to
    the table since that state; otherwise Moved is raised, and nothing was written. `token` makes the commit
    idempotent: it is a key that its producer alone counts up; whoever computes from the table uses `onto`.
    `state` computes further integers from the outcome and the state as they stood (`reads` names them); it
    runs again when a conflict makes the commit start over. `info` is text for people: run id, code version.
    Never put data into it.
    """

    transaction: Transaction | None = None
    onto: BaseVersion | None = None
    reads: Sequence[str] = ()
    state: Callable[[Outcome, Mapping[str, int]], State] | None = None
    info: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class CommitResult:
    """What became of a commit.

    `version` is the one it became, or the table's when nothing was written. `landed` is `now`, `earlier` (the
    token was there already: nothing written) or `noop` (no rows).
    """

    table: str
    version: int
    outcome: Outcome
    landed: Literal["committed", "duplicate", "skipped"]
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
class DataFile:
    """One Parquet file of a version. `name` is its path below the table.

    `partition` are the values of the partition columns, which the file itself has not got, as Delta writes
    them as text (None: null). `rows` is None where the store does not know.
    """

    name: str
    size_bytes: int
    rows: int | None
    written_at: datetime | None = None
    partition: Mapping[str, str | None] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class DataFiles:
    """The Parquet files whose rows are, together, the rows of a version.

    `columns` are the contract's columns that the version has. A file that is older than a column lacks it:
    there it is null.
    """

    table: str
    identity: str
    version: int
    columns: Sequence[str]
    partition_by: Sequence[str]
    files: Sequence[DataFile]


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
class MaintenanceOptions:
    """What one maintenance run may do to a table.

    Files of versions older than `retain` go, except those that a version in `keep` or the newest one needs.
    """

    retain: timedelta
    keep: Sequence[int] = ()
    compact: bool = True
    orphans: bool = False  # also files that no version ever named, once they are older than `retain`


@dataclass(frozen=True, kw_only=True)
class MaintenanceResult:
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


@dataclass(frozen=True, kw_only=True)
class Fault:
    """One thing that is wrong with what lies in the store, in our words, and what to do about it."""

    file: str
    says: str
    fix: str
