"""Every error the library raises, as one small tree.

    LakeError                   the base: what was attempted, on what, what to do next
    ├── SettingsError           a setting is missing or cannot be read
    ├── ContractError           a contract contradicts itself (found at import)
    ├── ViewError               a ViewDefinition is invalid, or a resource does not fit it
    ├── SourceError             a landed file cannot be read
    │   ├── UnknownShape        it can be read, but no adapter knows what it is
    │   └── Unreadable          it cannot be opened, has changed or is gone since it was listed
    ├── TableNotFound           the table has never been written
    ├── DamagedTable            its log or a data file is missing, cut short or altered
    ├── SchemaViolation         a frame's columns or types are not the contract's
    ├── DataViolation           values break the contract (null or repeated key, ...)
    ├── Conflict                other writers kept winning; nothing of this commit landed
    │   └── Moved               the table has changed since the rows were computed from it
    ├── StaleWriter             the table is already past the position this writer holds
    ├── StorageUnavailable      the store did not answer; what was in flight is stated
    ├── Unsupported             the table or the backend cannot do this
    ├── UnexpectedError         a transform, an engine or a library failed: type and place, never its text
    └── UnsafeStore             the object store lets two writers win: it loses commits

Belongs here: exception classes, and what of a foreign exception may be told. Does not: handling.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class LakeError(Exception):
    """Base of every error of the library. The message names the table and the next step."""


class SettingsError(LakeError):
    """A setting is missing or cannot be read."""


class ContractError(LakeError):
    """A contract contradicts itself."""


class ViewError(LakeError):
    """A ViewDefinition is invalid, or a resource does not fit it. Its text never quotes a resource."""


class SourceError(LakeError):
    """A landed file cannot be read. Its text never quotes the file's content."""


class UnknownShape(SourceError):
    """A landed file can be read, but no adapter of its source knows its shape."""


class Unreadable(SourceError):
    """A landed file cannot be opened, or is no longer what was listed. It stays; the next run looks again."""


class TableNotFound(LakeError):
    """The table has never been written."""


class DamagedTable(LakeError):
    """The table's log or a data file of it is missing, cut short or altered; the message says what to do."""


class SchemaViolation(LakeError):
    """A frame's columns or types are not exactly the contract's."""


class DataViolation(LakeError):
    """Values break what the contract promises about its key."""


class Conflict(LakeError):
    """Other writers kept winning. Nothing of this commit landed; run it again."""


class Moved(Conflict):
    """The table is no longer in the state that a commit was computed from. Compute it again from the new."""


class StaleWriter(LakeError):
    """The table is already past the position this writer wants to commit."""


class StorageUnavailable(LakeError):
    """The store did not answer. The message says whether the commit is known to have landed."""


class Unsupported(LakeError):
    """The table, or the backend, cannot do what was asked."""


class UnsafeStore(LakeError):
    """The object store lets two conditional writers win, so it would lose commits."""


class UnexpectedError(LakeError):
    """A transform, an engine or a library failed. Its type and place are told, never its text."""


def plain(exc: BaseException) -> str:
    """Return what may be told of an exception: of ours its first line, of any other its type, cause and
    place.

    A dependency's text may quote a value, a file or a password, so that none of it is passed on. `cause` is
    one of the words below, where the text has it: `OSError (connection refused) at
    lakehouse.store.delta.read:106`.
    """
    if isinstance(exc, LakeError):
        return str(exc).strip().splitlines()[0] if str(exc).strip() else type(exc).__name__
    causes = ", ".join(_causes(exc))
    where = place(exc)
    return type(exc).__name__ + (f" ({causes})" if causes else "") + (f" at {where}" if where else "")


def place(exc: BaseException) -> str:
    """Return `module:line` of the innermost code that is ours or a user's; "" for what was never raised."""
    frames = [(one.f_globals.get("__name__", "?"), one.f_code.co_filename, line) for one, line in _walk(exc)]
    own = [(name, line) for name, file, line in frames if not _foreign(file)]
    found = own or [(name, line) for name, _, line in frames]
    return f"{found[-1][0]}:{found[-1][1]}" if found else ""


