"""The checks of `make verify-data-layers`, table by table.

Belongs here: what must hold of a table and across tables. Does not: printing (verify/report.py).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import polars as pl

from lakehouse.contracts import LANDING_REJECTS, Contract, Write, quarantine_of
from lakehouse.errors import LakeError, StorageUnavailable, TableNotFound, plain
from lakehouse.flow import Lake
from lakehouse.flow.marks import MERGED, QUARANTINED, READ, ROWS, TOTALS, WATERMARK, position_mark
from lakehouse.store import Snapshot
from lakehouse.verify.content import content_hash

INIT = "make init-data-layers"
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
    return [*(quarantine_of(t) for t in tables if _row_wise(t)), LANDING_REJECTS]


def _row_wise(table: Contract) -> bool:
    return table.write is Write.MERGE and table.groups is None and len(table.sources) == 1


def verify(
    lake: Lake, tables: Sequence[Contract], *, materialised: Mapping[str, int] | None = None
) -> Verification:
    """Check every declared table. `materialised` gives the version each was last known to be written at.

    Raises StorageUnavailable when the lake cannot be reached: an outage is not an empty lake.
    """
    result = Verification()
    found = set(lake.store.found())
    side = [t for t in side_tables(tables) if t.path in found]
    for table in (*tables, *side):
        result.tables.append(_table(lake, table, materialised or {}))
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
    if not report.problems:
        report.content_hash = content_hash(table, lake.store.scan(table))
    return report


Found = Iterator[tuple[str, str, str]]


def _first_failing_stage(
    lake: Lake, table: Contract, snapshot: Snapshot, materialised: Mapping[str, int]
) -> Iterable[tuple[str, str, str]]:
    """Run the checks in stages: a table with lost files cannot be read for its keys."""
    for stage in (_files, _schema, _content):
        try:
            problems = list(stage(lake, table, snapshot, materialised))
        except StorageUnavailable:
            raise
        except (LakeError, pl.exceptions.PolarsError, OSError) as exc:
            problems = [("readable", f"it cannot be read: {plain(exc)}", REBUILD)]
        if problems:
            return problems
    return []


def _files(lake: Lake, table: Contract, snapshot: Snapshot, materialised: Mapping[str, int]) -> Found:
    missing = lake.store.missing_files(table)
    if missing:
        yield (
            "files",
            f"{len(missing)} of {snapshot.files} data files are missing or cut short, as {missing[0]}",
            REBUILD,
        )


def _schema(lake: Lake, table: Contract, snapshot: Snapshot, materialised: Mapping[str, int]) -> Found:
    for difference in lake.store.schema_problems(table):
        yield "schema", difference, "migrate the table, or restore the contract"


def _content(lake: Lake, table: Contract, snapshot: Snapshot, materialised: Mapping[str, int]) -> Found:
    yield from _rows(lake, table, snapshot)
    yield from _written_by_us(lake, table, snapshot, materialised)
    yield from _keys(lake, table, snapshot)
    yield from _caught_up(lake, table)
    if _row_wise(table):
        yield from _conservation(lake, table, snapshot)


def _rows(lake: Lake, table: Contract, snapshot: Snapshot) -> Found:
    if not snapshot.rows and not table.may_be_empty:
        yield "rows", "the table is empty", f"put files into landing (`make seed`), then {INIT}"
    expected = lake.store.marks(table, [ROWS]).get(ROWS, 0)
    if snapshot.rows != expected:
        yield "rows", f"{snapshot.rows} rows, but its commits account for {expected}", REBUILD


def _written_by_us(lake: Lake, table: Contract, snapshot: Snapshot, materialised: Mapping[str, int]) -> Found:
    last = lake.store.history(table, limit=1)[0]
    if last.version and "odp.commit" not in last.info:
        yield "version", f"version {last.version} ({last.operation}) was written by something else", REBUILD
    known = materialised.get(table.path)
    if known is not None and known != snapshot.version:
        yield "version", f"at version {snapshot.version}, but last materialised at {known}", INIT


def _keys(lake: Lake, table: Contract, snapshot: Snapshot) -> Found:
    if not table.key:
        return
    keys = lake.store.scan(table).select(table.key)
    nulls = keys.select(pl.any_horizontal(pl.all().is_null()).sum()).collect(engine="streaming").item()
    distinct = keys.unique().select(pl.len()).collect(engine="streaming").item()
    if nulls:
        yield "key", f"{nulls} rows have a null in the key ({', '.join(table.key)})", REBUILD
    if distinct != snapshot.rows:
        yield "key", f"{snapshot.rows - distinct} rows repeat a key ({', '.join(table.key)})", REBUILD


def _caught_up(lake: Lake, table: Contract) -> Found:
    for source in table.sources:
        if table.write is Write.OVERWRITE or table.layer == "quarantine" or not lake.store.exists(source):
            continue
        name = position_mark(source)
        at = lake.store.marks(table, [name]).get(name, 0)
        end = lake.store.marks(source, [WATERMARK]).get(WATERMARK, 0)
        if at < end:
            yield "position", f"{end - at} batches of {source} are not in yet", INIT


def _conservation(lake: Lake, table: Contract, snapshot: Snapshot) -> Found:
    """rows read = rows written + rows merged away + rows quarantined, each counted where it lies."""
    source = table.sources[0]
    totals = dict.fromkeys(TOTALS, 0) | lake.store.marks(table, TOTALS)
    name = position_mark(source)
    at = lake.store.marks(table, [name]).get(name, 0)
    came = (
        lake.store.scan(source)
        .filter(pl.col("_batch_id") <= at)
        .select(pl.len())
        .collect(engine="streaming")
        .item()
    )
    quarantine = quarantine_of(table)
    kept = lake.store.snapshot(quarantine).rows if lake.store.exists(quarantine) else 0
    if totals[READ] != came:
        yield "conservation", f"it read {totals[READ]} rows, but {source} holds {came}", REBUILD
    if totals[QUARANTINED] != kept:
        yield (
            "conservation",
            f"it quarantined {totals[QUARANTINED]} rows, but {quarantine} holds {kept}",
            REBUILD,
        )
    if totals[READ] != snapshot.rows + totals[MERGED] + totals[QUARANTINED]:
        yield (
            "conservation",
            f"{totals[READ]} rows read, but {snapshot.rows} here + {totals[MERGED]} merged + "
            f"{totals[QUARANTINED]} quarantined",
            REBUILD,
        )
