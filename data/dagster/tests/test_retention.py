"""What pruning removes and what it never does, on SQLite as embedded has it and on the containers' Postgres.

Belongs here: retention of runs and events, and the storages it works on. Does not: when it runs.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import dagster as dg
import lakes
import pytest
import sqlalchemy as db
from dagster._core.storage.event_log.schema import AssetCheckExecutionsTable, SqlEventLogStorageTable

from orchestration import retention
from orchestration.retention import prune

SQLITE = """
storage:
  custom:
    module: orchestration.workarounds.sqlite_storage
    class: SharedSqliteStorage
    config: {base_dir: {env: DAGSTER_HOME}}
telemetry: {enabled: false}
"""
POSTGRES = """
storage:
  custom:
    module: orchestration.workarounds.postgres_storage
    class: PooledPostgresStorage
    config: {{hostname: {host}, port: {port}, db_name: {name}, username: {user}, password_file: {password}}}
telemetry: {{enabled: false}}
"""


@pytest.fixture(params=["sqlite", "postgres"])
def instance(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[dg.DagsterInstance]:
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    text = SQLITE
    if request.param == "postgres":
        made = lakes.database()
        (tmp_path / "password").write_text(made.password or "none")
        text = POSTGRES.format(**{**vars(made), "password": tmp_path / "password"})
    (tmp_path / "dagster.yaml").write_text(text)
    with dg.DagsterInstance.get() as found:
        yield found


@dg.asset(check_specs=[dg.AssetCheckSpec("fine", asset="often")])
def often() -> dg.MaterializeResult:
    return dg.MaterializeResult(check_results=[dg.AssetCheckResult(check_name="fine", passed=True)])


@dg.asset(check_specs=[dg.AssetCheckSpec("fine", asset="once")])
def once() -> dg.MaterializeResult:
    return dg.MaterializeResult(check_results=[dg.AssetCheckResult(check_name="fine", passed=True)])


@dg.asset(partitions_def=dg.StaticPartitionsDefinition(["a", "b"]))
def parts() -> dg.MaterializeResult:
    return dg.MaterializeResult(metadata={"version": 7})


DEFS = dg.Definitions(
    [often, once, parts], jobs=[dg.define_asset_job("all", executor_def=dg.in_process_executor)]
)
QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


def run(instance: dg.DagsterInstance, name: str, partition: str | None = None) -> str:
    job = DEFS.resolve_implicit_global_asset_job_def()
    done = job.execute_in_process(
        instance=instance, asset_selection=[dg.AssetKey(name)], partition_key=partition, run_config=QUIET
    )
    assert done.success
    return done.run_id


def tell(instance: dg.DagsterInstance, version: int) -> None:
    told = dg.AssetMaterialization("told", partition="x", metadata={"version": version})
    instance.report_runless_asset_event(told)


def rows(instance: dg.DagsterInstance, table: db.Table, **equal: str) -> int:
    with instance.event_log_storage.index_connection() as connection:
        wanted = [table.c[name] == value for name, value in equal.items()]
        return int(connection.execute(db.select(db.func.count()).select_from(table).where(*wanted)).scalar())


def left(instance: dg.DagsterInstance) -> set[str]:
    return {run.run_id for run in instance.get_runs()}


def version(instance: dg.DagsterInstance, key: str) -> int:
    event = instance.get_latest_materialization_event(dg.AssetKey(key))
    assert event is not None
    assert event.asset_materialization is not None
    return int(event.asset_materialization.metadata["version"].value)


@pytest.mark.slow
def test_the_latest_word_on_everything_stays_and_all_else_goes(
    instance: dg.DagsterInstance, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "_FRESH_SNAPSHOTS", 0)
    failed = instance.create_run_for_job(
        DEFS.resolve_job_def("all"), status=dg.DagsterRunStatus.FAILURE
    ).run_id
    going = instance.create_run_for_job(
        DEFS.resolve_job_def("all"), status=dg.DagsterRunStatus.STARTED
    ).run_id
    first = run(instance, "once")
    a, b = (run(instance, "parts", name) for name in "ab")
    older = [run(instance, "often") for _ in range(3)]
    newest = run(instance, "often")
    for number in (1, 2, 3):
        tell(instance, number)

    done = prune(instance, days=30, runs=100)
    assert (done.runs, done.events_without_run, done.snapshots) == (0, 0, 0)

    done = prune(instance, days=0, runs=100)
    assert left(instance) == {first, a, b, newest, going}
    assert (done.runs, done.events_without_run, done.runs_left) == (len([*older, failed]), 2, 5)
    for gone in (*older, failed):
        assert instance.all_logs(gone) == []
        assert rows(instance, SqlEventLogStorageTable, run_id=gone) == 0
        assert rows(instance, AssetCheckExecutionsTable, run_id=gone) == 0
        assert [p for p in tmp_path.rglob(f"{gone}*") if p.name != f"{gone}.db-shm"] == []
    assert version(instance, "parts") == 7
    assert version(instance, "told") == 3
    assert instance.get_materialized_partitions(dg.AssetKey("parts")) == {"a", "b"}
    keys = [dg.AssetCheckKey(dg.AssetKey(name), "fine") for name in ("often", "once")]
    latest = instance.event_log_storage.get_latest_asset_check_execution_by_key(keys)
    assert {key: record.run_id for key, record in latest.items()} == dict(
        zip(keys, (newest, first), strict=True)
    )
    assert len(instance.all_logs(newest)) > 5
    assert prune(instance, days=0, runs=0).runs == 0


def test_by_count_the_newest_runs_stay(instance: dg.DagsterInstance) -> None:
    runs = [run(instance, "often") for _ in range(5)]
    assert prune(instance, days=30, runs=2).runs == 3
    assert left(instance) == set(runs[-2:])


def test_descriptions_of_jobs_that_no_run_names_go_in_time(
    instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "_FRESH_SNAPSHOTS", 0)
    run(instance, "often")
    run(instance, "once")
    last = run(instance, "often")
    once = next(one for one in instance.get_runs() if one.asset_selection == {dg.AssetKey("once")})
    instance.delete_run(once.run_id)
    kept = instance.get_run_by_id(last)
    assert kept is not None
    assert prune(instance, days=30, runs=100).snapshots > 0
    assert not instance.has_snapshot(once.execution_plan_snapshot_id or "")
    assert instance.has_snapshot(kept.execution_plan_snapshot_id or "")
    assert instance.has_job_snapshot(kept.job_snapshot_id or "")
    assert instance.get_job_snapshot(kept.job_snapshot_id or "").name == kept.job_name
    assert prune(instance, days=30, runs=100).snapshots == 0


@pytest.mark.slow
def test_nobody_waits_for_a_pruning(instance: dg.DagsterInstance, tmp_path: Path) -> None:
    """Another process writes and reads events all the while; each of them is there afterwards."""
    for _ in range(3):
        run(instance, "often")
    code = (
        "import sys; sys.path[:0] = sys.argv[1:]\n"
        "import dagster as dg, test_retention as t\n"
        "with dg.DagsterInstance.get() as instance:\n"
        "    print(*[t.run(instance, 'once') for _ in range(5)])\n"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", code, str(Path(__file__).parent), str(Path(lakes.__file__).parent)],
        stdout=subprocess.PIPE,
        text=True,
    )
    while child.poll() is None:
        prune(instance, days=0, runs=0)
    assert child.returncode == 0
    written = child.stdout.read().split() if child.stdout else []
    assert written[-1] in left(instance)
    assert sum(e.is_dagster_event for e in instance.all_logs(written[-1])) > 5


def test_more_days_than_a_calendar_has_keep_every_run(instance: dg.DagsterInstance) -> None:
    run(instance, "often")
    assert retention.prune(instance, days=10**20).runs == 0


@pytest.mark.slow
def test_the_command_says_what_it_did(instance: dg.DagsterInstance) -> None:
    for _ in range(3):
        run(instance, "often")
    done = subprocess.run(
        [sys.executable, "-m", "orchestration.retention", "--runs", "1", "--json"],
        stdout=subprocess.PIPE,
        check=True,
    )
    assert json.loads(done.stdout) == {"runs": 2, "events_without_run": 0, "snapshots": 0, "runs_left": 1}


def test_a_time_without_zone_is_utc() -> None:
    assert retention._cutoff(
        [datetime(2026, 1, 2, tzinfo=UTC)], datetime(2026, 1, 1, tzinfo=UTC), 5
    ) == datetime(2026, 1, 1, tzinfo=UTC)
