"""Reading Delta tables: snapshots, rows as of a version, state, history.

Belongs here: everything that opens a table and changes nothing. Does not: commits (delta.py).
"""

from __future__ import annotations

import weakref
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from typing import Any
from urllib.parse import unquote

import polars as pl
from deltalake import DeltaTable
from deltalake.exceptions import DeltaError, TableNotFoundError

from lakehouse.contracts import Column, Contract, polars_type
from lakehouse.errors import (
    DamagedTable,
    LakeError,
    SchemaViolation,
    StorageUnavailable,
    TableNotFound,
    Unsupported,
    plain,
)
from lakehouse.process import panicked, refuse_fork
from lakehouse.settings import Settings
from lakehouse.storage.files import Files, open_files
from lakehouse.storage.paths import is_below
from lakehouse.store.delta.checkpoint import LONGEST
from lakehouse.store.delta.commit import recorded, stands
from lakehouse.store.delta.local import LocalTable
from lakehouse.store.delta.log import brought_files, entries_of, read_commit
from lakehouse.store.delta.log_faults import log_faults
from lakehouse.store.delta.schema import additions, differences, type_text
from lakehouse.store.delta.transactions import KnownState, all_state
from lakehouse.store.integrity import foreign_commits as foreign
from lakehouse.store.integrity.checksums import Checked, Checksums
from lakehouse.store.predicate import Where
from lakehouse.store.results import (
    BaseVersion,
    CommitResult,
    DataFile,
    DataFiles,
    Fault,
    HistoryEntry,
    Snapshot,
)

_NEWEST_VERSION = 2**63 - 1  # as wide as the library reads one
SILENT = "UNKNOWN"  # the operation of a commit that says nothing of itself
_MARKS = 2 * LONGEST  # log entries of a table by which others of the same number are told from them
_PLAIN_READER = 1  # of a table without deletion vectors or mapped column names
MASKS = "deletionVectors"  # of rows that a file still has
_FEATURES = {MASKS, "timestampNtz"}  # that Polars reads


