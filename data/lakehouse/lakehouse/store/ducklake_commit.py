"""How a DuckLake commit is made to happen exactly once.

Belongs here: the loop around one commit: token before, marks with it, truth after. Does not: what is written.

Rows and marks change in one DuckDB transaction. Each commit also replaces the table's head, a row among its
marks: two commits of one table that both do so conflict, whatever else they touch, which makes every commit
a compare-and-swap on the table's version. A plain append only adds a head, so that appends pass each other,
and still conflict with all else. Compaction leaves the head alone; DuckLake itself sees to it that the files
it takes out are there, and that nobody has written since.

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

from lakehouse.contracts import Contract
from lakehouse.errors import Conflict, LakeError, StaleWriter, StorageUnavailable
from lakehouse.store import ducklake_catalog as catalog
from lakehouse.store import faults
from lakehouse.store.ducklake_connection import LAKE, Cursor, DuckLake
from lakehouse.store.ducklake_schema import address, marks_place
from lakehouse.store.protocol import Commit, CommitResult, Outcome
from lakehouse.store.retry import COMMIT_ID

HEAD = "odp.head"  # whose snapshot is the table's last commit
DATA = "odp.data"  # the same of the last one that changed rows
_TRIES = 12
_LONGEST_WAIT_SECONDS = 2.0
_QUEUE_SECONDS = 10.0
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

    `shared` work passes other shared work; `quiet` work changes neither rows nor marks.
    """

    lake: DuckLake
    table: Contract
    operation: str
    commit: Commit
    attempt: Callable[[Cursor], Attempt]
    shared: bool = False
    quiet: bool = False
    id: str = field(default_factory=lambda: uuid.uuid4().hex)

    def done(self) -> CommitResult:
        """Commit once. A conflict starts over from the table as it then is.

        Raises StaleWriter, Conflict, StorageUnavailable (the text says that the commit did not land).
        """
        with self.lake.asking(f"writing {self.table}") as cursor:
            base = catalog.newest(cursor)
        outcome = [_NOTHING]
        for number in range(1, _TRIES + 1):
            try:
                return self._try(base, number, outcome)
            except LakeError:
                raise
            except Exception as exc:  # the catalog decides what it meant
                last = exc
                if (version := self._reread(base, exc)) is not None:
                    return self._result(version, outcome[0], "now", number)
                if not may_pass(exc):
                    said = self.lake.said(exc)
                    raise StorageUnavailable(f"writing {self.table}: {said}. Nothing of it landed.") from exc
            time.sleep(random.uniform(0.02, min(_LONGEST_WAIT_SECONDS, 0.1 * 2**number)))  # noqa: S311
        raise Conflict(
            f"writing {self.table}: gave up after {_TRIES} tries ({self.lake.said(last)}). "
            "Nothing of it landed; run it again."
        ) from last

    def _try(self, base: int, number: int, outcome: list[Outcome]) -> CommitResult:
        """Make one try. What it is going to do stands in `outcome`, for whoever finds that it has landed."""
        with self.lake.cursor() as cursor:
            cursor.execute("BEGIN")
            settled = self._begun(cursor, base, number, outcome[0])
            if settled is not None:
                return settled
            tried = self.attempt(cursor)
            outcome[0] = tried.outcome
            if tried.write is None:
                return self._result(self._version(), tried.outcome, "noop", number)
            marks = _new_marks(self.table, cursor, self.commit, tried.outcome)
            faults.reach("commit.begin")
            tried.write(cursor)
            write_marks(cursor, self.table, marks)
            if not self.quiet:
                bring_head(cursor, self.table, alone=self._alone(number), rows_change=tried.rows_change)
            sign(cursor, self.operation, self.commit.info, commit_id=self.id)
            cursor.execute("COMMIT")
        faults.reach("commit.done")
        version = self._landed(base)
        if version is None:
            raise StorageUnavailable(f"writing {self.table}: the catalog has lost a commit it acknowledged")
        return self._result(version, tried.outcome, "now", number)

    def _begun(self, cursor: Cursor, base: int, number: int, before: Outcome) -> CommitResult | None:
        """Take the table as it is now; return a result when there is nothing left to do."""
        if self._alone(number):
            _queue(cursor, self.table)
        catalog.current(cursor)
        # From here on the transaction sees one snapshot. An earlier try that is in it has landed late; one
        # that lands after it conflicts with this one.
        if number > 1 and (version := self._landed(base)) is not None:
            return self._result(version, before, "now", number)
        if _already(self.table, cursor, self.commit):
            return self._result(self._version(), _NOTHING, "earlier", number)
        return None

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
        except LakeError as exc:
            raise StorageUnavailable(
                f"writing {self.table}: {self.lake.said(cause)}; and the catalog cannot be read to see "
                "whether it landed. Run it again once the store is up: a commit that landed is recognised "
                "and not repeated."
            ) from exc

    def _result(self, version: int, outcome: Outcome, landed: str, tries: int) -> CommitResult:
        return CommitResult(
            table=self.table.path,
            version=version,
            outcome=outcome,
            landed=landed,  # type: ignore[arg-type]
            attempts=tries,
        )


