"""Every durable integer of a Delta table, as of a version.

Belongs here: listing application transactions, and knowing those of the version that was looked at last.
The library answers for a name, by reading the log anew for each: of an object store that is requests for each
commit since the checkpoint, and a flow asks for two dozen names.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import Any

import polars as pl

from lakehouse.errors import Unsupported
from lakehouse.process import panicked
from lakehouse.storage.files import Files
from lakehouse.store.delta.log import LoggedCommit, read_commit

_STEPS = 20  # commits that are read one by one rather than from a checkpoint on


def all_state(files: Files, path: str, version: int) -> dict[str, int]:
    """Return the state of table `path` at `version`. Raises Unsupported where the log no longer tells."""
    return _followed(files, path, *_checkpointed(files, path, version), version)[0]


def _followed(
    files: Files, path: str, base: int, state: dict[str, int], version: int
) -> tuple[dict[str, int], LoggedCommit | None]:
    """Return what the commits after `base` make of its state, and the last of them; None where there is none.

    Raises Unsupported where the log no longer tells.
    """
    state, last = dict(state), None
    for number in range(base + 1, version + 1):
        try:
            last = read_commit(files, path, number)
        except FileNotFoundError:
            raise Unsupported(
                f"reading the state of {path} at version {version}: the log no longer has version {number}. "
                "It was cleaned up; restore a newer version."
            ) from None
        state |= last.transactions
    return {name: value for name, value in state.items() if value >= 0}, last


@dataclass(frozen=True)
class _Known:
    """All state of one version of a table; `mark` is what its commit says of itself (None: not looked at)."""

    identity: str
    version: int
    mark: dict[str, Any] | None
    state: dict[str, int]


class KnownState:
    """The state of tables as it was looked at last; from there on, only the commits since are read."""

    def __init__(self, files: Files) -> None:
        self._files = files
        self._known: dict[str, _Known] = {}

    def at(self, path: str, identity: str, version: int) -> dict[str, int]:
        """Return the state of a version. Raises Unsupported and DamagedTable where the log does not tell."""
        known = self._known.get(path)
        if known is None or (known.identity, known.version) != (identity, version):
            base = self._base(path, known, identity, version) or _checkpointed(self._files, path, version)
            state, last = _followed(self._files, path, *base, version)
            mark = last.info if last is not None else self._mark(path, version)
            known = self._known[path] = _Known(identity, version, mark, state)
        return known.state

    def forget(self, path: str) -> None:
        """Forget the state of a table whose log is another one by now."""
        self._known.pop(path, None)

    def _base(
        self, path: str, known: _Known | None, identity: str, version: int
    ) -> tuple[int, dict[str, int]] | None:
        """Return version and state of what was known shortly before `version`; None where it is no help."""
        if known is None or known.identity != identity or not 0 < version - known.version <= _STEPS:
            return None
        if known.mark is None or self._mark(path, known.version) != known.mark:  # as after a backup came back
            return None
        return known.version, known.state

    def _mark(self, path: str, version: int) -> dict[str, Any] | None:
        try:
            return read_commit(self._files, path, version).info
        except FileNotFoundError:
            return None


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
