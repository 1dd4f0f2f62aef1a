"""Landing in a local folder.

Belongs here: walking, opening and writing below one root, and never outside it. Does not: file formats.
"""

from __future__ import annotations

import fcntl
import io
import os
import secrets
import shutil
import stat
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import BinaryIO

from lakehouse.errors import SourceError, StorageUnavailable, Unreadable, plain
from lakehouse.landing.files import (
    LandedFile,
    Listing,
    Names,
    checked_name,
    is_listed,
    natural,
    unreadable,
)
from lakehouse.process import no_collection

_GRANT = "let the platform's user read it"
_GATE = ".add.lock"
_LINK = "a link that leads out of landing, and is not followed; land the file itself"
_CHANGED = "has changed since it was listed; the next run reads it, once it is written to its end"

_FINE_TICK, _COARSE_TICK = 20_000_000, 2_000_000_000  # nanoseconds
_LARGEST_GAP = 2_000_000_000  # nanoseconds between mtime and ctime; beyond it, a program set mtime

Faults = list[OSError]  # an alias, because within the class `list` is the method


class FolderLanding:
    """Raw files below a local folder, which is created when it does not exist."""

    def __init__(self, root: Path) -> None:
        try:
            root.mkdir(parents=True, exist_ok=True)
            self._root = root.resolve(strict=True)
        except OSError as exc:
            raise StorageUnavailable(f"cannot open the landing folder {root}: {plain(exc)}") from None

    def list(self, source: str | None = None) -> Listing:
        self._require_root()
        with no_collection():
            return sorted(self._files(source), key=natural)

    def sources(self) -> Names:
        """Return the source folders that hold files; each is walked up to its first file."""
        self._require_root()
        folders = sorted(e.name for e in self._entries("", []) if _leads_to_folder(e))
        return [name for name in ["", *folders] if next(self._files(name), None) is not None]

    def put(self, name: str, data: bytes | BinaryIO) -> LandedFile:
        return self._store(name, io.BytesIO(data) if isinstance(data, bytes) else data, Path.replace)

    def add(self, name: str, data: BinaryIO) -> LandedFile:
        self._require_root()
        landed = self._store(name, data, partial(_place_new, self._root / _GATE))
        try:
            for folder in [*Path(name).parents]:
                _sync(self._root / folder)
        except OSError as exc:
            raise StorageUnavailable(f"cannot write {name!r} to {self._root}: {plain(exc)}") from None
        return landed

    def find(self, name: str) -> LandedFile | None:
        self._require_root()
        return self._landed(self._root / checked_name(name), name)

    def _store(self, name: str, data: BinaryIO, place: Callable[[Path, Path], object]) -> LandedFile:
        path = self._root / checked_name(name)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            if not path.parent.resolve().is_relative_to(self._root):
                raise SourceError(
                    f"cannot land {name!r}: its folder is a link that leaves the landing folder"
                )
            _write(path, data, place)
        except OSError as exc:
            raise StorageUnavailable(f"cannot write {name!r} to {self._root}: {plain(exc)}") from None
        landed = self._landed(path, name)
        if landed is None:
            raise StorageUnavailable(f"{name!r} was written, but has been removed since; land it again")
        return landed

    def _require_root(self) -> None:
        if not self._root.is_dir():
            raise StorageUnavailable(f"the landing folder {self._root} is gone; mount or create it")

    def _files(self, source: str | None) -> Iterator[LandedFile]:
        """Yield the files of one source (`""`: of the root itself), or all of them, unordered.

        Only the source's own folder is walked.
        """
        locked: Faults = []
        folders = [f"{source}/" if source else ""]
        if folders[0].startswith("."):
            return
        if source and os.path.islink(top := f"{self._root}/{source}"):
            if os.path.isdir(top) and (link := self._landed(Path(top), source)) is not None:
                yield link
            return
        while folders:
            folder = folders.pop()
            for entry in self._entries(folder, locked):
                name = f"{folder}{entry.name}"
                if not entry.is_dir(follow_symlinks=False):
                    file = self._landed(entry, name)
                    if file is not None and (source is None or file.source == source):
                        yield file
                elif source != "" and not entry.name.startswith("."):
                    folders.append(f"{name}/")
        for exc in locked:
            yield from (file for file in self._locked(exc) if source is None or file.source == source)

    def _entries(self, folder: str, locked: Faults) -> Sequence[os.DirEntry[str]]:
        try:
            with os.scandir(f"{self._root}/{folder}") as entries:
                return tuple(entries)
        except OSError as exc:
            locked.append(exc)
            return ()

    def _locked(self, exc: OSError) -> Iterator[LandedFile]:
        """Yield a folder that cannot be listed as an unreadable file; nothing where it was just removed."""
        folder = Path(os.fsdecode(exc.filename).rstrip("/"))
        if folder == self._root:
            raise StorageUnavailable(f"cannot list the landing folder {self._root}: {plain(exc)}") from None
        if not isinstance(exc, FileNotFoundError | NotADirectoryError):
            name = f"{folder.relative_to(self._root).as_posix()}/"
            yield unreadable(name, f"the folder cannot be listed ({plain(exc)}); {_GRANT}")

    def _landed(self, path: os.DirEntry[str] | Path, name: str) -> LandedFile | None:
        """Return the file; None for a hidden or unfinished file, or one that is not a regular file.

        A link out of the root becomes an unreadable file.
        """
        if not is_listed(name):
            return None
        try:
            if path.is_symlink() and not Path(path).resolve().is_relative_to(self._root):
                return unreadable(f"{name}/" if os.path.isdir(path) else name, _LINK)
            status = path.stat()
        except (
            FileNotFoundError,
            NotADirectoryError,
        ):  # a dangling link, or removed while the folder was walked
            return None
        except (OSError, RuntimeError) as exc:
            return unreadable(name, f"its status cannot be read ({plain(exc)}); {_GRANT}")
        return _listed(os.fspath(path), name, status) if stat.S_ISREG(status.st_mode) else None


