"""A restore takes back what a build of dbt was about to make: a history keeps all that it is given."""

from __future__ import annotations

from pathlib import Path

import pytest
from loans import as_csv, converted
from test_dbt import Killed, killed_at, lake_at, project, silver  # noqa: F401
from test_dbt_real import history
from test_flow import EVENT_TABLES
from test_flow import lake as events  # noqa: F401
from test_upkeep import first_and_second

from lakehouse import fault_points, registry
from lakehouse.dbt import refresh_models
from lakehouse.dbt.refresh import NOTE, TURN
from lakehouse.errors import Conflict, Unsupported
from lakehouse.maintenance import record_point, restore_run
from lakehouse.pipeline import Lake
from lakehouse.storage.lease import lease


@pytest.mark.slow
def test_a_build_killed_before_a_restore_is_not_completed_after_it(project: Path, tmp_path: Path) -> None:  # noqa: F811
    lake = lake_at(tmp_path)
    tables = [table for table in registry.contracts() if table.domain == "lending"]
    name, rows = converted()
    silver(lake, {name: as_csv(rows)})
    refresh_models(lake, registry.models(), registry.models())
    record_point(lake, "good", tables)
    before = history(lake)
    current = next(row for row in rows if row["loan_status"] == "Current")
    current["loan_status"] = "Charged Off"
    silver(lake, {"loans/wrong.csv": as_csv(rows)})

    killed_at("dbt.taking", 1)
    try:
        with pytest.raises(Killed):
            refresh_models(lake, registry.models(), registry.models())
    finally:
        fault_points.arm(None)
    restore_run(lake, "good", tables)
    refresh_models(lake, registry.models(), registry.models())
    assert history(lake).equals(before)


def test_a_restore_waits_for_no_build_and_forgets_what_one_left(events: Lake) -> None:  # noqa: F811
    first_and_second(events)
    files = events.store.files
    files.put_if(NOTE, b"{}", None)
    versions = {table.path: events.store.snapshot(table).version for table in EVENT_TABLES}
    with lease(files, TURN), pytest.raises(Conflict, match=rf"taking the lease {TURN}: .*holds it since"):
        restore_run(events, "run-1", EVENT_TABLES)
    restore_run(events, "run-1", EVENT_TABLES, dry_run=True)
    with pytest.raises(Unsupported):
        restore_run(events, "run-9", EVENT_TABLES)
    assert {table.path: events.store.snapshot(table).version for table in EVENT_TABLES} == versions
    assert files.read_tagged(NOTE) is not None
    restore_run(events, "run-1", EVENT_TABLES)
    assert files.read_tagged(NOTE) is None
    assert files.read_tagged(TURN) is None
