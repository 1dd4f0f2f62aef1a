"""Named steps at which a test may end the process. Nothing here does anything unless a test arms it.

Belongs here: the table of points and the call that marks one. Does not: any fault; a test brings its own.
There is no setting for it: only code that runs in the same process can arm a point.
"""

from __future__ import annotations

from collections.abc import Callable

POINTS: dict[str, str] = {
    "commit.begin": "the table is read, nothing is written",
    "commit.written": "files of a DuckLake commit are written, the catalog does not know of them",
    "commit.done": "the commit is in the log, the caller does not know yet",
    "flow.landed": "the files of a batch are written down, the batch that names them is not committed",
    "flow.refused": "refused rows are written down, the batch that names them is not committed",
    "flow.committed": "a batch is in, its refused rows are not in quarantine",
    "flow.delivered": "refused rows are in quarantine, and still written down",
    "flow.batch": "one batch of several is in, with its refused rows",
    "flow.rebuilt": "a table computed anew is in place, its staging tables are still there",
    "dbt.built": "a build has passed, nothing of it is in the lake",
    "dbt.taking": "some tables of a passed build are in the lake, the next is not",
    "maintain.compacted": "small files are joined, old ones still lie there",
    "maintain.checkpointed": "the checkpoint is written, nothing is removed",
    "maintain.vacuumed": "old files are gone, the lock is still held",
    "restore.table": "one table of a restored run is back, others are not",
}

_armed: Callable[[str], None] | None = None


def arm(action: Callable[[str], None] | None) -> None:
    """Call `action(point)` at every point from now on in this process; None disarms."""
    global _armed
    _armed = action


def reach(point: str) -> None:
    """Mark a step. `point` must stand in POINTS."""
    if _armed is not None:
        if point not in POINTS:
            raise KeyError(point)
        _armed(point)
