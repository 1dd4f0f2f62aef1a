"""How a DuckLake commit is made to happen exactly once.

Belongs here: the loop around one commit: token before, state with it, truth after. Does not: what is written.

Rows and state change in one DuckDB transaction. Writers of one table take turns by a lock in Postgres, which
makes every commit a compare-and-swap on the table's version; plain appends share the lock, so that they
pass each other and nothing else. DuckLake alone does not see to that: state entries are inlined rows, and two
overlapping deletes of one inlined row both commit (duckdb/ducklake#1215). Each commit brings the table's
head, a row among its state, whose snapshot is the table's version. Compaction leaves the head alone.

DuckLake removes the files of a transaction whose COMMIT failed, also when only the answer was lost and the
commit is in. So it never gets to write one: we write data files, and it is told of them.
"""

from __future__ import annotations

import json
import random
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import duckdb

from lakehouse import fault_points
from lakehouse.contracts import Contract
from lakehouse.errors import Conflict, LakeError, StorageUnavailable
from lakehouse.store.commits import COMMIT_ID, is_duplicate, moved, state_of
from lakehouse.store.ducklake import catalog
from lakehouse.store.ducklake.connection import LAKE, Cursor, DuckLake
from lakehouse.store.ducklake.schema import address, state_place
from lakehouse.store.results import CommitOptions, CommitResult, Outcome

HEAD = "odp.head"  # whose snapshot is the table's last commit
DATA = "odp.data"  # the same of the last one that changed rows
_TRIES = 12
_LONGEST_WAIT_SECONDS = 2.0
# What DuckDB raises when a store or the catalog did not answer. A conflict is a TransactionException too.
_TRANSIENT = (duckdb.TransactionException, duckdb.IOException, duckdb.ConnectionException, OSError)
_NOTHING = Outcome(rows=0, inserted=0, updated=0)


@dataclass(frozen=True)
class Attempt:
    """One try: what it will do, and how. Without `write` there is nothing to do, and no commit."""

    outcome: Outcome
    write: Callable[[Cursor], None] | None
    rows_change: bool = True


@dataclass(frozen=True, kw_only=True)
class Work:
    """One commit to be made, however many tries it takes; all of them carry the same id.

    `shared` work passes other shared work; `quiet` work changes neither rows nor state.
    """

    lake: DuckLake
    table: Contract
    operation: str
    commit: CommitOptions
    attempt: Callable[[Cursor], Attempt]
    shared: bool = False
    quiet: bool = False
    id: str = field(default_factory=lambda: uuid.uuid4().hex)

    def done(self) -> CommitResult:
        """Commit once. A conflict starts over from the table as it then is.

        Raises Moved, StaleWriter, Conflict, StorageUnavailable (the text says that the commit did not land).
        """
        with self.lake.asking(f"writing {self.table}") as cursor:
            base = catalog.newest(cursor)
        outcome = [_NOTHING]
        for number in range(1, _TRIES + 1):
            try:
                return self._try(base, number, outcome)
            except LakeError:
                raise
            except Exception as exc:  # noqa: BLE001  # the catalog decides what it meant
                last = exc
                if (version := self._reread(base, exc)) is not None:
                    return self._result(version, outcome[0], "committed", number)
                if not may_pass(exc):
                    said = self.lake.said(exc)
                    raise StorageUnavailable(f"writing {self.table}: {said}. Nothing of it landed.") from None
            time.sleep(random.uniform(0.02, min(_LONGEST_WAIT_SECONDS, 0.1 * 2**number)))  # noqa: S311
        raise Conflict(
            f"writing {self.table}: gave up after {_TRIES} tries ({self.lake.said(last)}). "
            "Nothing of it landed; run it again."
        ) from None

    def _try(self, base: int, number: int, outcome: list[Outcome]) -> CommitResult:
        """Make one try. What it is going to do stands in `outcome`, for whoever finds that it has landed."""
        fault_points.reach("commit.begin")
        turn = self.lake.turn(self.table.path, shared=not self._alone(number))
        with turn as still_ours, self.lake.cursor() as cursor:
            cursor.execute("BEGIN")
            settled = self._begun(cursor, base, number, outcome[0])
            if settled is not None:
                return settled
            tried = self.attempt(cursor)
            outcome[0] = tried.outcome
            if tried.write is None:
                return self._result(self._version(), tried.outcome, "skipped", number)
            state = _new_state(self.table, cursor, self.commit, tried.outcome)
            tried.write(cursor)
            write_state(cursor, self.table, state)
            if not self.quiet:
                bump_version(cursor, self.table, alone=self._alone(number), rows_change=tried.rows_change)
            sign(cursor, self.operation, self.commit.info, commit_id=self.id)
            fault_points.reach("commit.written")
            still_ours()
            cursor.execute("COMMIT")
        fault_points.reach("commit.done")
        version = self._landed(base)
        if version is None:
            raise StorageUnavailable(f"writing {self.table}: the catalog has lost a commit it acknowledged")
        return self._result(version, tried.outcome, "committed", number)

    def _begun(self, cursor: Cursor, base: int, number: int, before: Outcome) -> CommitResult | None:
        """Take the table as it is now; return a result when there is nothing left to do."""
        catalog.current(cursor)
        # From here on the transaction sees one snapshot. An earlier try that is in it has landed late; one
        # that lands after it conflicts with this one.
        if number > 1 and (version := self._landed(base)) is not None:
            return self._result(version, before, "committed", number)
        self._refuse_moved(cursor)
        if _already(self.table, cursor, self.commit):
            return self._result(self._version(), _NOTHING, "duplicate", number)
        return None

    def _refuse_moved(self, cursor: Cursor) -> None:
        onto = self.commit.onto
        if onto is None:
            return
        entry = catalog.entry(cursor, self.table.path)
        if entry is None or not catalog.stands(cursor, entry, onto, upto=catalog.current(cursor)):
            raise moved(self.table, onto)

    def _alone(self, number: int) -> bool:
        """Only a first try may pass others: a second must run into the first, should that land late."""
        return not self.shared or number > 1

    def _landed(self, base: int) -> int | None:
        with self.lake.asking(f"reading the catalog about {self.table}") as cursor:
            return catalog.commit_of(cursor, self.id, after=base)

    def _version(self) -> int:
        with self.lake.asking(f"reading the catalog about {self.table}") as cursor:
            entry = catalog.entry(cursor, self.table.path)
            return catalog.version_of(cursor, entry) if entry is not None else -1

    def _reread(self, base: int, cause: BaseException) -> int | None:
        """Return the version that the commit became, or None; anew, for the connection may be broken."""
        if not is_conflict(cause):
            self.lake.forget()
        try:
            return self._landed(base)
        except LakeError:
            raise StorageUnavailable(
                f"writing {self.table}: {self.lake.said(cause)}; and the catalog cannot be read to see "
                "whether it landed. Run it again once the store is up: a commit that landed is recognised "
                "and not repeated."
            ) from None

    def _result(self, version: int, outcome: Outcome, landed: str, tries: int) -> CommitResult:
        return CommitResult(
            table=self.table.path,
            version=version,
            outcome=outcome,
            landed=landed,  # type: ignore[arg-type]
            attempts=tries,
        )


