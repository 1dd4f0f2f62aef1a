"""Taking a Delta table back to a version, and keeping it small.

Belongs here: restore, and one table's maintenance. Does not: which tables, when, and what is kept (upkeep).

`DeltaTable.restore` alone brings rows back but leaves transactions as they are: every consumer's position
would stand ahead of its rows, and the rows in between would never be read again. So marks go back in the same
commit.
"""

from __future__ import annotations

import random
import time
import uuid
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from typing import Any

import polars as pl
from deltalake import CommitProperties, DeltaTable
from deltalake.exceptions import CommitFailedError, DeltaError

from lakehouse.contracts import Contract
from lakehouse.errors import Conflict, DataViolation, StorageUnavailable, Unsupported, plain
from lakehouse.store import faults
from lakehouse.store.delta_changes import DeltaChanges
from lakehouse.store.delta_layout import file_bytes, hooks, scattered, writer
from lakehouse.store.delta_log import read_commit
from lakehouse.store.delta_read import adds
from lakehouse.store.protocol import Commit, CommitResult, Maintained, Outcome, Snapshot, Upkeep
from lakehouse.store.retry import COMMIT_ID, Attempt, commit_with_retries

_NO_COMMIT = Commit()
_TRIES = 5


class DeltaCare(DeltaChanges):
    """Restoring and maintaining Delta tables."""

    def restore(self, table: Contract, version: int, commit: Commit = _NO_COMMIT) -> CommitResult:
        """Bring rows and marks back to how they stood at `version`, as one new commit.

        Raises TableNotFound, and Unsupported when files or log of that version are gone: nothing was changed.
        """
        then = self._still_whole(table, version)
        marks_then = self.all_marks(table, version=version)
        back: dict[str, int] = {}

        def attempt(delta: DeltaTable) -> Attempt:
            if delta.version() == version:
                return Attempt(then, None)
            back.clear()
            back.update(dict.fromkeys(self.all_marks(table, version=delta.version()), -1) | marks_then)
            return Attempt(then, lambda properties: _restore(delta, version, properties))

        def marks(outcome: Outcome, before: Any) -> dict[str, int]:
            return back | dict(commit.marks(outcome, before) if commit.marks else {})

        return commit_with_retries(table, partial(self.reopen, table), replace(commit, marks=marks), attempt)

    def check_version(self, table: Contract, version: int) -> None:
        """Raise Unsupported when files or log of `version` are gone."""
        self._still_whole(table, version)
        self.all_marks(table, version=version)

    def _still_whole(self, table: Contract, version: int) -> Outcome:
        """Return what the version holds, when every file of it can still be read."""
        named = adds(self.open(table, version=version))
        stored = self.files.sizes(table.path)
        gone = [path for path in named["path"] if path not in stored]
        if gone:
            raise Unsupported(
                f"restoring {table} to version {version}: {len(gone)} of its {named.height} files are gone, "
                f"as {gone[0]}: maintenance removed them. Nothing was changed; restore a newer version."
            )
        rows = int(named["num_records"].sum() or 0)
        return Outcome(rows=rows, inserted=0, updated=0)

    def maintain(self, table: Contract, upkeep: Upkeep) -> Maintained:
        """Join small files, write a checkpoint, remove files and log of old versions. No row changes.

        Raises Conflict when writers keep winning, DataViolation if a row were to change: nothing is removed.
        """
        before, bytes_before = self.snapshot(table), self._data_bytes(table)
        if upkeep.compact:
            self._said(table, "compaction", lambda delta, said: self._rearrange(table, delta, said))
        faults.reach("maintain.compacted")
        self._same_rows(table, before)
        self.latest(table, fresh=True).create_checkpoint()
        faults.reach("maintain.checkpointed")
        removed = self._said(table, "clean-up", lambda delta, said: self._remove(delta, upkeep, said))
        if not self._log_needed(table, upkeep):
            self.latest(table, fresh=True).cleanup_metadata()
        faults.reach("maintain.vacuumed")
        after = self.snapshot(table)
        return Maintained(
            table=table.path,
            version=after.version,
            rows=after.rows,
            files_before=before.files,
            files_after=after.files,
            bytes_before=bytes_before,
            bytes_after=self._data_bytes(table),
            removed_files=removed,
        )

    def _data_bytes(self, table: Contract) -> int:
        """Return the size of all data files, of every version."""
        sizes = self.files.sizes(table.path)
        return sum(size for name, size in sizes.items() if not name.startswith("_delta_log/"))

    def _said(self, table: Contract, what: str, do: Callable[[DeltaTable, CommitProperties], int]) -> int:
        """Do one piece of maintenance under our name; once more from the start when a writer won."""
        last: Exception | None = None
        for _ in range(_TRIES):
            said = CommitProperties(custom_metadata={COMMIT_ID: uuid.uuid4().hex, "odp.maintenance": what})
            try:
                return do(self.latest(table, fresh=True), said)
            except CommitFailedError as exc:
                last = exc
                time.sleep(random.uniform(0.1, 1))  # noqa: S311
            except OSError as exc:
                raise self._unavailable(f"{what} of {table}", exc) from exc
            except DeltaError as exc:
                raise StorageUnavailable(f"{what} of {table}: {plain(exc)}. No row has changed.") from exc
        why = plain(last) if last else "conflict"
        raise Conflict(f"{what} of {table}: writers kept winning ({why}). Run it again.")

    def _rearrange(self, table: Contract, delta: DeltaTable, said: CommitProperties) -> int:
        how: dict[str, Any] = {
            "target_size": file_bytes(table, delta),
            "writer_properties": writer(),
            "commit_properties": said,
            "post_commithook_properties": hooks(),
        }
        if scattered(table, adds(delta)):
            delta.optimize.z_order(list(table.cluster_by), **how)
        elif not table.cluster_by:
            delta.optimize.compact(**how)
        return 0

    def _remove(self, delta: DeltaTable, upkeep: Upkeep, said: CommitProperties) -> int:
        gone = delta.vacuum(
            retention_hours=int(upkeep.retain.total_seconds() // 3600),
            dry_run=False,
            enforce_retention_duration=False,  # the caller's retention, with its own floor, is what counts
            commit_properties=said,
            post_commithook_properties=hooks(),
            full=upkeep.orphans,
            keep_versions=list(upkeep.keep) or None,
        )
        return len(gone)

    def _same_rows(self, table: Contract, before: Snapshot) -> None:
        """Compare the version before the compaction with it: writers may go on meanwhile."""
        version = self.latest(table).version()
        while version > before.version:
            commit = read_commit(self.files, table.path, version)
            if commit.info.get("odp.maintenance") == "compaction":
                break
            version -= 1
        was, now = (self._count(table, at) for at in (max(version - 1, before.version), version))
        if was != now:
            raise DataViolation(
                f"compaction of {table}: {was} rows before, {now} after. Nothing was removed: restore "
                f"version {version - 1}, and keep the table's folder for a closer look."
            )

    def _count(self, table: Contract, version: int) -> int:
        rows = self._scan(table, self.open(table, version=version)).select(pl.len())
        return int(rows.collect(engine="streaming").item())

    def _log_needed(self, table: Contract, upkeep: Upkeep) -> bool:
        """Say whether a kept version is so old that cleaning the log would take it away."""
        cut = datetime.now(UTC) - upkeep.retain
        for version in sorted(upkeep.keep):
            try:
                stamp = read_commit(self.files, table.path, version).info.get("timestamp", 0)
            except FileNotFoundError:
                return True
            if datetime.fromtimestamp(stamp / 1000, tz=UTC) < cut:
                return True
        return False


def _restore(delta: DeltaTable, version: int, properties: CommitProperties) -> None:
    delta.restore(version, commit_properties=properties, post_commithook_properties=hooks())
