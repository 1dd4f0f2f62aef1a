"""Every durable integer of a Delta table, as of a version.

Belongs here: listing application transactions. Does not: looking up known ones, which the library does.
The library answers for a name, but does not list the names; restoring a table needs all of them.
"""

from __future__ import annotations

import io

import polars as pl

from lakehouse.errors import Unsupported
from lakehouse.process import panicked
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
    """Return the newest checkpoint at or before `version` that can be read, and the state it holds."""
    names = [name for name in files.sizes(f"{path}/_delta_log") if name.endswith(".checkpoint.parquet")]
    for number in sorted((int(name.split(".")[0]) for name in names), reverse=True):
        if number <= version and (state := _state_in(files, path, number)) is not None:
            return number, state
    return -1, {}


def _state_in(files: Files, path: str, number: int) -> dict[str, int] | None:
    """Return the state that a checkpoint holds; None for one that is damaged, or gone meanwhile."""
    try:
        body = files.read(path, f"_delta_log/{number:020d}.checkpoint.parquet")
        stored = pl.read_parquet(io.BytesIO(body), columns=["txn"])
        rows = stored.select(pl.col("txn").struct.unnest()).drop_nulls("appId")
        return dict(rows.select("appId", pl.col("version").cast(pl.Int64)).iter_rows())
    except BaseException as exc:
        if not (panicked(exc) or isinstance(exc, pl.exceptions.PolarsError | OSError)):
            raise
        return None