class DeltaReader:
    """Delta tables below one folder or in one bucket per layer, for reading."""

    reads_what_it_replaces = False

    def __init__(self, settings: Settings, files: Files | None = None) -> None:
        self.settings = settings
        self.files = files or open_files(settings)
        self._options = settings.storage_options()
        self._handles: dict[str, DeltaTable] = {}
        self._heads: dict[str, DeltaTable] = {}
        self._opened_at: dict[int, int] = {}
        self._marks: dict[str, dict[int, str]] = {}
        self._stills: dict[str, DeltaTable] = {}
        self._known_state = KnownState(self.files)
        self._data_versions: dict[str, tuple[str, int, int]] = {}
        self._looked_at: set[str] | None = None
        self.checksums = Checksums(self.files)

    @contextmanager
    def pinned_reads(self) -> Iterator[None]:
        """Read each table as it was at the first look, which takes one request instead of one for each read.

        What others commit meanwhile is not seen; own commits are, and every commit looks anew.
        """
        outer, self._looked_at = self._looked_at, self._looked_at or set()
        try:
            yield
        finally:
            self._looked_at = outer

    def reopen(self, table: Contract, fresh: bool, *, files: bool = True) -> DeltaTable:
        """Return the handle of the table as it is now, to commit by or onto; without `files`, its head."""
        if self._looked_at is not None:
            self._looked_at.discard(table.path)
        return self.latest(table, fresh=fresh) if files else self._head(table, fresh=fresh)

    def look(self, table: Contract) -> DeltaTable:
        """Return a handle that need not know the table's data files, up to date as reads go."""
        return self._head(table) if self._looked_at is None else self.latest(table)

    def _head(self, table: Contract, *, fresh: bool = False) -> DeltaTable:
        """Return the table's one handle that knows version, schema and state, and none of its data files.

        One that knows them costs the more at each commit, the more files there are.
        """
        refuse_fork()
        handle = None if fresh else self._up_to_date(table, self._heads.pop(table.path, None))
        if handle is None:
            handle = self._noted(table, self.open(table, files=False))
        self._heads[table.path] = handle
        return handle

    def _noted(self, table: Contract, handle: DeltaTable) -> DeltaTable:
        """Keep in mind at which version the handle was opened, and by which log entry."""
        weakref.finalize(handle, self._opened_at.pop, id(handle), None)
        self._opened_at[id(handle)] = int(handle.version())
        with suppress(StorageUnavailable):  # the next look tells
            self._entry_of(table, int(handle.version()))
        return handle

    def _up_to_date(self, table: Contract, handle: DeltaTable | None) -> DeltaTable | None:
        """Bring a handle up to its table's newest version; None where it has to be opened anew.

        What it has read since it was opened it reads again at each step, so an old one is not kept. Neither
        is one of a log that a backup took back, and that went on otherwise, perhaps to the same number.
        """
        if handle is None:
            return None
        try:
            version = int(handle.version())
            if (entry := self._entry_of(table, version)) is None:
                return None
            if not entry[1]:
                handle.update_incremental()
                if int(handle.version()) <= version:  # the log is that of another table by now, or was cut
                    return None
                self._entry_of(table, int(handle.version()))
        except (DeltaError, OSError, StorageUnavailable):
            return None
        steps = int(handle.version()) - self._opened_at.get(id(handle), version)
        return handle if steps <= LONGEST else None

    def _entry_of(self, table: Contract, version: int) -> tuple[str, bool] | None:
        """Return the log entry of a version; where it is not the one that was seen before, None: then what is
        known of the table is forgotten.
        """
        entry = self.files.log_entry(table.path, version)
        marks = self._marks.setdefault(table.path, {})
        if entry is None or marks.setdefault(version, entry[0]) != entry[0]:
            self._forget(table)
            if entry is not None:
                self._marks[table.path] = {version: entry[0]}
            return None
        if len(marks) > _MARKS:
            del marks[min(marks)]
        return entry

    def _forget(self, table: Contract) -> None:
        """Forget what is known of the table's log."""
        self._handles.pop(table.path, None)
        self._heads.pop(table.path, None)
        self._stills.pop(table.path, None)
        self._data_versions.pop(table.path, None)
        self._marks.pop(table.path, None)
        self._known_state.forget(table.path)

    def uri(self, table: Contract) -> str:
        return self.files.uri(table.path)

    def exists(self, table: Contract) -> bool:
        """Return whether the table has ever been written."""
        try:
            self.look(table)
        except TableNotFound:
            return False
        return True

    def latest(self, table: Contract, *, fresh: bool = False) -> DeltaTable:
        """Return the table's one handle, brought up to its newest version; `fresh` reads its log anew.

        Opening a log takes several requests, bringing a handle up to date takes one. The handle moves on with
        every call, so nobody may keep it: what is scanned has a handle of its own.
        """
        refuse_fork()
        handle = None if fresh else self._handles.get(table.path)
        if handle is not None and self._looked_at is not None and table.path in self._looked_at:
            return handle
        if handle is not None and handle is self._stills.get(table.path):
            self._entry_of(table, int(handle.version()))
            handle = None  # it stays where it is, for who scans it
        handle = self._up_to_date(table, handle)
        if handle is None:
            self._handles.pop(table.path, None)
            handle = self._handles[table.path] = self._noted(table, self.open(table))
        if self._looked_at is not None:
            self._looked_at.add(table.path)
        return handle

    def _still(self, table: Contract, version: int | None) -> DeltaTable:
        """Return a handle that stays at a version: the last one of its table, if it is at that version."""
        newest = self.latest(table)
        wanted = newest.version() if version is None else version
        handle = self._stills.get(table.path)
        if handle is None or (handle.version(), handle.metadata().id) != (wanted, newest.metadata().id):
            lent = self._looked_at is not None and version is None
            handle = self._stills[table.path] = newest if lent else self.open(table, version=wanted)
        return handle

    def open(self, table: Contract, *, version: int | None = None, files: bool = True) -> DeltaTable:
        """Open a table's log, without its data files where they are not asked for.

        Raises TableNotFound, StorageUnavailable, DamagedTable, Unsupported (no such version).
        """
        refuse_fork()
        if version is not None and (version < 0 or self._is_beyond(table, version)):
            raise self._no_version(table, version)
        try:
            return LocalTable(
                self.uri(table), version=version, storage_options=self._options, without_files=not files
            )
        except BaseException as exc:
            if not _of_log(exc):
                raise
            if version is not None and self.exists(table):
                raise self._no_version(table, version) from None
            raise self._unreadable(table, exc) from None

    def _is_beyond(self, table: Contract, version: int) -> bool:
        """Return whether a version is younger than the newest: the library looks for each that it lacks.

        An older one can be read where the newest is damaged.
        """
        try:
            return version > int(self.latest(table).version())
        except DamagedTable:
            return version > _NEWEST_VERSION

    def _no_version(self, table: Contract, version: int) -> Unsupported:
        newest = self.latest(table).version()
        return Unsupported(
            f"reading {table} at version {version}: it is not there (any more, or yet); the newest is "
            f"{newest}, `odp history {table}` lists them"
        )

    def _unreadable(self, table: Contract, exc: BaseException) -> LakeError:
        """Return what it means that a table's newest version cannot be opened: the files of its log tell.

        A store that does not answer raises StorageUnavailable here as well.
        """
        try:
            return self._what_is_wrong(table, exc)
        except OSError as found:  # a folder that this user may not list, a disk that fails
            return DamagedTable(
                f"reading {table}: {self.uri(table)} cannot be read ({plain(found)}). To mend it, let this "
                "user read it, or put it back from a backup."
            )

    def _what_is_wrong(self, table: Contract, exc: BaseException) -> LakeError:
        faults = log_faults(self.files, table.path, thorough=True)
        faults = faults or log_faults(self.files, table.path, whole=True)
        if faults:
            return DamagedTable(f"reading {table}: {faults[0].says}. To mend it, {faults[0].fix}.")
        stored = self.files.sizes(table.path)
        if not isinstance(exc, TableNotFoundError) and any(n.startswith("_delta_log/") for n in stored):
            if self.settings.on_s3 or self._opens(table):
                return self._unavailable(f"opening {table}", exc)
            return DamagedTable(
                f"reading {table}: its log (_delta_log) cannot be read ({plain(exc)}). To mend it, put "
                f"{self.uri(table)}/_delta_log back from a backup; without one, move {self.uri(table)} "
                "away, then run `make init-data-layers`, then `odp refresh --full-refresh`."
            )
        if lost := [name for name in stored if name.endswith(".parquet")]:
            return DamagedTable(
                f"reading {table}: its log (_delta_log) is gone, and {len(lost)} data files lie there. To "
                f"mend it, put {self.uri(table)}/_delta_log back from a backup; without one, move "
                f"{self.uri(table)} away, then run `make init-data-layers`, then "
                "`odp refresh --full-refresh`."
            )
        return TableNotFound(
            f"reading {table}: it has never been written. `make init-data-layers` writes it."
        )

    def _opens(self, table: Contract) -> bool:
        """Return whether the whole log is read at another try: a clean-up may have been at work."""
        try:
            LocalTable(self.uri(table), storage_options=self._options).transaction_version("")
        except BaseException as exc:
            if not _of_log(exc):
                raise
            return False
        return True

    def snapshot(self, table: Contract, *, version: int | None = None) -> Snapshot:
        delta = self.latest(table) if version is None else self.open(table, version=version)
        files = adds(delta)
        return Snapshot(
            table=table.path,
            uri=self.uri(table),
            identity=str(delta.metadata().id),
            version=delta.version(),
            rows=counted(delta, files),
            size_bytes=int(files["size_bytes"].sum() or 0),
            files=files.height,
            columns={f.name: type_text(f.type) for f in delta.schema().fields},
        )

    def scan(
        self, table: Contract, *, version: int | None = None, where: Where | None = None
    ) -> pl.LazyFrame:
        """Return the rows lazily, as of `version` (None: now), with the contract's columns and types."""
        rows = self._scan(table, self._still(table, version))
        if where is None:
            return rows
        return rows.filter(where.check(table).polars())

    def data_files(self, table: Contract, *, version: int | None = None) -> DataFiles:
        """Return the files of a version (None: the newest), for who reads them without this library."""
        delta = self.latest(table)
        if version is not None and version != int(delta.version()):
            delta = self.open(table, version=version)
        absent = {column.name for column in _absent(table, delta)}
        if (needs := delta.protocol().min_reader_version) > _PLAIN_READER:
            raise Unsupported(
                f"handing out the files of {table} at version {delta.version()}: its reader version is "
                f"{needs}, so that its files may not be read as they are"
            )
        return DataFiles(
            table=table.path,
            identity=str(delta.metadata().id),
            version=int(delta.version()),
            columns=tuple(name for name in table.column_names if name not in absent),
            partition_by=tuple(delta.metadata().partition_columns),
            files=_data_files(table, delta),
        )

    def _scan(self, table: Contract, delta: DeltaTable) -> pl.LazyFrame:
        absent = _absent(table, delta)
        _refuse_features(table, delta)
        rows = pl.scan_delta(delta, use_pyarrow=False)
        if absent:  # this version is older than these columns
            rows = rows.with_columns(pl.lit(None, polars_type(c.type)).alias(c.name) for c in absent)
        return rows.select(table.column_names)

    def read_state(self, table: Contract, names: Sequence[str]) -> dict[str, int]:
        """Return those of `names` that the table holds; a table never written holds none."""
        try:
            delta = self.look(table)
            with self._log_of(table):
                return self._state_at(table, delta, names)
        except TableNotFound:
            return {}

    def _state_at(self, table: Contract, delta: DeltaTable, names: Sequence[str]) -> dict[str, int]:
        """Return those of `names` that the table holds at the handle's version."""
        if not names:
            return {}
        try:
            whole = self._known_state.at(table.path, str(delta.metadata().id), int(delta.version()))
        except (Unsupported, DamagedTable):  # the log has other checkpoints than ours, or gaps before one
            return recorded(delta, names)
        return {name: whole[name] for name in names if name in whole}

    @contextmanager
    def _log_of(self, table: Contract) -> Iterator[None]:
        """Tell what the library says of a log that it reads later than it opened it as an error of ours."""
        try:
            yield
        except BaseException as exc:
            if not _of_log(exc):
                raise
            self._handles.pop(table.path, None)
            self._heads.pop(table.path, None)
            raise self._unreadable(table, exc) from None  # TableNotFound when it was removed meanwhile

    def base_version(self, table: Contract, names: Sequence[str] = ()) -> BaseVersion:
        """Return the table's identity, version and the state `names`, all of one moment."""
        delta = self.reopen(table, False, files=False)
        with self._log_of(table):
            state = self._state_at(table, delta, names)
            version = int(delta.version())
            mark = self._marks.get(table.path, {}).get(version, "")  # of this very look
            return BaseVersion(identity=str(delta.metadata().id), version=version, state=state, mark=mark)

    def mark(self, table: Contract, version: int) -> str:
        """Return what tells a version from another one of its number; empty where its log entry is gone."""
        entry = self.files.log_entry(table.path, version)
        return entry[0] if entry is not None else ""

    def unchanged(self, table: Contract, since: BaseVersion) -> bool:
        """Return whether nothing but maintenance has happened to the table since that state."""
        return stands(self.files, table.path, self.reopen(table, False, files=False), since)

    def all_state(self, table: Contract, *, version: int | None = None) -> dict[str, int]:
        """Return every state entry, as of `version` (None: now). Raises Unsupported where the log is gone."""
        last = int(self.look(table).version()) if version is None else version
        return all_state(self.files, table.path, last)

    def history(self, table: Contract, *, limit: int | None = None) -> list[HistoryEntry]:
        """Return the commits, newest first."""
        try:
            head = self.look(table)
            newest, logged = int(head.version()), head.history(limit)
        except BaseException as exc:
            if not _of_log(exc):
                raise
            raise self._unreadable(table, exc) from None  # opened before its log was damaged
        if limit is not None and len(logged) == limit:
            return [_entry(int(entry["version"]), entry) for entry in logged]
        # A commit may say nothing of itself. The library passes it over, and gives its number to another.
        there = entries_of(self.files, table.path, newest, limit)
        if len(logged) == len(there):
            return [_entry(int(entry["version"]), entry) for entry in logged]
        told = ((version, read_commit(self.files, table.path, version).info) for version in there)
        return [
            _entry(version, {"timestamp": there[version].timestamp() * 1000, "operation": SILENT, **info})
            for version, info in told
        ]

    def foreign_commits(self, table: Contract) -> list[HistoryEntry]:
        """Return the commits of other programs that still stand, newest first, however long ago they were."""
        delta = self.latest(table)
        identity, newest = str(delta.metadata().id), int(delta.version())
        return foreign.foreign(
            self.files, table.path, identity, newest, lambda limit: self.history(table, limit=limit)
        )

    def accept_foreign(self, table: Contract, version: int, why: str) -> None:
        """Let a commit of another program stand, and keep why. Raises Unsupported when there is none such."""
        foreign.refuse_others(table, version, self.foreign_commits(table))
        foreign.accept(self.files, table.path, str(self.latest(table).metadata().id), version, why)

    def settings_faults(self) -> list[Fault]:
        """Return nothing: no setting of a Delta lake can be changed from outside."""
        return []

    def schema_problems(self, table: Contract) -> list[str]:
        """Return how the stored schema differs from the contract, but for what the next write adds."""
        schema = self.look(table).schema()
        return [] if additions(table, schema) else differences(table, schema)

    def log_faults(self, table: Contract) -> list[Fault]:
        """Return which files of the log are missing or empty, also where the newest version opens without."""
        return log_faults(self.files, table.path)

    def missing_files(self, table: Contract) -> list[str]:
        """Return the files that the log names and the store lacks, or holds in another size."""
        stored = self.files.sizes(table.path)
        named = adds(self.latest(table)).select("path", "size_bytes")
        return [path for path, size in named.iter_rows() if stored.get(path) != size]

    def check_bytes(self, table: Contract) -> Checked:
        """Compare every data file, log entry and checkpoint of the newest version with its checksum."""
        delta = self.latest(table)
        data = adds(delta)["path"].to_list()
        names = [*data, *self._log_names(table)]
        checked = self.checksums.check(table.path, str(delta.metadata().id), names)
        return replace(checked, unrecorded=[n for n in checked.unrecorded if n in set(data)])

    def _log_names(self, table: Contract) -> list[str]:
        """Return the log's entries and checkpoints, as named below the table."""
        names = self.files.sizes(f"{table.path}/_delta_log")
        return [f"_delta_log/{name}" for name in names if name.endswith((".json", ".checkpoint.parquet"))]

    def file_names(self, table: Contract, *, version: int | None = None) -> list[str]:
        """Return the data files of a version (None: the newest), as named below the table."""
        delta = self.latest(table) if version is None else self.open(table, version=version)
        return [str(name) for name in adds(delta)["path"]]

    def found(self) -> list[str]:
        """Return every `<layer>/<name>` with anything in it, declared or not."""
        return self.files.names()

    def _recorded(self, table: Contract, done: CommitResult) -> CommitResult:
        """Take the checksums of what a commit brought, and hand its result on."""
        if done.landed == "committed":
            handle = self._heads.get(table.path) or self._handles.get(table.path) or self.look(table)
            brought = partial(brought_files, self.files, table.path)
            self.checksums.record(table.path, str(handle.metadata().id), done.version, brought)
            with suppress(StorageUnavailable):  # it has landed
                self._entry_of(table, done.version)
        return done

    def _unavailable(self, doing: str, exc: BaseException) -> StorageUnavailable:
        return StorageUnavailable(f"{doing}: {plain(exc)}. Is the store up? `make status` tells.")


