"""The checks of `make verify-data-layers`, table by table.

Belongs here: checks of one table and across tables. Does not: printing (verify/report.py).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import narwhals.stable.v2 as nw
import polars as pl

from lakehouse.contracts import LANDING_REJECTS, Contract, quarantine_of
from lakehouse.engine.polars import PolarsEngine
from lakehouse.errors import DamagedTable, LakeError, StorageUnavailable, TableNotFound, plain
from lakehouse.pipeline import Lake, lineage
from lakehouse.pipeline.holds import on_sources
from lakehouse.pipeline.ledger import ledger_of
from lakehouse.pipeline.outbox import pending
from lakehouse.pipeline.rowwise import taken
from lakehouse.pipeline.rules import height
from lakehouse.pipeline.state import (
    FILES,
    MERGED,
    OUTBOX,
    QUARANTINED,
    READ,
    REBUILDING,
    REPLAY,
    ROWS,
    TOTALS,
    WATERMARK,
    identity_key,
    position_key,
)
from lakehouse.store import HistoryEntry, Snapshot
from lakehouse.store.integrity.damage import UnreadableFiles, readable
from lakehouse.store.integrity.foreign_commits import client
from lakehouse.verify import fixes
from lakehouse.verify.content import content_hash


@dataclass(frozen=True, kw_only=True)
class Problem:
    """One failed check, and what to do about it."""

    table: str
    check: str
    message: str
    fix: str


@dataclass(kw_only=True)
class TableReport:
    """The result for one table. `files_without_checksum` is counted by a deep verification only."""

    table: str
    rows: int = 0
    version: int = -1
    size_bytes: int = 0
    content_hash: str = ""
    files_without_checksum: int = 0
    problems: list[Problem] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


@dataclass(kw_only=True)
class Verification:
    """The result for the whole lake. `ok` only if there are tables and no check failed.

    `warnings` name pending decisions; the lake is sound despite them.
    `notes` are not problems: they say what could not be checked, and why.
    """

    tables: list[TableReport] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    warnings: list[Problem] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def all_problems(self) -> list[Problem]:
        return [*self.problems, *(p for table in self.tables for p in table.problems)]

    @property
    def ok(self) -> bool:
        return bool(self.tables) and not self.all_problems


@dataclass(kw_only=True)
class CheckInput:
    """The input of one check of a table: known versions, and how far its sources were at the first check.

    A consumer that has processed its source up to there is up to date, however the source grows meanwhile.
    """

    lake: Lake
    table: Contract
    materialised: Mapping[str, int]
    deep: bool = False
    goals: dict[str, int] = field(default_factory=dict)


def involved(table: Contract) -> list[Contract]:
    """Return the table and all other tables that its checks read."""
    return [table, *([quarantine_of(table)] if table.row_wise else []), *table.sources]


def check_table(at: CheckInput) -> TableReport:
    """Check one table as it is now. Raises StorageUnavailable; any other fault becomes a problem."""
    lake, table = at.lake, at.table
    report = TableReport(table=table.path)
    try:
        with readable(lake.store, [table]):
            snapshot = lake.store.snapshot(table)
    except UnreadableFiles as exc:
        message, fix = _unreadable(at, exc)
        report.problems.append(Problem(table=table.path, check="files", message=message, fix=fix))
        return report
    except TableNotFound:
        if not _is_waiting(lake, table):  # if it is, a warning names the hold
            report.problems.append(
                Problem(table=table.path, check="present", message="the table is missing", fix=fixes.INIT)
            )
        return report
    except DamagedTable as exc:
        message, _, fix = str(exc).removeprefix(f"reading {table}: ").partition(". To mend it, ")
        report.problems.append(Problem(table=table.path, check="log", message=message, fix=fix.rstrip(".")))
        return report
    except StorageUnavailable:
        raise
    except Exception as exc:  # noqa: BLE001  # no table may keep the others from being judged
        message = f"it cannot be read: {plain(exc)}"
        report.problems.append(Problem(table=table.path, check="log", message=message, fix=fixes.REBUILD))
        return report
    report.rows, report.version, report.size_bytes = snapshot.rows, snapshot.version, snapshot.size_bytes
    report.problems += [
        Problem(table=table.path, check=check, message=message, fix=fix)
        for check, message, fix in _first_failing_stage(at, snapshot, report)
    ]
    return report


Found = list[tuple[str, str]]  # message and fix
Check = tuple[str, Callable[[], list[str] | Found], str]


def _first_failing_stage(
    at: CheckInput, snapshot: Snapshot, report: TableReport
) -> list[tuple[str, str, str]]:
    """Run the checks in stages: the keys of a table that lost files cannot be read."""
    lake, table = at.lake, at.table
    stages: list[list[Check]] = [
        [
            ("log", lambda: [(fault.says, fault.fix) for fault in lake.store.log_faults(table)], ""),
            ("files", lambda: lost_files(lake, table, snapshot), ""),
            ("ledger", lambda: ledger_problems(lake, table), ""),
        ],
        [("checksum", lambda: altered_files(lake, table, report) if at.deep else [], "")],
        [("schema", lambda: lake.store.schema_problems(table), fixes.SCHEMA)],
        [
            ("rows", lambda: row_problems(lake, table, snapshot), fixes.REBUILD),
            ("version", lambda: version_problems(lake, table, snapshot, at.materialised), fixes.FOREIGN),
            ("key", lambda: key_problems(lake, table), fixes.REBUILD),
            ("position", lambda: position_problems(lake, table, at.goals), fixes.INIT),
            ("rebuild", lambda: rebuild_problems(lake, table, at.goals), f"`odp refresh {table}` ends it"),
            ("outbox", lambda: outbox_problems(lake, table, at.goals), fixes.INIT),
            ("conservation", lambda: conservation_problems(lake, table), fixes.REBUILD),
        ],
        [("content", lambda: _content(lake, table, report), "")],
    ]
    for stage in stages:
        problems = [found for name, check, fix in stage for found in _run(at, report, name, check, fix)]
        if problems:
            return list(dict.fromkeys(problems))
    return []


def _run(
    at: CheckInput, report: TableReport, name: str, check: Callable[[], list[str] | Found], fix: str
) -> list[tuple[str, str, str]]:
    try:
        with readable(at.lake.store, involved(at.table)):
            found = check()
    except StorageUnavailable:
        raise
    except UnreadableFiles as exc:
        if exc.table == at.table:
            return [("files", *_unreadable(at, exc))]
        report.notes.append(f"{at.table}: its {name} cannot be checked, files of {exc.table} cannot be read")
        return []
    except LakeError as exc:
        if others := [t for t in involved(at.table)[1:] if _is_damaged(at.lake, t)]:
            report.notes.append(f"{at.table}: its {name} cannot be checked, {others[0]} is damaged")
            return []
        message, _, mends = str(exc).removeprefix(f"reading {at.table}: ").partition(". To mend it, ")
        return [(name, f"it cannot be checked: {message}", mends.rstrip(".") or fix or fixes.REBUILD)]
    except Exception as exc:  # noqa: BLE001  # no table may keep the others from being judged
        return [(name, f"it cannot be checked: {plain(exc)}", fix or fixes.REBUILD)]
    return [(name, one, fix) if isinstance(one, str) else (name, *one) for one in found]


def _unreadable(at: CheckInput, exc: UnreadableFiles) -> tuple[str, str]:
    message = f"{len(exc.names)} data files cannot be read, as {exc.names[0]}"
    return message, fixes.for_files(at.lake, at.table, exc.names)


def _is_damaged(lake: Lake, table: Contract) -> bool:
    try:
        lake.store.snapshot(table)
    except TableNotFound:
        return False
    except (DamagedTable, OSError):
        return True
    return False


def _content(lake: Lake, table: Contract, report: TableReport) -> list[str]:
    if table.layer != "system":  # records of runs are not content
        report.content_hash = content_hash(table, lake.store.scan(table))
    if rest := [c.name for c in table.columns if c.volatile or table.layer == "system"]:
        lake.store.scan(table).select(pl.col(rest).hash().max()).collect(engine="streaming")  # only read
    return []


def lost_files(lake: Lake, table: Contract, snapshot: Snapshot) -> Found:
    """Return which data files of the log the store lacks, and how to get them back."""
    missing = lake.store.missing_files(table)
    if not missing:
        return []
    message = f"{len(missing)} of {snapshot.files} data files are missing or cut short, as {missing[0]}"
    return [(message, fixes.for_files(lake, table, missing))]


def ledger_problems(lake: Lake, table: Contract) -> Found:
    """Return a problem when the ledger of landed files is damaged: the next ingest would fail."""
    if table.layer != "bronze" and table.path != LANDING_REJECTS.path:
        return []
    try:
        ledger_of(lake, table, lake.store.base_version(table, [FILES]))
    except DamagedTable as exc:
        message, _, fix = str(exc).removeprefix(f"{table}: ").partition(". Nothing was read or written: ")
        return [(message, fixes.INIT if table.path == LANDING_REJECTS.path else fix.rstrip("."))]
    return []


def altered_files(lake: Lake, table: Contract, report: TableReport) -> Found:
    """Return which files are not what was written; count those without a recorded checksum."""
    checked = lake.store.check_bytes(table)
    report.files_without_checksum = len(checked.unrecorded)
    log = [name for name in checked.altered if name.startswith("_delta_log/")]
    data = [name for name in checked.altered if name not in log]
    found = []
    if data:
        message = f"{len(data)} data files are not what was written (their checksums differ), as {data[0]}"
        found.append((message, fixes.for_files(lake, table, data)))
    if log:
        message = (
            f"{len(log)} files of the log are not what was written (their checksums differ), as {log[0]}"
        )
        found.append((message, f"put {lake.store.uri(table)}/{log[0]} back from a backup"))
    return found


def row_problems(lake: Lake, table: Contract, snapshot: Snapshot) -> list[str]:
    """Return a problem when the table does not hold as many rows as its commits account for."""
    expected = lake.store.read_state(table, [ROWS]).get(ROWS, 0)
    return (
        [] if snapshot.rows == expected else [f"{snapshot.rows} rows, but its commits account for {expected}"]
    )


def version_problems(
    lake: Lake, table: Contract, snapshot: Snapshot, materialised: Mapping[str, int]
) -> list[str]:
    """Return the commits of other programs, or that the table is older than it was.

    Restores, maintenance and the command line are our own commits, and no drift.
    """
    known = materialised.get(table.path, 0)
    if known > snapshot.version:
        return [f"at version {snapshot.version}, but last materialised at {known}: an older one was put back"]
    return [
        f"version {entry.version} ({entry.operation}, {entry.at:%Y-%m-%d %H:%M:%S} UTC)"
        f" was written by something else{_client(entry)}"
        for entry in lake.store.foreign_commits(table)
    ]


def drift_problems(lake: Lake, table: Contract, known: int | None) -> list[str]:
    """Return what happened to the table outside the platform: foreign commits, an older state, missing files.

    `known` is the version it was last materialised at. A table that does not exist yet has not drifted.
    """
    try:
        snapshot = lake.store.snapshot(table)
    except TableNotFound:
        return [] if known is None else [f"the table is gone; it was last materialised at version {known}"]
    materialised = {} if known is None else {table.path: known}
    return [
        *version_problems(lake, table, snapshot, materialised),
        *(message for message, _ in lost_files(lake, table, snapshot)),
    ]


def _client(entry: HistoryEntry) -> str:
    name = client(entry)
    return f": {name}" if name else ""


def _is_waiting(lake: Lake, table: Contract) -> bool:
    """Return whether a hold on a source keeps the table from being computed."""
    try:
        return bool(on_sources(lake, table))
    except DamagedTable:
        return False


def key_problems(lake: Lake, table: Contract) -> list[str]:
    """Return how many rows have a null in the key or repeat a key."""
    if not table.key:
        return []
    with readable(lake.store, [table]):
        keys = lake.store.scan(table).select(table.key)
        rows, nulls = keys.select(
            pl.len(), pl.any_horizontal(pl.all().is_null()).sum().alias("nulls")
        ).collect(engine="streaming").row(0)  # fmt: skip
        distinct = keys.unique().select(pl.len()).collect(engine="streaming").item()
    named = ", ".join(table.key)
    problems = [f"{nulls} rows have a null in the key ({named})"] if nulls else []
    return problems + ([f"{rows - distinct} rows repeat a key ({named})"] if distinct != rows else [])


def position_problems(lake: Lake, table: Contract, goals: dict[str, int] | None = None) -> list[str]:
    """Return a problem for each source with unprocessed rows; `goals` keeps how far each was at first."""
    goals = {} if goals is None else goals
    if table.layer not in ("silver", "gold") or _is_waiting(lake, table):
        return []
    problems = []
    for source in table.sources:
        at = _mark(lake, table, position_key(source))
        if not lineage_fits(lake, table, source):
            problems.append(f"its source {source} was restored or recreated since the last refresh")
        elif table.row_wise and at < (end := goals.setdefault(source.path, _mark(lake, source, WATERMARK))):
            problems.append(f"{end - at} batches of {source} are not in yet")
        elif not table.row_wise and at < goals.get(source.path, at + 1) and _changed(lake, source, since=at):
            goals.setdefault(source.path, lake.store.data_version(source))
            problems.append(f"{source} has changed since: it was read at version {at}")
    return problems


def rebuild_problems(lake: Lake, table: Contract, goals: dict[str, int] | None = None) -> list[str]:
    """Return a problem when a full refresh was interrupted; one begun since the first check is running."""
    attempt = _mark(lake, table, REBUILDING)
    first = attempt if goals is None else goals.setdefault(REBUILDING, attempt)
    return ["a full refresh of it was interrupted"] if attempt and attempt == first else []


def _changed(lake: Lake, source: Contract, *, since: int) -> bool:
    """Return whether the rows of the source differ from those at `since`; a restore may bring them back."""
    end = lake.store.data_version(source)
    if end <= since:
        return False
    changes = lake.store.changes(source, since=since, until=end)
    parts = (changes.added, changes.removed)
    return not changes.complete or any(not part.head(1).collect().is_empty() for part in parts)


def lineage_fits(lake: Lake, table: Contract, source: Contract) -> bool:
    """Return whether the table was computed from the present history of its source."""
    if not table.row_wise:  # positions there are versions: a restore only adds one
        names = [identity_key(source)]
        known = lake.store.read_state(table, names).get(names[0])
        return known is None or known == lineage.number(lake.store.base_version(source).identity)
    seen = lake.store.base_version(source, lineage.OF_SOURCE)
    return lineage.fits(source, lake.store.read_state(table, lineage.of_consumer(source)), seen)


def outbox_problems(lake: Lake, table: Contract, goals: dict[str, int] | None = None) -> list[str]:
    """Return a problem when a killed run left rejected rows that are not in the quarantine yet."""
    if not table.row_wise or not pending(lake, table):
        return []
    named = _mark(lake, table, OUTBOX)
    if goals is not None and goals.setdefault(OUTBOX, named) != named:
        return []  # the rows of the first check have been delivered
    return ["refused rows of its last run are not in its quarantine yet"]


def conservation_totals(lake: Lake, table: Contract) -> dict[str, int]:
    """Return `read`, `merged` and `quarantined` as the table's commits counted them, and its rows `here`."""
    counted = lake.store.read_state(table, TOTALS)
    return {name: counted.get(name, 0) for name in TOTALS} | {"here": lake.store.snapshot(table).rows}


