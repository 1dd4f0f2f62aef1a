"""Commits of other programs, remembered: looking for them costs what is new, and none is forgotten.

Belongs here: reading a Delta log for what is not ours, and the record of how far it was read. Does not:
judging.

    foreign/<layer>/<name>.json     which table, the last version judged and its commit, and what was found

A foreign commit is named for good, also when clean-up has taken it from the log, unless it was undone or
accepted: by a restore to a version before it, a full refresh after it, or somebody who said why it may stay.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import orjson

from lakehouse.contracts import Contract
from lakehouse.errors import Conflict, StorageUnavailable, Unsupported
from lakehouse.storage.files import Files
from lakehouse.store.commits import COMMIT_ID, commit_of
from lakehouse.store.results import HistoryEntry

FULL_REFRESH = "odp.full_refresh"
RESTORED = "odp.restored_version"
_UNRECORDED = 20  # commits that are read again rather than to write the record at every look
_TRIES = 5


@dataclass(kw_only=True)
class Record:
    """What is known of one table's log up to version `judged`, whose commit was `commit`."""

    identity: str
    judged: int = -1
    commit: str = ""
    found: dict[int, HistoryEntry] = field(default_factory=dict)
    accepted: dict[int, str] = field(default_factory=dict)  # why, by version
    tag: str | None = None


def is_ours(entry: HistoryEntry) -> bool:
    """Return whether a commit is signed by us, or made the table, which earlier versions did not sign.

    Of two that made it at once, the second is version 1 there.
    """
    if COMMIT_ID in entry.info or (entry.version == 0 and entry.operation.startswith("CREATE")):
        return True
    told = entry.info.get("operationParameters") or {}
    return entry.operation == "CREATE TABLE" and told.get("mode") == "Ignore"


def client(entry: HistoryEntry) -> str:
    """Return what a commit says of the program that made it."""
    return str(entry.info.get("clientVersion") or entry.info.get("engineInfo") or "")


def foreign(
    files: Files, path: str, identity: str, newest: int, history: Callable[[int | None], list[HistoryEntry]]
) -> list[HistoryEntry]:
    """Return the commits of others that still stand, newest first; `history` gives so many of the newest."""
    record = _read(files, path, identity)
    entries = history(newest - record.judged + 1 if record.judged >= 0 else None)
    at_judged = next((entry for entry in entries if entry.version == record.judged), None)
    if record.judged > newest or (at_judged is not None and commit_of(at_judged) != record.commit):
        # Another log than was judged, as after a backup was put back.
        record.judged, record.found, entries = -1, {}, history(None)
    entries = [entry for entry in entries if entry.version > record.judged]
    before = set(record.found)
    record.found = standing(reversed(entries), record.found)
    if entries and (set(record.found) != before or len(entries) > _UNRECORDED):
        record.judged, record.commit = entries[0].version, commit_of(entries[0])
        with suppress(StorageUnavailable, OSError):  # a lake that may only be read is looked through again
            _write(files, path, record)
    return _unaccepted(record)


def standing(entries: Iterable[HistoryEntry], found: Mapping[int, HistoryEntry]) -> dict[int, HistoryEntry]:
    """Return the commits of others that no later one of ours has undone; `entries` are oldest first."""
    left = dict(found)
    for entry in entries:
        if not is_ours(entry):
            left[entry.version] = entry
        elif (kept := _kept_by(entry)) is not None:
            left = {version: one for version, one in left.items() if version <= kept}
    return left


def _kept_by(entry: HistoryEntry) -> int | None:
    """Return up to which version a commit of ours kept what others wrote; None when it undid nothing."""
    told = entry.info.get("operationParameters") or {}
    if entry.operation == "RESTORE":
        version = entry.info.get(RESTORED, told.get("version"))
        return int(version) if version is not None and str(version).isdigit() else None
    replaced = entry.operation == "OVERWRITE" or told.get("mode") == "Overwrite"
    return -1 if replaced and FULL_REFRESH in entry.info else None


def not_accepted(
    files: Files, path: str, identity: str, found: Mapping[int, HistoryEntry]
) -> list[HistoryEntry]:
    """Return those of `found` that nobody has accepted, newest first."""
    record = _read(files, path, identity)
    record.found = dict(found)
    return _unaccepted(record)


def accept(files: Files, path: str, identity: str, version: int, why: str) -> None:
    """Let a foreign commit stand for good; the reason is kept. Raises Conflict."""
    for _ in range(_TRIES):
        record = _read(files, path, identity)
        record.accepted[version] = f"{datetime.now(UTC).isoformat(timespec='seconds')} {why}"
        if _write(files, path, record):
            return
    raise Conflict(f"accepting version {version} of {path}: others kept writing the record. Run it again.")


def refuse_others(table: Contract, version: int, found: Iterable[HistoryEntry]) -> None:
    """Raise Unsupported unless `version` is one of the commits that are to be accepted."""
    known = [str(entry.version) for entry in found]
    if str(version) not in known:
        there = f"there are {', '.join(known)}" if known else "there is none"
        raise Unsupported(f"accepting version {version} of {table}: no commit of another program; {there}")


def _unaccepted(record: Record) -> list[HistoryEntry]:
    return [record.found[v] for v in sorted(record.found, reverse=True) if v not in record.accepted]


def _read(files: Files, path: str, identity: str) -> Record:
    stored = files.read_tagged(_name(path))
    if stored is None:
        return Record(identity=identity)
    fresh = Record(identity=identity, tag=stored[1])
    try:
        told = orjson.loads(stored[0])
        if told["identity"] != identity:
            return fresh
        return Record(
            identity=identity,
            judged=int(told["judged"]),
            commit=str(told["commit"]),
            found={int(v): _entry(int(v), one) for v, one in told["found"].items()},
            accepted={int(v): str(why) for v, why in told["accepted"].items()},
            tag=stored[1],
        )
    except (ValueError, KeyError, TypeError):
        return fresh  # the log is judged anew


def _write(files: Files, path: str, record: Record) -> bool:
    found = {str(v): [e.at.isoformat(), e.operation, client(e)] for v, e in record.found.items()}
    told = {
        "identity": record.identity,
        "judged": record.judged,
        "commit": record.commit,
        "found": found,
        "accepted": {str(v): why for v, why in record.accepted.items()},
    }
    return files.put_if(_name(path), orjson.dumps(told), record.tag) is not None


def _entry(version: int, told: list[Any]) -> HistoryEntry:
    at, operation, made_by = told
    return HistoryEntry(
        version=version, at=datetime.fromisoformat(at), operation=operation, info={"clientVersion": made_by}
    )


def _name(path: str) -> str:
    return f"foreign/{path}.json"