def _leads_to_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False


def _listed(path: str, name: str, status: os.stat_result) -> LandedFile:
    """Return the file, or an unreadable one where its name or its time cannot be represented."""
    if not _is_text(name):
        return unreadable(name, "its name is not UTF-8; rename it", size=status.st_size)
    try:
        modified = datetime.fromtimestamp(status.st_mtime, UTC)
    except (OverflowError, ValueError, OSError):
        return unreadable(
            name, "its modification time lies past the year 9999; `touch` it", size=status.st_size
        )
    stamp = _stamp(status)
    return LandedFile(
        name,
        status.st_size,
        modified,
        partial(_open, path, stamp),
        checker=partial(_check, path, stamp),
        version=f"{status.st_ino}:{status.st_ctime_ns}",
        doubtful=abs(status.st_ctime_ns - status.st_mtime_ns) > _LARGEST_GAP,
    )


def _is_text(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _stamp(status: os.stat_result) -> tuple[int, ...]:
    return status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


def _open(path: str, listed: tuple[int, ...]) -> BinaryIO:
    """Open a file. Raises Unreadable when it is no longer the one that was listed."""
    name = os.path.basename(path)
    _wait_for_tick(listed[-1])
    try:
        raw = open(path, "rb")  # noqa: SIM115 - the caller closes it
    except OSError as exc:
        raise Unreadable(f"{name}: it cannot be opened ({plain(exc)}); {_GRANT}") from None
    if _stamp(os.fstat(raw.fileno())) != listed:
        raw.close()
        raise Unreadable(f"{name} {_CHANGED}")
    return raw


def _wait_for_tick(changed: int) -> None:
    """Wait until another change of the file would get a later time than `changed`, in nanoseconds.

    The clock of a file system ticks some hundred times a second; one without microseconds, every two seconds
    at worst.
    """
    tick = _FINE_TICK if changed % 1_000_000 else _COARSE_TICK
    left = changed + tick - time.time_ns()
    if 0 < left <= tick:
        time.sleep(left / 1e9)


def _check(path: str, listed: tuple[int, ...]) -> None:
    try:
        is_same = _stamp(os.stat(path)) == listed
    except OSError:
        is_same = False
    if not is_same:
        raise Unreadable(f"{os.path.basename(path)} {_CHANGED}")


def _place_new(gate: Path, part: Path, path: Path) -> None:
    """Give the temporary file its name, unless another file has it.

    By a lock and not by a link: to remove the second name of a file changes its status, after a run may have
    listed it.
    """
    with gate.open("w") as alone:
        fcntl.flock(alone, fcntl.LOCK_EX)
        if not path.exists():
            part.replace(path)


def _sync(folder: Path) -> None:
    """Make the names in a folder outlive a crash of the machine."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _write(path: Path, data: BinaryIO, place: Callable[[Path, Path], object]) -> None:
    """Write to a temporary file, then give it its name: a reader sees the old file, the new one, or none."""
    part = path.with_name(f".{secrets.token_hex(8)}.part")
    try:
        with part.open("xb") as out:
            shutil.copyfileobj(data, out, 1 << 20)
            out.flush()
            os.fsync(out.fileno())
        place(part, path)
    finally:
        part.unlink(missing_ok=True)
