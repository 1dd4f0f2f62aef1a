"""The DuckLake backend of the persistence authority: catalog in Postgres, Parquet in the layers' places.

Belongs here: turning the Protocol's writes into DuckLake transactions. The loop around a
commit is in commit.py, restore and maintenance in maintenance.py. Does not: contracts, or reading (read.py).
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from typing import Any

import duckdb
import polars as pl

from lakehouse.contracts import Contract, Type
from lakehouse.contracts.sql import quoted
from lakehouse.errors import SchemaViolation, Unsupported
from lakehouse.store.commits import sets_state, skipped
from lakehouse.store.ducklake import catalog
from lakehouse.store.ducklake.commit import Attempt, Work, bump_version, is_conflict, may_pass, sign
from lakehouse.store.ducklake.connection import Cursor
from lakehouse.store.ducklake.files import (
    bring,
    files_of_rows,
    in_files,
    put_in,
    rows_per_file,
    stored,
    take_out,
)
from lakehouse.store.ducklake.maintenance import DuckLakeMaintenance
from lakehouse.store.ducklake.pushdown import duckdb_condition
from lakehouse.store.ducklake.schema import (
    addition,
    address,
    columns,
    creation,
    differences,
    place,
    redeclaration,
    state_place,
)
from lakehouse.store.key_ranges import pruning_column, spans, within_duckdb
from lakehouse.store.predicate import Where
from lakehouse.store.results import CommitOptions, CommitResult, Outcome, Rows
from lakehouse.store.schema import append_only, how_to_migrate
from lakehouse.store.validation import conform, refuse_repeated_keys

_NO_COMMIT = CommitOptions()
_CREATE_TRIES = 8
_ORDERED = (Type.DATE, Type.TIMESTAMP, Type.INT32, Type.INT64)


class DuckLakeStore(DuckLakeMaintenance):
    """Tables as DuckLake: one catalog for the lake, files below one folder or in one bucket per layer."""

    def ensure(self, table: Contract) -> int:
        """Create the table if it is not there; add the contract's new columns if they may be null.

        Raises SchemaViolation for any other difference. Two callers at once are fine: one acts, both check.
        """
        number = 0
        while True:
            number += 1
            try:
                with self.lake.cursor() as cursor:
                    self.lake.keep_options(cursor)
                    if catalog.entry(cursor, table.path) is None:
                        self._create(cursor, table)
                    elif (version := self._checked(cursor, table)) is not None:
                        return version
            except duckdb.Error as exc:  # the next look tells whether it was made, by whomever
                by_another = is_conflict(exc) or "already exists" in str(exc)
                if number == _CREATE_TRIES or not (by_another or may_pass(exc)):
                    raise self.lake.unavailable(f"creating {table}", exc) from None
                if not by_another:
                    self.lake.forget()

    def append(self, table: Contract, rows: Rows, commit: CommitOptions = _NO_COMMIT) -> CommitResult:
        """Add rows."""
        frame = self._frame(table, rows)

        outcome = Outcome(rows=frame.height, inserted=frame.height, updated=0)

        def attempt(_: Cursor) -> Attempt:
            return Attempt(
                outcome, lambda cursor: self._replace(cursor, table, {}, frame), not frame.is_empty()
            )

        shared = not sets_state(commit) and commit.onto is None
        return self._commit(table, "APPEND", frame, commit, attempt, shared=shared)

    def merge(self, table: Contract, rows: Rows, commit: CommitOptions = _NO_COMMIT) -> CommitResult:
        """Insert rows with new keys and replace rows with known ones."""
        frame = self._frame(table, rows)
        refuse_repeated_keys(table, frame)
        known, values = _known(table, frame)

        def attempt(cursor: Cursor) -> Attempt:
            bring(cursor, frame)
            touched = files_of_rows(cursor, table, known, values)
            updated = sum(touched.values())
            outcome = Outcome(rows=frame.height, inserted=frame.height - updated, updated=updated)
            return self._replacing(table, outcome, touched, frame, known, values)

        return self._commit(table, "MERGE", frame, commit, attempt, replaces=True)

    def overwrite(self, table: Contract, rows: Rows, commit: CommitOptions = _NO_COMMIT) -> CommitResult:
        """Replace every row."""
        frame = self._frame(table, rows)
        if table.key:
            refuse_repeated_keys(table, frame)

        def attempt(cursor: Cursor) -> Attempt:
            touched = files_of_rows(cursor, table, "true", [])
            outcome = Outcome(rows=frame.height, inserted=frame.height, updated=0)
            return self._replacing(table, outcome, touched, frame, "true")

        return self._commit(table, "OVERWRITE", frame, commit, attempt, replaces=True, empty_is_noop=False)

    def overwrite_from(
        self, table: Contract, other: Contract, commit: CommitOptions = _NO_COMMIT
    ) -> CommitResult:
        """Replace every row by those of table `other`, streamed.

        Raises SchemaViolation when the two contracts differ in their columns.
        """
        if table.polars_schema() != other.polars_schema():
            raise SchemaViolation(f"overwriting {table} from {other}: their columns are not the same")
        source = f"SELECT {columns(table.column_names)} FROM {address(place(other.path))}"

        def attempt(cursor: Cursor) -> Attempt:
            self.entry(cursor, other)
            there = stored(cursor, other)
            outcome = Outcome(rows=there.rows, inserted=there.rows, updated=0)

            def write(cursor: Cursor) -> None:
                take_out(cursor, table, files_of_rows(cursor, table, "true", []))
                per_file = rows_per_file(table, there)
                put_in(cursor, self.files, table, source, [], rows=there.rows, per_file=per_file)

            return Attempt(outcome, write)

        return self._commit(table, "OVERWRITE", None, commit, attempt, replaces=True)

    def replace_partitions(
        self, table: Contract, rows: Rows, commit: CommitOptions = _NO_COMMIT
    ) -> CommitResult:
        """Replace the partitions that `rows` has rows of, and leave the others alone.

        Files are not cut by partition; they are ordered by it.
        """
        frame = self._frame(table, rows)
        if not table.partition_by:
            raise SchemaViolation(f"replacing partitions of {table}: the contract has no partition_by")
        if table.key:
            refuse_repeated_keys(table, frame)
        there = _in_incoming(table.partition_by)

        def attempt(cursor: Cursor) -> Attempt:
            bring(cursor, frame)
            touched = files_of_rows(cursor, table, there, [])
            outcome = Outcome(rows=frame.height, inserted=frame.height, updated=0)
            return self._replacing(table, outcome, touched, frame, there)

        return self._commit(table, "REPLACE PARTITIONS", frame, commit, attempt, replaces=True)

    def delete(self, table: Contract, where: Where, commit: CommitOptions = _NO_COMMIT) -> CommitResult:
        """Remove the rows that `where` holds for. Without any and without a token, nothing is committed.

        Raises Unsupported for an append-only table and for a condition that does not fit the contract.
        """
        where = where.check(table)
        condition, values = duckdb_condition(where)

        def attempt(cursor: Cursor) -> Attempt:
            touched = files_of_rows(cursor, table, condition, values)
            count = sum(touched.values())
            outcome = Outcome(rows=0, inserted=0, updated=0, deleted=count)
            if not count and not sets_state(commit):
                return Attempt(outcome, None)
            return self._replacing(table, outcome, touched, None, condition, values)

        return self._commit(table, "DELETE", None, commit, attempt, replaces=True)

    def redeclare(self, table: Contract, commit: CommitOptions = _NO_COMMIT) -> CommitResult:
        """Empty the table and give it the contract's columns, in one commit."""
        if append_only(table):
            raise Unsupported(f"redeclaring {table}: it is append-only, rows of it only ever come")

        def write(cursor: Cursor) -> None:
            for statement in redeclaration(table):
                cursor.execute(statement)

        def attempt(_: Cursor) -> Attempt:
            return Attempt(Outcome(rows=0, inserted=0, updated=0), write)

        work = Work(lake=self.lake, table=table, operation="REDECLARE", commit=commit, attempt=attempt)
        return work.done()

    def drop(self, table: Contract) -> None:
        """Remove a table with all its versions."""
        with self.lake.asking(f"dropping {table}") as cursor:
            cursor.execute("BEGIN")
            for where in (place(table.path), state_place(table.path)):
                cursor.execute(f"DROP TABLE IF EXISTS {address(where)}")
            sign(cursor, "DROP TABLE", {}, commit_id=uuid.uuid4().hex)
            cursor.execute("COMMIT")
        self.files.drop(table.path)
        self.checksums.drop(table.path)

    def _frame(self, table: Contract, rows: Rows) -> pl.DataFrame:
        return conform(table, rows, self.settings.storage_options()).frame()

    def _checked(self, cursor: Cursor, table: Contract) -> int | None:
        """Return the table's version if its columns are the contract's; None if some were just added."""
        version, at = self._at(cursor, table, self.entry(cursor, table), None)
        stored = catalog.stored_columns(cursor, table, at)
        if statements := addition(table, stored):
            self._change(cursor, table, catalog.ADD_COLUMNS, statements)
            return None
        if problems := differences(table, stored):
            raise SchemaViolation(
                f"table {table} exists with another schema ({'; '.join(problems)}). {how_to_migrate(table)}"
            )
        return version

    def _create(self, cursor: Cursor, table: Contract) -> None:
        schema = f"CREATE SCHEMA IF NOT EXISTS {address(place(table.path)[:1])}"
        # Of a table that another program has dropped. Whoever makes this one at the same time keeps his.
        orphaned = f"DROP TABLE IF EXISTS {address(state_place(table.path))}"
        self._change(cursor, table, "CREATE TABLE", [schema, orphaned, *creation(table)])

    def _change(self, cursor: Cursor, table: Contract, what: str, statements: Sequence[str]) -> None:
        cursor.execute("BEGIN")
        for statement in statements:
            cursor.execute(statement)
        bump_version(cursor, table)
        sign(cursor, what, {}, commit_id=uuid.uuid4().hex)
        cursor.execute("COMMIT")

    def _commit(
        self,
        table: Contract,
        operation: str,
        frame: pl.DataFrame | None,
        commit: CommitOptions,
        attempt: Callable[[Cursor], Attempt],
        *,
        replaces: bool = False,
        shared: bool = False,
        empty_is_noop: bool = True,
    ) -> CommitResult:
        if replaces and append_only(table):
            raise Unsupported(f"{operation} on {table}: it is append-only, rows of it only ever come")
        version = self.ensure(table)
        if empty_is_noop and (result := skipped(table, frame, commit, version)) is not None:
            return result
        work = Work(
            lake=self.lake, table=table, operation=operation, commit=commit, attempt=attempt, shared=shared
        )
        return work.done()

    def _replacing(
        self,
        table: Contract,
        outcome: Outcome,
        touched: dict[str, int],
        frame: pl.DataFrame | None,
        goes: str,
        values: Sequence[Any] = (),
    ) -> Attempt:
        changes = bool(touched) or (frame is not None and not frame.is_empty())
        return Attempt(
            outcome, lambda cursor: self._replace(cursor, table, touched, frame, goes, values), changes
        )

    def _replace(
        self,
        cursor: Cursor,
        table: Contract,
        touched: dict[str, int],
        frame: pl.DataFrame | None,
        goes: str = "false",
        values: Sequence[Any] = (),
    ) -> None:
        """Write the frame's rows and those of the touched files that stay, in the place of these files."""
        parts, given = [], list[Any]()
        if frame is not None and not frame.is_empty():
            parts.append(f"SELECT {columns(table.column_names)} FROM {bring(cursor, frame)}")
        if touched:
            among, paths = in_files(touched)
            parts.append(
                f"SELECT {columns(table.column_names, 't')} FROM {address(place(table.path))} t "
                f"WHERE {among} AND NOT coalesce({goes}, false)"
            )
            given += [*paths, *values]
        if parts:
            per_file = rows_per_file(table, stored(cursor, table), frame)
            rows = sum(touched.values()) + (frame.height if frame is not None else 0)
            query = " UNION ALL ".join(parts)
            put_in(cursor, self.files, table, query, given, rows=rows, per_file=per_file)
        take_out(cursor, table, touched)


def _known(table: Contract, frame: pl.DataFrame) -> tuple[str, list[Any]]:
    """Return the condition that a row of `t` has the key of an incoming one.

    Along an ordered key column it also names the spans these lie in: the catalog then leaves out most files.
    """
    known, column = _in_incoming(table.key), pruning_column(table)
    if column is None or table.by_name[column].type not in _ORDERED:
        return known, []
    within, ends = within_duckdb(column, spans(frame[column]))
    return f"({within}) AND {known}", ends


def _in_incoming(names: Sequence[str]) -> str:
    """Return the condition that a row of `t` has the values of some incoming row in these columns."""
    same = " AND ".join(f"i.{quoted(name)} IS NOT DISTINCT FROM t.{quoted(name)}" for name in names)
    return f"EXISTS (SELECT 1 FROM incoming i WHERE {same})"