@contextmanager
def only_ours(doing: str) -> Iterator[None]:
    """Let no exception out but those of this tree, none of which shows another that it came from.

    `doing` says what was attempted, on what. Panics of Rust code are no `Exception`, and are caught all the
    same.
    """
    try:
        yield
    except LakeError as exc:
        raise without_chain(exc)  # noqa: B904 - it is raised as it came, and shows nothing else
    except BrokenPipeError:  # who read our output is gone, which is nobody's fault
        raise
    except BaseException as exc:
        if not isinstance(exc, Exception) and type(exc).__name__ != "PanicException":
            raise
        raise UnexpectedError(f"{doing}: {plain(exc)}. {UNSAID}") from None


def without_chain(exc: LakeError) -> LakeError:
    """Return the error with nothing behind it that a traceback would show."""
    exc.__cause__ = None
    exc.__suppress_context__ = True
    return exc


def with_chain(exc: BaseException) -> BaseException:
    """Return the error so that its traceback shows all that it came from: for a terminal of somebody who
    asked.
    """
    one: BaseException | None = exc
    while one is not None:
        one.__suppress_context__ = False
        one = one.__cause__ or one.__context__
    return exc


UNSAID = (
    "Its own text may quote data, so it is not told here: the same `odp` command with ODP_DEBUG=1 shows it "
    "on your terminal."
)
_CAUSES = (
    "connection refused",
    "connection reset",
    "connection closed",
    "broken pipe",
    "timed out",
    "timeout",
    "name or service not known",
    "temporary failure in name resolution",
    "dns error",
    "no route to host",
    "no space left on device",
    "permission denied",
    "access denied",
    "accessdenied",
    "no such file or directory",
    "file exists",
    "too many open files",
    "read-only file system",
    "input/output error",
    "out of memory",
    "invalidaccesskeyid",
    "signaturedoesnotmatch",
    "nosuchbucket",
    "nosuchkey",
    "slowdown",
    "preconditionfailed",
    "could not serialize access",
    "transaction conflict",
    "password authentication failed",
    "too many clients",
    "the database system is starting up",
    "the database system is shutting down",
    "server closed the connection",
    "error sending request",
    "could not connect to the endpoint",
    "invalid certificate",
    "already exists",
    "not a delta table",
    "no files in log segment",
    "invalid checkpoint",
    "invalid json",
    "overflow",
)
_STATUS = re.compile(r"\b(?:HTTP|HTTP/1\.1|status(?: code)?)[ :]+([45]\d\d)\b", re.IGNORECASE)
_CODE = re.compile(r"[A-Za-z0-9]{3,40}")


def _causes(exc: BaseException) -> list[str]:
    """Return what of an exception's text is known to be no value: fixed words, a status, a code."""
    if isinstance(exc, OSError) and isinstance(exc.errno, int):
        return [os.strerror(exc.errno)]
    try:
        text = str(exc)
    except Exception:  # noqa: BLE001  # what cannot say what it is has told by its type what there is to tell
        text = ""
    found = [cause for cause in _CAUSES if cause in text.lower()]
    found += [f"status {status}" for status in sorted(set(_STATUS.findall(text)))]
    response = getattr(exc, "response", None)
    code = response.get("Error", {}).get("Code") if isinstance(response, dict) else None
    if isinstance(code, str) and _CODE.fullmatch(code) and type(exc).__module__.startswith("botocore"):
        found.insert(0, code)
    return list(dict.fromkeys(found))


def _walk(exc: BaseException) -> Iterator[tuple[FrameType, int]]:
    trace = exc.__traceback__
    while trace is not None:
        yield trace.tb_frame, trace.tb_lineno
        trace = trace.tb_next


def _foreign(file: str) -> bool:
    return "site-packages" in file or file.startswith(("<", _STDLIB))


_STDLIB = os.path.dirname(os.__file__)
