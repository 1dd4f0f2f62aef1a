"""The files of a pinned version, on this machine.

Belongs here: finding them, and copies of those that are elsewhere. Does not: reading them.

A Delta table in a folder is read where it lies. Its files in a bucket are copied once, since a file never
changes under its name. A version whose rows are not just those of its files (partitions, deletions, DuckLake)
is copied as the store reads it. Copies stay below a limit; those that are longest unused go first.
"""

from __future__ import annotations

import hashlib
import os
import threading
import uuid
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from lakehouse.errors import only_ours
from lakehouse.pipeline import Lake
from lakehouse.store import whole_files
from serving.problems import Problem
from serving.reader import Pinned

_KEPT_LISTS = 256
_MOST_COPIED = 4 << 30  # bytes


class TableFiles:
    """Files of one lake. `copies` is a folder of this machine that nobody else writes to."""

    def __init__(self, lake: Lake, copies: Path, *, is_delta: bool, most_bytes: int = _MOST_COPIED) -> None:
        self._lake, self._copies, self._most, self._is_delta = lake, copies, most_bytes, is_delta
        self._looking, self._lock = threading.Lock(), threading.Lock()
        self._held: Counter[Path] = Counter()
        self._lists: OrderedDict[tuple[str, str, int, str], list[str]] = OrderedDict()

    @contextmanager
    def of(self, pinned: Pinned, *, as_read: bool = False) -> Iterator[tuple[Path, ...]]:
        """Give Parquet files that hold the version's rows; copies stay while it is open.

        `as_read` forces a copy of what the store reads. Raises Problem 422 for what is too large to copy,
        StorageUnavailable, DamagedTable.
        """
        root = Path(self._lake.store.uri(pinned.contract))
        names = [] if as_read or not self._is_delta else self._names(pinned)
        if names and root.is_absolute():
            yield tuple(root / name for name in names)
            return
        if pinned.size_bytes > self._most:
            raise Problem(422, f"{pinned.contract} is too large to be read by SQL from where it lies")
        held: list[Path] = []
        try:
            if names:
                for name in names:
                    held.append(self._hold(pinned, name, self._copier(pinned, name)))
            else:
                held.append(self._hold(pinned, f"\0{pinned.version}\0{pinned.mark}", self._writer(pinned)))
            yield tuple(held)
        finally:
            with self._lock:
                self._held.subtract(held)
            self._tidy()

    def _names(self, pinned: Pinned) -> list[str]:
        key = pinned.key
        with self._looking:
            if (known := self._lists.get(key)) is None:
                store = self._lake.store
                found = whole_files(store, pinned.contract, version=pinned.version)
                now = found or store.snapshot(pinned.contract, version=pinned.version)
                if now.identity != pinned.identity:
                    raise Problem(
                        503,
                        f"{pinned.contract} was replaced just now; ask again",
                        headers={"Retry-After": "1"},
                    )
                known = self._lists[key] = [one.name for one in found.files] if found is not None else []
                while len(self._lists) > _KEPT_LISTS:
                    self._lists.popitem(last=False)
            return known

    def _copier(self, pinned: Pinned, name: str) -> Callable[[Path], None]:
        def copy(to: Path) -> None:
            to.write_bytes(self._lake.store.files.read(pinned.contract.path, name))

        return copy

    def _writer(self, pinned: Pinned) -> Callable[[Path], None]:
        def write(to: Path) -> None:
            with self._looking:
                rows = self._lake.store.scan(pinned.contract, version=pinned.version)
            rows.sink_parquet(to, compression="zstd")

        return write

    def _hold(self, pinned: Pinned, name: str, make: Callable[[Path], None]) -> Path:
        """Return the copy of a file, made where there is none, that is kept until it is let go."""
        key = "\0".join((pinned.contract.path, pinned.identity, name))
        copy = self._copies / f"{hashlib.sha256(key.encode()).hexdigest()}.parquet"
        with self._lock:
            self._held[copy] += 1
        try:
            if copy.exists():
                os.utime(copy)
                return copy
            self._copies.mkdir(parents=True, exist_ok=True, mode=0o700)
            fresh = copy.with_suffix(f".{uuid.uuid4().hex}.part")
            try:
                with only_ours(f"reading {pinned.contract}"):
                    make(fresh)
                fresh.chmod(0o600)
                fresh.replace(copy)
            finally:
                fresh.unlink(missing_ok=True)
        except BaseException:
            with self._lock:
                self._held[copy] -= 1
            raise
        return copy

    def _tidy(self) -> None:
        """Remove what was not used for longest, until the rest is below the limit."""
        with self._lock:
            if not self._copies.is_dir():
                return
            found = sorted(
                (
                    (file.stat().st_mtime, file.stat().st_size, file)
                    for file in self._copies.glob("*.parquet")
                ),
            )
            size = sum(one[1] for one in found)
            for _, bytes_, file in found:
                if size <= self._most:
                    break
                if self._held[file] <= 0:
                    file.unlink(missing_ok=True)
                    size -= bytes_
            self._held = Counter({file: count for file, count in self._held.items() if count > 0})
