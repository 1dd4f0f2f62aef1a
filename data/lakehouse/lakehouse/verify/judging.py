"""Verifying a lake that others may be writing to: only a stable problem is reported.

Belongs here: which tables are checked, and when one is checked again. Does not: the checks (checks.py).

A table, its quarantine and its sources are read one after the other, and a run commits to them one after the
other, so a check across tables may fail although nothing is wrong. A table with a problem is checked again
until no table involved has changed during the check and none was written shortly before.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from lakehouse.contracts import SYSTEM, Contract, side_tables, with_side_tables
from lakehouse.errors import DamagedTable, TableNotFound, Unsupported
from lakehouse.pipeline import Lake
from lakehouse.verify import fixes
from lakehouse.verify.checks import (
    CheckInput,
    Problem,
    TableReport,
    Verification,
    check_table,
    involved,
    rebuild_problems,
)
from lakehouse.verify.warnings import warnings

# Checks that read several tables, or a state between two commits of one run, with how many times `quiet` such
# a state may last: a full refresh computes for a long time between two commits.
_ACROSS = {"position": 1, "outbox": 1, "conservation": 1, "rebuild": 3}
_STAGING = "__rebuild"
_NEVER = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True, kw_only=True)
class Patience:
    """How long a problem across tables may take to disappear by itself.

    `quiet` is the least time since the last commit to any table involved. After `limit`, a table that kept
    changing is not checked, and a note says so. `between` is the pause between two checks.
    """

    quiet: timedelta = timedelta(seconds=10)
    limit: timedelta = timedelta(seconds=90)
    between: timedelta = timedelta(seconds=0.2)


_PATIENCE = Patience()
_States = Mapping[str, tuple[str, int]]


def verify(
    lake: Lake,
    tables: Sequence[Contract],
    *,
    materialised: Mapping[str, int] | None = None,
    deep: bool = False,
    patience: Patience = _PATIENCE,
) -> Verification:
    """Check every declared table. `materialised` gives the version at which each was last written.

    `deep` also compares every byte with the checksums recorded at the write. Raises StorageUnavailable when
    the lake cannot be reached: an outage is not an empty lake.
    """
    result = Verification()
    result.problems += [
        Problem(table="lake", check="settings", message=fault.says, fix=fault.fix)
        for fault in lake.store.settings_faults()
    ]
    found = set(lake.store.found())
    side = [t for t in (*side_tables(tables), *SYSTEM) if t.path in found]
    inputs = [
        CheckInput(lake=lake, table=t, materialised=materialised or {}, deep=deep) for t in (*tables, *side)
    ]
    with lake.store.pinned_reads():
        reports = [check_table(at) for at in inputs]
    result.tables = [
        _settled(at, patience) if report.problems else report
        for at, report in zip(inputs, reports, strict=True)
    ]
    result.notes = [note for report in result.tables for note in dict.fromkeys(report.notes)]
    if all(t.rows == 0 for t in result.tables):
        result.problems.append(
            Problem(
                table="lake", check="rows", message="the lake is empty: no table has a row", fix=fixes.SEED
            )
        )
    result.problems += _undeclared(lake, tables, patience)
    result.warnings = [Problem(**warning) for warning in warnings(lake, tables)]
    return result


def _settled(at: CheckInput, patience: Patience) -> TableReport:
    """Check again until there is no problem, or the problems are stable."""
    deadline = time.monotonic() + patience.limit.total_seconds()
    last: tuple[_States, list[Problem]] | None = None
    while True:
        before = _states(at)
        with at.lake.store.pinned_reads():
            report = check_table(at)
        if not report.problems:
            return report
        after = _states(at)
        is_stable = before == after and (after, report.problems) == last
        if is_stable and _quiet_since(at) >= patience.quiet * max(
            _ACROSS.get(p.check, 0) for p in report.problems
        ):
            return report
        if time.monotonic() > deadline:
            return report if is_stable or not _across(report) else _without_across(at, report)
        last = (after, report.problems) if before == after else None
        time.sleep(patience.between.total_seconds())


def _states(at: CheckInput) -> _States:
    """Return identity and version of the tables involved, as they are now."""
    found = {}
    for table in involved(at.table):
        try:
            snapshot = at.lake.store.snapshot(table)
            found[table.path] = (snapshot.identity, snapshot.version)
        except (TableNotFound, DamagedTable, OSError):
            found[table.path] = ("", -1)
    return found


def _across(report: TableReport) -> bool:
    return any(problem.check in _ACROSS for problem in report.problems)


def _quiet_since(at: CheckInput) -> timedelta:
    """Return the time since the last commit to any table involved: a run may be in progress."""
    tables = involved(at.table)
    if at.table.row_wise:
        names = [
            name.split("/", 1) for name in at.lake.store.found() if f"/{at.table.name}{_STAGING}" in name
        ]
        tables += [replace(at.table, layer=layer, name=name) for layer, name in names]  # type: ignore[arg-type]
    return datetime.now(UTC) - max((_written(at.lake, table) for table in tables), default=_NEVER)


def _written(lake: Lake, table: Contract) -> datetime:
    try:
        logged = lake.store.history(table, limit=1)
    except (TableNotFound, DamagedTable, Unsupported, OSError):
        return _NEVER
    return logged[0].at if logged else _NEVER


def _undeclared(lake: Lake, tables: Sequence[Contract], patience: Patience) -> list[Problem]:
    """Return the tables that no contract declares; a staging table only when its full refresh is dead."""
    declared = {t.path for t in (*with_side_tables(tables), *SYSTEM)}
    problems = []
    for name in sorted(set(lake.store.found()) - declared):
        owner = next((t for t in tables if name.partition("/")[2].startswith(f"{t.name}{_STAGING}")), None)
        if owner is None:
            message, fix = "no contract declares this table", "declare it in a contract, or remove it"
        elif _left_behind(lake, owner, name, patience):
            message, fix = f"a full refresh of {owner} left it behind", f"remove {lake.store.files.uri(name)}"
        else:
            continue
        problems.append(Problem(table=name, check="declared", message=message, fix=fix))
    return problems


def _left_behind(lake: Lake, owner: Contract, name: str, patience: Patience) -> bool:
    """Return whether no run writes a staging table any more, and no problem of `owner` reports it already."""
    layer, _, own = name.partition("/")
    stage = replace(owner, layer=layer, name=own)  # type: ignore[arg-type]
    deadline = time.monotonic() + patience.limit.total_seconds()
    while time.monotonic() < deadline and name in lake.store.found():
        if datetime.now(UTC) - _written(lake, stage) >= patience.quiet * _ACROSS["rebuild"]:
            return not rebuild_problems(lake, owner)
        time.sleep(patience.between.total_seconds())
    return False


def _without_across(at: CheckInput, report: TableReport) -> TableReport:
    names = sorted({p.check for p in report.problems if p.check in _ACROSS})
    note = (
        f"{at.table}: {' and '.join(names)} could not be checked because it was written all the time; "
        "verify it again when no run is in progress"
    )
    left = [p for p in report.problems if p.check not in _ACROSS]
    return replace(report, problems=left, notes=[*report.notes, note])
