"""Restore points: which version every table had when a run ended.

Belongs here: recording, pinning and listing them. Does not: going back (restoring.py).
The versions of a run are written in one commit, so a point is whole or not there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import polars as pl

from lakehouse.contracts import LANDING_REJECTS, RESTORE_POINTS, Contract, quarantine_of
from lakehouse.errors import Conflict, TableNotFound, Unsupported
from lakehouse.flow import Lake
from lakehouse.flow.marks import ROWS
from lakehouse.store import Commit, Outcome

_LAST = "last"


@dataclass(frozen=True, kw_only=True)
class Point:
    """One run's end: the version of each table, by path."""

    run_id: str
    at: datetime
    versions: Mapping[str, int]
    rows: int
    pinned: bool
    name: str | None


def kept_tables(tables: Sequence[Contract]) -> list[Contract]:
    """Return the tables that a point speaks of: the declared ones and their quarantine."""
    return [*tables, *(quarantine_of(t) for t in tables if t.row_wise), LANDING_REJECTS]


def record_point(lake: Lake, run_id: str, tables: Sequence[Contract]) -> Point | None:
    """Record how the tables stand at the end of a run; None when nothing has changed since the last point."""
    seen = {t: lake.store.snapshot(t) for t in kept_tables(tables) if lake.store.exists(t)}
    versions = {t.path: snapshot.version for t, snapshot in seen.items()}
    known = points(lake)
    if known and (known[-1].versions == versions or any(p.run_id == run_id for p in known)):
        return None
    at = _append(lake, run_id, [(t.path, s.version, s.rows, None, None) for t, s in seen.items()])
    rows = sum(snapshot.rows for snapshot in seen.values())
    return Point(run_id=run_id, at=at, versions=versions, rows=rows, pinned=False, name=None)


def points(lake: Lake) -> list[Point]:
    """Return every recorded point, oldest first."""
    try:
        told = lake.store.scan(RESTORE_POINTS).collect()
    except TableNotFound:
        return []
    pins = {
        r["run_id"]: r for r in told.filter(pl.col("table").is_null()).sort("number").iter_rows(named=True)
    }
    found = []
    versions = told.filter(pl.col("table").is_not_null()).sort("number")
    for (run_id,), rows in versions.group_by("run_id", maintain_order=True):
        pinned = pins.get(str(run_id), {"is_pinned": False, "name": None})
        found.append(
            Point(
                run_id=str(run_id),
                at=rows["at"][0],
                versions=dict(rows.select("table", "version").iter_rows()),
                rows=int(rows["rows"].sum()),
                pinned=bool(pinned["is_pinned"]),
                name=pinned["name"],
            )
        )
    return found


def point_of(lake: Lake, run: str) -> Point:
    """Return the point of a run, by its id, the beginning of it, or its pin's name. Raises Unsupported."""
    known = points(lake)
    exact = [p for p in known if run in (p.run_id, p.name)]
    matches = exact or [p for p in known if run and p.run_id.startswith(run)]
    if len(matches) == 1:
        return matches[0]
    if matches:
        raise Unsupported(
            f"run {run!r}: {len(matches)} runs begin so; give more of the id (`odp runs` lists them)"
        )
    raise Unsupported(f"run {run!r}: no restore point is recorded for it; `odp runs` lists those there are")


def pin(lake: Lake, run: str, name: str | None = None) -> Point:
    """Keep a run's versions until they are unpinned. Raises Unsupported for an unknown run."""
    return _set_pin(lake, run, True, name)


def unpin(lake: Lake, run: str) -> Point:
    """Let maintenance have a run's versions once they are old enough. Raises Unsupported: unknown run."""
    return _set_pin(lake, run, False, None)


def _set_pin(lake: Lake, run: str, pinned: bool, name: str | None) -> Point:
    found = point_of(lake, run)
    if (found.pinned, found.name) != (pinned, name):
        _append(lake, found.run_id, [(None, None, None, pinned, name)])
    return point_of(lake, found.run_id)


def _append(lake: Lake, run_id: str, told: Sequence[tuple[object, ...]]) -> datetime:
    """Write records under the next number, in one commit. Raises Conflict when another took that number."""
    number, at = lake.store.marks(RESTORE_POINTS, [_LAST]).get(_LAST, 0) + 1, lake.clock()
    rows = [(run_id, number, at, *rest) for rest in told]
    frame = pl.DataFrame(rows, schema=RESTORE_POINTS.polars_schema(), orient="row")

    def marks(outcome: Outcome, before: Mapping[str, int]) -> dict[str, int]:
        if before.get(_LAST, 0) + 1 != number:
            raise Conflict("recording a restore point: another run has just recorded one. Run it again.")
        return {_LAST: number, ROWS: before.get(ROWS, 0) + outcome.inserted}

    lake.store.append(RESTORE_POINTS, frame, Commit(reads=(_LAST, ROWS), marks=marks))
    return at
