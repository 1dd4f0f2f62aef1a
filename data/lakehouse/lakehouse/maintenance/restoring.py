"""Restoring every table to the state in which one run left it.

Belongs here: the order, and recovery from a kill in between. Does not: restoring one table (store).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

from lakehouse import fault_points
from lakehouse.contracts import Contract, with_side_tables
from lakehouse.dbt import forget_build, no_build
from lakehouse.errors import LakeError, Unsupported
from lakehouse.maintenance.points import CONSUMERS_FIRST, RestorePoint, point_of, versions_stay
from lakehouse.pipeline import Lake
from lakehouse.pipeline.lineage import forked
from lakehouse.pipeline.state import GENERATION, WATERMARK
from lakehouse.store import BaseVersion, CommitOptions, Outcome


@dataclass(frozen=True, kw_only=True)
class Restored:
    """One table of a restored run. `changed` is False when it already was at that version."""

    table: str
    version_before: int
    version_of_run: int | None  # None: it did not exist then, and is empty now
    version: int
    rows: int
    changed: bool


def restore_run(lake: Lake, run: str, tables: Sequence[Contract], *, dry_run: bool = False) -> list[Restored]:
    """Restore all tables to the versions of a run. After a kill in between, run it again.

    Everything is checked before anything is changed. Raises Unsupported: unknown run, versions of it that
    maintenance has removed, or a table that was recreated since. Raises Conflict while maintenance, which
    would remove what was just found to be there, another restore, or a build of dbt is running. What a build
    that was killed has left to be completed is of rows that are taken back, and is forgotten.
    """
    point = point_of(lake, run)
    with ExitStack() as held:
        if not dry_run:
            held.enter_context(versions_stay(lake))
            held.enter_context(no_build(lake))
        return _restore_all(lake, point, tables, dry_run=dry_run)


def _restore_all(
    lake: Lake, point: RestorePoint, tables: Sequence[Contract], *, dry_run: bool
) -> list[Restored]:
    existing = [t for t in with_side_tables(tables) if lake.store.exists(t)]
    # Consumers are restored before their sources: a consumer that is behind its source catches up by itself.
    # Quarantine is restored before the table whose rejects it holds.
    existing.sort(key=lambda t: (CONSUMERS_FIRST.index(t.layer), t.path))
    _check(lake, point, existing)
    if not dry_run:
        forget_build(lake)
    done = []
    for table in existing:
        done.append(_restore(lake, table, point, dry_run=dry_run))
        if not dry_run:
            fault_points.reach("restore.table")
    return done


def _check(lake: Lake, point: RestorePoint, tables: Sequence[Contract]) -> None:
    problems = []
    for table in tables:
        version = point.versions.get(table.path)
        try:
            refuse_another(lake, table, point)
            lake.store.check_version(table, _first(lake, table) if version is None else version)
        except Unsupported as exc:
            problems.append(str(exc))
    if problems:
        raise Unsupported(f"restoring run {point.run_id}: {'; '.join(problems)}. Nothing was changed.")


def refuse_another(lake: Lake, table: Contract, point: RestorePoint) -> None:
    """Raise Unsupported when the table was recreated since the point: its versions belong to another table.

    A point of an older version of this library has no identity of the table; then the first entry of the log
    decides.
    """
    if table.path not in point.versions:
        return
    known = point.identities.get(table.path)
    if known is None:
        oldest = lake.store.history(table)[-1]
        is_same = oldest.at <= point.at or not oldest.operation.upper().startswith("CREATE")
    else:
        is_same = known == lake.store.base_version(table).identity
    if not is_same:
        raise Unsupported(
            f"{table}: it was recreated after run {point.run_id}, whose versions are those of another table. "
            "Restore a later run, or recompute it"
        )


def _restore(lake: Lake, table: Contract, point: RestorePoint, *, dry_run: bool) -> Restored:
    version = point.versions.get(table.path)
    before = lake.store.snapshot(table)
    target = _first(lake, table) if version is None else version
    changed = not lake.store.unchanged(table, BaseVersion(identity=before.identity, version=target))
    after = before.version
    if changed and not dry_run:
        after = lake.store.restore(table, target, _restore_commit(lake, table, target, point.run_id)).version
    rows = lake.store.snapshot(table, version=target).rows
    return Restored(
        table=table.path,
        version_before=before.version,
        version_of_run=version,
        version=after,
        rows=rows,
        changed=changed,
    )


def _restore_commit(lake: Lake, table: Contract, target: int, run_id: str) -> CommitOptions:
    """Return the commit of a restore: besides old rows and state, a generation that forks off the old one."""
    old_marks = lake.store.all_state(table, version=target)

    def state(_: Outcome, before: Mapping[str, int]) -> dict[str, int]:
        return forked(before, old_marks, old_marks.get(WATERMARK, 0))

    return CommitOptions(info={"odp.restored_run": run_id}, reads=(GENERATION,), state=state)


def _first(lake: Lake, table: Contract) -> int:
    """Return the version at which the table was created, empty. Raises Unsupported when the log lacks it."""
    try:
        oldest = lake.store.history(table)[-1]
    except LakeError as exc:
        raise Unsupported(f"{table}: its history cannot be read: {exc}") from None
    if not oldest.operation.upper().startswith("CREATE"):
        raise Unsupported(f"{table}: it did not exist then, and its first version is no longer in the log")
    return oldest.version
