"""Every error the library raises, as one small tree.

    LakeError                   the base: what was attempted, on what, what to do next
    ├── SettingsError           a setting is missing or cannot be read
    ├── ContractError           a contract contradicts itself (found at import)
    ├── SourceError             a landed file cannot be read
    │   └── UnknownShape        it can be read, but no adapter knows what it is
    ├── TableNotFound           the table has never been written
    ├── SchemaViolation         a frame's columns or types are not the contract's
    ├── DataViolation           values break the contract (null or repeated key, ...)
    ├── Conflict                other writers kept winning; nothing of this commit landed
    ├── StaleWriter             the table is already past the position this writer holds
    ├── StorageUnavailable      the store did not answer; what was in flight is stated
    ├── Unsupported             the table or the backend cannot do this
    └── UnsafeStore             the object store lets two writers win: it loses commits

Belongs here: exception classes. Does not: handling.
"""

from __future__ import annotations

import re

_ANSI = re.compile(r"\x1b\[[0-9;]*m")


class LakeError(Exception):
    """Base of every error of the library. The message names the table and the next step."""


class SettingsError(LakeError):
    """A setting is missing or cannot be read."""


class ContractError(LakeError):
    """A contract contradicts itself."""


class SourceError(LakeError):
    """A landed file cannot be read. Its text never quotes the file's content."""


class UnknownShape(SourceError):
    """A landed file can be read, but no adapter of its source knows its shape."""


class TableNotFound(LakeError):
    """The table has never been written."""


class SchemaViolation(LakeError):
    """A frame's columns or types are not exactly the contract's."""


class DataViolation(LakeError):
    """Values break what the contract promises about its key."""


class Conflict(LakeError):
    """Other writers kept winning. Nothing of this commit landed; run it again."""


class StaleWriter(LakeError):
    """The table is already past the position this writer wants to commit."""


class StorageUnavailable(LakeError):
    """The store did not answer. The message says whether the commit is known to have landed."""


class Unsupported(LakeError):
    """The table, or the backend, cannot do what was asked."""


class UnsafeStore(LakeError):
    """The object store lets two conditional writers win, so it would lose commits."""


def plain(exc: BaseException) -> str:
    """Return the first line of an exception's text without terminal colours."""
    text = _ANSI.sub("", str(exc)).strip()
    return text.splitlines()[0] if text else type(exc).__name__
