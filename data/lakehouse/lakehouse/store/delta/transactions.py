"""Every durable integer of a Delta table, as of a version.

Belongs here: listing application transactions. Does not: looking up known ones, which the library does.
The library answers for a name, but does not list the names; restoring a table needs all of them.
"""

from __future__ import annotations

import io

import polars as pl

from lakehouse.errors import Unsupported
from lakehouse.storage.files import Files
from lakehouse.store.delta.log import read_commit


def all_state(files: Files, path: str, version: int) -> dict[str, int]:
    """Return the state of table `path` at `version`. Raises Unsupported where the log no longer tells."""
    base, state = _checkpointed(files, path, version)
    for number in range(base + 1, version + 1):
        try:
            state |= read_commit(files, path, number).transactions
        except FileNotFoundError:
            raise Unsupported(
                f"reading the state of {path} at version {version}: the log no longer has version {number}. "
                "It was cleaned up; restore a newer version."
            ) from None
    return {name: value for name, value in state.items() if value >= 0}


def _checkpointed(files: Files, path: str, version: int) -> tuple[int, dict[str, int]]:
    """Return the newest checkpoint at or before `version`, and the state it holds."""
    names = [name for name in files.sizes(f"{path}/_delta_log") if name.endswith(".checkpoint.parquet")]
    numbers = [number for name in names if (number := int(name.split(".")[0])) <= version]
    if not numbers:
        return -1, {}
    name = f"_delta_log/{max(numbers):020d}.checkpoint.parquet"
    stored = pl.read_parquet(io.BytesIO(files.read(path, name)), columns=["txn"])
    rows = stored.select(pl.col("txn").struct.unnest()).drop_nulls("appId")
    return max(numbers), dict(rows.select("appId", pl.col("version").cast(pl.Int64)).iter_rows())