def _entry(version: int, told: Mapping[str, Any]) -> HistoryEntry:
    """Return a commit by what it says of itself."""
    try:
        at = datetime.fromtimestamp(int(told.get("timestamp") or 0) / 1000, tz=UTC)
    except (ValueError, OverflowError, TypeError):  # of another program, whose word it is
        at = datetime.fromtimestamp(0, tz=UTC)
    return HistoryEntry(
        version=version,
        at=at,
        operation=str(told.get("operation") or ""),
        info={k: v for k, v in told.items() if k not in ("version", "timestamp", "operation")},
    )


def _of_log(exc: BaseException) -> bool:
    """Return whether it is what the library says of a log that it cannot read."""
    return isinstance(exc, DeltaError | OSError | ValueError) or panicked(exc)


def _refuse_features(table: Contract, delta: DeltaTable) -> None:
    """Raise DamagedTable for a log that asks more of readers than Polars knows, as another program may."""
    protocol = delta.protocol()
    if protocol.min_reader_version <= _PLAIN_READER:
        return
    features = {*(protocol.reader_features or ())} if protocol.min_reader_version > 2 else {"columnMapping"}
    if unknown := sorted(features - _FEATURES):
        raise DamagedTable(
            f"reading {table}: another program has made its log ask for what this library cannot read "
            f"({', '.join(unknown)}). To mend it, put {table.path} back from a backup; without one, move it "
            "away, then run `make init-data-layers`, then `odp refresh --full-refresh`."
        )


