"""When a Delta table's log gets a checkpoint, and which older ones it needs no longer.

Belongs here: the interval, writing, thinning out. Does not: removing old log entries (delta/maintenance.py).

Opening a table reads its newest checkpoint and every entry after it, so many entries make that slow. Each
checkpoint repeats the whole table's state, so many checkpoints make the log large: with one after every ten
commits, that of 4 000 one-row commits takes 163 MB. So the interval grows with the checkpoint, within bounds,
and older checkpoints are thinned out: the newest stay, then about one for each doubling of the distance.
Every version stays readable, from the checkpoint before it and the entries in between.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

import orjson
from deltalake import DeltaTable
from deltalake.exceptions import DeltaError

from lakehouse.errors import StorageUnavailable
from lakehouse.storage.files import Files

SHORTEST, LONGEST = 10, 30  # commits
_BYTES_PER_COMMIT = 8_000  # of checkpoint, that a commit may cause to be written
_BYTES_PER_ACTION = 500
_NEWEST = 3  # checkpoints that stay, for readers that have found one and not read it yet
# Clean-up removes the entries before a checkpoint that is older than the retention, which is longer than
# this: so no checkpoint that it goes by is ever thinned out.
_THINNED_WITHIN = timedelta(days=7)
_SUFFIX = ".checkpoint.parquet"


def write_checkpoint(files: Files, path: str, delta: DeltaTable, version: int) -> bool:
    """Write a checkpoint after commit `version` of table `path` where one is due; return whether it was.

    The commit has landed. A checkpoint that cannot be written is written after a later commit.
    """
    if version % SHORTEST:
        return False
    try:
        if version < _due(files, path):
            return False
        delta.create_checkpoint()
        _thin_out(files, path)
    except (DeltaError, OSError, StorageUnavailable):
        return False
    return True


def _due(files: Files, path: str) -> int:
    """Return the version from which on the next checkpoint is due."""
    try:
        last = orjson.loads(files.read(path, "_delta_log/_last_checkpoint"))
        size = last.get("sizeInBytes") or last.get("size", 0) * _BYTES_PER_ACTION
        return int(last["version"]) + min(max(int(size) // _BYTES_PER_COMMIT, SHORTEST), LONGEST)
    except (FileNotFoundError, ValueError, KeyError, TypeError, AttributeError):
        return 0


def _thin_out(files: Files, path: str) -> None:
    found = files.written(f"{path}/_delta_log")
    entries = {int(name[:20]) for name in found if name.endswith(".json") and name[:20].isdigit()}
    young = datetime.now(UTC) - _THINNED_WITHIN
    ages = {int(name.split(".")[0]): at for name, at in found.items() if name.endswith(_SUFFIX)}
    gone = superseded(ages.keys(), entries, {version for version, at in ages.items() if at < young})
    files.remove(path, [f"_delta_log/{version:020d}{_SUFFIX}" for version in sorted(gone)])


def superseded(checkpoints: Iterable[int], entries: set[int], old: set[int]) -> set[int]:
    """Return the checkpoints that nothing needs: every version can be read without them.

    `entries` are the versions whose log entries are there, `old` the checkpoints that stay for their age.
    """
    oldest_first = sorted(checkpoints)
    kept = _spread(oldest_first, old)
    gone: set[int] = set()
    base = -1  # the version before a table's first
    for version in oldest_first:
        if version in kept or not entries.issuperset(range(base + 1, version + 1)):
            base = version
        else:
            gone.add(version)
    return gone


def _spread(oldest_first: list[int], old: set[int]) -> set[int]:
    """Return the newest ones, then about one for each doubling of the distance from the newest."""
    newest = oldest_first[-1] if oldest_first else 0
    kept, last = set(oldest_first[-_NEWEST:]) | old, 0
    for version in reversed(oldest_first[:-_NEWEST]):
        distance = newest - version
        if distance >= 2 * last:
            kept.add(version)
            last = distance
    return kept
