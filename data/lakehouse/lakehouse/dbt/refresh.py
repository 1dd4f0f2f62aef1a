"""Bringing the tables of the dbt project up to their sources.

Belongs here: the versions a build reads, and committing what it left. Does not: the build itself (build.py).

    pin       the version of each source and of each history; they do not move during the build
    build     dbt, in a file of its own, with all tests; if anything fails, the lake stays as it was
    note      which versions these tables are of, in the lake's own file: a kill from here on is made good
    commit    each table with position and identity of its sources, as every aggregate has them
    forget    the note

A run that finds a note first completes it from the versions that it names, so that all tables of one build
are of the same versions in the end.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson
import polars as pl

from lakehouse.contracts import Contract
from lakehouse.dbt.build import BuildFailed, Built, build
from lakehouse.dbt.project import Node, Project, the_project
from lakehouse.dbt.tables import HISTORY, LAYER, is_history
from lakehouse.dbt.workplace import workplace
from lakehouse.errors import Conflict, LakeError, Moved, TableNotFound, only_ours
from lakehouse.fault_points import reach
from lakehouse.pipeline import Lake, RefreshReport, code, holds
from lakehouse.pipeline.aggregates import good_rows
from lakehouse.pipeline.context import RefreshContext
from lakehouse.pipeline.lineage import number
from lakehouse.pipeline.pins import Pin, Pins, pins_of, state_names, state_of
from lakehouse.pipeline.state import ROWS
from lakehouse.storage.lease import lease, waiting_lease
from lakehouse.store import BaseVersion, CommitOptions, Outcome, whole_files
from lakehouse.table import Table

if TYPE_CHECKING:
    from lakehouse.engine.duckdb.file import DatabaseFile

NOTE, TURN = "dbt/pending.json", "dbt/build"
_TRIES = 5
_PATIENCE_SECONDS = 900.0


@dataclass(kw_only=True)
class ModelsReport:
    """What became of the tables: a report each, by path. `built` is None where nothing had to be built."""

    reports: dict[str, RefreshReport] = field(default_factory=dict)
    built: Built | None = None


def refresh_models(
    lake: Lake,
    chosen: Sequence[Table],
    every: Sequence[Table],
    *,
    full: bool = False,
    info: Mapping[str, str] | None = None,
) -> ModelsReport:
    """Bring tables of kind dbt up to their sources, all of one build. With nothing new, dbt is not started.

    `every` are all tables of the project: a history that a chosen table is made of is brought up with it.
    `full` builds them whatever the state says; a history keeps what it holds.

    Raises BuildFailed (nothing was written), TableNotFound, SchemaViolation, DataViolation (before anything
    was written), Conflict (another build is running), StorageUnavailable, UnexpectedError.
    """
    run = _Run(lake=lake, project=the_project(), every=every, info=dict(info or {}))
    with only_ours("building the dbt models"):
        run.bring(run.with_histories(chosen), full=full)
    run.done.reports |= {t.path: RefreshReport() for t in chosen if t.path not in run.done.reports}
    return run.done


def prepare(lake: Lake, every: Sequence[Table]) -> tuple[Path, dict[str, int]]:
    """Fill the `lake.duckdb` of the project itself with sources and histories as they are now.

    Return the file, and the version of each source. It holds rows of the lake, so only its owner may read it.
    Raises TableNotFound, StorageUnavailable.
    """
    run = _Run(lake=lake, project=the_project(), every=every, info={})
    file = run.project.root / "lake.duckdb"
    with only_ours("preparing the dbt project"):
        pins = pins_of(lake, _sources(every))
        before = {table.path: run.held(table) for table in every if is_history(table)}
        shutil.rmtree(file.parent / "sources", ignore_errors=True)
        file.unlink(missing_ok=True)
        run.fill(file, every, pins, before)
        file.chmod(0o600)
    return file, {path: pin.version for path, pin in pins.items()}


@contextmanager
def no_build(lake: Lake) -> Iterator[None]:
    """Keep builds out: what a history is given from rows that are being taken back would stay in it.

    Raises Conflict, naming who is building.
    """
    with lease(lake.store.files, TURN):
        yield


def forget_build(lake: Lake) -> None:
    """Let no run complete what a killed build left; only within `no_build`."""
    lake.store.files.forget(NOTE)


@dataclass(kw_only=True)
class _Run:
    lake: Lake
    project: Project
    every: Sequence[Table]
    info: dict[str, str]
    done: ModelsReport = field(default_factory=ModelsReport)

    def bring(self, chosen: Sequence[Table], *, full: bool) -> None:
        """Complete what an earlier run left, then bring the chosen tables to the sources of now."""
        ready = [table for table in chosen if self._is_ready(table)]
        noted = self.lake.store.files.read_tagged(NOTE) is not None
        if (
            not noted
            and not (full and ready)
            and not self._behind(ready, pins_of(self.lake, _sources(ready)))
        ):
            return
        with waiting_lease(self.lake.store.files, TURN, seconds=_PATIENCE_SECONDS, every=(0.5, 1.0)):
            self._complete()
            for _ in range(_TRIES):
                pins = pins_of(self.lake, _sources(ready))
                behind = ready if full else self._behind(ready, pins)
                try:
                    if behind:
                        self._build(behind, pins)
                except Moved:
                    continue
                return
        raise Conflict(f"the tables of dbt changed {_TRIES} times while they were built. Run it again.")

    def with_histories(self, chosen: Sequence[Table]) -> list[Table]:
        """Return the chosen tables and each history that one of them reads."""
        above = {one.id for table in chosen for one in self.project.above(self._node(table))}
        paths = {table.path for table in chosen}
        return [one for one in self.every if one.path in paths or (one.model in above and is_history(one))]

    def _is_ready(self, table: Table) -> bool:
        """Make sure that the table is there; return whether no source of it is held."""
        contract, report = table.contract, RefreshReport()
        self.done.reports[table.path] = report
        for source in contract.sources:
            if not self.lake.store.exists(source):
                raise TableNotFound(
                    f"building {contract}: its source {source} has never been written; do that first"
                )
        report.version = self.lake.store.ensure(contract)
        code.refuse_changed_key(self.lake, contract)
        report.waits_for = holds.on_sources(self.lake, contract)
        return not report.waits_for

    def _behind(self, tables: Sequence[Table], pins: Pins) -> list[Table]:
        """Return the tables that were built from other versions than the pins, or by other SQL."""
        return [
            table
            for table in tables
            if self._onto(table).state != state_of(table.contract, pins)
            or code.is_older(self.lake, table.contract, table.compute)
        ]

    def _onto(self, table: Table) -> BaseVersion:
        return self.lake.store.base_version(table.contract, state_names(table.contract))

    def _complete(self) -> None:
        """Bring the tables of a note to its versions, as far as these can be read and the SQL is the same."""
        files = self.lake.store.files
        if (found := files.read_tagged(NOTE)) is None:
            return
        note = _read(found[0])
        if note is not None and note["project"] == self.project.fingerprint:
            pins = {path: Pin(**pin) for path, pin in note["pins"].items()}
            tables = [one for one in self.every if one.path in note["tables"]]
            if self._are_readable(tables, pins):
                for table in tables:
                    self.done.reports.setdefault(table.path, RefreshReport())
                # What passed once may fail now, by another version of dbt: then the sources of now decide.
                with suppress(BuildFailed):
                    if behind := self._behind(tables, pins):
                        self._build(behind, pins)
        files.forget(NOTE)

    def _are_readable(self, tables: Sequence[Table], pins: Pins) -> bool:
        try:
            for source in _sources(tables):
                pin = pins[source.path]
                if number(self.lake.store.snapshot(source).identity) != pin.identity:
                    return False
                self.lake.store.check_version(source, pin.version)
        except (LakeError, KeyError):
            return False
        return True

    def _build(self, tables: Sequence[Table], pins: Pins) -> None:
        """Build the tables, then commit them. Raises Moved when one has changed since it was looked at."""
        from lakehouse.engine.duckdb.file import database_file  # loading DuckDB is for a build alone

        onto = {table.path: self._onto(table) for table in tables}
        before = {
            table.path: self.held(table, onto[table.path].version) for table in tables if is_history(table)
        }
        with workplace(self.project) as at:
            database = at.project / "lake.duckdb"
            self.fill(database, tables, pins, before)
            built = build(self.project, [self._node(table) for table in tables], at)
            reach("dbt.built")
            with database_file(database) as made:
                rows = {table.path: self._rows(table, made) for table in tables}
        files = self.lake.store.files
        noted = {
            "project": self.project.fingerprint,
            "tables": sorted(rows),
            "pins": {p: asdict(pins[p]) for p in pins},
        }
        files.forget(NOTE)
        if files.put_if(NOTE, orjson.dumps(noted), None) is None:
            raise Conflict("another build of dbt is running on this lake. Run it again.")
        for table in tables:
            reach("dbt.taking")
            self._commit(table, rows[table.path], before.get(table.path), onto[table.path], pins)
        files.forget(NOTE)
        self.done.built = built

    def fill(
        self, database: Path, tables: Sequence[Table], pins: Pins, before: Mapping[str, pl.LazyFrame | None]
    ) -> None:
        """Put every source into the file as it was at its pin, and the histories as they are."""
        from lakehouse.engine.duckdb.file import database_file

        with database_file(database) as file:
            for source in _sources(tables):
                self._fill_source(file, database.parent, source, pins[source.path].version)
            for table in self.every:
                if is_history(table):
                    rows = before.get(table.path)
                    file.table(HISTORY, table.contract, rows)
                    if rows is not None:
                        file.table(LAYER, table.contract, rows)

    def _fill_source(self, file: DatabaseFile, place: Path, source: Contract, version: int) -> None:
        """Make a source a view of its own files, or of a copy that the store reads."""
        root = Path(self.lake.store.uri(source))
        found = whole_files(self.lake.store, source, version=version) if root.is_absolute() else None
        if found is not None and found.files:
            file.view(source, [root / one.name for one in found.files])
            return
        copy = place / "sources" / source.layer / f"{source.name}.parquet"
        copy.parent.mkdir(parents=True, exist_ok=True)
        self.lake.store.scan(source, version=version).select(source.column_names).sink_parquet(copy)
        file.view(source, [copy])

    def _rows(self, table: Table, made: DatabaseFile) -> pl.DataFrame:
        """Return what dbt has made, as the contract has it. Raises SchemaViolation, DataViolation."""
        contract = table.contract
        step = RefreshContext(lake=self.lake, table=contract, transform=table.compute, info=self.info)
        rows = made.rows(LAYER, contract)
        if set(rows.columns) == set(contract.column_names):
            rows = rows.select(contract.column_names)
        return good_rows(step, step.engine.scan(rows.lazy())).sort(contract.key)

    def _commit(
        self, table: Table, rows: pl.DataFrame, before: pl.LazyFrame | None, onto: BaseVersion, pins: Pins
    ) -> None:
        """Put the rows in place: of a history those that are new, of every other table all."""
        contract, store, report = table.contract, self.lake.store, self.done.reports[table.path]
        write, kept = store.overwrite, 0
        if before is not None:
            held = before.collect(engine="streaming")
            rows = rows.join(held, on=contract.column_names, how="anti", nulls_equal=True)
            write, kept = store.merge, held.height

        def state(outcome: Outcome, known: Mapping[str, int]) -> dict[str, int]:
            versions = code.state_of(contract, table.compute, known, whole=True)
            return {**state_of(contract, pins), ROWS: kept + outcome.inserted, **versions}

        result = write(contract, rows, CommitOptions(onto=onto, state=state, info=self.info))
        report.version, report.batches = result.version, 1
        report.written, report.updated = result.outcome.inserted, result.outcome.updated

    def held(self, table: Table, version: int | None = None) -> pl.LazyFrame | None:
        """Return the rows that a history has at a version (None: the newest); None before its first."""
        store, contract = self.lake.store, table.contract
        if not store.exists(contract) or not store.snapshot(contract, version=version).rows:
            return None
        return store.scan(contract, version=version)

    def _node(self, table: Table) -> Node:
        return self.project.nodes[table.model or ""]


def _sources(tables: Sequence[Table]) -> list[Contract]:
    """Return what the tables are made of, each once."""
    return list({source.path: source for table in tables for source in table.contract.sources}.values())


def _read(body: bytes) -> dict[str, Any] | None:
    """Return what a note says; None for one that was cut short."""
    try:
        found = orjson.loads(body)
        return {"project": found["project"], "tables": found["tables"], "pins": found["pins"]}
    except (ValueError, KeyError, TypeError):
        return None
