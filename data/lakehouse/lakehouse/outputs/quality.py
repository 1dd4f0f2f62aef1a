"""How good the data is, as data: refused rows by rule, freshness, rows, checks.

Belongs here: reading the lake for the report, and writing it. Does not: the page (page.py), or the whole
verification of a lake (verify/). Counts and names alone: no value of a row, no file name, no message gets in.

    <place>/quality/report.json   <place>/quality/report.html
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import TypeVar

import orjson
import polars as pl

from lakehouse.contracts import LANDING_REJECTS, RESTORE_POINTS, Contract
from lakehouse.errors import LakeError, StorageUnavailable
from lakehouse.outputs.page import page
from lakehouse.outputs.settings import OutputSettings
from lakehouse.pipeline import Lake
from lakehouse.pipeline.holds import hold_of
from lakehouse.quarantine.listing import by_rule, open_rejects
from lakehouse.storage.objects import open_objects
from lakehouse.store.integrity.damage import readable
from lakehouse.verify import conservation_problems, key_problems

JSON, HTML = "quality/report.json", "quality/report.html"
_LOOKED_BACK = 20
_RUNS = 30
Found = TypeVar("Found")


@dataclass(frozen=True, kw_only=True)
class TableQuality:
    """One table. `rows` is None where it has not been written, or cannot be read.

    `age_seconds` is the time since its rows changed, `is_fresh` None where the contract has no max_age.
    `checks` are by name; None where one could not be made. `rejects` are the open ones, by rule.
    """

    table: str
    layer: str
    domain: str
    rows: int | None
    size_bytes: int | None
    version: int | None
    changed_at: datetime | None
    age_seconds: int | None
    max_age_seconds: int | None
    is_fresh: bool | None
    is_held: bool
    checks: dict[str, bool | None]
    open_rejects: int
    rejects: dict[str, int]

    @property
    def passed(self) -> bool:
        """Whether every check was made, and holds."""
        return all(self.checks.values())


@dataclass(frozen=True, kw_only=True)
class RunRows:
    """Rows by layer as a run left them."""

    run: str
    at: datetime
    rows: dict[str, int]


@dataclass(frozen=True, kw_only=True)
class Quality:
    """The report. `refused_files` are files of landing that could not be read; None where nobody can tell."""

    as_of: datetime
    tables: tuple[TableQuality, ...]
    runs: tuple[RunRows, ...]
    refused_files: int | None

    @property
    def problems(self) -> int:
        """How many checks do not hold, of all tables."""
        return self._ended(False)

    @property
    def unmade(self) -> int:
        """How many checks could not be made: something cannot be read."""
        return self._ended(None)

    def _ended(self, how: bool | None) -> int:
        return sum(passed is how for table in self.tables for passed in table.checks.values())


@dataclass(frozen=True, kw_only=True)
class Reported:
    """A report that was written, and where it lies."""

    quality: Quality
    json: str
    html: str


def report(lake: Lake, tables: Sequence[Contract], settings: OutputSettings) -> Reported:
    """Write the report on the tables as they are now. Raises StorageUnavailable."""
    place = open_objects(settings.exports_url, settings.lake)
    found = quality(lake, tables)
    with place.alone(lake.store.files):
        place.put(JSON, [orjson.dumps(asdict(found), option=orjson.OPT_INDENT_2) + b"\n"])
        place.put(HTML, [page(found).encode()])
    return Reported(quality=found, json=place.uri(JSON), html=place.uri(HTML))


def quality(lake: Lake, tables: Sequence[Contract]) -> Quality:
    """Read what there is to say of the tables."""
    with lake.store.pinned_reads():
        return Quality(
            as_of=lake.clock(),
            tables=tuple(_of_table(lake, table) for table in tables),
            runs=tuple(_runs(lake)),
            refused_files=_refused_files(lake),
        )


def _of_table(lake: Lake, table: Contract) -> TableQuality:
    rows = size = version = changed = age = None
    is_there = _readable(lambda: lake.store.exists(table), otherwise=True)
    if is_there:
        try:
            seen = lake.store.snapshot(table)
            rows, size, version = seen.rows, seen.size_bytes, seen.version
            changed = changed_at(lake, table)
            age = max(0, int((lake.clock() - changed).total_seconds())) if changed else None
        except StorageUnavailable:
            raise
        except LakeError:  # `odp verify` says what is wrong with it, and what to do
            rows = None
    most = int(table.max_age.total_seconds()) if table.max_age else None
    checks = checks_of(lake, table) if is_there else {"present": False}
    refused = _readable(lambda: _rejects(lake, table), otherwise=None)
    if refused is None:
        checks["quarantine"] = None
    return TableQuality(
        table=table.path,
        layer=table.layer,
        domain=table.domain,
        rows=rows,
        size_bytes=size,
        version=version,
        changed_at=changed,
        age_seconds=age,
        max_age_seconds=most,
        is_fresh=None if most is None or age is None else age <= most,
        is_held=is_there
        and table.row_wise
        and _readable(lambda: hold_of(lake, table) is not None, otherwise=False),
        checks=checks,
        open_rejects=refused[0] if refused else 0,
        rejects=refused[1] if refused else {},
    )


def _rejects(lake: Lake, table: Contract) -> tuple[int, dict[str, int]] | None:
    """Return how many rejects are open, and by rule."""
    if not table.row_wise:
        return 0, {}
    rejects = open_rejects(lake, table, records=False)
    return rejects.height, by_rule(rejects)


def _readable(look: Callable[[], Found], *, otherwise: Found) -> Found:
    """Return what a look finds, or `otherwise` where it stumbles: `odp verify` says over what."""
    try:
        return look()
    except StorageUnavailable:
        raise
    except LakeError:
        return otherwise


def changed_at(lake: Lake, table: Contract) -> datetime | None:
    """Return when its rows changed last; maintenance changes none."""
    version = lake.store.data_version(table)
    entries = lake.store.history(table, limit=_LOOKED_BACK)
    found = next((entry for entry in entries if entry.version == version), entries[-1] if entries else None)
    return found.at if found else None


def checks_of(lake: Lake, table: Contract) -> dict[str, bool | None]:
    """Return whether each of the checks that the lake alone tells holds; None where one cannot be made."""
    asked: dict[str, Callable[[], list[str]]] = {"schema": lambda: lake.store.schema_problems(table)}
    if table.key:
        asked["key"] = lambda: key_problems(lake, table)
    if table.row_wise:
        asked["conservation"] = lambda: conservation_problems(lake, table)
    return {name: _holds(check) for name, check in asked.items()}


def _holds(check: Callable[[], list[str]]) -> bool | None:
    return _readable(lambda: not check(), otherwise=None)


def _runs(lake: Lake) -> list[RunRows]:
    """Return rows by layer at the end of the latest runs, oldest first."""
    try:
        with readable(lake.store, [RESTORE_POINTS]):
            records = lake.store.scan(RESTORE_POINTS).filter(pl.col("table").is_not_null()).collect()
    except StorageUnavailable:
        raise
    except LakeError:  # never written, or not to be read
        return []
    layered = records.with_columns(pl.col("table").str.split("/").list.first().alias("layer"))
    found: list[RunRows] = []
    for (run,), rows in layered.sort("number").group_by("run_id", maintain_order=True):
        sums = rows.group_by("layer").agg(pl.col("rows").sum()).sort("layer")
        found.append(RunRows(run=str(run), at=rows["at"][0], rows=dict(sums.iter_rows())))
    return found[-_RUNS:]


def _refused_files(lake: Lake) -> int | None:
    def counted() -> int | None:
        return lake.store.snapshot(LANDING_REJECTS).rows if lake.store.exists(LANDING_REJECTS) else 0

    return _readable(counted, otherwise=None)
