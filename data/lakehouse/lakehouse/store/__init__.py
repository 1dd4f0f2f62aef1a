"""The one persistence authority. Only this package imports a table-format library.

Belongs here: committing, scanning and describing tables, and the promises about them.
Does not: what a table means (contracts), or when to write it (flow).
"""

from lakehouse.store.delta import DeltaStore
from lakehouse.store.frames import repeats
from lakehouse.store.protocol import Commit, CommitResult, Marks, Outcome, Snapshot, TableStore, Token
from lakehouse.store.retry import COMMIT_ID

__all__ = [
    "COMMIT_ID",
    "Commit",
    "CommitResult",
    "DeltaStore",
    "Marks",
    "Outcome",
    "Snapshot",
    "TableStore",
    "Token",
    "repeats",
]
