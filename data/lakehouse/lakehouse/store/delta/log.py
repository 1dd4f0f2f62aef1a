"""Reading a Delta log's own actions: what each commit added and removed.

Belongs here: commits as they lie in `_delta_log`. Does not: snapshots, which the library replays.
The library hands out the state at a version, but not which files a commit brought.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from urllib.parse import unquote

import orjson

from lakehouse.errors import DamagedTable
from lakehouse.storage.files import Files


@dataclass(frozen=True)
class DataFile:
    """One data file: its path below the table, and the values its partition columns have, as text."""

    path: str
    partition: tuple[tuple[str, str | None], ...]
    size_bytes: int = field(default=0, compare=False)
    rows: int = field(default=0, compare=False)


@dataclass(frozen=True, kw_only=True)
class LoggedCommit:
    """One commit: its data files in and out, its transactions and what it says of itself.

    `rearranged` tells that it moved rows between files without changing any (compaction, clean-up), `masked`
    that a file of it has rows that count no longer (a deletion vector, as other programs write them).
    """

    version: int
    added: tuple[DataFile, ...]
    removed: tuple[DataFile, ...]
    transactions: dict[str, int]
    info: dict[str, Any]
    rearranged: bool
    masked: bool = False


def read_commit(files: Files, path: str, version: int) -> LoggedCommit:
    """Read one commit of table `path`.

    Raises FileNotFoundError once the log has been cleaned up past it, DamagedTable for an entry that is none.
    """
    name = f"_delta_log/{version:020d}.json"
    lines = files.read(path, name).splitlines()
    try:
        return _commit(version, [orjson.loads(line) for line in lines if line.strip()])
    except (ValueError, KeyError, TypeError, AttributeError):
        raise DamagedTable(
            f"reading {path}: log entry {version} ({name}) is cut short or altered. To mend it, put "
            f"{files.uri(path)}/{name} back from a backup."
        ) from None


def _commit(version: int, actions: list[dict[str, Any]]) -> LoggedCommit:
    adds = [a["add"] for a in actions if "add" in a]
    removes = [a["remove"] for a in actions if "remove" in a]
    return LoggedCommit(
        version=version,
        added=tuple(_file(a) for a in adds),
        removed=tuple(_file(r) for r in removes),
        transactions={a["txn"]["appId"]: int(a["txn"]["version"]) for a in actions if "txn" in a},
        info=next((a["commitInfo"] for a in actions if "commitInfo" in a), {}),
        rearranged=not any(a.get("dataChange", True) for a in (*adds, *removes)),
        masked=any(a.get("deletionVector") for a in (*adds, *removes)),
    )


def entries_of(files: Files, path: str, newest: int, limit: int | None) -> dict[int, datetime]:
    """Return the versions whose entries are in the log, each with when it was written: `limit` of them, from
    the newest down, without a gap.
    """
    written = files.written(f"{path}/_delta_log")
    found: dict[int, datetime] = {}
    while (at := written.get(f"{newest:020d}.json")) is not None and len(found) != limit:
        found[newest] = at
        newest -= 1
    return found


def brought_files(files: Files, path: str, version: int) -> dict[str, int | None]:
    """Return the files that a commit brought, each with its size where the log tells it. Raises as
    `read_commit` does.
    """
    entry = f"_delta_log/{version:020d}"
    added: dict[str, int | None] = {f.path: f.size_bytes for f in read_commit(files, path, version).added}
    return added | {f"{entry}.json": None, f"{entry}.checkpoint.parquet": None}


def _file(action: dict[str, Any]) -> DataFile:
    told = orjson.loads(action.get("stats") or "{}")
    return DataFile(
        path=unquote(action["path"]),
        partition=tuple(sorted((action.get("partitionValues") or {}).items())),
        size_bytes=int(action.get("size") or 0),
        rows=int(told.get("numRecords") or 0),
    )
