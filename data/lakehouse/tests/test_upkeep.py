"""Restore points, going back to a run, telling runs apart, and maintenance of a whole lake."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import orjson
import pytest
from test_flow import EVENT_TABLES, Killed, assert_sound, event, hashes, lake, lake_at, land, run
from test_flow_increment import day, metrics, rejects
from test_store_care import age

from lakehouse import fault_points
from lakehouse.contracts import RESTORE_POINTS
from lakehouse.domains.pipelines import contracts as c
from lakehouse.errors import Conflict, StorageUnavailable, Unsupported
from lakehouse.maintenance import TableDiff, diff, maintain_all, pin, points, record_point, restore_run, unpin
from lakehouse.pipeline import Lake
from lakehouse.storage.files import FolderFiles
from lakehouse.storage.lease import held_by_another, lease

__all__ = ["lake"]


def first_and_second(lake: Lake) -> dict[str, str]:
    """Two runs with their points; returns the content after the first."""
    land(lake, "1.ndjson", event("p1", at=day(1)), event("p2", at=day(2)), event("bad", duration_ms=-1))
    run(lake)
    record_point(lake, "run-1", EVENT_TABLES)
    before = {**hashes(lake), "rejects": rejects(lake)}
    land(lake, "2.ndjson", event("p1", at=day(1), duration_ms=7), event("p3", at=day(3)),
         event("bad2", duration_ms=-1))  # fmt: skip
    run(lake)
    record_point(lake, "run-2", EVENT_TABLES)
    return before


def test_a_point_is_recorded_once_and_only_when_something_changed(lake: Lake) -> None:
    first_and_second(lake)
    assert [p.run_id for p in points(lake)] == ["run-1", "run-2"]
    assert record_point(lake, "run-2", EVENT_TABLES) is None
    assert record_point(lake, "run-3", EVENT_TABLES) is None
    assert points(lake)[0].versions[c.RAW_PIPELINE_EVENTS.path] == 1
    assert lake.store.snapshot(RESTORE_POINTS).version == 2


@pytest.mark.slow
def test_a_restored_run_has_the_content_of_that_run_and_goes_forward_again(lake: Lake) -> None:
    before = first_and_second(lake)
    after = hashes(lake)
    planned = restore_run(lake, "run-1", EVENT_TABLES, dry_run=True)
    assert hashes(lake) == after
    done = restore_run(lake, "run-1", EVENT_TABLES)
    assert [(r.table, r.changed) for r in planned] == [(r.table, r.changed) for r in done]
    assert [r.table for r in done] == ["gold/pipeline_metrics", "quarantine/pipeline_events",
                                       "silver/pipeline_events", "bronze/raw_pipeline_events"]  # fmt: skip
    assert {**hashes(lake), "rejects": rejects(lake)} == before
    assert_sound(lake)
    run(lake)
    assert hashes(lake) == after
    assert metrics(lake) == {"2026-01-01": 1, "2026-01-02": 1, "2026-01-03": 1}
    assert_sound(lake)


@pytest.mark.slow
@pytest.mark.parametrize("tables", [1, 2, 3])
def test_a_restore_killed_between_tables_is_completed_by_doing_it_again(lake: Lake, tables: int) -> None:
    before = first_and_second(lake)
    left = tables

    def kill(point: str) -> None:
        nonlocal left
        left -= point == "restore.table"
        if left == 0:
            raise Killed

    fault_points.arm(kill)
    try:
        with pytest.raises(Killed):
            restore_run(lake, "run-1", EVENT_TABLES)
    finally:
        fault_points.arm(None)
    restore_run(lake, "run-1", EVENT_TABLES)
    assert {**hashes(lake), "rejects": rejects(lake)} == before
    assert_sound(lake)


def test_a_table_that_came_later_is_emptied(lake: Lake) -> None:
    land(lake, "1.ndjson", event("p1", at=day(1)))
    from test_flow import EVENT_SOURCES

    from lakehouse.pipeline import ingest

    ingest(lake, c.RAW_PIPELINE_EVENTS, EVENT_SOURCES)
    record_point(lake, "early", EVENT_TABLES)
    run(lake)
    restore_run(lake, "early", EVENT_TABLES)
    assert [lake.store.snapshot(t).rows for t in EVENT_TABLES] == [1, 0, 0]
    run(lake)
    assert metrics(lake) == {"2026-01-01": 1}
    assert_sound(lake)


def test_an_unknown_run_and_an_ambiguous_one_are_refused(lake: Lake) -> None:
    first_and_second(lake)
    with pytest.raises(Unsupported, match="no restore point is recorded"):
        restore_run(lake, "nope", EVENT_TABLES)
    with pytest.raises(Unsupported, match="2 runs begin with it"):
        restore_run(lake, "run", EVENT_TABLES)


def test_no_run_goes_by_an_empty_name(lake: Lake) -> None:
    first_and_second(lake)
    assert pin(lake, "run-1", "").name is None
    with pytest.raises(Unsupported, match="no restore point is recorded"):
        restore_run(lake, "", EVENT_TABLES)


def test_two_runs_are_told_apart_row_by_row(lake: Lake) -> None:
    first_and_second(lake)
    told = {d.table: d for d in diff(lake, "run-1", "run-2", EVENT_TABLES)}
    assert told["silver/pipeline_events"] == TableDiff(
        table="silver/pipeline_events", version_a=1, version_b=2, added=1, removed=0, changed=1
    )
    assert (told["gold/pipeline_metrics"].added, told["gold/pipeline_metrics"].changed) == (1, 1)
    assert (told["quarantine/pipeline_events"].added, told["bronze/raw_pipeline_events"].added) == (1, 3)
    back = {d.table: d for d in diff(lake, "run-2", "run-1", EVENT_TABLES)}
    assert (back["silver/pipeline_events"].removed, back["silver/pipeline_events"].changed) == (1, 1)
    assert all(d.added == d.removed == d.changed == 0 for d in diff(lake, "run-1", "run-1", EVENT_TABLES))


@pytest.mark.slow
def test_maintenance_keeps_every_row_and_every_pinned_run(tmp_path: Path, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    at_once = dict.fromkeys(("bronze", "silver", "gold", "quarantine", "system"), timedelta(0))
    monkeypatch.setattr("lakehouse.maintenance.maintenance.RETENTION", at_once)
    lake = lake_at(tmp_path)
    before = first_and_second(lake)
    pin(lake, "run-1", "release")
    for number in range(3, 15):
        land(lake, f"{number}.ndjson", event("p1", at=day(1), duration_ms=number))
        run(lake)
    after = hashes(lake)
    for table in EVENT_TABLES:
        age(lake.store, table)  # type: ignore[arg-type]
    done = maintain_all(lake, EVENT_TABLES)
    assert hashes(lake) == after
    assert_sound(lake)
    assert {d.table for d in done} >= {t.path for t in EVENT_TABLES}
    assert sum(d.removed_files for d in done) > 10
    run(lake)
    restore_run(lake, "release", EVENT_TABLES)
    assert {**hashes(lake), "rejects": rejects(lake)} == before
    assert unpin(lake, "run-1").pinned is False
    maintain_all(lake, EVENT_TABLES)
    with pytest.raises(Unsupported, match="Nothing was changed"):
        restore_run(lake, "run-2", EVENT_TABLES)


@pytest.mark.slow
def test_one_maintenance_at_a_time(lake: Lake) -> None:
    first_and_second(lake)
    with (
        lease(lake.store.files, "maintenance"),
        pytest.raises(Conflict, match=r"taking the lease maintenance: .*holds it since"),
    ):
        maintain_all(lake, EVENT_TABLES)
    maintain_all(lake, EVENT_TABLES)


def test_nobody_goes_back_to_or_pins_a_run_that_maintenance_may_be_removing(lake: Lake) -> None:
    first_and_second(lake)
    before = hashes(lake)
    with lease(lake.store.files, "maintenance"):
        for act in (lambda: restore_run(lake, "run-1", EVENT_TABLES), lambda: pin(lake, "run-1")):
            with pytest.raises(Conflict, match=r"taking the lease maintenance: .*holds it since"):
                act()
        assert restore_run(lake, "run-1", EVENT_TABLES, dry_run=True), "a plan changes nothing"
        with pytest.raises(Unsupported, match="no restore point is recorded"):
            pin(lake, "run-9")
    assert hashes(lake) == before
    assert not any(point.pinned for point in points(lake))


def test_maintenance_removes_nothing_below_a_restore_that_has_begun(lake: Lake) -> None:
    first_and_second(lake)
    refused: list[str] = []

    def maintain_meanwhile(point: str) -> None:
        if point == "restore.table":
            with pytest.raises(Conflict, match="taking the lease maintenance") as told:
                maintain_all(lake, EVENT_TABLES)
            refused.append(str(told.value))

    fault_points.arm(maintain_meanwhile)
    try:
        restore_run(lake, "run-1", EVENT_TABLES)
    finally:
        fault_points.arm(None)
    assert len(refused) == 4, "after each table"
    maintain_all(lake, EVENT_TABLES)
    assert_sound(lake)


def test_a_dead_holders_lease_is_taken_over_once_it_has_run_out(tmp_path: Path) -> None:
    files = FolderFiles(tmp_path)
    ended = (datetime.now(UTC) - timedelta(seconds=1)).isoformat()
    body = orjson.dumps({"id": "dead", "holder": "gone:1", "since": ended, "until": ended})
    assert files.put_if("x", body, None)
    assert files.put_if("x", body, None) is None
    with lease(files, "x"):
        found = files.read_tagged("x")
        assert found is not None
        assert found[0] != body
    assert files.read_tagged("x") is None


@pytest.mark.parametrize("ahead", [timedelta(hours=1), timedelta(days=3650)])
def test_a_lease_of_a_wrong_clock_is_told_and_keeps_no_writer_waiting(
    tmp_path: Path, ahead: timedelta
) -> None:
    files = FolderFiles(tmp_path)
    since = datetime.now(UTC) + ahead
    told = {"since": since.isoformat(), "until": (since + timedelta(minutes=5)).isoformat()}
    assert files.put_if("x", orjson.dumps({"id": "a", "holder": "far:1", **told}), None)
    with (
        pytest.raises(Conflict, match=r"far:1 took it at .* the clock there or here is wrong.* remove "),
        lease(files, "x"),
    ):
        pass
    assert not held_by_another(files, "x")
    Path(files.own_uri("x")).unlink()
    with lease(files, "x"):
        assert held_by_another(files, "x")


def test_a_clock_that_differs_by_less_than_the_lease_lasts_keeps_it(tmp_path: Path) -> None:
    files = FolderFiles(tmp_path)
    since = datetime.now(UTC) + timedelta(minutes=4)
    told = {"since": since.isoformat(), "until": (since + timedelta(minutes=5)).isoformat()}
    assert files.put_if("x", orjson.dumps({"id": "a", "holder": "far:1", **told}), None)
    assert held_by_another(files, "x")
    with pytest.raises(Conflict, match="far:1 holds it since"), lease(files, "x"):
        pass


def test_a_folder_that_takes_no_file_is_an_error_of_ours_and_keeps_no_half_of_it(tmp_path: Path) -> None:
    files = FolderFiles(tmp_path)
    place = tmp_path / "_odp" / "checksums"
    (place / "a.json").mkdir(parents=True)
    (place / "a.json" / "in the way").touch()
    found = files.read_tagged("checksums/a.json")
    assert found is not None
    assert found[0] == b""
    assert files.put_if("checksums/a.json", b"x", None) is None, "it is there"
    with pytest.raises(StorageUnavailable, match=r"checksums/a\.json: "):
        files.put_if("checksums/a.json", b"x", found[1])
    with pytest.raises(StorageUnavailable, match=r"removing .*a\.json: "):
        files.forget("checksums/a.json")
    assert [path.name for path in place.iterdir() if path.name != ".lock"] == ["a.json"]


@pytest.mark.slow
def test_what_killed_flows_left_is_removed_once_it_is_old(lake: Lake) -> None:
    import secrets

    from lakehouse.domains.pipelines import transforms
    from lakehouse.maintenance.leftovers import remove_leftovers
    from lakehouse.pipeline import outbox, refresh

    first_and_second(lake)

    def killed_at(point: str, *, full: bool) -> None:
        def kill(reached: str) -> None:
            if reached == point:
                raise Killed

        fault_points.arm(kill)
        try:
            with pytest.raises(Killed):
                refresh(lake, c.PIPELINE_EVENTS, transforms.pipeline_events, full=full)
        finally:
            fault_points.arm(None)

    land(lake, "3.ndjson", event("bad3", duration_ms=-1))
    from test_flow import EVENT_SOURCES

    from lakehouse.pipeline import ingest

    ingest(lake, c.RAW_PIPELINE_EVENTS, EVENT_SOURCES)
    killed_at("flow.refused", full=False)
    killed_at("flow.batch", full=True)  # its attempt is the one that the table names
    run(lake)
    lake.store.ensure(_stage_of(secrets.randbits(40) + 3))  # of an attempt that nothing names
    assert len(outbox.written(lake, c.PIPELINE_EVENTS)) == 1
    before = hashes(lake)
    assert remove_leftovers(lake, EVENT_TABLES) == []
    gone = remove_leftovers(lake, EVENT_TABLES, young=timedelta(0))
    assert [name.split(" ")[0].split("__")[0] for name in gone] == [
        "outbox", "silver/pipeline_events", "quarantine/pipeline_events",
    ]  # fmt: skip
    assert outbox.written(lake, c.PIPELINE_EVENTS) == {}
    assert not [name for name in lake.store.found() if "__rebuild" in name]
    assert hashes(lake) == before
    assert_sound(lake)


def _stage_of(attempt: int):  # type: ignore[no-untyped-def]
    from lakehouse.pipeline.rowwise import stages

    return stages(c.PIPELINE_EVENTS, attempt)[0]
