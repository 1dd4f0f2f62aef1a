"""Maintenance of the whole lake, one table after the other, one job at a time.

Belongs here: retention, pins, the lease. Does not: what is done to one table (store).
"""

from __future__ import annotations

from collections.abc import Sequence

from lakehouse.contracts import RESTORE_POINTS, RETENTION, Contract, Layer
from lakehouse.flow import Lake
from lakehouse.store import Maintained, Upkeep
from lakehouse.store.lock import lease
from lakehouse.upkeep.points import kept_tables, points

LEASE = "maintenance"


def maintain_all(
    lake: Lake, tables: Sequence[Contract], *, layer: Layer | None = None, orphans: bool = False
) -> list[Maintained]:
    """Compact, checkpoint and clean up every table (of one layer); versions of pinned runs stay.

    Raises Conflict when another maintenance is going on (its holder is named) or writers keep winning.
    """
    chosen = [t for t in (*kept_tables(tables), RESTORE_POINTS) if layer in (None, t.layer)]
    with lease(lake.store.files, LEASE):
        pinned = [point for point in points(lake) if point.pinned]
        done = []
        for table in chosen:
            if not lake.store.exists(table):
                continue
            keep = [point.versions[table.path] for point in pinned if table.path in point.versions]
            upkeep = Upkeep(retain=RETENTION[table.layer], keep=keep, orphans=orphans)
            done.append(lake.store.maintain(table, upkeep))
        return done
