"""How a commit is made to happen exactly once.

Belongs here: the loop around one commit: token before, marks with it, truth after.
Does not: what is written.

A store may answer an error although the commit landed, and a lost race may look like a failure. So each
try carries a fresh id in the log; on any exception the log is read again and decides.
"""

from __future__ import annotations

import random
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from deltalake import CommitProperties, DeltaTable, Transaction
from deltalake.exceptions import CommitFailedError

from lakehouse.contracts import Contract
from lakehouse.errors import Conflict, LakeError, StaleWriter, StorageUnavailable, plain
from lakehouse.store import faults
from lakehouse.store.process import panicked
from lakehouse.store.protocol import Commit, CommitResult, Outcome

COMMIT_ID = "odp.commit"
_TRIES = 8
_LONGEST_WAIT_SECONDS = 5.0


@dataclass(frozen=True)
class Attempt:
    """One try: what it will do, how, and how often the library may rebase it over other commits.

    With `retries` 0 the commit lands only on the very version that was read: compare and swap. Without
    `write` there is nothing to do, and no commit.
    """

    outcome: Outcome
    write: Callable[[CommitProperties], None] | None
    retries: int = 0


def commit_with_retries(
    table: Contract,
    reopen: Callable[[bool], DeltaTable],
    commit: Commit,
    attempt: Callable[[DeltaTable], Attempt],
) -> CommitResult:
    """Commit once. A conflict starts over from the table as it then is.

    Raises StaleWriter, Conflict, StorageUnavailable (the text says that the commit did not land).
    """
    last: BaseException | None = None
    for number in range(1, _TRIES + 1):
        delta = reopen(False)
        if _already(table, delta, commit):
            return _result(table, delta, Outcome(rows=0, inserted=0, updated=0), "earlier", number)
        tried = attempt(delta)
        if tried.write is None:
            return _result(table, delta, tried.outcome, "noop", number)
        commit_id = uuid.uuid4().hex
        base = delta.version()
        try:
            faults.reach("commit.begin")
            tried.write(_properties(commit_id, delta, commit, tried))
            faults.reach("commit.done")
            return _result(table, delta, tried.outcome, "now", number)
        except LakeError:
            raise
        except BaseException as exc:  # the log decides what it meant
            if not isinstance(exc, Exception) and not panicked(exc):
                raise
            last = exc
            delta = _reread(table, reopen, exc)
            if landed(delta, commit_id, base):
                return _result(table, delta, tried.outcome, "now", number)
            if not isinstance(exc, CommitFailedError | OSError):
                raise StorageUnavailable(f"writing {table}: {plain(exc)}. Nothing of it landed.") from exc
        time.sleep(random.uniform(0.1, min(_LONGEST_WAIT_SECONDS, 0.2 * 2**number)))  # noqa: S311
    raise Conflict(
        f"writing {table}: gave up after {_TRIES} tries ({plain(last) if last else 'conflict'}). "
        "Nothing of it landed; run it again."
    ) from last


def landed(delta: DeltaTable, commit_id: str, base: int) -> bool:
    """Return whether a commit after version `base` carries `commit_id`."""
    newer = delta.version() - base
    if newer <= 0:
        return False
    return any(entry.get(COMMIT_ID) == commit_id for entry in delta.history(newer))


def recorded(delta: DeltaTable, names: Sequence[str]) -> dict[str, int]:
    """Return those of `names` that the table holds.

    A restored table cannot forget a mark that it did not have then: it says so by a number below zero.
    """
    found = {name: delta.transaction_version(name) for name in names}
    return {name: value for name, value in found.items() if value is not None and value >= 0}


def _properties(commit_id: str, delta: DeltaTable, commit: Commit, tried: Attempt) -> CommitProperties:
    marks: dict[str, int] = {}
    if commit.marks is not None:
        marks.update(commit.marks(tried.outcome, recorded(delta, commit.reads)))
    if commit.token is not None:
        marks[commit.token.name] = commit.token.value
    return CommitProperties(
        custom_metadata={COMMIT_ID: commit_id, **commit.info},
        # Marks are computed from the version that was read, so they may only land right on top of it.
        max_commit_retries=0 if commit.marks is not None else tried.retries,
        app_transactions=[Transaction(name, value) for name, value in marks.items()],
    )


def _already(table: Contract, delta: DeltaTable, commit: Commit) -> bool:
    if commit.token is None:
        return False
    position = recorded(delta, [commit.token.name]).get(commit.token.name)
    if position is None or position < commit.token.value:
        return False
    if position == commit.token.value:
        return True
    raise StaleWriter(
        f"writing {table}: {commit.token.name} stands at {position}, past this writer's "
        f"{commit.token.value}. Nothing was written; another run is ahead of this one."
    )


def _reread(table: Contract, reopen: Callable[[bool], DeltaTable], cause: BaseException) -> DeltaTable:
    try:
        return reopen(True)
    except LakeError as exc:
        raise StorageUnavailable(
            f"writing {table}: {plain(cause)}; and the log cannot be read to see whether it landed. "
            "Run it again once the store is up: a commit that landed is recognised and not repeated."
        ) from exc


def _result(table: Contract, delta: DeltaTable, outcome: Outcome, landed: str, tries: int) -> CommitResult:
    return CommitResult(
        table=table.path,
        version=delta.version(),
        outcome=outcome,
        landed=landed,  # type: ignore[arg-type]
        attempts=tries,
    )
