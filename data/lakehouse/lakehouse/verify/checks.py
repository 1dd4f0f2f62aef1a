"""The checks of `make verify-data-layers`, table by table.

Belongs here: what must hold of a table and across tables. Does not: printing (verify/report.py).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import polars as pl

from lakehouse.contracts import LANDING_REJECTS, RESTORE_POINTS, Contract, quarantine_of
from lakehouse.errors import LakeError, StorageUnavailable, TableNotFound, plain
from lakehouse.flow import Lake
from lakehouse.flow.marks import (
    MERGED,
    QUARANTINED,
    READ,
    REBUILDING,
    REPLAY,
    ROWS,
    TOTALS,
    WATERMARK,
    position_mark,
)
from lakehouse.flow.rowwise import taken
from lakehouse.store import COMMIT_ID, HistoryEntry, Snapshot
from lakehouse.verify.content import content_hash

_RECENT = 20  # commits looked at for foreign ones, whatever the orchestrator knows
INIT = "make init-data-layers"
SEED = f"put files into landing (`make seed`), then {INIT}"
REBUILD = "restore the table from a backup, or `make nuke` and start again"


@dataclass(frozen=True, kw_only=True)
class Problem:
    """One thing that does not hold, and what to do about it."""

    table: str
    check: str
    message: str
    fix: str


@dataclass(kw_only=True)
class TableReport:
    """One table as it was found."""

    table: str
    rows: int = 0
    version: int = -1
    size_bytes: int = 0
    content_hash: str = ""
    problems: list[Problem] = field(default_factory=list)


@dataclass(kw_only=True)
class Verification:
    """The whole lake. `ok` only if there are tables and nothing is wrong with any."""

    tables: list[TableReport] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)

    @property
    def all_problems(self) -> list[Problem]:
        return [*self.problems, *(p for table in self.tables for p in table.problems)]

    @property
    def ok(self) -> bool:
        return bool(self.tables) and not self.all_problems


def side_tables(tables: Sequence[Contract]) -> list[Contract]:
    """Return the quarantine tables that the declared ones bring along."""
    return [*(quarantine_of(t) for t in tables if t.row_wise), LANDING_REJECTS, RESTORE_POINTS]


def verify(
    lake: Lake, tables: Sequence[Contract], *, materialised: Mapping[str, int] | None = None
) -> Verification:
    """Check every declared table. `materialised` gives the version each was last known to be written at.

    Raises StorageUnavailable when the lake cannot be reached: an outage is not an empty lake.
    """
    result = Verification()
    found = set(lake.store.found())
    side = [t for t in side_tables(tables) if t.path in found]
    with lake.store.steady():
        for table in (*tables, *side):
            result.tables.append(_table(lake, table, materialised or {}))
    if all(t.rows == 0 for t in result.tables):
        result.problems.append(
            Problem(table="lake", check="rows", message="the lake is empty: no table has a row", fix=SEED)
        )
    declared = {t.path for t in (*tables, *side_tables(tables))}
    result.problems += [
        Problem(table=name, check="declared", message="nobody declared this table",
                fix="declare it in a contract, or remove it")
        for name in sorted(found - declared)
    ]  # fmt: skip
    return result


def _table(lake: Lake, table: Contract, materialised: Mapping[str, int]) -> TableReport:
    report = TableReport(table=table.path)
    try:
        snapshot = lake.store.snapshot(table)
    except TableNotFound:
        report.problems.append(
            Problem(table=table.path, check="present", message="the table is missing", fix=INIT)
        )
        return report
    report.rows, report.version, report.size_bytes = snapshot.rows, snapshot.version, snapshot.size_bytes
    report.problems += [
        Problem(table=table.path, check=check, message=message, fix=fix)
        for check, message, fix in _first_failing_stage(lake, table, snapshot, materialised)
    ]
    if not report.problems and table.layer != "system":  # what runs did is no content
        report.content_hash = content_hash(table, lake.store.scan(table))
    return report


Check = tuple[str, Callable[[], list[str]], str]


def _first_failing_stage(
    lake: Lake, table: Contract, snapshot: Snapshot, materialised: Mapping[str, int]
) -> list[tuple[str, str, str]]:
    """Run the checks in stages: a table that has lost files cannot be read for its keys."""
    stages: list[list[Check]] = [
        [("files", lambda: file_problems(lake, table, snapshot), REBUILD)],
        [("schema", lambda: lake.store.schema_problems(table), "migrate the table, or restore the contract")],
        [
            ("rows", lambda: row_problems(lake, table, snapshot), REBUILD),
            ("version", lambda: version_problems(lake, table, snapshot, materialised), REBUILD),
            ("key", lambda: key_problems(lake, table), REBUILD),
            ("position", lambda: position_problems(lake, table), INIT),
            ("conservation", lambda: conservation_problems(lake, table), REBUILD),
        ],
    ]
    for stage in stages:
        problems = [(name, message, fix) for name, check, fix in stage for message in _run(check)]
        if problems:
            return problems
    return []


def _run(check: Callable[[], list[str]]) -> list[str]:
    try:
        return check()
    except StorageUnavailable:
        raise
    except (LakeError, pl.exceptions.PolarsError, OSError) as exc:
        return [f"it cannot be read: {plain(exc)}"]


def file_problems(lake: Lake, table: Contract, snapshot: Snapshot) -> list[str]:
    """Say which data files of the log the store lacks."""
    missing = lake.store.missing_files(table)
    if not missing:
        return []
    return [f"{len(missing)} of {snapshot.files} data files are missing or cut short, as {missing[0]}"]


def row_problems(lake: Lake, table: Contract, snapshot: Snapshot) -> list[str]:
    """Say when the table does not hold as many rows as its commits account for."""
    expected = lake.store.marks(table, [ROWS]).get(ROWS, 0)
    return (
        [] if snapshot.rows == expected else [f"{snapshot.rows} rows, but its commits account for {expected}"]
    )


def version_problems(
    lake: Lake, table: Contract, snapshot: Snapshot, materialised: Mapping[str, int]
) -> list[str]:
    """Name the latest commits that are not ours, and a table older than it was.

    Restores, maintenance and the command line write under our name, and are no drift.
    """
    known = materialised.get(table.path, 0)
    if known > snapshot.version:
        return [f"at version {snapshot.version}, but last materialised at {known}: an older one was put back"]
    return [
        f"version {entry.version} ({entry.operation}, {entry.at:%Y-%m-%d %H:%M:%S} UTC)"
        f" was written by something else{_client(entry)}"
        for entry in lake.store.history(table, limit=max(_RECENT, snapshot.version - known))
        if COMMIT_ID not in entry.info and not entry.operation.startswith("CREATE")
    ]


def drift_problems(lake: Lake, table: Contract, known: int | None) -> list[str]:
    """Say what happened to the table outside the platform: foreign commits, an older state, missing files.

    `known` is the version it was last materialised at. A table that is not there yet has not drifted.
    """
    try:
        snapshot = lake.store.snapshot(table)
    except TableNotFound:
        return [] if known is None else [f"the table is gone; it was last materialised at version {known}"]
    materialised = {} if known is None else {table.path: known}
    return [
        *version_problems(lake, table, snapshot, materialised),
        *file_problems(lake, table, snapshot),
    ]


def _client(entry: HistoryEntry) -> str:
    told = entry.info.get("clientVersion") or entry.info.get("engineInfo")
    return f": {told}" if told else ""


def key_problems(lake: Lake, table: Contract) -> list[str]:
    """Say how many rows have a null in the key or repeat one."""
    if not table.key:
        return []
    keys = lake.store.scan(table).select(table.key)
    rows, nulls = keys.select(
        pl.len(), pl.any_horizontal(pl.all().is_null()).sum().alias("nulls")
    ).collect(engine="streaming").row(0)  # fmt: skip
    distinct = keys.unique().select(pl.len()).collect(engine="streaming").item()
    named = ", ".join(table.key)
    problems = [f"{nulls} rows have a null in the key ({named})"] if nulls else []
    return problems + ([f"{rows - distinct} rows repeat a key ({named})"] if distinct != rows else [])


def position_problems(lake: Lake, table: Contract) -> list[str]:
    """Say when rows of a source have not come in yet."""
    if table.layer not in ("silver", "gold"):
        return []
    problems = []
    for source in table.sources:
        at = _mark(lake, table, position_mark(source))
        if table.row_wise and at < (end := _mark(lake, source, WATERMARK)):
            problems.append(f"{end - at} batches of {source} are not in yet")
        elif not table.row_wise and _changed(lake, source, since=at):
            problems.append(f"{source} has changed since: it was read at version {at}")
    if _mark(lake, table, REBUILDING):
        problems.append("a full refresh of it was interrupted")
    return problems


def _changed(lake: Lake, source: Contract, *, since: int) -> bool:
    """Say whether the source's rows are others than at `since`; a restore there and back changes none."""
    end = lake.store.data_version(source)
    if end <= since:
        return False
    moved = lake.store.changes(source, since=since, until=end)
    parts = (moved.added, moved.removed)
    return not moved.complete or any(not part.head(1).collect().is_empty() for part in parts)


