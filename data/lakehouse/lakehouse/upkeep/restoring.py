"""Bringing every layer back to how one run left it.

Belongs here: the order, and what a kill in between leaves. Does not: restoring one table (store).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lakehouse.contracts import Contract
from lakehouse.errors import LakeError, Unsupported
from lakehouse.flow import Lake
from lakehouse.store import Commit, faults
from lakehouse.upkeep.points import kept_tables, point_of

# What reads goes back before what it reads: a consumer that stands behind its source catches up by itself,
# one that stands ahead would pass rows over. Quarantine before the table whose rejects it holds.
_ORDER = ("gold", "quarantine", "silver", "bronze")


@dataclass(frozen=True, kw_only=True)
class Restored:
    """One table of a restored run. `changed` is False when it was at that version already."""

    table: str
    version_before: int
    version_of_run: int | None  # None: it did not exist then, and is empty now
    version: int
    rows: int
    changed: bool


def restore_run(lake: Lake, run: str, tables: Sequence[Contract], *, dry_run: bool = False) -> list[Restored]:
    """Bring all tables back to the versions of a run. A kill in between is mended by doing it again.

    Everything is checked before anything is changed. Raises Unsupported: unknown run, or versions of it that
    maintenance has removed.
    """
    point = point_of(lake, run)
    here = [t for t in kept_tables(tables) if lake.store.exists(t)]
    here.sort(key=lambda t: (_ORDER.index(t.layer), t.path))
    _check(lake, point.run_id, {t: point.versions.get(t.path) for t in here})
    done = []
    for table in here:
        done.append(_restore(lake, table, point.versions.get(table.path), point.run_id, dry_run=dry_run))
        if not dry_run:
            faults.reach("restore.table")
    return done


def _check(lake: Lake, run_id: str, wanted: dict[Contract, int | None]) -> None:
    problems = []
    for table, version in wanted.items():
        try:
            lake.store.check_version(table, _first(lake, table) if version is None else version)
        except Unsupported as exc:
            problems.append(str(exc))
    if problems:
        raise Unsupported(f"restoring run {run_id}: {'; '.join(problems)}. Nothing was changed.")


def _restore(lake: Lake, table: Contract, version: int | None, run_id: str, *, dry_run: bool) -> Restored:
    before = lake.store.snapshot(table)
    target = _first(lake, table) if version is None else version
    changed = lake.store.data_version(table) > target
    after = before.version
    if changed and not dry_run:
        info = {"odp.restored_run": run_id}
        after = lake.store.restore(table, target, Commit(info=info)).version
    rows = lake.store.snapshot(table, version=target).rows
    return Restored(
        table=table.path,
        version_before=before.version,
        version_of_run=version,
        version=after,
        rows=rows,
        changed=changed,
    )


def _first(lake: Lake, table: Contract) -> int:
    """Return the version at which the table was made, empty. Raises Unsupported when it is forgotten."""
    try:
        oldest = lake.store.history(table)[-1]
    except LakeError as exc:
        raise Unsupported(f"{table}: its history cannot be read: {exc}") from exc
    if not oldest.operation.upper().startswith("CREATE"):
        raise Unsupported(f"{table}: it did not exist then, and its first version is no longer in the log")
    return oldest.version
