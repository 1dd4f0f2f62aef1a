"""One landed file, what a landing place can do, and which names it takes.

Belongs here: the vocabulary both roots share. Does not: any root (folder.py, bucket.py) or file format.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from pathlib import PurePosixPath
from typing import BinaryIO, Protocol

from lakehouse.errors import SourceError
from lakehouse.landing.unexpected import Unexpected

UNFINISHED = (".tmp", ".part", "~")
Names = list[str]  # said here, because `list` below a method of that name means the method


@dataclass(frozen=True)
class LandedFile:
    """One raw file, as it was listed.

    `name` is `<source>/<path>`, or a bare file name for a file that lies in no source's folder.
    `open()` raises StorageUnavailable when the file has changed or gone since it was listed, so that a
    fingerprint and the rows read under it always come from the same bytes. Reading it counts in `unexpected`
    what its table has no column for.
    """

    name: str
    size: int
    modified: datetime
    opener: Callable[[], BinaryIO] = field(repr=False, compare=False)
    unexpected: Unexpected = field(default_factory=Unexpected, repr=False, compare=False)

    @property
    def source(self) -> str:
        """The first folder of the name; empty for a file in the landing root itself."""
        return source_of(self.name)

    @property
    def stem(self) -> str:
        """The file's own name without folders and suffixes such as `.json.gz`."""
        base = PurePosixPath(self.name).name
        return base.split(".", 1)[0] or base

    def open(self) -> BinaryIO:
        """Return the raw bytes as a seekable binary file; the caller closes it."""
        return self.opener()

    def read(self) -> bytes:
        """Return the raw bytes, whole."""
        with self.open() as raw:
            return raw.read()

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of the raw bytes, in hexadecimal; read as a stream, once."""
        with self.open() as raw:
            digest = hashlib.sha256()
            while block := raw.read(1 << 20):
                digest.update(block)
            return digest.hexdigest()


Files = list[LandedFile]


class Landing(Protocol):
    """A place where raw files land."""

    def list(self, source: str | None = None) -> Files:
        """Return the files of one source (`""`: of no source), or all of them, sorted by name."""
        ...

    def sources(self) -> Names:
        """Return the source folders that hold files, sorted; `""` stands for the landing root itself."""
        ...

    def put(self, name: str, data: bytes | BinaryIO) -> LandedFile:
        """Store a file whole or not at all, replacing one of that name. Raise SourceError on a bad name."""
        ...


def source_of(name: str) -> str:
    return name.split("/", 1)[0] if "/" in name else ""


def is_listed(name: str) -> bool:
    """Say whether a file of this name counts as landed: not hidden, and not still being written."""
    hidden = any(part.startswith(".") for part in name.split("/"))
    return not hidden and not name.endswith(UNFINISHED)


def checked_name(name: str) -> str:
    """Return `name` if it may be stored, as `<source>/<path>`; raise SourceError with the reason if not."""
    parts = name.split("/")
    if len(parts) < 2 or any(part in ("", ".", "..") for part in parts):
        raise SourceError(f"cannot land {name!r}: a name is <source>/<path>, without `..` or empty parts")
    if "\\" in name or any(ord(c) < 32 or ord(c) == 127 for c in name) or not _encodable(name):
        raise SourceError(f"cannot land {name!r}: backslashes and control characters are not taken")
    if not is_listed(name):
        raise SourceError(f"cannot land {name!r}: hidden and unfinished names would never be read")
    return name


def _encodable(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True
