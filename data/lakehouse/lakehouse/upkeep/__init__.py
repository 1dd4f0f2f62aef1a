"""Keeping a lake: points to go back to, going back, telling two runs apart, and maintenance.

Belongs here: work over all tables of a lake. Does not: how one table is restored or compacted (store).
"""

from lakehouse.upkeep.difference import TableDiff, diff
from lakehouse.upkeep.maintenance import maintain_all
from lakehouse.upkeep.manifest import keep, manifest
from lakehouse.upkeep.points import Point, pin, points, record_point, unpin
from lakehouse.upkeep.restoring import Restored, restore_run

__all__ = [
    "Point",
    "Restored",
    "TableDiff",
    "diff",
    "keep",
    "maintain_all",
    "manifest",
    "pin",
    "points",
    "record_point",
    "restore_run",
    "unpin",
]
