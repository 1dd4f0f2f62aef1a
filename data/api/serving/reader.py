"""Tables at a pinned version, for every route that reads.

Belongs here: finding a table, choosing a version, keeping what a version's rows are read through. Does not:
formats, filters, or who may see what.

The store's handles move on with every look, so that looks are taken one at a time; rows are read beside each
other, each through its own pinned version.
"""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime

import polars as pl

from lakehouse.contracts import SYSTEM, Contract, with_side_tables
from lakehouse.errors import (
    DamagedTable,
    LakeError,
    StorageUnavailable,
    TableNotFound,
    UnexpectedError,
    Unsupported,
    only_ours,
)
from lakehouse.pipeline import Lake
from lakehouse.registry import contracts
from lakehouse.store.results import DataFiles, HistoryEntry, Snapshot
from serving.problems import Problem

_KEPT_SCANS = 64
_KEPT_ROWS_BYTES = 64 << 20  # of small tables, in memory
_SMALL = 8 << 20  # bytes of a version's files, from which on its rows are read anew


@dataclass(frozen=True, kw_only=True)
class Pinned:
    """A table at one version."""

    contract: Contract
    version: int
    identity: str
    mark: str  # of the version: after a backup was put back, another one may have its number
    rows: int
    size_bytes: int

    @property
    def key(self) -> tuple[str, str, int, str]:
        """What is kept of these rows is kept by."""
        return self.contract.path, self.identity, self.version, self.mark

    @property
    def origin(self) -> str:
        """A short text that differs for other rows of an equal version, or of another table of the name."""
        return hashlib.sha256(f"{self.identity}/{self.mark}".encode()).hexdigest()[:12]

    def tag(self, *told: str) -> str:
        """Return the entity tag of these rows, whatever table has this name later, as `told`.

        A cache keeps answers of one address by their tags: rows as CSV do not stand for rows as JSON, nor
        those without personal data for those with it.
        """
        return f'"{"-".join(filter(None, (self.origin, str(self.version), *told)))}"'


class Reader:
    """Reads one lake."""

    def __init__(self, lake: Lake, reachable: Callable[[], None] = lambda: None) -> None:
        self.lake, self._reachable = lake, reachable
        self._lock = threading.RLock()
        self._pins: dict[str, Pinned] = {}
        self._scans: OrderedDict[tuple[str, str, int, str], pl.LazyFrame] = OrderedDict()
        self._frames: OrderedDict[tuple[str, str, int, str], pl.DataFrame] = OrderedDict()
        self._declared = {t.path: t for t in [*with_side_tables(contracts()), *SYSTEM]}

    @property
    def declared(self) -> dict[str, Contract]:
        """The tables there are by `<layer>/<name>`, those that belong to others too."""
        return self._declared

    def contract(self, layer: str, name: str) -> Contract:
        """Return the contract of a table. Raises Problem 404."""
        found = self._declared.get(f"{layer}/{name}")
        if found is None:
            raise Problem(404, "no such table is declared; GET /catalog lists them")
        return found

    def pin(self, table: Contract, *, version: int | None = None, as_of: datetime | None = None) -> Pinned:
        """Return the table at its newest version, at `version`, or as it was at a time.

        Raises Problem 404 (never written), 422 (no such version), StorageUnavailable.
        """
        store = self.lake.store
        self._reachable()
        with self._lock:
            try:
                if as_of is not None:
                    version = self._version_at(table, as_of)
                if version is None:
                    base = store.base_version(table)
                    known = self._pins.get(table.path)
                    if known is not None and known.key[1:] == (base.identity, base.version, base.mark):
                        return known
                now = store.snapshot(table, version=version)
                mark = store.mark(table, now.version)
            except TableNotFound:
                raise Problem(404, f"{table} has never been written; the next run makes it") from None
            except Unsupported:
                raise Problem(
                    422,
                    f"{table} has no version {version} (any more, or yet); GET /catalog/{table} lists them",
                ) from None
            pinned = _pinned(table, now, mark)
            if version is None:
                self._pins[table.path] = pinned
            return pinned

    def rows(self, pinned: Pinned) -> pl.LazyFrame:
        """Return the rows of a pinned version, with the contract's columns. Small tables stay in memory."""
        key = pinned.key
        with self._lock:
            if (held := self._frames.get(key)) is not None:
                self._frames.move_to_end(key)
                return held.lazy()
            scan = self._scans.get(key)
            if scan is None:
                scan = self._scans[key] = self.lake.store.scan(pinned.contract, version=pinned.version)
                while len(self._scans) > _KEPT_SCANS:
                    self._scans.popitem(last=False)
            self._scans.move_to_end(key)
        if pinned.size_bytes > _SMALL:
            return scan
        with self.reading(pinned):
            frame = scan.collect()
        if frame.estimated_size() > _KEPT_ROWS_BYTES // 4:
            return frame.lazy()
        with self._lock:
            self._frames[key] = frame
            while sum(f.estimated_size() for f in self._frames.values()) > _KEPT_ROWS_BYTES:
                self._frames.popitem(last=False)
        return frame.lazy()

    @contextmanager
    def reading(self, pinned: Pinned) -> Iterator[None]:
        """Tell what an engine stumbles over while it reads a pinned version.

        Raises Problem 410 for a version whose files maintenance has removed, StorageUnavailable,
        DamagedTable.
        """
        try:
            with only_ours(f"reading {pinned.contract}"):
                yield
        except (UnexpectedError, StorageUnavailable) as exc:
            raise self._why(pinned, exc) from None

    def _why(self, pinned: Pinned, exc: LakeError) -> LakeError | Problem:
        self._reachable()
        table, store = pinned.contract, self.lake.store
        with self._lock:
            try:
                store.check_version(table, pinned.version)
            except Unsupported:
                if store.base_version(table).version != pinned.version:
                    return Problem(
                        410, f"{table} at version {pinned.version}: maintenance has removed its files"
                    )
                return DamagedTable(
                    f"reading {table}: files of it are missing. `odp verify` says what to do."
                )
            except LakeError as other:
                return other
        return exc

    def data_files(self, pinned: Pinned) -> DataFiles:
        """Return the files of a pinned version. Raises SchemaViolation, Unsupported, DamagedTable."""
        with self._lock:
            return self.lake.store.data_files(pinned.contract, version=pinned.version)

    def written(self) -> list[str]:
        """Return every `<layer>/<name>` that holds anything. Raises StorageUnavailable."""
        self._reachable()
        with self._lock:
            return self.lake.store.found()

    def history(self, table: Contract, *, limit: int | None = None) -> list[HistoryEntry]:
        """Return the commits, newest first."""
        with self._lock:
            return self.lake.store.history(table, limit=limit)

    def _version_at(self, table: Contract, moment: datetime) -> int:
        for entry in self.lake.store.history(table):
            if entry.at <= moment:
                return entry.version
        raise Problem(422, f"{table} has no version as old as that")


def _pinned(table: Contract, now: Snapshot, mark: str) -> Pinned:
    return Pinned(
        contract=table,
        version=now.version,
        identity=now.identity,
        mark=mark,
        rows=now.rows,
        size_bytes=now.size_bytes,
    )