def read_state(
    cursor: Cursor, table: Contract, names: Sequence[str] | None = None, *, version: int | None = None
) -> dict[str, int]:
    """Return those of `names` (None: all) that the table holds, as of snapshot `version`."""
    at = "" if version is None else f" AT (VERSION => {int(version)})"
    # Below zero means that there is none: a Delta table cannot forget a state entry, and both say it so.
    where = "name NOT IN (?, ?) AND value >= 0"
    query = f"SELECT name, value FROM {address(state_place(table.path))}{at} WHERE {where}"
    if names is not None:
        query += " AND list_contains(?, name)"
    values: list[object] = [HEAD, DATA, *([list(names)] if names is not None else [])]
    return dict(cursor.execute(query, values).fetchall())


def last_change(cursor: Cursor, table: Contract, name: str, *, version: int) -> int:
    """Return the snapshot that last brought `name` (HEAD or DATA), as of snapshot `version`."""
    here = f"{address(state_place(table.path))} AT (VERSION => {int(version)})"
    row = cursor.execute(f"SELECT max(snapshot_id) FROM {here} WHERE name = ?", [name]).fetchone()
    return int(row[0]) if row and row[0] is not None else -1


def write_state(cursor: Cursor, table: Contract, state: Mapping[str, int]) -> None:
    """Set these state entries in the open transaction and keep the others."""
    if not state:
        return
    here = address(state_place(table.path))
    cursor.execute(f"DELETE FROM {here} WHERE list_contains(?, name)", [list(state)])
    cursor.execute(f"INSERT INTO {here} SELECT unnest(?), unnest(?)", [list(state), list(state.values())])


def bump_version(cursor: Cursor, table: Contract, *, alone: bool = True, rows_change: bool = True) -> None:
    """Make the open transaction one that no other commit of the table can pass; or only shared ones."""
    here = address(state_place(table.path))
    for name in (HEAD, DATA) if rows_change else (HEAD,):
        if alone:
            cursor.execute(f"DELETE FROM {here} WHERE name = ?", [name])
        cursor.execute(f"INSERT INTO {here} VALUES (?, 0)", [name])


def _new_state(table: Contract, cursor: Cursor, commit: CommitOptions, outcome: Outcome) -> dict[str, int]:
    return state_of(commit, outcome, read_state(cursor, table, commit.reads) if commit.reads else {})


def sign(cursor: Cursor, operation: str, info: Mapping[str, str], *, commit_id: str) -> None:
    """Name the open transaction as one of ours."""
    extra = json.dumps({COMMIT_ID: commit_id, **info})
    cursor.execute(
        f"CALL ducklake_set_commit_message('{LAKE}', ?, ?, extra_info => ?)",
        [catalog.AUTHOR, operation, extra],
    )


def _already(table: Contract, cursor: Cursor, commit: CommitOptions) -> bool:
    if commit.transaction is None:
        return False
    name = commit.transaction.name
    return is_duplicate(table, commit, read_state(cursor, table, [name]).get(name))


def may_pass(exc: BaseException) -> bool:
    """Return whether another try may fare better. A file that is gone stays gone."""
    missing = isinstance(exc, duckdb.IOException) and ("No such file" in str(exc) or "404" in str(exc))
    overtaken = "could not serialize access" in str(exc)  # as Postgres says it, in a plain duckdb.Error
    return overtaken or (isinstance(exc, _TRANSIENT) and not missing)


def is_conflict(exc: BaseException) -> bool:
    """Return whether DuckLake refused the transaction for another one, before it committed anything."""
    return isinstance(exc, duckdb.TransactionException) and "Transaction conflict" in str(exc)
