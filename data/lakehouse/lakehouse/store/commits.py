"""What holds for a commit of every format.

Belongs here: the id that names a commit, the state it sets, and the errors of one that may not land. Does
not: the loop around a commit, which depends on what its format's library raises (delta/commit.py,
ducklake/commit.py).
"""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

from lakehouse.contracts import Contract
from lakehouse.errors import Moved, StaleWriter
from lakehouse.store.results import BaseVersion, CommitOptions, CommitResult, HistoryEntry, Outcome
from lakehouse.store.validation import Incoming

COMMIT_ID = "odp.commit"


def commit_of(entry: HistoryEntry) -> str:
    """Return what names a commit, also among those of one number before and after a backup was put back."""
    return str(entry.info.get(COMMIT_ID) or entry.at.isoformat())


def moved(table: Contract, since: BaseVersion) -> Moved:
    """Return the error of a commit that was computed from a state the table is no longer in."""
    return Moved(
        f"writing {table}: it has changed since version {since.version}, from which this was computed. "
        "Nothing was written; run it again, it starts from the new version."
    )


def skipped(
    table: Contract, rows: Incoming | pl.DataFrame | None, commit: CommitOptions, version: int
) -> CommitResult | None:
    """Return the result of a commit with no rows and nothing else to set; None where there is one to make."""
    if rows is None or not rows.is_empty() or sets_state(commit):
        return None
    nothing = Outcome(rows=0, inserted=0, updated=0)
    return CommitResult(table=table.path, version=version, outcome=nothing, landed="skipped")


def sets_state(commit: CommitOptions) -> bool:
    """Return whether a commit has something to set besides rows."""
    return commit.transaction is not None or commit.state is not None


def state_of(commit: CommitOptions, outcome: Outcome, before: Mapping[str, int]) -> dict[str, int]:
    """Return the state that a commit sets; `before` needs what `commit.reads` names."""
    state = dict(commit.state(outcome, before)) if commit.state is not None else {}
    if commit.transaction is not None:
        state[commit.transaction.name] = commit.transaction.value
    return state


def is_duplicate(table: Contract, commit: CommitOptions, stored: int | None) -> bool:
    """Return whether the commit's transaction is in already; `stored` is the value the table has for it.

    Raises StaleWriter when the table stands past it.
    """
    wanted = commit.transaction
    if wanted is None or stored is None or stored < wanted.value:
        return False
    if stored == wanted.value:
        return True
    raise StaleWriter(
        f"writing {table}: {wanted.name} stands at {stored}, past this writer's {wanted.value}. "
        "Nothing was written; another run is ahead of this one."
    )