def _absent(table: Contract, delta: DeltaTable) -> list[Column]:
    """Return the columns that a version is older than. Raises SchemaViolation where more differs."""
    found = additions(table, delta.schema())
    problems = differences(table, delta.schema())
    if problems and not found:
        raise SchemaViolation(
            f"reading {table} at version {delta.version()}: the stored schema is not the contract's "
            f"({'; '.join(problems)}). Read it with the contract that wrote it, or make it anew: "
            "`make odp ARGS=upgrade`."
        )
    return found


def _data_files(table: Contract, delta: DeltaTable) -> tuple[DataFile, ...]:
    names = delta.metadata().partition_columns
    found = []
    for row in pl.DataFrame(delta.get_add_actions(flatten=True)).iter_rows(named=True):
        # Another program may name a file that lies anywhere.
        if not is_below(name := unquote(row["path"])):
            raise Unsupported(f"handing out the files of {table}: one of them lies outside of the table")
        at = row["modification_time"]
        found.append(
            DataFile(
                name=name,
                size_bytes=int(row["size_bytes"]),
                rows=row.get("num_records"),
                written_at=datetime.fromtimestamp(at / 1000, tz=UTC) if isinstance(at, int) else at,
                partition={column: _as_text(row[f"partition.{column}"]) for column in names},
            )
        )
    return tuple(sorted(found, key=lambda file: file.name))


