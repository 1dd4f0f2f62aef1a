"""Bringing one table up to date, and what came of it: the one way, whoever asks.

Belongs here: ingest or refresh by the table's kind, counts, checks. Does not: the work itself (pipeline/), or
how its result is shown.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lakehouse.contracts import Contract
from lakehouse.contracts.checks import CheckSpec, specs
from lakehouse.dbt import Built, refresh_models
from lakehouse.errors import ContractError
from lakehouse.landing import LandedFile
from lakehouse.pipeline import IngestReport, Lake, RefreshReport, ingest, refresh
from lakehouse.pipeline.ingest import report_undeclared
from lakehouse.quarantine import waiting
from lakehouse.registry import models
from lakehouse.registry import sources as declared_sources
from lakehouse.table import Kind, Table
from lakehouse.verify.outcomes import CheckOutcome, drift, of_ingest, of_refresh


@dataclass(frozen=True, kw_only=True)
class Materialization:
    """What became of one table. `counts` are by name; `checks` are empty where none were asked for."""

    table: Contract
    counts: Mapping[str, Any]
    checks: tuple[CheckOutcome, ...]
    report: IngestReport | RefreshReport
    seconds: float
    built: Built | None = None  # of a table of dbt: the build of this call, where there was one

    @property
    def refreshed(self) -> RefreshReport:
        """The report of a computed table. Raises ContractError for one that files of landing bring."""
        if not isinstance(self.report, RefreshReport):
            raise ContractError(f"{self.table} is not computed: files of landing bring its rows")
        return self.report


def materialize(
    lake: Lake,
    table: Table,
    *,
    full: bool = False,
    partitions: Collection[str] | None = None,
    known_version: int | None = None,
    info: Mapping[str, str] | None = None,
    checks: bool = True,
) -> Materialization:
    """Bring a table up to its files or its sources. A second call with nothing new commits nothing.

    `partitions` names those of a partitioned source whose files are taken in (None: all files, and undeclared
    ones are reported); `full` computes a table anew; `known_version` is the version it was last seen at,
    which the check for drift compares with; `info` is said in each commit. Reads may see each table as it was
    at the first look. Raises what `ingest` and `refresh` raise.
    """
    if table.kind is Kind.DBT:
        versions = {table.path: known_version}
        [made] = materialize_models(
            lake, [table], full=full, known_versions=versions, info=info, checks=checks
        )
        return made
    started, contract = time.monotonic(), table.contract
    report: IngestReport | RefreshReport
    with lake.store.pinned_reads():
        found = [drift(lake, contract, known_version)] if checks else []
        if table.transform is None:
            report = _ingest(lake, table, partitions, info)
            counts = _ingest_counts(report)
            found += of_ingest(lake, contract, report) if checks else []
        else:
            report = refresh(lake, contract, table.compute, full=full, info=info)
            counts = _refresh_counts(contract, report)
            found += of_refresh(lake, contract, report, table.compute) if checks else []
    return Materialization(
        table=contract,
        counts=counts,
        checks=_in_order(contract, found),
        report=report,
        seconds=time.monotonic() - started,
    )


def materialize_models(
    lake: Lake,
    chosen: Sequence[Table],
    *,
    full: bool = False,
    known_versions: Mapping[str, int | None] | None = None,
    info: Mapping[str, str] | None = None,
    checks: bool = True,
) -> list[Materialization]:
    """Bring tables of dbt up to their sources by one build; return what became of each chosen one.

    The tests of a table are among its checks where it was built; a test that failed is a BuildFailed, and
    nothing was written. Raises what `refresh_models` raises.
    """
    started, seen = time.monotonic(), known_versions or {}
    with lake.store.pinned_reads():
        drifted = {t.path: drift(lake, t.contract, seen.get(t.path)) for t in chosen} if checks else {}
        done = refresh_models(lake, chosen, models(), full=full, info=info)
        made = []
        for table in chosen:
            report, found = done.reports[table.path], []
            if checks:
                found = [drifted[table.path], *of_refresh(lake, table.contract, report, table.compute)]
                found += of_tests(table.contract.tests, done.built)
            made.append(
                Materialization(
                    table=table.contract,
                    counts=_refresh_counts(table.contract, report),
                    checks=_in_order(table.contract, found),
                    report=report,
                    seconds=time.monotonic() - started,
                    built=done.built,
                )
            )
    return made


def of_tests(tests: Sequence[CheckSpec], built: Built | None) -> list[CheckOutcome]:
    """Return what dbt tests found, or found when the rows were built: those have passed."""
    found = []
    for test in tests:
        if built is not None and test.name in built.tested:
            failing = built.tested[test.name]
            told = f"{failing} rows fail it. {test.description}"
            found.append(
                CheckOutcome(name=test.name, passed=not failing, description=told, numbers={"rows": failing})
            )
        elif test.blocking:
            told = f"It passed when these rows were built. {test.description}"
            found.append(CheckOutcome(name=test.name, passed=True, description=told))
    return found


def _in_order(table: Contract, found: Sequence[CheckOutcome]) -> tuple[CheckOutcome, ...]:
    place = {spec.name: number for number, spec in enumerate(specs(table))}
    return tuple(sorted(found, key=lambda one: place[one.name]))


def _ingest(
    lake: Lake, table: Table, partitions: Collection[str] | None, info: Mapping[str, str] | None
) -> IngestReport:
    """Take in new files. A file that lies in no partition is refused by whatever run comes first."""
    if partitions is None:
        report = ingest(lake, table.contract, table.sources, info=info)
        report.refused += report_undeclared(lake, declared_sources(), info=info)
        return report
    by_folder, within = {source.folder: source for source in table.sources}, {*partitions, ""}

    def wanted(file: LandedFile) -> bool:
        return by_folder[file.source].placed(file).within in within

    return ingest(lake, table.contract, table.sources, only=wanted, info=info)


def _ingest_counts(report: IngestReport) -> dict[str, Any]:
    return {
        "new_files": report.files,
        "known_files": report.known,
        "new_rows": report.rows,
        "refused_files": len(report.refused),
        "unexpected_columns": dict(report.unexpected),
        "blank_lines": report.unexpected.blank_lines,
        "other_lines": report.unexpected.other_lines,
    }


def _refresh_counts(table: Contract, report: RefreshReport) -> dict[str, Any]:
    counts: dict[str, Any] = {"rows_written": report.written, "rows_updated": report.updated}
    if table.row_wise:
        counts |= {
            "rows_read": report.read,
            "rows_merged": report.merged,
            "rows_quarantined": report.quarantined,
        }
    if report.waits_for:
        counts["held"] = waiting(table, report.waits_for)
    return counts
