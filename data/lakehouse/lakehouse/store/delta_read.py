"""Reading Delta tables: snapshots, rows as of a version, marks, history.

Belongs here: everything that opens a table and changes nothing. Does not: commits (delta.py).
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import unquote

import polars as pl
from deltalake import DeltaTable
from deltalake.exceptions import DeltaError, TableNotFoundError

from lakehouse.contracts import POLARS_TYPES, Contract
from lakehouse.errors import SchemaViolation, StorageUnavailable, TableNotFound, Unsupported, plain
from lakehouse.settings import Settings
from lakehouse.store import probe
from lakehouse.store.delta_marks import all_marks
from lakehouse.store.delta_schema import additions, differences
from lakehouse.store.files import BucketFiles, Files, FolderFiles, open_files
from lakehouse.store.predicate import Where
from lakehouse.store.process import refuse_fork
from lakehouse.store.protocol import HistoryEntry, Snapshot
from lakehouse.store.retry import recorded


class DeltaReader:
    """Delta tables below one folder or in one bucket per layer, for reading."""

    def __init__(self, settings: Settings, files: Files | None = None) -> None:
        self.settings = settings
        self.files = files or open_files(settings)
        self._options = settings.storage_options()
        self._handles: dict[str, DeltaTable] = {}
        self._stills: dict[str, DeltaTable] = {}
        self._data_versions: dict[str, tuple[str, int, int]] = {}
        self._looked_at: set[str] | None = None

    @contextmanager
    def steady(self) -> Iterator[None]:
        """Read each table as it was at the first look, which takes one request instead of one for each read.

        What others commit meanwhile is not seen; own commits are, and every commit looks anew.
        """
        outer, self._looked_at = self._looked_at, self._looked_at or set()
        try:
            yield
        finally:
            self._looked_at = outer

    def reopen(self, table: Contract, fresh: bool) -> DeltaTable:
        """Return the handle to commit by: of the table as it is now."""
        if self._looked_at is not None:
            self._looked_at.discard(table.path)
        return self.latest(table, fresh=fresh)

    def uri(self, table: Contract) -> str:
        return self.files.uri(table.path)

    def exists(self, table: Contract) -> bool:
        """Return whether the table has ever been written."""
        try:
            self.latest(table)
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
        if handle is self._stills.get(table.path):
            handle = None  # it stays where it is, for who scans it
        if handle is not None:
            try:
                handle.update_incremental()
            except (DeltaError, OSError):
                handle = None
        if handle is None:
            self._handles.pop(table.path, None)
            handle = self._handles[table.path] = self.open(table)
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

    def open(self, table: Contract, *, version: int | None = None) -> DeltaTable:
        """Open a table's log. Raises TableNotFound, StorageUnavailable, Unsupported (no such version)."""
        refuse_fork()
        try:
            return DeltaTable(self.uri(table), version=version, storage_options=self._options)
        except DeltaError as exc:
            if version is not None and self.exists(table):
                newest = self.latest(table).version()
                raise Unsupported(
                    f"reading {table} at version {version}: it is not there (any more), up to {newest}"
                ) from exc
            if not isinstance(exc, TableNotFoundError):
                raise self._unavailable(f"opening {table}", exc) from exc
            raise TableNotFound(
                f"reading {table}: it has never been written. `make init-data-layers` writes it."
            ) from exc
        except OSError as exc:
            raise self._unavailable(f"opening {table}", exc) from exc

    def snapshot(self, table: Contract, *, version: int | None = None) -> Snapshot:
        delta = self.latest(table) if version is None else self.open(table, version=version)
        files = adds(delta)
        return Snapshot(
            table=table.path,
            uri=self.uri(table),
            identity=str(delta.metadata().id),
            version=delta.version(),
            rows=int(files["num_records"].sum() or 0),
            size_bytes=int(files["size_bytes"].sum() or 0),
            files=files.height,
            columns={f.name: str(getattr(f.type, "type", f.type)) for f in delta.schema().fields},
        )

    def scan(
        self, table: Contract, *, version: int | None = None, where: Where | None = None
    ) -> pl.LazyFrame:
        """Return the rows lazily, as of `version` (None: now), with the contract's columns and types."""
        rows = self._scan(table, self._still(table, version))
        if where is None:
            return rows
        where.check(table)
        return rows.filter(where.polars())

    def _scan(self, table: Contract, delta: DeltaTable) -> pl.LazyFrame:
        absent = additions(table, delta.schema())
        problems = differences(table, delta.schema())
        if problems and not absent:
            raise SchemaViolation(
                f"reading {table} at version {delta.version()}: the stored schema is not the contract's "
                f"({'; '.join(problems)}). Read it with the contract that wrote it, or migrate the table."
            )
        rows = pl.scan_delta(delta, use_pyarrow=False)
        if absent:  # this version is older than these columns
            rows = rows.with_columns(pl.lit(None, POLARS_TYPES[c.type]).alias(c.name) for c in absent)
        return rows.select(table.column_names)

    def marks(self, table: Contract, names: Sequence[str]) -> dict[str, int]:
        """Return those of `names` that the table holds; a table never written holds none."""
        try:
            return recorded(self.latest(table), names)
        except TableNotFound:
            return {}

    def all_marks(self, table: Contract, *, version: int | None = None) -> dict[str, int]:
        """Return every mark, as of `version` (None: now). Raises Unsupported where the log is gone."""
        last = int(self.latest(table).version()) if version is None else version
        return all_marks(self.files, table.path, last)

    def history(self, table: Contract, *, limit: int | None = None) -> list[HistoryEntry]:
        """Return the commits, newest first."""
        return [
            HistoryEntry(
                version=int(entry["version"]),
                at=datetime.fromtimestamp(entry["timestamp"] / 1000, tz=UTC),
                operation=str(entry.get("operation", "")),
                info={k: v for k, v in entry.items() if k not in ("version", "timestamp", "operation")},
            )
            for entry in self.latest(table).history(limit)
        ]

    def schema_problems(self, table: Contract) -> list[str]:
        """Say how the stored schema differs from the contract; empty when it does not."""
        return differences(table, self.latest(table).schema())

    def missing_files(self, table: Contract) -> list[str]:
        """Return the files that the log names and the store lacks, or holds in another size."""
        stored = self.files.sizes(table.path)
        named = adds(self.latest(table)).select("path", "size_bytes")
        return [path for path, size in named.iter_rows() if stored.get(path) != size]

    def found(self) -> list[str]:
        """Return every `<layer>/<name>` with anything in it, declared or not."""
        return self.files.names()

    def probe(self) -> None:
        """Let parallel conditional writers race. Raises UnsafeStore when more than one wins."""
        if isinstance(self.files, BucketFiles):
            client = self.files.client
            probe.race(probe.bucket_put(client, "bronze"))
            probe.clean_bucket(client, "bronze")
        elif isinstance(self.files, FolderFiles):
            root = Path(self.files.root) / ".probe"
            probe.race(probe.folder_put(root))
            shutil.rmtree(root)

    def _unavailable(self, doing: str, exc: BaseException) -> StorageUnavailable:
        return StorageUnavailable(f"{doing}: {plain(exc)}. Is the store up? `make status` tells.")


def adds(delta: DeltaTable) -> pl.DataFrame:
    """Return one row per data file: path as the file is named (a log escapes it), size_bytes, num_records."""
    found = pl.DataFrame(delta.get_add_actions(flatten=True))
    if "path" in found.columns:
        found = found.with_columns(pl.Series("path", [unquote(p) for p in found["path"]], pl.String))
    if "num_records" not in found.columns:
        found = found.with_columns(num_records=pl.lit(0, pl.Int64))
    return found
