"""Files, the mart and the report as assets: made by a run, left alone by one that changes nothing of them."""

from __future__ import annotations

import json
import os
from pathlib import Path

import dagster as dg
import duckdb
import pytest

from lakehouse.pipeline import open_lake
from lakehouse.registry import contracts, sample_files
from orchestration.definitions import defs
from orchestration.planning import plan_of_lake

OUTPUTS = ("exports", "mart", "quality_report")
NAMES = ("EXPORTS_URL", "EXPORTS_PII", "MART_PG_HOST", "MART_FILE", "MART_PII")


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("LAKE_URL", str(tmp_path / "lake"))
    monkeypatch.setenv("LANDING_URL", str(tmp_path / "landing"))
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    for name, body in sample_files().items():
        open_lake().landing.put(name, body)
    return tmp_path


def run(instance: dg.DagsterInstance) -> dg.ExecuteInProcessResult:
    return defs.resolve_job_def("materialize_all").execute_in_process(instance=instance, raise_on_error=False)


def told(instance: dg.DagsterInstance, name: str) -> dict[str, object]:
    event = instance.get_latest_materialization_event(dg.AssetKey(["outputs", name]))
    assert event is not None
    assert event.asset_materialization is not None
    return {key: found.value for key, found in event.asset_materialization.metadata.items()}


@pytest.mark.slow
def test_a_run_makes_them_and_a_second_one_leaves_them_as_they_are(place: Path) -> None:
    instance = dg.DagsterInstance.ephemeral()
    assert run(instance).success
    gold = {table.name for table in contracts() if table.layer == "gold"}
    files = {p.stem for p in (place / "exports/gold").iterdir()}
    assert files == gold
    with duckdb.connect(place / "mart.duckdb", read_only=True) as database:
        names = database.sql("SELECT name, run_id FROM _odp_tables").fetchall()
    assert {name for name, _ in names} == gold
    assert {len(run_id) for _, run_id in names} == {36}
    report = json.loads((place / "exports/quality/report.json").read_bytes())
    assert len(report["tables"]) == len(contracts())
    assert [run["rows"]["gold"] for run in report["runs"]] == [41]  # this very run is in it
    for name in OUTPUTS:
        assert "seconds" in told(instance, name)
    assert len(told(instance, "exports")["written"]) == len(told(instance, "mart")["written"]) == len(gold)  # type: ignore[arg-type]
    assert told(instance, "mart")["left_out"] == {"gold/user_profiles": ["username", "display_name"]}
    assert plan_of_lake(None).nothing
    kept = [place / "mart.duckdb", place / "exports/manifest.json"]
    before = [(p.stat().st_ino, p.stat().st_mtime_ns) for p in kept]
    assert run(instance).success
    assert [(p.stat().st_ino, p.stat().st_mtime_ns) for p in kept] == before
    assert told(instance, "exports")["written"] == told(instance, "mart")["written"] == []


@pytest.mark.slow
def test_outputs_that_a_run_did_not_come_to_are_news_for_the_next(place: Path) -> None:
    instance = dg.DagsterInstance.ephemeral()
    assert run(instance).success
    assert plan_of_lake(None).nothing
    (place / "exports/manifest.json").unlink()
    assert list(plan_of_lake(None).reasons) == ["outputs/exports", "outputs/quality_report"]
    (place / "mart.duckdb").unlink()
    assert list(plan_of_lake(None).reasons) == ["outputs/exports", "outputs/mart", "outputs/quality_report"]
    lake = open_lake()
    assert run(instance).success
    [table] = [table for table in contracts() if table.path == "gold/pipeline_metrics"]
    rows = lake.store.scan(table).collect()
    lake.store.overwrite(table, rows.head(0))  # as a restore does: no table has anything to do
    [first] = {reason for name, reason in plan_of_lake(None).reasons.items() if name == "outputs/mart"}
    assert first == "gold/pipeline_metrics is of another version there"


@pytest.mark.slow
def test_a_mart_that_cannot_be_reached_fails_by_name_without_its_password(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("MART_PG_HOST", "127.0.0.1")
    monkeypatch.setenv("MART_PG_PORT", "9")
    monkeypatch.setenv("MART_PG_PASSWORD", "hush-hush")
    instance = dg.DagsterInstance.ephemeral()
    assert run(instance).success is False
    [failed] = [e for e in instance.all_logs(instance.get_runs()[0].run_id) if e.is_dagster_event
                and e.dagster_event is not None and e.dagster_event.is_step_failure]  # fmt: skip
    assert failed.step_key == "outputs__mart"
    assert "refreshing the mart at postgres://127.0.0.1:9/mart" in str(failed)
    assert "hush-hush" not in str(instance.all_logs(instance.get_runs()[0].run_id))
    assert Path(os.environ["LANDING_URL"]).with_name("exports").is_dir()