def _as_text(value: Any) -> str | None:
    """Return a partition value (text, whole number, bool, date) as a log has it."""
    if value is None:
        return None
    return str(value).lower() if isinstance(value, bool) else str(value)


def counted(delta: DeltaTable, files: pl.DataFrame) -> int:
    """Return how many rows the files of a version hold.

    Another program may have written files without telling how many rows they have, or masked some of them:
    then the rows are counted. Of files that cannot be read, those count that the log tells of.
    """
    told = int(files["num_records"].sum() or 0)
    if not (files["num_records"].has_nulls() or MASKS in (delta.protocol().reader_features or ())):
        return told
    try:
        rows = pl.scan_delta(delta, use_pyarrow=False).select(pl.len())
        return int(rows.collect(engine="streaming").item())
    except BaseException as exc:
        if not (_of_log(exc) or isinstance(exc, pl.exceptions.PolarsError)):
            raise
        return told


def adds(delta: DeltaTable) -> pl.DataFrame:
    """Return one row per data file: path as the file is named (a log escapes it), size_bytes, num_records."""
    found = pl.DataFrame(delta.get_add_actions(flatten=True))
    if "path" in found.columns:
        found = found.with_columns(pl.Series("path", [unquote(p) for p in found["path"]], pl.String))
    if "num_records" not in found.columns:
        found = found.with_columns(num_records=pl.lit(None, pl.Int64))
    return found
