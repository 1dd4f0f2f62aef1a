"""What the lake hands to others, as assets: files, the mart, the quality report.

Belongs here: binding the library's outputs into Dagster. Does not: what an output is (lakehouse.outputs).
They are part of every job that makes tables, after these: a run that has nothing to do does not start, and
none of them is written anew where its tables are as they were.
(No `from __future__ import annotations` here: Dagster reads the annotations of the inner functions.)
"""

import time
from collections.abc import Callable, Sequence
from typing import Any

import dagster as dg

from lakehouse.contracts import RESTORE_POINTS, Contract
from lakehouse.registry import contracts
from orchestration import checks
from orchestration.materializing import retry_only_transient
from orchestration.resources import LakeResource

GROUP = "outputs"


def _output(
    name: str,
    kinds: set[str],
    description: str,
    deps: Sequence[Contract],
    make: Callable[..., dict[str, Any]],
) -> dg.AssetsDefinition:
    """Return the asset of one output. `make` takes the open lake and where outputs go, and returns
    metadata.
    """

    @dg.asset(
        key=[GROUP, name],
        deps=[checks.key_of(table) for table in deps],
        group_name=GROUP,
        kinds=kinds,
        owners=[RESTORE_POINTS.owner],
        tags={"domain": RESTORE_POINTS.domain},
        code_version="1",
        description=description,
    )
    def made(lake: LakeResource) -> dg.MaterializeResult:
        from lakehouse.outputs.settings import OutputSettings
        from lakehouse.settings import Settings

        started = time.monotonic()
        with retry_only_transient():
            told = make(lake.open(), OutputSettings.from_env(Settings.from_env()))
        return dg.MaterializeResult(metadata={**told, "seconds": round(time.monotonic() - started, 3)})

    return made


def _gold() -> list[Contract]:
    return [table for table in contracts() if table.layer == "gold"]


def _exports(lake: Any, settings: Any) -> dict[str, Any]:
    from lakehouse.outputs.exports import export

    done = export(lake, _gold(), settings, pii=settings.exports_pii)
    return {
        "dagster/uri": done.place,
        "dagster/row_count": sum(one.rows for one in done.tables),
        "tables": len(done.tables),
        "written": [one.table for one in done.tables if one.written],
        "left_out": {one.table: list(one.left_out) for one in done.tables if one.left_out},
        "absent": list(done.absent),
    }


def _mart(lake: Any, settings: Any) -> dict[str, Any]:
    from lakehouse.outputs.mart import refresh_mart

    done = refresh_mart(lake, _gold(), settings)
    return {
        "dagster/uri": done.place,
        "dagster/row_count": sum(one.rows for one in done.tables),
        "tables": len(done.tables),
        "written": [one.table for one in done.tables if one.changed],
        "left_out": {one.table: list(one.left_out) for one in done.tables if one.left_out},
        "shown_nul": {one.table: dict(one.shown_nul) for one in done.tables if one.shown_nul},
        "absent": list(done.absent),
        "removed": list(done.removed),
    }


def _quality_report(lake: Any, settings: Any) -> dict[str, Any]:
    from lakehouse.outputs.quality import report

    done = report(lake, contracts(), settings)
    return {
        "dagster/uri": done.html,
        "dagster/row_count": sum(one.rows or 0 for one in done.quality.tables),
        "tables": len(done.quality.tables),
        "problems": done.quality.problems,
        "checks_not_made": done.quality.unmade,
        "open_rejects": sum(one.open_rejects for one in done.quality.tables),
        **({} if (files := done.quality.refused_files) is None else {"refused_files": files}),
        "held": [one.table for one in done.quality.tables if one.is_held],
        "too_old": [one.table for one in done.quality.tables if one.is_fresh is False],
    }


ASSETS = [
    _output("mart", {"table"}, "Gold as plain tables of a database, for reporting tools.", _gold(), _mart),
    _output(
        "exports",
        {"csv", "parquet"},
        "Gold as CSV and Parquet files, with a manifest.",
        _gold(),
        _exports,
    ),
    _output(
        "quality_report",
        {"html", "json"},
        "Refused rows by rule, freshness, rows and checks, as JSON and as a page.",
        [*_gold(), RESTORE_POINTS],
        _quality_report,
    ),
]
