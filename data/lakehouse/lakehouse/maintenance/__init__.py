"""Maintenance of a lake: restore points, restore, the difference of two runs, compaction and clean-up.

Belongs here: work over all tables of a lake. Does not: how one table is restored or compacted (store).
"""

from lakehouse.maintenance.difference import TableDiff, diff
from lakehouse.maintenance.maintenance import maintain_all
from lakehouse.maintenance.points import RestorePoint, pin, points, record_point, unpin
from lakehouse.maintenance.restoring import Restored, restore_run
from lakehouse.maintenance.upgrading import Upgraded, upgrade

__all__ = [
    "RestorePoint",
    "Restored",
    "TableDiff",
    "Upgraded",
    "diff",
    "maintain_all",
    "pin",
    "points",
    "record_point",
    "restore_run",
    "unpin",
    "upgrade",
]
