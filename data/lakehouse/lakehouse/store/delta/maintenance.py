"""Taking a Delta table back to a version, and keeping it small.

Belongs here: restore, and one table's maintenance. Does not: which tables, when, and what is kept
(lakehouse.maintenance).

`DeltaTable.restore` alone brings rows back but leaves transactions as they are: every consumer's position
would stand ahead of its rows, and the rows in between would never be read again. So the state goes back in
the same commit.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from typing import Any

import polars as pl
from deltalake import CommitProperties, DeltaTable
from deltalake.exceptions import CommitFailedError, DeltaError

from lakehouse import fault_points
from lakehouse.contracts import Contract
from lakehouse.errors import Conflict, DataViolation, StorageUnavailable, Unsupported, plain
from lakehouse.store.commits import COMMIT_ID
from lakehouse.store.delta.changes import DeltaChanges
from lakehouse.store.delta.checkpoint import SHORTEST, write_checkpoint
from lakehouse.store.delta.commit import Attempt, commit_with_retries
from lakehouse.store.delta.layout import file_bytes, hooks, poorly_clustered, writer
from lakehouse.store.delta.log import read_commit
from lakehouse.store.delta.read import adds, counted
from lakehouse.store.integrity.checksums import refuse_altered
from lakehouse.store.results import (
    CommitOptions,
    CommitResult,
    MaintenanceOptions,
    MaintenanceResult,
    Outcome,
    Snapshot,
)

_NO_COMMIT = CommitOptions()
_TRIES = 5


class DeltaMaintenance(DeltaChanges):
    """Restoring and maintaining Delta tables."""

    def restore(self, table: Contract, version: int, commit: CommitOptions = _NO_COMMIT) -> CommitResult:
        """Bring rows and state back to how they stood at `version`, as one new commit.

        Raises TableNotFound, and Unsupported when files or log of that version are gone: nothing was changed.
        """
        then = self._still_whole(table, version)
        marks_then = self.all_state(table, version=version)
        back: dict[str, int] = {}

        def attempt(delta: DeltaTable) -> Attempt:
            if delta.version() == version:
                return Attempt(then, None)
            back.clear()
            back.update(dict.fromkeys(self.all_state(table, version=delta.version()), -1) | marks_then)
            return Attempt(then, lambda properties: _restore(delta, version, properties))

        def state(outcome: Outcome, before: Any) -> dict[str, int]:
            return back | dict(commit.state(outcome, before) if commit.state else {})

        said = replace(commit, state=state)
        result = commit_with_retries(
            table,
            self.files,
            partial(self.reopen, table),
            said,
            attempt,
            state_at=partial(self._state_at, table),
        )
        self.write_checkpoint(table, result)
        self._recorded(table, result)  # of the checkpoint too
        return result

    def write_checkpoint(self, table: Contract, result: CommitResult) -> None:
        """Write a checkpoint after a commit where one is due, and go on from it."""
        if result.landed != "committed" or result.version % SHORTEST:
            return
        head = self._head(table)
        if write_checkpoint(self.files, table.path, head, result.version):
            name = f"_delta_log/{int(head.version()):020d}.checkpoint.parquet"
            self.checksums.record_files(table.path, str(head.metadata().id), [name])
            self._heads.pop(table.path, None)

    def check_version(self, table: Contract, version: int) -> None:
        """Raise Unsupported when files or log of `version` are gone."""
        self._still_whole(table, version)
        self.all_state(table, version=version)

    def _still_whole(self, table: Contract, version: int) -> Outcome:
        """Return what the version holds, when every file of it can still be read."""
        at = self.open(table, version=version)
        named = adds(at)
        stored = self.files.sizes(table.path)
        sizes = named.select("path", "size_bytes").iter_rows()
        gone = [path for path, size in sizes if stored.get(path) != size]
        if gone:
            cut = [path for path in gone if path in stored]
            why = f"{cut[0]} is cut short" if cut else f"as {gone[0]}: maintenance removed them"
            raise Unsupported(
                f"restoring {table} to version {version}: {len(gone)} of its {named.height} files are gone, "
                f"{why}. Nothing was changed; restore a newer version."
            )
        rows = counted(at, named)
        return Outcome(rows=rows, inserted=0, updated=0)

    def maintain(self, table: Contract, options: MaintenanceOptions) -> MaintenanceResult:
        """Join small files, write a checkpoint, remove files and log of old versions. No row changes.

        Raises DamagedTable when a file is not what was written, before anything is done; Conflict when
        writers keep winning, DataViolation if a row were to change: nothing is removed.
        """
        before, bytes_before = self.snapshot(table), self._data_bytes(table)
        refuse_altered(table, self.check_bytes(table))
        if options.compact:
            self._said(table, "compaction", lambda delta, said: self._rearrange(table, delta, said))
        fault_points.reach("maintain.compacted")
        self._same_rows(table, before)
        self._checkpoint(table, before.identity)
        fault_points.reach("maintain.checkpointed")
        removed = self._said(table, "clean-up", lambda delta, said: self._remove(delta, options, said))
        if not self._log_needed(table, options):
            self._clean_log(table)
        fault_points.reach("maintain.vacuumed")
        self.checksums.tidy(table.path, before.identity, [*self.file_names(table), *self._log_names(table)])
        after = self.snapshot(table)
        return MaintenanceResult(
            table=table.path,
            version=after.version,
            rows=after.rows,
            files_before=before.files,
            files_after=after.files,
            bytes_before=bytes_before,
            bytes_after=self._data_bytes(table),
            removed_files=removed,
        )

    def _checkpoint(self, table: Contract, identity: str) -> None:
        """Write a checkpoint. A commit may have written that one already: both have a right checksum."""
        delta = self.latest(table, fresh=True)
        try:
            delta.create_checkpoint()
        except (DeltaError, OSError) as exc:
            raise self._unavailable(f"writing a checkpoint of {table}", exc) from None
        name = f"_delta_log/{delta.version():020d}.checkpoint.parquet"
        self.checksums.record_files(table.path, identity, [name])

    def _clean_log(self, table: Contract) -> None:
        try:
            self.latest(table, fresh=True).cleanup_metadata()
        except (DeltaError, OSError) as exc:
            raise self._unavailable(f"cleaning the log of {table}", exc) from None

    def _data_bytes(self, table: Contract) -> int:
        """Return the size of all data files, of every version."""
        sizes = self.files.sizes(table.path)
        return sum(size for name, size in sizes.items() if not name.startswith("_delta_log/"))

    def _said(self, table: Contract, what: str, do: Callable[[DeltaTable, CommitProperties], int]) -> int:
        """Do one piece of maintenance under our name; once more from the start when a writer won."""
        from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_random

        def once() -> int:
            said = CommitProperties(custom_metadata={COMMIT_ID: uuid.uuid4().hex, "odp.maintenance": what})
            return do(self.latest(table, fresh=True), said)

        retrying = Retrying(
            retry=retry_if_exception_type(CommitFailedError),
            wait=wait_random(0.1, 1),
            stop=stop_after_attempt(_TRIES),
            reraise=True,
        )
        try:
            return retrying(once)
        except CommitFailedError as exc:
            raise Conflict(f"{what} of {table}: writers kept winning ({plain(exc)}). Run it again.") from None
        except OSError as exc:
            raise self._unavailable(f"{what} of {table}", exc) from None
        except DeltaError as exc:
            raise StorageUnavailable(f"{what} of {table}: {plain(exc)}. No row has changed.") from None

    def _rearrange(self, table: Contract, delta: DeltaTable, said: CommitProperties) -> int:
        how: dict[str, Any] = {
            "target_size": file_bytes(table, delta),
            "writer_properties": writer(),
            "commit_properties": said,
            "post_commithook_properties": hooks(),
            "partition_filters": _but_tildes(table, adds(delta)) or None,
        }
        if poorly_clustered(table, adds(delta)):
            delta.optimize.z_order(list(table.cluster_by), **how)
        elif not table.cluster_by:
            delta.optimize.compact(**how)
        return 0

    def _remove(self, delta: DeltaTable, options: MaintenanceOptions, said: CommitProperties) -> int:
        gone = delta.vacuum(
            retention_hours=int(options.retain.total_seconds() // 3600),
            dry_run=False,
            enforce_retention_duration=False,  # the caller's retention, with its own floor, is what counts
            commit_properties=said,
            post_commithook_properties=hooks(),
            full=options.orphans,
            keep_versions=list(options.keep) or None,
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

    def _log_needed(self, table: Contract, options: MaintenanceOptions) -> bool:
        """Return whether a kept version is so old that cleaning the log would take it away."""
        cut = datetime.now(UTC) - options.retain
        for version in sorted(options.keep):
            try:
                stamp = read_commit(self.files, table.path, version).info.get("timestamp", 0)
            except FileNotFoundError:
                return True
            if datetime.fromtimestamp(stamp / 1000, tz=UTC) < cut:
                return True
        return False


def _but_tildes(table: Contract, files: pl.DataFrame) -> list[tuple[str, str, list[str]]]:
    """Return the filters that leave out the partitions whose text has a `~`.

    The library looks for their files under another name than they have (`%7E`), and joins none of the table.
    """
    found = []
    for name in table.partition_by:
        texts = (
            files[f"partition.{name}"].unique().drop_nulls() if files.height else pl.Series(dtype=pl.String)
        )
        if texts.dtype == pl.String and (odd := sorted(text for text in texts if "~" in text)):
            found.append((name, "not in", odd))
    return found


def _restore(delta: DeltaTable, version: int, properties: CommitProperties) -> None:
    delta.restore(version, commit_properties=properties, post_commithook_properties=hooks())