def _queue(cursor: Cursor, table: Contract) -> None:
    """Wait for the table's other writers, for a while: so they take turns rather than undo each other's work.

    A courtesy, no safety: whoever does not wait runs into a conflict. The lock ends with the transaction, and
    with its holder's connection.
    """
    deadline = time.monotonic() + _QUEUE_SECONDS
    while not catalog.try_lock(cursor, table.path) and time.monotonic() < deadline:
        time.sleep(random.uniform(0.005, 0.05))  # noqa: S311


def read_marks(
    cursor: Cursor, table: Contract, names: Sequence[str] | None = None, *, version: int | None = None
) -> dict[str, int]:
    """Return those of `names` (None: all) that the table holds, as of snapshot `version`."""
    at = "" if version is None else f" AT (VERSION => {int(version)})"
    query = f"SELECT name, value FROM {address(marks_place(table.path))}{at} WHERE name NOT IN (?, ?)"
    if names is not None:
        query += " AND list_contains(?, name)"
    values: list[object] = [HEAD, DATA, *([list(names)] if names is not None else [])]
    return dict(cursor.execute(query, values).fetchall())


def last_change(cursor: Cursor, table: Contract, name: str, *, version: int) -> int:
    """Return the snapshot that last brought `name` (HEAD or DATA), as of snapshot `version`."""
    here = f"{address(marks_place(table.path))} AT (VERSION => {int(version)})"
    row = cursor.execute(f"SELECT max(snapshot_id) FROM {here} WHERE name = ?", [name]).fetchone()
    return int(row[0]) if row and row[0] is not None else -1


def write_marks(cursor: Cursor, table: Contract, marks: Mapping[str, int]) -> None:
    """Set these marks in the open transaction and keep the others."""
    if not marks:
        return
    here = address(marks_place(table.path))
    cursor.execute(f"DELETE FROM {here} WHERE list_contains(?, name)", [list(marks)])
    cursor.execute(f"INSERT INTO {here} SELECT unnest(?), unnest(?)", [list(marks), list(marks.values())])


def bring_head(cursor: Cursor, table: Contract, *, alone: bool = True, rows_change: bool = True) -> None:
    """Make the open transaction one that no other commit of the table can pass; or only shared ones."""
    here = address(marks_place(table.path))
    for name in (HEAD, DATA) if rows_change else (HEAD,):
        if alone:
            cursor.execute(f"DELETE FROM {here} WHERE name = ?", [name])
        cursor.execute(f"INSERT INTO {here} VALUES (?, 0)", [name])


def _new_marks(table: Contract, cursor: Cursor, commit: Commit, outcome: Outcome) -> dict[str, int]:
    marks: dict[str, int] = {}
    if commit.marks is not None:
        marks.update(commit.marks(outcome, read_marks(cursor, table, commit.reads) if commit.reads else {}))
    if commit.token is not None:
        marks[commit.token.name] = commit.token.value
    return marks


def sign(cursor: Cursor, operation: str, info: Mapping[str, str], *, commit_id: str) -> None:
    """Name the open transaction as one of ours."""
    extra = json.dumps({COMMIT_ID: commit_id, **info})
    cursor.execute(
        f"CALL ducklake_set_commit_message('{LAKE}', ?, ?, extra_info => ?)",
        [catalog.AUTHOR, operation, extra],
    )


def _already(table: Contract, cursor: Cursor, commit: Commit) -> bool:
    if commit.token is None:
        return False
    position = read_marks(cursor, table, [commit.token.name]).get(commit.token.name)
    if position is None or position < commit.token.value:
        return False
    if position == commit.token.value:
        return True
    raise StaleWriter(
        f"writing {table}: {commit.token.name} stands at {position}, past this writer's "
        f"{commit.token.value}. Nothing was written; another run is ahead of this one."
    )


def may_pass(exc: BaseException) -> bool:
    """Say whether another try may fare better. A file that is gone stays gone."""
    missing = isinstance(exc, duckdb.IOException) and ("No such file" in str(exc) or "404" in str(exc))
    overtaken = "could not serialize access" in str(exc)  # as Postgres says it, in a plain duckdb.Error
    return overtaken or (isinstance(exc, _TRANSIENT) and not missing)


def is_conflict(exc: BaseException) -> bool:
    """Say whether DuckLake refused the transaction for another one, before it committed anything."""
    return isinstance(exc, duckdb.TransactionException) and "Transaction conflict" in str(exc)
