"""Rows of Dagster's event log and of its snapshots that no public call finds or removes.

Belongs here: SQL for retention.py, on SQLite and Postgres. Does not: which runs are old, or removing a run
(`delete_run` does).

Reason: evaluations of checks, events told outside of runs, and descriptions of jobs have no public removal.
Gain: Dagster's database stops growing; without it these rows stay for ever (dagster-io/dagster#33785).
Pin: dagster 1.13.27.
Drop when: Dagster has a retention of its own.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import dagster as dg
import sqlalchemy as db
from dagster._core.storage.event_log.schema import (
    AssetCheckExecutionsTable,
    AssetEventTagsTable,
    AssetKeyTable,
    SqlEventLogStorageTable,
)
from dagster._core.storage.runs.schema import SnapshotsTable

_OF_ASSETS = ("ASSET_MATERIALIZATION", "ASSET_OBSERVATION")
_NO_RUN = ""
_AT_ONCE = 500


def runs_of_the_latest(instance: dg.DagsterInstance) -> set[str]:
    """Return the runs that hold the latest word on an asset or a check, in any partition."""
    events, checks = SqlEventLogStorageTable.c, AssetCheckExecutionsTable.c
    of_assets = (
        db.select(db.func.max(events.id))
        .where(events.dagster_event_type.in_(_OF_ASSETS))
        .group_by(events.dagster_event_type, events.asset_key, events.partition)
    )
    planned = db.select(db.func.max(checks.id)).group_by(
        checks.asset_key, checks.check_name, checks.partition
    )
    evaluated = planned.where(checks.evaluation_event.is_not(None), checks.execution_status != "PLANNED")
    with _events(instance) as connection:
        return {
            run_id
            for query in (
                db.select(events.run_id).where(events.id.in_(of_assets)),
                db.select(checks.run_id).where(db.or_(checks.id.in_(planned), checks.id.in_(evaluated))),
                db.select(AssetKeyTable.c.last_run_id),
            )
            for (run_id,) in connection.execute(query)
            if run_id
        }


def remove_rest_of_run(instance: dg.DagsterInstance, run_id: str) -> None:
    """Remove what `delete_run` leaves of a run."""
    with _events(instance) as connection:
        connection.execute(
            db.delete(AssetCheckExecutionsTable).where(AssetCheckExecutionsTable.c.run_id == run_id)
        )
    shard = getattr(instance.event_log_storage, "path_for_shard", None)
    if shard is not None:  # SQLite keeps a file a run
        for end in ("", "-wal", "-shm"):
            Path(f"{shard(run_id)}{end}").unlink(missing_ok=True)


def remove_events_of_no_run(instance: dg.DagsterInstance, cutoff: datetime) -> int:
    """Remove what was told of assets outside of any run, but for the latest of each asset and partition."""
    storage: Any = instance.event_log_storage
    with _events(instance) as connection:
        removed = _remove_told(connection, cutoff)
    if hasattr(storage, "path_for_shard"):
        with storage.run_connection(_NO_RUN) as connection:
            _remove_told(connection, cutoff)
    return removed


def _remove_told(connection: Any, cutoff: datetime) -> int:
    events = SqlEventLogStorageTable.c
    latest = db.select(db.func.max(events.id)).group_by(
        events.dagster_event_type, events.asset_key, events.partition
    )
    old = db.select(events.id).where(
        events.run_id == _NO_RUN, events.timestamp < cutoff.replace(tzinfo=None), events.id.not_in(latest)
    )
    ids = [number for (number,) in connection.execute(old)]
    for some in _parts(ids):
        connection.execute(db.delete(AssetEventTagsTable).where(AssetEventTagsTable.c.event_id.in_(some)))
        connection.execute(db.delete(SqlEventLogStorageTable).where(events.id.in_(some)))
    return len(ids)


def remove_snapshots(instance: dg.DagsterInstance, named: Collection[str], *, fresh: int) -> int:
    """Remove descriptions of jobs and plans that nobody names, but for the `fresh` newest of all."""
    table = SnapshotsTable.c
    storage: Any = instance.run_storage
    with storage.connect() as connection:
        found = connection.execute(
            db.select(table.id, table.snapshot_id).order_by(table.id.desc())
        ).fetchall()
        ids = [number for number, snapshot_id in found[fresh:] if snapshot_id not in named]
        for some in _parts(ids):
            connection.execute(db.delete(SnapshotsTable).where(table.id.in_(some)))
    return len(ids)


def _parts(ids: list[int]) -> Iterable[list[int]]:
    return (ids[start : start + _AT_ONCE] for start in range(0, len(ids), _AT_ONCE))


@contextmanager
def _events(instance: dg.DagsterInstance) -> Iterator[Any]:
    storage: Any = instance.event_log_storage
    with storage.index_connection() as connection:
        yield connection
