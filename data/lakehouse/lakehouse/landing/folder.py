"""Landing in a local folder.

Belongs here: walking, opening and writing below one root, and never outside it. Does not: file formats.
"""

from __future__ import annotations

import io
import os
import secrets
import shutil
import stat
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import BinaryIO

from lakehouse.errors import SourceError, StorageUnavailable, plain
from lakehouse.landing.files import Files, LandedFile, Names, checked_name, is_listed, source_of


class FolderLanding:
    """Raw files below a local folder, which is made when it is not there."""

    def __init__(self, root: Path) -> None:
        try:
            root.mkdir(parents=True, exist_ok=True)
            self._root = root.resolve(strict=True)
        except OSError as exc:
            raise StorageUnavailable(f"cannot open the landing folder {root}: {plain(exc)}") from exc

    def list(self, source: str | None = None) -> Files:
        if not self._root.is_dir():
            raise StorageUnavailable(f"the landing folder {self._root} is gone; mount or create it")
        files = [f for path in self._walk() if (f := self._landed(path)) is not None]
        return sorted((f for f in files if source is None or f.source == source), key=lambda f: f.name)

    def sources(self) -> Names:
        return sorted({source_of(f.name) for f in self.list()})

    def put(self, name: str, data: bytes | BinaryIO) -> LandedFile:
        path = self._root / checked_name(name)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            if not path.parent.resolve().is_relative_to(self._root):
                raise SourceError(
                    f"cannot land {name!r}: its folder is a link that leaves the landing folder"
                )
            _write(path, io.BytesIO(data) if isinstance(data, bytes) else data)
        except OSError as exc:
            raise StorageUnavailable(f"cannot write {name!r} to {self._root}: {plain(exc)}") from exc
        landed = self._landed(path)
        if landed is None:
            raise StorageUnavailable(f"{name!r} was written, but is gone again; land it once more")
        return landed

    def _walk(self) -> Iterator[Path]:
        def unreadable(exc: OSError) -> None:
            raise StorageUnavailable(f"cannot list the landing folder {self._root}: {plain(exc)}") from exc

        for folder, folders, names in os.walk(self._root, onerror=unreadable):
            folders[:] = [f for f in folders if not f.startswith(".")]
            yield from (Path(folder, name) for name in names)

    def _landed(self, path: Path) -> LandedFile | None:
        """Return the file, or None for what is hidden, unfinished, no regular file, or outside the root."""
        name = path.relative_to(self._root).as_posix()
        try:
            status = path.stat()
            inside = not path.is_symlink() or path.resolve(strict=True).is_relative_to(self._root)
        except OSError:  # a dangling link, or a file that went away while the folder was walked
            return None
        if not (is_listed(name) and inside and stat.S_ISREG(status.st_mode)):
            return None
        modified = datetime.fromtimestamp(status.st_mtime, UTC)
        return LandedFile(name, status.st_size, modified, partial(_open, path, _mark(status)))


def _mark(status: os.stat_result) -> tuple[int, ...]:
    return status.st_ino, status.st_size, status.st_mtime_ns


def _open(path: Path, listed: tuple[int, ...]) -> BinaryIO:
    """Open a file, and refuse it when it is no longer the one that was listed."""
    try:
        raw = path.open("rb")
    except OSError as exc:
        raise StorageUnavailable(f"cannot open {path.name}: {plain(exc)}; list landing again") from exc
    if _mark(os.fstat(raw.fileno())) != listed:
        raw.close()
        raise StorageUnavailable(f"{path.name} has changed since it was listed; list landing again")
    return raw


def _write(path: Path, data: BinaryIO) -> None:
    """Write beside the target, then rename: a reader sees the old file, the new one, or none."""
    part = path.with_name(f".{secrets.token_hex(8)}.part")
    try:
        with part.open("xb") as out:
            shutil.copyfileobj(data, out, 1 << 20)
            out.flush()
            os.fsync(out.fileno())
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