def conservation_totals(lake: Lake, table: Contract) -> dict[str, int]:
    """Return `read`, `merged` and `quarantined` as the table's commits counted them, and the rows `here`."""
    counted = lake.store.marks(table, TOTALS)
    return {name: counted.get(name, 0) for name in TOTALS} | {"here": lake.store.snapshot(table).rows}


def conservation_problems(lake: Lake, table: Contract, totals: Mapping[str, int] | None = None) -> list[str]:
    """Check rows read = rows here + merged + quarantined, each counted where it lies."""
    if not table.row_wise:
        return []
    source = table.sources[0]
    at = _mark(lake, table, position_mark(source))
    totals = totals or conservation_totals(lake, table)
    read, merged, quarantined, here = (totals[name] for name in (READ, MERGED, QUARANTINED, "here"))
    rows = taken(table, lake.store.scan(source)).filter(pl.col("_batch_id") <= at).select(pl.len())
    came = rows.collect(engine="streaming").item()
    quarantine = quarantine_of(table)
    kept, replay = _open_rejects(lake, quarantine)
    problems = []
    if read != came:
        problems.append(f"it read {read} rows, but {source} holds {came}")
    if quarantined != kept:
        problems.append(f"it quarantined {quarantined} rows, but {quarantine} holds {kept}")
    if replay > _mark(lake, table, REPLAY):
        problems.append(
            f"replay {replay} of refused rows was interrupted: `odp quarantine replay {table}` ends it"
        )
    if read != here + merged + quarantined:
        problems.append(f"{read} rows read, but {here} here + {merged} merged + {quarantined} quarantined")
    return problems


def _open_rejects(lake: Lake, quarantine: Contract) -> tuple[int, int]:
    """Return how many refusals no replay has taken up, and the number of the last replay."""
    if not lake.store.exists(quarantine):
        return 0, 0
    replay = pl.col("replay")
    counts = lake.store.scan(quarantine).select(
        (replay.is_null().sum().cast(pl.Int64) * 2 - pl.len().cast(pl.Int64)).alias("left"),
        replay.max().alias("last"),
    )
    left, last = counts.collect(engine="streaming").row(0)
    return int(left), int(last or 0)


def _mark(lake: Lake, table: Contract, name: str) -> int:
    return lake.store.marks(table, [name]).get(name, 0)
