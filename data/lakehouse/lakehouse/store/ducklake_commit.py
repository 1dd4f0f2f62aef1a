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
from dataclasses import dataclass

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
_LONGEST_WAIT_SECONDS = 5.0
# What DuckDB raises when a store or the catalog did not answer. A conflict is a TransactionException too.
_TRANSIENT = (duckdb.TransactionException, duckdb.IOException, duckdb.ConnectionException, OSError)
_NOTHING = Outcome(rows=0, inserted=0, updated=0)


@dataclass(frozen=True)
class Attempt:
    """One try: what it will do, and how. Without `write` there is nothing to do, and no commit."""

    outcome: Outcome
    write: Callable[[Cursor], None] | None
    rows_change: bool = True


def commit_with_retries(
    lake: DuckLake,
    table: Contract,
    operation: str,
    commit: Commit,
    attempt: Callable[[Cursor], Attempt],
    *,
    shared: bool = False,
    quiet: bool = False,
) -> CommitResult:
    """Commit once. A conflict starts over from the table as it then is.

    `shared` commits pass each other; a `quiet` one changes neither rows nor marks.

    Raises StaleWriter, Conflict, StorageUnavailable (the text says that the commit did not land).
    """
    commit_id = uuid.uuid4().hex
    with lake.asking(f"writing {table}") as cursor:
        base = catalog.newest(cursor)
    last: BaseException | None = None
    for number in range(1, _TRIES + 1):
        outcome = _NOTHING
        # Only a first try may pass others: a second must run into the first, should that have landed late.
        alone = not shared or number > 1
        try:
            with lake.cursor() as cursor:
                cursor.execute("BEGIN")
                if _already(table, cursor, commit):
                    return _result(lake, table, _NOTHING, "earlier", number)
                tried = attempt(cursor)
                outcome = tried.outcome
                if tried.write is None:
                    return _result(lake, table, outcome, "noop", number)
                marks = _new_marks(table, cursor, commit, outcome)
                faults.reach("commit.begin")
                tried.write(cursor)
                write_marks(cursor, table, marks)
                if not quiet:
                    bring_head(cursor, table, alone=alone, rows_change=tried.rows_change)
                _sign(cursor, commit_id, operation, commit.info)
                cursor.execute("COMMIT")
            faults.reach("commit.done")
            return _landed(lake, table, outcome, commit_id, base, number)
        except LakeError:
            raise
        except Exception as exc:  # the catalog decides what it meant
            last = exc
            if (version := _reread(lake, table, commit_id, base, exc)) is not None:
                return _made(table, version, outcome, "now", number)
            if not isinstance(exc, _TRANSIENT):
                said = lake.said(exc)
                raise StorageUnavailable(f"writing {table}: {said}. Nothing of it landed.") from exc
        time.sleep(random.uniform(0.02, min(_LONGEST_WAIT_SECONDS, 0.1 * 2**number)))  # noqa: S311
    raise Conflict(
        f"writing {table}: gave up after {_TRIES} tries ({lake.said(last) if last else 'conflict'}). "
        "Nothing of it landed; run it again."
    ) from last


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


def _sign(cursor: Cursor, commit_id: str, operation: str, info: Mapping[str, str]) -> None:
    extra = json.dumps({COMMIT_ID: commit_id, **info})
    cursor.execute(
        f"CALL ducklake_set_commit_message('{LAKE}', ?, ?, extra_info => ?)",
        [catalog.AUTHOR, operation, extra],
    )


def sign(cursor: Cursor, operation: str) -> None:
    """Name the open transaction as one of ours, outside of the loop above."""
    _sign(cursor, uuid.uuid4().hex, operation, {})


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


def _reread(lake: DuckLake, table: Contract, commit_id: str, base: int, cause: BaseException) -> int | None:
    """Return the version that the commit became, or None; by a new connection, for the old may be broken."""
    if not is_conflict(cause):
        lake.forget()
    try:
        with lake.asking(f"reading the catalog about {table}") as cursor:
            return catalog.commit_of(cursor, commit_id, after=base)
    except LakeError as exc:
        raise StorageUnavailable(
            f"writing {table}: {lake.said(cause)}; and the catalog cannot be read to see whether it landed. "
            "Run it again once the store is up: a commit that landed is recognised and not repeated."
        ) from exc


def is_conflict(exc: BaseException) -> bool:
    """Say whether DuckLake refused the transaction for another one, before it committed anything."""
    return isinstance(exc, duckdb.TransactionException) and "Transaction conflict" in str(exc)


def _landed(
    lake: DuckLake, table: Contract, outcome: Outcome, commit_id: str, base: int, tries: int
) -> CommitResult:
    with lake.asking(f"reading the catalog about {table}") as cursor:
        version = catalog.commit_of(cursor, commit_id, after=base)
    if version is None:
        raise StorageUnavailable(f"writing {table}: the catalog does not know the commit it acknowledged")
    return _made(table, version, outcome, "now", tries)


def _result(lake: DuckLake, table: Contract, outcome: Outcome, landed: str, tries: int) -> CommitResult:
    with lake.asking(f"reading the catalog about {table}") as cursor:
        entry = catalog.entry(cursor, table.path)
        version = catalog.version_of(cursor, entry) if entry is not None else -1
    return _made(table, version, outcome, landed, tries)


def _made(table: Contract, version: int, outcome: Outcome, landed: str, tries: int) -> CommitResult:
    return CommitResult(
        table=table.path,
        version=version,
        outcome=outcome,
        landed=landed,  # type: ignore[arg-type]
        attempts=tries,
    )
