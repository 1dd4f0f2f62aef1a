"""A landed file, the protocol of a landing place, and the file names it accepts.

Belongs here: what both roots share. Does not: any root (folder.py, bucket.py) or file format.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import cached_property
from pathlib import PurePosixPath
from typing import BinaryIO, Protocol

from lakehouse.errors import SourceError, Unreadable
from lakehouse.landing.form import Form
from lakehouse.landing.unexpected import Unexpected

_PLAIN = Form()
_NUMBER = re.compile("[0-9]+")
EMPTY = hashlib.sha256(b"").hexdigest()
_NO_TIME = datetime(1970, 1, 1, tzinfo=UTC)
UNFINISHED = (".tmp", ".part", "~")
Names = list[str]  # an alias, because within the classes `list` is the method


@dataclass(frozen=True)
class LandedFile:
    """One raw file, as it was listed.

    `name` is `<source>/<path>`, or a bare file name for a file outside of any source folder.
    `open()` raises Unreadable when the file cannot be opened, or was changed or removed since it was listed,
    so that a fingerprint and the rows read under it always come from the same bytes; `check()` raises the
    same after reading, where a file could change meanwhile. Reading counts in `unexpected` the columns that
    its table lacks.

    `version` changes whenever the bytes do, even with the same size and time: inode and change time, or ETag.
    A file is `doubtful` where its modification time was set by a program. `form` is the format its source
    declares.
    """

    name: str
    size: int
    modified: datetime
    opener: Callable[[], BinaryIO] = field(repr=False, compare=False)
    checker: Callable[[], None] | None = field(default=None, repr=False, compare=False)
    version: str = field(default="", repr=False, compare=False)
    doubtful: bool = field(default=False, repr=False, compare=False)
    form: Form = field(default=_PLAIN, repr=False, compare=False)
    within: str = field(default="", compare=False)  # the scope of its fingerprint (Source.partition_by)

    @cached_property
    def unexpected(self) -> Unexpected:
        """Columns found while reading the file that its table lacks; created on first use."""
        return Unexpected()

    def written_as(self, form: Form) -> LandedFile:
        """Return the file with the form its source declares; both count in the same `unexpected`."""
        file = replace(self, form=form)
        vars(file)["unexpected"] = self.unexpected
        return file

    @property
    def source(self) -> str:
        """Return the first folder of the name; empty for a file in the landing root itself."""
        return source_of(self.name)

    @property
    def stem(self) -> str:
        """Return the file's own name without folders and suffixes such as `.json.gz`."""
        base = PurePosixPath(self.name).name
        return base.split(".", 1)[0] or base

    def open(self) -> BinaryIO:
        """Return the raw bytes as a seekable binary file; the caller closes it."""
        return self.opener()

    def read(self) -> bytes:
        """Return all raw bytes."""
        with self.open() as raw:
            return raw.read()

    def check(self) -> None:
        """Raise Unreadable when the file is no longer the one that was listed."""
        if self.checker is not None:
            self.checker()

    @cached_property
    def fingerprint(self) -> str:
        """Return the SHA-256 of the raw bytes in hexadecimal, read once as a stream. Raises Unreadable."""
        digest, done = hashlib.sha256(), 0
        with self.open() as raw:
            # A file that grows faster than it is read would never end.
            while (block := raw.read(1 << 20)) and (self.checker is None or done <= self.size):
                digest.update(block)
                done += len(block)
        self.check()
        return digest.hexdigest()

    @property
    def identity(self) -> str:
        """Return the fingerprint. For an unreadable file it is computed from the name, so that the file is
        reported once; for an empty file too, so that each one is reported.
        """
        try:
            return identity_of(self.name, self.fingerprint)
        except Unreadable:
            return f"unread-{hashlib.sha256(self.name.encode()).hexdigest()[:57]}"


def identity_of(name: str, fingerprint: str) -> str:
    """Return the identity of a file: its fingerprint, or a hash of the name for an empty file."""
    return hashlib.sha256(f"empty {name}".encode()).hexdigest() if fingerprint == EMPTY else fingerprint


def natural(file: LandedFile) -> tuple[str, str]:
    """Return the sort key of a file: that of its name."""
    return natural_name(file.name)


def natural_name(name: str) -> tuple[str, str]:
    """Return the sort key of a name: digits are compared as numbers (`part-10` after `part-2`, and
    `part.json` before both).
    """
    return _NUMBER.sub(_by_length, name), name


def _by_length(number: re.Match[str]) -> str:
    digits = number[0].lstrip("0")
    return f"{len(digits):04}{digits}"


def unreadable(name: str, reason: str, *, size: int = 0) -> LandedFile:
    """Return a file or folder in landing that cannot be read: opening it raises Unreadable with the reason.

    In a name that is not UTF-8, other bytes are shown as `\\x..`.
    """
    shown = os.fsencode(name).decode("utf-8", "backslashreplace")

    def refuse() -> BinaryIO:
        raise Unreadable(f"{shown}: {reason}")

    return LandedFile(shown, size, _NO_TIME, refuse)


Listing = list[LandedFile]


class Landing(Protocol):
    """A place where raw files land."""

    def list(self, source: str | None = None) -> Listing:
        """Return the files of one source (`""`: of no source), or all of them, in the natural order of
        their names: `part-10` after `part-2`.

        What cannot be read (a folder without permission, a name that is not UTF-8) is listed too, as an
        unreadable file: it is rejected by name, and all others are ingested.
        """
        ...

    def sources(self) -> Names:
        """Return the source folders that hold files, sorted; `""` is the landing root itself."""
        ...

    def put(self, name: str, data: bytes | BinaryIO) -> LandedFile:
        """Store a file atomically, replacing one of that name. Raises SourceError on an invalid name."""
        ...

    def add(self, name: str, data: BinaryIO) -> LandedFile:
        """Store a file atomically unless one of that name is there, which then stays untouched; return it.

        Once this returns, the file outlives a crash of the machine. Raises as `put` does.
        """
        ...

    def find(self, name: str) -> LandedFile | None:
        """Return the file of that name; None where there is none, or none that would be listed."""
        ...


def source_of(name: str) -> str:
    return name.split("/", 1)[0] if "/" in name else ""


def is_listed(name: str) -> bool:
    """Return whether a file of this name counts as landed: neither hidden nor unfinished."""
    return not (name.startswith(".") or "/." in name or name.endswith(UNFINISHED))


def checked_name(name: str) -> str:
    """Return `name` if it is a valid `<source>/<path>`; otherwise raise SourceError with the reason."""
    parts = name.split("/")
    if len(parts) < 2 or any(part in ("", ".", "..") for part in parts):
        raise SourceError(f"cannot land {name!r}: a name is <source>/<path>, without `..` or empty parts")
    if "\\" in name or any(ord(c) < 32 or ord(c) == 127 for c in name) or not _encodable(name):
        raise SourceError(f"cannot land {name!r}: backslashes and control characters are not allowed")
    if not is_listed(name):
        raise SourceError(f"cannot land {name!r}: hidden and unfinished names would never be read")
    return name


def _encodable(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True
