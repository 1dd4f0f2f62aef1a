"""The report on a lake of which something cannot be read: it says so, and says the rest."""

from __future__ import annotations

from pathlib import Path

import pytest
from test_flow import EVENT_TABLES, event, lake_at, land, run

from lakehouse.contracts import LANDING_REJECTS, RESTORE_POINTS
from lakehouse.domains.pipelines import contracts as c
from lakehouse.maintenance import record_point
from lakehouse.outputs.page import page
from lakehouse.outputs.quality import quality
from lakehouse.pipeline.ingest import report_undeclared
from lakehouse.registry import sources


def damage(folder: Path, part: str) -> None:
    """Cut the last log entry short, or remove the data files."""
    if part == "log":
        sorted(folder.glob("_delta_log/*.json"))[-1].write_bytes(b"{")
    else:
        for file in folder.rglob("*.parquet"):
            file.unlink()


@pytest.mark.parametrize("part", ["log", "data"])
@pytest.mark.parametrize(
    "path",
    ["silver/pipeline_events", "quarantine/pipeline_events", RESTORE_POINTS.path, LANDING_REJECTS.path],
)
def test_what_cannot_be_read_is_told_beside_what_can(tmp_path: Path, path: str, part: str) -> None:
    lake = lake_at(tmp_path)
    land(lake, "1.ndjson", event("p1"), event(None))
    lake.landing.put("nobodys/1.txt", b"x")
    report_undeclared(lake, sources())
    run(lake)
    record_point(lake, "r", EVENT_TABLES)
    damage(tmp_path / "lake" / path, part)
    found = quality(lake_at(tmp_path), EVENT_TABLES)
    by_path = {table.table: table for table in found.tables}
    assert (by_path[c.RAW_PIPELINE_EVENTS.path].rows, by_path[c.RAW_PIPELINE_EVENTS.path].passed) == (2, True)
    told = page(found)
    if path.endswith("pipeline_events"):
        assert not by_path["silver/pipeline_events"].passed
        assert found.unmade
        assert "every check holds" not in told
        assert f"✗ {found.unmade} checks could not be made" in told
    else:
        assert "every check holds" in told
