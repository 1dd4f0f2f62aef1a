"""Restore points: the version of every table at the end of a run.

Belongs here: recording, pinning and listing them. Does not: restoring (restoring.py).
The versions of a run are written in one commit, so a restore point is complete or absent.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime

import polars as pl

from lakehouse.contracts import RESTORE_POINTS, Contract, quarantine_of, with_side_tables
from lakehouse.errors import Conflict, DamagedTable, TableNotFound, Unsupported
from lakehouse.pipeline import Lake
from lakehouse.pipeline.outbox import Undeliverable, deliver
from lakehouse.pipeline.state import OUTBOX, ROWS
from lakehouse.storage.lease import lease
from lakehouse.store import CommitOptions, Outcome, Snapshot
from lakehouse.store.integrity.damage import readable

LEASE = "maintenance"
_LAST = "last"
_TRIES = 10
CONSUMERS_FIRST = ("gold", "quarantine", "silver", "bronze", "system")


@dataclass(frozen=True, kw_only=True)
class RestorePoint:
    """The end of one run: version and identity of each table, by path."""

    run_id: str
    at: datetime
    versions: Mapping[str, int]
    identities: Mapping[str, str]  # empty in points of older versions of this library
    rows: int
    pinned: bool
    name: str | None


@contextmanager
def versions_stay(lake: Lake) -> Iterator[None]:
    """Keep out whoever removes old versions or counts on them: a version that was just found whole stays so.

    Raises Conflict, naming who is at it.
    """
    with lease(lake.store.files, LEASE):
        yield


def record_point(lake: Lake, run_id: str, tables: Sequence[Contract]) -> RestorePoint | None:
    """Record the versions of all tables at the end of a run; None when none has changed since the last point.

    Also None while other runs keep a table and its quarantine from being consistent: the next run records
    them.
    """
    seen = _consistent_snapshots(lake, tables)
    if seen is None:
        return None
    versions = {t.path: snapshot.version for t, snapshot in seen.items()}
    known = points(lake)
    if known and (known[-1].versions == versions or any(p.run_id == run_id for p in known)):
        return None
    at = _append(lake, run_id, [(t.path, s.version, s.rows, None, None, s.identity) for t, s in seen.items()])
    return RestorePoint(
        run_id=run_id,
        at=at,
        versions=versions,
        identities={t.path: s.identity for t, s in seen.items()},
        rows=sum(snapshot.rows for snapshot in seen.values()),
        pinned=False,
        name=None,
    )


def _consistent_snapshots(lake: Lake, tables: Sequence[Contract]) -> dict[Contract, Snapshot] | None:
    """Return a snapshot of each table, each quarantine as the last commit of its table left it.

    Consumers are read before their sources, so that no position lies ahead of its source.
    """
    kept = sorted(with_side_tables(tables), key=lambda t: CONSUMERS_FIRST.index(t.layer))
    for _ in range(_TRIES):
        seen = {t: lake.store.snapshot(t) for t in kept if lake.store.exists(t)}
        try:
            if all(_paired(lake, t, seen) for t in tables if t.row_wise and t in seen):
                return seen
        except Undeliverable:
            return None
    return None


def _paired(lake: Lake, table: Contract, seen: Mapping[Contract, Snapshot]) -> bool:
    target = quarantine_of(table)
    if target not in seen:
        return not lake.store.read_state(table, [OUTBOX]).get(OUTBOX, 0)
    state, quarantine = deliver(lake, table), lake.store.base_version(target)
    return state.version == seen[table].version and quarantine.version == seen[target].version


def points(lake: Lake) -> list[RestorePoint]:
    """Return every recorded point, oldest first."""
    try:
        with readable(lake.store, [RESTORE_POINTS]):
            records = lake.store.scan(RESTORE_POINTS).collect()
    except TableNotFound:
        return []
    pins = {
        r["run_id"]: r for r in records.filter(pl.col("table").is_null()).sort("number").iter_rows(named=True)
    }
    found = []
    versions = records.filter(pl.col("table").is_not_null()).sort("number")
    for (run_id,), rows in versions.group_by("run_id", maintain_order=True):
        pinned = pins.get(str(run_id), {"is_pinned": False, "name": None})
        found.append(
            RestorePoint(
                run_id=str(run_id),
                at=rows["at"][0],
                versions=dict(rows.select("table", "version").iter_rows()),
                identities=dict(rows.select("table", "identity").drop_nulls().iter_rows()),
                rows=int(rows["rows"].sum()),
                pinned=bool(pinned["is_pinned"]),
                name=pinned["name"],
            )
        )
    return found


def point_of(lake: Lake, run: str) -> RestorePoint:
    """Return the restore point of a run, by id, prefix of the id, or name of its pin. Raises Unsupported."""
    known = points(lake)
    exact = [p for p in known if run in (p.run_id, p.name)]
    matches = (exact or [p for p in known if p.run_id.startswith(run)]) if run else []
    if len(matches) == 1:
        return matches[0]
    if matches:
        raise Unsupported(
            f"run {run!r}: {len(matches)} runs begin with it; give more of the id (`odp runs` lists them)"
        )
    raise Unsupported(f"run {run!r}: no restore point is recorded for it; `odp runs` lists the recorded ones")


def pin(lake: Lake, run: str, name: str | None = None) -> RestorePoint:
    """Keep the versions of a run until it is unpinned.

    Raises Unsupported: unknown run, or versions that no longer exist. Raises Conflict while a restore is
    running, or maintenance, which looked for pins at its beginning.
    """
    point_of(lake, run)  # an unknown one is told whoever is at work
    with versions_stay(lake):
        _refuse_gone(lake, point_of(lake, run))
        return _set_pin(lake, run, True, name or None)


def _refuse_gone(lake: Lake, point: RestorePoint) -> None:
    """Raise Unsupported when maintenance has removed files of the run: a pin could not restore it."""
    problems = []
    for path, version in point.versions.items():
        try:
            layer, name = path.split("/", 1)
            lake.store.check_version(replace(RESTORE_POINTS, layer=layer, name=name), version)  # type: ignore[arg-type]
        except (Unsupported, TableNotFound, DamagedTable) as exc:
            problems.append(str(exc))
    if problems:
        more = f" (and {len(problems) - 1} more tables)" if len(problems) > 1 else ""
        raise Unsupported(f"pinning run {point.run_id}: it can no longer be restored: {problems[0]}{more}")


def unpin(lake: Lake, run: str) -> RestorePoint:
    """Let maintenance remove a run's versions once they are old enough. Raises Unsupported: unknown run."""
    return _set_pin(lake, run, False, None)


def _set_pin(lake: Lake, run: str, pinned: bool, name: str | None) -> RestorePoint:
    found = point_of(lake, run)
    if (found.pinned, found.name) != (pinned, name):
        _append(lake, found.run_id, [(None, None, None, pinned, name, None)])
    return point_of(lake, found.run_id)


def _append(lake: Lake, run_id: str, records: Sequence[tuple[object, ...]]) -> datetime:
    """Write records under the next number, in one commit. Raises Conflict when another run took it."""
    number, at = lake.store.read_state(RESTORE_POINTS, [_LAST]).get(_LAST, 0) + 1, lake.clock()
    rows = [(run_id, number, at, *rest) for rest in records]
    frame = pl.DataFrame(rows, schema=RESTORE_POINTS.polars_schema(), orient="row")

    def state(outcome: Outcome, before: Mapping[str, int]) -> dict[str, int]:
        if before.get(_LAST, 0) + 1 != number:
            raise Conflict("recording a restore point: another run has just recorded one. Run it again.")
        return {_LAST: number, ROWS: before.get(ROWS, 0) + outcome.inserted}

    lake.store.append(RESTORE_POINTS, frame, CommitOptions(reads=(_LAST, ROWS), state=state))
    return at
