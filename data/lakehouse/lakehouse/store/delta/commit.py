"""How a commit is made to happen exactly once.

Belongs here: the loop around one commit: token before, state with it, truth after.
Does not: what is written.

A store may answer an error although the commit landed, and a lost race may look like a failure. So each
commit carries an id in the log, the same in each try; on any exception the log is read again and decides.
So the loop is ours, and not tenacity's, which retries elsewhere: whether to go on is no property of the
exception, and the answer found in the log may be a success.
"""

from __future__ import annotations

import random
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from deltalake import CommitProperties, DeltaTable, Transaction
from deltalake.exceptions import CommitFailedError

from lakehouse import fault_points
from lakehouse.contracts import Contract
from lakehouse.errors import Conflict, LakeError, StorageUnavailable, plain
from lakehouse.process import panicked
from lakehouse.storage.files import Files
from lakehouse.store.commits import COMMIT_ID, is_duplicate, moved, state_of
from lakehouse.store.delta.log import read_commit
from lakehouse.store.results import BaseVersion, CommitOptions, CommitResult, Outcome

_TRIES = 8
_LONGEST_WAIT_SECONDS = 5.0


@dataclass(frozen=True)
class Attempt:
    """One try: what it will do, how, and how often the library may rebase it over other commits.

    With `retries` 0 the commit lands only on the very version that was read: compare-and-swap. Without
    `write` there is nothing to do, and no commit.
    """

    outcome: Outcome
    write: Callable[[CommitProperties], None] | None
    retries: int = 0


def commit_with_retries(
    table: Contract,
    files: Files,
    reopen: Callable[[bool], DeltaTable],
    commit: CommitOptions,
    attempt: Callable[[DeltaTable], Attempt],
    *,
    state_at: Callable[[DeltaTable, Sequence[str]], dict[str, int]],
) -> CommitResult:
    """Commit once. A conflict starts over from the table as it then is.

    Raises Moved, StaleWriter, Conflict, StorageUnavailable (the text says that the commit did not land).
    """
    last: BaseException | None = None
    commit_id, start = uuid.uuid4().hex, -1
    outcome = Outcome(rows=0, inserted=0, updated=0)
    for number in range(1, _TRIES + 1):
        delta = reopen(False)
        if number == 1:
            start = delta.version()
        elif (
            version := landed(files, table.path, delta, commit_id, start)
        ) is not None:  # an earlier try, late
            return _result(table, version, outcome, "committed", number)
        _refuse_moved(table, files, delta, commit)
        if _already(table, delta, commit, state_at):
            return _result(
                table, delta.version(), Outcome(rows=0, inserted=0, updated=0), "duplicate", number
            )
        tried = attempt(delta)
        outcome = tried.outcome
        if tried.write is None:
            return _result(table, delta.version(), outcome, "skipped", number)
        base = delta.version()
        try:
            fault_points.reach("commit.begin")
            properties = _properties(commit_id, state_at(delta, commit.reads), commit, tried)
            tried.write(properties)
            fault_points.reach("commit.done")
            swapped = properties.max_commit_retries == 0
            return _result(table, base + 1 if swapped else delta.version(), outcome, "committed", number)
        except LakeError:
            raise
        except BaseException as exc:  # the log decides what it meant
            if not isinstance(exc, Exception) and not panicked(exc):
                raise
            last = exc
            delta = _reread(table, reopen, exc)
            if (version := landed(files, table.path, delta, commit_id, start)) is not None:
                return _result(table, version, outcome, "committed", number)
            if not isinstance(exc, CommitFailedError | OSError):
                raise StorageUnavailable(f"writing {table}: {plain(exc)}. Nothing of it landed.") from None
        if commit.onto is None or not isinstance(last, CommitFailedError):  # a lost race is told at once
            time.sleep(random.uniform(0.1, min(_LONGEST_WAIT_SECONDS, 0.2 * 2**number)))  # noqa: S311
    raise Conflict(
        f"writing {table}: gave up after {_TRIES} tries ({plain(last) if last else 'conflict'}). "
        "Nothing of it landed; run it again."
    ) from None


def landed(files: Files, path: str, delta: DeltaTable, commit_id: str, base: int) -> int | None:
    """Return the version of table `path` after `base` that carries `commit_id`; None when there is none."""
    for version in range(int(delta.version()), base, -1):
        try:
            if read_commit(files, path, version).info.get(COMMIT_ID) == commit_id:
                return version
        except FileNotFoundError:  # the log was cleaned up past it
            return None
    return None


def stands(files: Files, path: str, delta: DeltaTable, since: BaseVersion) -> bool:
    """Return whether nothing but maintenance has happened to table `path` since that state."""
    if str(delta.metadata().id) != since.identity or delta.version() < since.version:
        return False
    for version in range(since.version + 1, delta.version() + 1):
        try:
            commit = read_commit(files, path, version)
        except FileNotFoundError:  # the log was cleaned up past it: nobody can tell
            return False
        if not commit.rearranged or commit.transactions:
            return False
    return True


def _refuse_moved(table: Contract, files: Files, delta: DeltaTable, commit: CommitOptions) -> None:
    if commit.onto is not None and not stands(files, table.path, delta, commit.onto):
        raise moved(table, commit.onto)


def recorded(delta: DeltaTable, names: Sequence[str]) -> dict[str, int]:
    """Return those of `names` that the table holds.

    A restored table cannot forget a state entry that it did not have then: it says so by a number below zero.
    """
    found = {name: delta.transaction_version(name) for name in names}
    return {name: value for name, value in found.items() if value is not None and value >= 0}


def _properties(
    commit_id: str, before: dict[str, int], commit: CommitOptions, tried: Attempt
) -> CommitProperties:
    state = state_of(commit, tried.outcome, before)
    return CommitProperties(
        custom_metadata={COMMIT_ID: commit_id, **commit.info},
        # State are computed from the version that was read, so they may only land right on top of it.
        max_commit_retries=0 if commit.state is not None or commit.onto is not None else tried.retries,
        app_transactions=[Transaction(name, value) for name, value in state.items()],
    )


def _already(
    table: Contract,
    delta: DeltaTable,
    commit: CommitOptions,
    state_at: Callable[[DeltaTable, Sequence[str]], dict[str, int]],
) -> bool:
    if commit.transaction is None:
        return False
    name = commit.transaction.name
    return is_duplicate(table, commit, state_at(delta, [name]).get(name))


def _reread(table: Contract, reopen: Callable[[bool], DeltaTable], cause: BaseException) -> DeltaTable:
    try:
        return reopen(True)
    except LakeError:
        raise StorageUnavailable(
            f"writing {table}: {plain(cause)}; and the log cannot be read to see whether it landed. "
            "Run it again once the store is up: a commit that landed is recognised and not repeated."
        ) from None


def _result(table: Contract, version: int, outcome: Outcome, landed: str, tries: int) -> CommitResult:
    return CommitResult(
        table=table.path,
        version=version,
        outcome=outcome,
        landed=landed,  # type: ignore[arg-type]
        attempts=tries,
    )
