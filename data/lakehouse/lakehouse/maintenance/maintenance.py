"""Maintenance of the whole lake: one table after the other, one job at a time.

Belongs here: retention, pins, the lease. Does not: maintaining one table (store).
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from lakehouse.contracts import RETENTION, SYSTEM, Contract, Layer, with_side_tables
from lakehouse.errors import DamagedTable, SchemaViolation
from lakehouse.maintenance.leftovers import remove_leftovers
from lakehouse.maintenance.points import points, versions_stay
from lakehouse.pipeline import Lake
from lakehouse.pipeline.ledger import forget_segments
from lakehouse.store import MaintenanceOptions, MaintenanceResult

_LONGEST_COMMIT = timedelta(days=1)  # from writing a ledger segment to the commit that names it


def maintain_all(
    lake: Lake, tables: Sequence[Contract], *, layer: Layer | None = None, orphans: bool = False
) -> list[MaintenanceResult]:
    """Compact, checkpoint and clean up every table (of one layer); versions of pinned runs are kept.

    A damaged table, or one of other columns than its contract, is left as it is and the others are
    maintained; then DamagedTable or SchemaViolation names it. Raises Conflict when another maintenance or a
    restore is running (its holder is named) or writers keep winning.
    """
    chosen = [t for t in (*with_side_tables(tables), *SYSTEM) if layer in (None, t.layer)]
    with versions_stay(lake):
        pinned = [point for point in points(lake) if point.pinned]
        done: list[MaintenanceResult] = []
        left: list[DamagedTable | SchemaViolation] = []
        for table in chosen:
            try:
                if not lake.store.exists(table):
                    continue
                keep = [point.versions[table.path] for point in pinned if table.path in point.versions]
                options = MaintenanceOptions(retain=RETENTION[table.layer], keep=keep, orphans=orphans)
                lake.store.ensure(table)  # adds a column that the contract gained since the last write
                done.append(lake.store.maintain(table, options))
                since = datetime.now(UTC) - RETENTION[table.layer] - _LONGEST_COMMIT
                forget_segments(lake, table, keep, since)
            except (DamagedTable, SchemaViolation) as exc:
                left.append(exc)
        remove_leftovers(lake, tables)
    if left:
        others = f" The other {len(done)} tables were maintained." if done else ""
        is_damaged = any(isinstance(exc, DamagedTable) for exc in left)
        kind = DamagedTable if is_damaged else SchemaViolation
        raise kind(" ".join(str(exc) for exc in left) + others)
    return done