def conservation_problems(lake: Lake, table: Contract, totals: Mapping[str, int] | None = None) -> list[str]:
    """Check rows read = rows here + merged + quarantined, each counted in the table that holds it."""
    if not table.row_wise or pending(lake, table) or not lineage_fits(lake, table, table.sources[0]):
        return []
    source, quarantine = table.sources[0], quarantine_of(table)
    at = _mark(lake, table, position_key(source))
    with readable(lake.store, [table, quarantine, source]):
        totals = totals or conservation_totals(lake, table)
        read, merged, quarantined, here = (totals[name] for name in (READ, MERGED, QUARANTINED, "here"))
        engine = PolarsEngine()  # whatever computes the tables: what judges them needs no server
        rows = taken(table, engine.scan(lake.store.scan(source)))
        source_rows = height(rows.filter(nw.col("_batch_id") <= at), engine=engine)
        rejects, replay = _open_rejects(lake, quarantine, at)
    problems = []
    if read != source_rows:
        problems.append(f"it read {read} rows, but {source} holds {source_rows}")
    if quarantined != rejects:
        problems.append(f"it quarantined {quarantined} rows, but {quarantine} holds {rejects}")
    if replay > _mark(lake, table, REPLAY):
        problems.append(
            f"replay {replay} of refused rows was interrupted: `odp quarantine replay {table}` ends it"
        )
    if read != here + merged + quarantined:
        problems.append(f"{read} rows read, but {here} here + {merged} merged + {quarantined} quarantined")
    return problems


def _open_rejects(lake: Lake, quarantine: Contract, upto: int) -> tuple[int, int]:
    """Return how many rejects of batches up to `upto` no replay has resolved, and the last replay's number.

    Rejected rows and good rows are two commits: rejects of a batch that is not committed are not counted.
    """
    if not lake.store.exists(quarantine):
        return 0, 0
    replay = pl.col("replay")
    counts = (
        lake.store.scan(quarantine)
        .filter(pl.col("_batch_id") <= upto)
        .select(
            (replay.is_null().sum().cast(pl.Int64) * 2 - pl.len().cast(pl.Int64)).alias("left"),
            replay.max().alias("last"),
        )
    )
    left, last = counts.collect(engine="streaming").row(0)
    return int(left), int(last or 0)


def _mark(lake: Lake, table: Contract, name: str) -> int:
    return lake.store.read_state(table, [name]).get(name, 0)
