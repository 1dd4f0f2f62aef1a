"""Layers as folders below one root.

Belongs here: listing, reading and conditionally writing files of a folder. Does not: buckets (bucket.py).
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import shutil
import uuid
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

from lakehouse.contracts import LAYERS
from lakehouse.errors import StorageUnavailable, plain
from lakehouse.storage.own import OWN, log_last

_GATE = ".lock"
_OF_PROCESS = (errno.EMFILE, errno.ENFILE, errno.ENOMEM)  # these are no fault of a file
_UNREADABLE = "unreadable"  # the tag of what is there and cannot be read


class FolderFiles:
    """Layers as folders below one root."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def uri(self, path: str) -> str:
        return str(self.root / path)

    def own_uri(self, name: str) -> str:
        return str(self.root / OWN / name)

    def names(self) -> list[str]:
        return sorted(
            f"{layer}/{entry.name}"
            for layer in LAYERS
            if (self.root / layer).is_dir()
            for entry in (self.root / layer).iterdir()
            if entry.is_dir() and entry.name != OWN and _holds_anything(entry)
        )

    def sizes(self, path: str) -> dict[str, int]:
        return dict(_walk(self.root / path, ""))

    def read(self, path: str, name: str) -> bytes:
        return (self.root / path / name).read_bytes()

    def sha256(self, path: str, name: str) -> tuple[str, int]:
        with (self.root / path / name).open("rb") as body:
            return hashlib.file_digest(body, "sha256").hexdigest(), body.tell()

    def own_names(self, folder: str) -> list[str]:
        place = self.root / OWN / folder
        return sorted(f.name for f in place.iterdir() if f.name != _GATE) if place.is_dir() else []

    def written(self, path: str) -> dict[str, datetime]:
        return _times(self.root / path)

    def log_entry(self, path: str, version: int) -> tuple[str, bool] | None:
        log = f"{self.root}/{path}/_delta_log"
        try:
            found = os.stat(f"{log}/{version:020d}.json")
        except OSError:
            return None
        newest = not os.path.exists(f"{log}/{version + 1:020d}.json")
        return f"{found.st_ino}/{found.st_mtime_ns}/{found.st_size}", newest

    def remove(self, path: str, names: Sequence[str]) -> None:
        for name in names:
            self._unlink(self.root / path / name)

    def put_if(self, name: str, body: bytes, tag: str | None) -> str | None:
        target = self.root / OWN / name
        fresh = target.with_name(f"{target.name}.{uuid.uuid4().hex}")
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            with (target.parent / _GATE).open("w") as gate:
                fcntl.flock(
                    gate, fcntl.LOCK_EX
                )  # compare and write as one; processes of one machine share it
                found = self.read_tagged(name)
                if (found[1] if found else None) != tag:
                    return None
                try:
                    fresh.write_bytes(body)
                    fresh.replace(target)
                except OSError:
                    fresh.unlink(missing_ok=True)
                    raise
        except OSError as exc:
            raise StorageUnavailable(f"writing {target}: {plain(exc)}") from None
        return hashlib.sha256(body).hexdigest()

    def read_tagged(self, name: str) -> tuple[bytes, str] | None:
        try:
            body = (self.root / OWN / name).read_bytes()
        except FileNotFoundError:
            return None
        except OSError as exc:
            if exc.errno in _OF_PROCESS:
                raise StorageUnavailable(f"reading {self.root / OWN / name}: {plain(exc)}") from None
            return b"", _UNREADABLE  # it is there, and nobody can read it: as one that was cut to nothing
        return body, hashlib.sha256(body).hexdigest()

    def forget(self, name: str) -> None:
        self._unlink(self.root / OWN / name)

    def forget_folder(self, folder: str) -> None:
        shutil.rmtree(self.root / OWN / folder, ignore_errors=True)

    def _unlink(self, path: Path) -> None:
        try:
            path.unlink(missing_ok=True)
        except OSError as exc:
            raise StorageUnavailable(f"removing {path}: {plain(exc)}") from None

    def own_files(self, folder: str) -> dict[str, datetime]:
        found = _times(self.root / OWN / folder)
        return {name: at for name, at in found.items() if name.isalnum()}

    def drop(self, path: str) -> None:
        for name in sorted(self.sizes(path), key=log_last):
            self._unlink(self.root / path / name)  # another one may drop it too
        shutil.rmtree(self.root / path, ignore_errors=True)


def _holds_anything(folder: Path) -> bool:
    try:
        return any(folder.iterdir())
    except FileNotFoundError:  # dropped since it was listed
        return False


def _walk(folder: Path, below: str) -> Iterator[tuple[str, int]]:
    """Yield name and size of every file; one that goes meanwhile is left out, as if it had gone before."""
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                try:
                    if entry.is_dir(follow_symlinks=False):
                        yield from _walk(Path(entry.path), f"{below}{entry.name}/")
                    elif entry.is_file():
                        yield f"{below}{entry.name}", entry.stat().st_size
                except OSError:  # gone meanwhile; or a link in a circle, which no reader can follow either
                    continue
    except (FileNotFoundError, NotADirectoryError):
        return


def _times(folder: Path) -> dict[str, datetime]:
    try:
        with os.scandir(folder) as entries:
            found = [(entry.name, at) for entry in entries if (at := _time(entry)) is not None]
    except FileNotFoundError:
        return {}
    return {name: datetime.fromtimestamp(at, UTC) for name, at in found}


def _time(entry: os.DirEntry[str]) -> float | None:
    """Return when a file was written; None for what is no file, is gone meanwhile or a link in a circle."""
    try:
        return entry.stat().st_mtime if entry.is_file() else None
    except OSError:
        return None
