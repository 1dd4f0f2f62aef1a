"""Care for DuckLake tables: bringing one back to a version, joining small files, taking out old ones.

Belongs here: restore and maintain. Does not: when, or how long to keep what (contracts, maintenance).

A version is a snapshot of the whole lake, and a file goes once no snapshot names it. A table's maintenance
expires that table's own snapshots only, since others may be somebody's restore point: so a file lives until
the snapshots of all tables from its time have gone. DuckLake's own compaction may not share a transaction
with a count of the rows, so files are joined here; its search for orphans takes live files
(duckdb/ducklake#815).
"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

from lakehouse import fault_points
from lakehouse.contracts import Contract
from lakehouse.errors import Conflict, DataViolation, StorageUnavailable, Unsupported
from lakehouse.store.ducklake import catalog
from lakehouse.store.ducklake.commit import Attempt, Work, may_pass, read_state, write_state
from lakehouse.store.ducklake.connection import LAKE, Cursor
from lakehouse.store.ducklake.files import IDENTITY, in_files, put_in, rows_per_file, stored, take_out
from lakehouse.store.ducklake.orphans import remove_orphans
from lakehouse.store.ducklake.read import DuckLakeReader, as_of, rows_of
from lakehouse.store.ducklake.schema import address, columns, place, state_place
from lakehouse.store.integrity.checksums import refuse_altered
from lakehouse.store.integrity.foreign_commits import RESTORED
from lakehouse.store.results import (
    CommitOptions,
    CommitResult,
    MaintenanceOptions,
    MaintenanceResult,
    Outcome,
)

_NO_COMMIT = CommitOptions()
_TRIES = 6


class DuckLakeMaintenance(DuckLakeReader):
    """Restoring and maintaining DuckLake tables."""

    def restore(self, table: Contract, version: int, commit: CommitOptions = _NO_COMMIT) -> CommitResult:
        """Bring rows and state back to how they stood at `version`, as one new commit.

        Files that are still in place stay; rows of the others are written anew. Raises Unsupported when the
        version is gone.
        """

        def attempt(cursor: Cursor) -> Attempt:
            entry = self.entry(cursor, table)
            _, at = self._at(cursor, table, entry, version, state=True)
            rows = cursor.execute(f"SELECT count(*) FROM {as_of(table, at)}").fetchone()
            outcome = Outcome(rows=int(rows[0]) if rows else 0, inserted=0, updated=0)
            return Attempt(outcome, lambda cursor: self._bring_back(cursor, table, entry, at, outcome.rows))

        said = replace(commit, info={**commit.info, RESTORED: str(version)})
        return Work(lake=self.lake, table=table, operation="RESTORE", commit=said, attempt=attempt).done()

    def check_version(self, table: Contract, version: int) -> None:
        """Raise Unsupported when the snapshot or a file of `version` is gone."""
        missing = self.missing_files(table, version=version)
        if missing:
            raise Unsupported(
                f"restoring {table} to version {version}: {len(missing)} of its files are gone, as "
                f"{missing[0]}. Nothing was changed; restore another version."
            )

    def _bring_back(self, cursor: Cursor, table: Contract, entry: catalog.Entry, at: int, rows: int) -> None:
        now = set(catalog.files(cursor, table, catalog.current(cursor)))
        then = set(catalog.files(cursor, table, at))
        back, extra = (then - now, now - then) if self._by_files(cursor, entry, at) else (then, now)
        query = rows_of(table, at, back, catalog.stored_columns(cursor, table, at))
        if back:
            per_file = rows_per_file(table, stored(cursor, table))
            put_in(cursor, self.files, table, query.text, query.values, rows=rows, per_file=per_file)
        take_out(cursor, table, [file.path for file in extra])
        # Read before the others go: in this transaction a past version lacks what the transaction removed.
        state = read_state(cursor, table, version=at)
        cursor.execute(f"DELETE FROM {address(state_place(table.path))}")
        write_state(cursor, table, state)

    def maintain(self, table: Contract, options: MaintenanceOptions) -> MaintenanceResult:
        """Join small files, take out old versions of this table and the files nobody needs any more.

        Raises DamagedTable (a file is not what was written), Conflict (a writer kept winning), DataViolation
        (a row was gained or lost; nothing is changed) and StorageUnavailable.
        """
        before = self.snapshot(table)
        with self.lake.asking("setting the options of the catalog") as cursor:
            self.lake.keep_options(cursor)
        bytes_before, files_before = self._lies_there(table)
        refuse_altered(table, self.check_bytes(table))
        if options.compact:
            self._compact(table)
        fault_points.reach("maintain.compacted")
        known = self._forget_versions(table, options)
        if options.orphans:
            cut = datetime.now(UTC) - options.retain
            remove_orphans(self.files, table.path, known=known, before=cut)
        fault_points.reach("maintain.vacuumed")
        self.checksums.tidy(table.path, IDENTITY, self.file_names(table))
        after = self.snapshot(table)
        bytes_after, files_after = self._lies_there(table)
        return MaintenanceResult(
            table=table.path,
            version=after.version,
            rows=after.rows,
            files_before=before.files,
            files_after=after.files,
            bytes_before=bytes_before,
            bytes_after=bytes_after,
            removed_files=max(files_before - files_after, 0),
        )

    def _lies_there(self, table: Contract) -> tuple[int, int]:
        """Return bytes and number of all files below the table, of every version."""
        sizes = self.files.sizes(table.path)
        return sum(sizes.values()), len(sizes)

    def _compact(self, table: Contract) -> None:
        """Write the rows of small files as few; of a clustered table all rows, once it has too many files."""

        def attempt(cursor: Cursor) -> Attempt:
            per_file = rows_per_file(table, stored(cursor, table))
            files = catalog.row_counts(cursor, table)
            small = [path for path, rows in files.items() if 2 * rows <= per_file]
            wanted = -(-sum(files[path] for path in small) // per_file)
            nothing = Outcome(rows=0, inserted=0, updated=0)
            if len(small) <= max(wanted, 1):
                return Attempt(nothing, None)
            rows = sum(files[path] for path in small)
            return Attempt(nothing, lambda cursor: self._join(cursor, table, small, rows, per_file))

        Work(
            lake=self.lake,
            table=table,
            operation=catalog.COMPACTION,
            commit=_NO_COMMIT,
            attempt=attempt,
            quiet=True,
        ).done()

    def _join(self, cursor: Cursor, table: Contract, paths: list[str], rows: int, per_file: int) -> None:
        here = address(place(table.path))
        before = cursor.execute(f"SELECT count(*) FROM {here}").fetchone()
        condition, values = in_files(paths)
        query = f"SELECT {columns(table.column_names)} FROM {here} WHERE {condition}"
        put_in(cursor, self.files, table, query, values, rows=rows, per_file=per_file)
        take_out(cursor, table, paths)
        after = cursor.execute(f"SELECT count(*) FROM {here}").fetchone()
        if before != after:
            raise DataViolation(
                f"compaction of {table}: {before} rows before, {after} after. Nothing was changed."
            )

    def _forget_versions(self, table: Contract, options: MaintenanceOptions) -> set[str]:
        """Expire snapshots, remove the files that none names, and return what the catalog knows after that.

        Snapshots are the whole lake's: two tables' maintenance may reach for one; then one goes again.
        """
        from tenacity import Retrying, retry_if_exception, stop_after_attempt, wait_random_exponential

        def once() -> set[str]:
            with self.lake.asking(f"maintaining {table}") as cursor:
                self._expire(cursor, table, options)
                fault_points.reach("maintain.checkpointed")
                cursor.execute(f"CALL ducklake_cleanup_old_files('{LAKE}', cleanup_all => true)")
                return catalog.known_files(cursor, table.path) if options.orphans else set()

        retrying = Retrying(
            retry=retry_if_exception(_is_transient),
            wait=wait_random_exponential(multiplier=0.2, min=0.02),
            stop=stop_after_attempt(_TRIES),
            reraise=True,
        )
        try:
            return retrying(once)
        except StorageUnavailable as exc:
            if not _is_transient(exc):
                raise
            raise Conflict(
                f"maintaining {table}: gave up after {_TRIES} tries, others kept expiring versions. No row "
                "changed; run it again."
            ) from None

    def _expire(self, cursor: Cursor, table: Contract, options: MaintenanceOptions) -> None:
        """Forget old versions of this table, and old snapshots of tables that are no more."""
        entry = self.entry(cursor, table)
        cut = datetime.now(UTC) - options.retain
        logged = catalog.log(cursor, entry)
        kept = {*options.keep, logged[0].version, catalog.newest(cursor)}
        old = {one.version for one in logged if one.at <= cut and one.concerns_only(entry)}
        going = sorted((old | catalog.left_behind(cursor, cut)) - kept)
        if going:
            cursor.execute(f"CALL ducklake_expire_snapshots('{LAKE}', versions => {going})")


def _is_transient(exc: BaseException) -> bool:
    """Return whether DuckDB said of it that a retry may succeed."""
    return isinstance(exc, StorageUnavailable) and exc.__context__ is not None and may_pass(exc.__context__)
