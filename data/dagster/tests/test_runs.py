"""Runs for real, on a folder and an instance in memory: what a person sees in the UI and what gates what."""

from __future__ import annotations

import json
import os
import threading
import time
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import dagster as dg
import pytest

from lakehouse.domains.clinical import sample as cohort
from lakehouse.domains.lending import sample as loans
from lakehouse.domains.pipelines import sample as events
from lakehouse.domains.pipelines.contracts import PIPELINE_EVENTS, PIPELINE_METRICS
from lakehouse.errors import SchemaViolation
from lakehouse.maintenance import points, restore_run
from lakehouse.pipeline import open_lake
from lakehouse.quarantine import accept
from lakehouse.registry import contracts, sample_files
from lakehouse.store.delta import DeltaStore
from lakehouse.verify import content_hash, verify
from orchestration import BOOT_TAG, FULL_REFRESH_TAG, LISTED_TAG, automation
from orchestration.automation import PARTITION_SENSORS, alert, on_landed_file, on_orphaned_run, on_run_failure
from orchestration.definitions import defs
from orchestration.jobs import BOOT_ID, NO_BOOT
from orchestration.listing import having_waited
from orchestration.resources import LakeResource

EXPECTED = [*events.EXPECTED.items(), *cohort.EXPECTED.items(), *loans.EXPECTED.items()]


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A lake of its own, named by the environment as in every process of the platform."""
    monkeypatch.setenv("LAKE_URL", str(tmp_path / "lake"))
    monkeypatch.setenv("LANDING_URL", str(tmp_path / "landing"))
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    monkeypatch.delenv("ALERT_WEBHOOK_URL", raising=False)
    (tmp_path / "landing").mkdir()
    return tmp_path


@pytest.fixture
def instance() -> dg.DagsterInstance:
    return dg.DagsterInstance.ephemeral()


def land(name: str, body: bytes) -> None:
    open_lake().landing.put(name, body)


def settle() -> None:
    """Let a minute have passed since the last file landed."""
    then = time.time() - 60
    for path in Path(os.environ["LANDING_URL"]).rglob("*"):
        if path.is_file() and then + 30 < path.stat().st_mtime < then + 90:
            os.utime(path, (then, then))


def land_sample() -> None:
    for name, body in sample_files().items():
        land(name, body)


def run(instance: dg.DagsterInstance, **kwargs: object) -> dg.ExecuteInProcessResult:
    job = defs.resolve_job_def("materialize_all")
    return job.execute_in_process(instance=instance, raise_on_error=False, **kwargs)  # type: ignore[arg-type]


def run_telemetry(instance: dg.DagsterInstance) -> dg.ExecuteInProcessResult:
    """Run the tables of one domain: what is tried of them holds for all, in a third of the time."""
    chosen = [dg.AssetKey(t.path.split("/")) for t in contracts() if t.domain == PIPELINE_EVENTS.domain]
    return run(instance, asset_selection=chosen)


def made(result: dg.ExecuteInProcessResult) -> set[str]:
    return {
        e.asset_key.to_user_string()
        for e in result.get_asset_materialization_events()
        if e.asset_key is not None
    }


def checks(result: dg.ExecuteInProcessResult) -> dict[str, tuple[bool, str]]:
    found = result.get_asset_check_evaluations()
    return {c.check_name: (c.passed, c.description or "") for c in found}


def events(good: int, bad: int, *, tag: str = "") -> bytes:
    lines = [
        {"pipeline_id": f"p{tag}{n}", "event_type": "completed", "workspace_id": "w",
         "timestamp": "2026-01-01T00:00:00Z", "raw_data": {"duration_ms": 5}}
        for n in range(good)
    ]  # fmt: skip
    lines += [{"pipeline_id": None, "event_type": f"x{tag}{n}", "timestamp": "?"} for n in range(bad)]
    return "".join(json.dumps(line) + "\n" for line in lines).encode()


@pytest.mark.slow
def test_one_run_fills_every_layer_in_order_with_metadata_and_checks(instance: dg.DagsterInstance) -> None:
    land_sample()
    result = run(instance)
    assert result.success
    assert made(result) >= {"bronze/raw_pipeline_events", "silver/pipeline_events", "gold/pipeline_metrics"}
    assert [n for n, (passed, _) in checks(result).items() if not passed] == []
    event = instance.get_latest_materialization_event(dg.AssetKey(["silver", "pipeline_events"]))
    assert event is not None
    assert event.asset_materialization is not None
    found = event.asset_materialization.metadata
    assert found["dagster/row_count"].value == 30
    assert found["version"].value == 1
    assert found["rows_read"].value == found["rows_written"].value == 30
    lineage = found["dagster/column_lineage"].value.deps_by_column  # type: ignore[union-attr]
    assert [d.column_name for d in lineage["duration_ms"]] == ["raw_data"]
    assert found["preview"].value.count("\n") == 6  # type: ignore[union-attr]


@pytest.mark.slow
def test_too_many_rejects_hold_gold_and_are_judged_once(instance: dg.DagsterInstance) -> None:
    land("pipeline_events/a.ndjson", events(good=90, bad=10))
    land("crawler_results/sample.ndjson", sample_files()["crawler_results/sample.ndjson"])
    first = run_telemetry(instance)
    assert not first.success
    passed, says = checks(first)["pipeline_events_reject_share"]
    assert not passed
    assert says.startswith("10 of 100 rows quarantined (10.0%, limit 5%): ")
    assert "pipeline_id_present (10)" in says
    assert "silver/pipeline_events is held by pipeline_events_reject_share" in says
    for verb in ("quarantine show", "quarantine replay", "quarantine accept"):
        assert f"{verb} silver/pipeline_events" in says
    assert "silver/pipeline_events" in made(first)
    assert "gold/pipeline_metrics" not in made(first)
    assert "gold/user_profiles" in made(first), "the other domain's Gold does not hang on it"

    again = run_telemetry(instance)
    assert again.success, "nothing new came: there is nothing to judge"
    (check,) = [
        c for c in again.get_asset_check_evaluations() if c.check_name == "pipeline_events_reject_share"
    ]
    assert (check.passed, check.severity, check.description) == (False, dg.AssetCheckSeverity.WARN, says)
    assert gold_rows() == 0, "what is held is not computed"
    assert told(instance, "held") == (
        "gold/pipeline_metrics was left as it is: silver/pipeline_events is held by too many rejects"
    )

    accept(open_lake(), PIPELINE_EVENTS, who="Ada", why="as agreed")
    better = run_telemetry(instance)
    assert better.success
    assert checks(better)["pipeline_events_reject_share"][0]
    assert (gold_rows(), told(instance, "held")) == (1, None)


def gold_rows() -> int:
    return open_lake().store.snapshot(PIPELINE_METRICS).rows


def told(instance: dg.DagsterInstance, label: str) -> object:
    """What the latest run says of Gold."""
    event = instance.get_latest_materialization_event(dg.AssetKey(["gold", "pipeline_metrics"]))
    assert event is not None
    assert event.asset_materialization is not None
    found = event.asset_materialization.metadata.get(label)
    return found.value if found else None


@pytest.mark.slow
def test_a_good_batch_ends_a_hold(instance: dg.DagsterInstance) -> None:
    land("pipeline_events/a.ndjson", events(good=90, bad=10))
    run_telemetry(instance)
    land("pipeline_events/b.ndjson", events(good=20, bad=0, tag="b"))
    better = run_telemetry(instance)
    assert better.success
    assert gold_rows() == 1


@pytest.mark.slow
def test_few_rejects_only_warn(instance: dg.DagsterInstance) -> None:
    land("pipeline_events/a.ndjson", events(good=2, bad=2))
    result = run_telemetry(instance)
    assert result.success
    (check,) = [
        c for c in result.get_asset_check_evaluations() if c.check_name == "pipeline_events_reject_share"
    ]
    assert (check.passed, check.severity) == (False, dg.AssetCheckSeverity.WARN)
    assert (check.description or "").startswith("2 of 4 rows quarantined (50.0%, limit 5%): ")
    assert gold_rows() == 1


@pytest.mark.slow
def test_a_changed_transform_is_told_by_a_warning(
    instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    land_sample()
    assert checks(run_telemetry(instance))["pipeline_events_code"] == (True, "")
    monkeypatch.setattr("lakehouse.pipeline.code.fingerprint", lambda *_: 7)
    result = run_telemetry(instance)
    assert result.success
    passed, says = checks(result)["pipeline_events_code"]
    assert not passed
    assert 'make odp ARGS="refresh silver/pipeline_events --full-refresh"' in says


@pytest.mark.slow
def test_a_refused_file_is_told_by_a_warning_and_the_run_goes_on(instance: dg.DagsterInstance) -> None:
    land_sample()
    land("pipeline_events/broken.parquet", b"PAR1 not really")
    land("elsewhere/x.json", b"{}")
    result = run(instance)
    assert result.success
    passed, says = checks(result)["raw_pipeline_events_files"]
    assert not passed
    assert "pipeline_events/broken.parquet" in says
    assert "no source is declared for folder 'elsewhere'" in says


@pytest.mark.slow
def test_a_transient_fault_is_tried_again_and_another_is_not(
    instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    land_sample()
    real, calls = DeltaStore.merge, []

    def flaky(self, table, *args):  # type: ignore[no-untyped-def]
        calls.append(table.path)
        if calls.count("silver/pipeline_events") == 1 and table.path == "silver/pipeline_events":
            from lakehouse.errors import StorageUnavailable

            raise StorageUnavailable("the store is away")
        if table.path == "silver/crawler_results":
            from lakehouse.errors import SchemaViolation

            raise SchemaViolation("never right")
        return real(self, table, *args)

    monkeypatch.setattr(DeltaStore, "merge", flaky)
    result = run_telemetry(instance)
    assert calls.count("silver/pipeline_events") == 2
    assert calls.count("silver/crawler_results") == 1
    assert not result.success
    assert "gold/pipeline_metrics" in made(result)


# -- sensors ----------------------------------------------------------------------------------------------


SECOND_LOOK = having_waited(None)


def look(
    instance: dg.DagsterInstance, cursor: str | None, sensor: dg.SensorDefinition = on_landed_file
) -> tuple[object, str | None]:
    resources = {"lake": LakeResource()}
    with dg.build_sensor_context(instance=instance, cursor=cursor, resources=resources) as context:
        answer = sensor(context)
        return answer, answer.cursor if isinstance(answer, dg.SensorResult) else context.cursor


def test_the_landing_sensor_asks_for_one_run_per_change(instance: dg.DagsterInstance) -> None:
    land_sample()
    settle()
    first, cursor = look(instance, SECOND_LOOK)
    assert isinstance(first, dg.SensorResult)
    assert len(first.run_requests or []) == 1
    second, cursor = look(instance, cursor)
    assert isinstance(second, dg.SkipReason)
    land("pipeline_events/new.ndjson", events(1, 0))
    settle()
    third, _ = look(instance, cursor)
    assert isinstance(third, dg.SensorResult)


def test_the_first_look_of_a_platform_leaves_what_has_landed_to_its_first_init(
    instance: dg.DagsterInstance,
) -> None:
    land_sample()
    land_cohorts(a=1)
    settle()
    for sensor in (on_landed_file, PARTITION_SENSORS[0]):
        first, cursor = look(instance, None, sensor)
        assert "an init, or more files, may follow" in str(first.skip_message)  # type: ignore[attr-defined]
        second, _ = look(instance, cursor, sensor)
        assert isinstance(second, dg.SensorResult)


def test_files_that_came_in_only_now_are_given_one_look_more_and_no_second(
    instance: dg.DagsterInstance,
) -> None:
    land_sample()
    first, waited = look(instance, "another listing")
    assert isinstance(first, dg.SkipReason)
    assert "more may follow" in str(first.skip_message)
    land("pipeline_events/new.ndjson", events(1, 0))
    second, cursor = look(instance, waited)
    assert isinstance(second, dg.SensorResult)
    third, _ = look(instance, cursor)
    assert "as it was" in str(third.skip_message)  # type: ignore[attr-defined]

    land_cohorts(a=1)
    first, waited = look(instance, "{}", PARTITION_SENSORS[0])
    assert "more may follow" in str(first.skip_message)  # type: ignore[attr-defined]
    second, _ = look(instance, waited, PARTITION_SENSORS[0])
    assert isinstance(second, dg.SensorResult)
    assert [r.partition_key for r in second.run_requests or []] == ["a", "sample"]


def test_a_clock_ahead_of_ours_holds_nothing_up(instance: dg.DagsterInstance) -> None:
    land_sample()
    ahead = time.time() + 3600
    for path in Path(os.environ["LANDING_URL"]).rglob("*.ndjson"):
        os.utime(path, (ahead, ahead))
    settle()
    answer, _ = look(instance, "another listing")
    assert isinstance(answer, dg.SensorResult)


@pytest.mark.slow
def test_the_landing_sensor_does_not_repeat_what_init_has_done(instance: dg.DagsterInstance) -> None:
    land_sample()
    run(instance)
    answer, cursor = look(instance, None)
    assert isinstance(answer, dg.SkipReason)
    assert "a finished run has seen these files" in str(answer.skip_message)
    assert cursor is not None


@pytest.mark.slow
def test_the_landing_sensor_asks_for_the_branch_of_a_new_file_and_for_nothing_where_nothing_is_new(
    instance: dg.DagsterInstance,
) -> None:
    land_sample()
    run(instance)
    settle()
    _, cursor = look(instance, SECOND_LOOK)
    land("pipeline_events/new.ndjson", events(1, 0))
    settle()
    asked, cursor = look(instance, cursor)
    assert isinstance(asked, dg.SensorResult)
    [request] = asked.run_requests or []
    branch = ["bronze/raw_pipeline_events", "gold/pipeline_metrics", "silver/pipeline_events"]
    chosen = [key.to_user_string() for key in request.asset_selection or []]
    outputs = ["outputs/exports", "outputs/mart", "outputs/quality_report"]
    assert chosen == sorted([*branch, *outputs, "system/restore_points"])
    result = run(instance, asset_selection=request.asset_selection, tags=request.tags)
    assert result.success
    assert made(result) == set(chosen)
    land("pipeline_events/again.ndjson", events(1, 0))
    settle()
    skipped, cursor = look(instance, cursor)
    assert "every file is in already" in str(skipped.skip_message)  # type: ignore[attr-defined]
    assert "as it was" in str(look(instance, cursor)[0].skip_message)  # type: ignore[attr-defined]


def test_the_landing_sensor_asks_for_no_second_run_when_one_began_while_it_planned(
    instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    land_sample()
    settle()

    def plan_slowly() -> list[str]:
        instance.create_run_for_job(
            defs.resolve_job_def("materialize_all"), status=dg.DagsterRunStatus.STARTED
        )
        return ["bronze/raw_crawler_results"]

    monkeypatch.setattr(automation, "reasons_from_a_process", plan_slowly)
    answer, cursor = look(instance, SECOND_LOOK)
    assert "a run of everything is going on" in str(answer.skip_message)  # type: ignore[attr-defined]
    assert cursor == SECOND_LOOK  # so that it looks again


def test_a_run_of_some_tables_has_seen_no_file_unless_its_plan_has(instance: dg.DagsterInstance) -> None:
    land_sample()
    settle()
    some = {"asset_selection": [dg.AssetKey(["bronze", "raw_crawler_results"])]}
    run(instance, **some)
    asked, _ = look(instance, SECOND_LOOK)
    assert isinstance(asked, dg.SensorResult)
    run(instance, **some, tags={LISTED_TAG: str(time.time() - 90)})
    asked, _ = look(instance, SECOND_LOOK)
    assert isinstance(asked, dg.SensorResult)
    run(instance, **some, tags={LISTED_TAG: str(time.time())})
    skipped, _ = look(instance, SECOND_LOOK)
    assert "a finished run has seen these files" in str(skipped.skip_message)  # type: ignore[attr-defined]


def started(instance: dg.DagsterInstance, boot: str) -> str:
    job = defs.resolve_job_def("materialize_all")
    made_run = instance.create_run_for_job(job, tags={BOOT_TAG: boot}, status=dg.DagsterRunStatus.STARTED)
    return made_run.run_id


@pytest.mark.slow
def test_a_run_of_a_dead_code_server_is_marked_failed_and_a_living_one_is_left(tmp_path: Path) -> None:
    (tmp_path / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
    with dg.DagsterInstance.get() as instance:
        dead, alive, elsewhere = (started(instance, boot) for boot in ("gone", BOOT_ID, NO_BOOT))
        answer = on_orphaned_run(dg.build_sensor_context(instance=instance))
        statuses = {r: instance.get_run_by_id(r).status.value for r in (dead, alive, elsewhere)}  # type: ignore[union-attr]
    assert statuses == {dead: "FAILURE", alive: "STARTED", elsewhere: "STARTED"}
    assert "1 orphaned runs" in str(answer.skip_message)  # type: ignore[union-attr]


def test_a_failed_run_writes_an_alert_without_data(
    instance: dg.DagsterInstance, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = "Ada Lovelace"

    @dg.op
    def fails() -> None:
        raise ValueError(f"cannot read {secret}")

    @dg.job
    def failing() -> None:
        fails()

    result = failing.execute_in_process(instance=instance, raise_on_error=False)
    event = result.get_run_failure_event()
    context = dg.build_run_status_sensor_context(
        sensor_name="on_run_failure",
        dagster_event=event,
        dagster_instance=instance,
        dagster_run=result.dagster_run,
    ).for_run_failure()
    on_run_failure(context)
    text = (place / "alerts.log").read_text()
    line = json.loads(text)
    assert line["job"] == "failing"
    assert line["run_id"] == result.run_id
    assert line["steps"] == ["fails"]
    assert datetime.fromisoformat(line["at"]) > datetime.now(UTC) - timedelta(minutes=5)
    assert secret not in text


def test_an_alert_is_posted_to_the_webhook(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    posted: list[dict[str, object]] = []

    class Hook(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            posted.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Hook)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("ALERT_WEBHOOK_URL", f"http://127.0.0.1:{server.server_port}/x")
    alert({"job": "materialize_all", "link": "http://ui/runs/1"})
    server.shutdown()
    assert posted[0]["text"] == "ODP: materialize_all failed: http://ui/runs/1"
    assert (place / "alerts.log").exists()


def stored(*, but: tuple[str, ...] = ()) -> dict[str, tuple[int, str]]:
    lake = open_lake()
    return {
        t.path: (lake.store.snapshot(t).version, content_hash(t, lake.store.scan(t)))
        for t in contracts()
        if t.layer not in but
    }


@pytest.mark.slow
def test_each_run_leaves_a_point_to_go_back_to(instance: dg.DagsterInstance) -> None:
    land_sample()
    first = run(instance)
    before = {path: told[1] for path, told in stored().items()}
    land(
        "pipeline_events/more.ndjson", sample_files()["pipeline_events/sample.ndjson"].replace(b"ws-", b"wt-")
    )
    run(instance)
    run(instance)
    assert points(open_lake())[0].run_id == first.run_id
    assert len(points(open_lake())) == 2
    restore_run(open_lake(), first.run_id, contracts())
    assert {path: told[1] for path, told in stored().items()} == before
    known = {
        t.path: int(event.asset_materialization.metadata["version"].value)
        for t in contracts()
        if (event := instance.get_latest_materialization_event(dg.AssetKey([t.layer, t.name])))
    }
    assert verify(open_lake(), contracts(), materialised=known).all_problems == []


@pytest.mark.slow
def test_a_full_refresh_by_tag_computes_everything_anew_and_changes_nothing(
    instance: dg.DagsterInstance,
) -> None:
    land_sample()
    run(instance)
    before = stored()
    result = run(instance, tags={FULL_REFRESH_TAG: "true"})
    after = stored()
    assert result.success
    assert {path: told[1] for path, told in after.items()} == {path: told[1] for path, told in before.items()}
    newer = {path for path in after if after[path][0] > before[path][0]}
    assert newer == {t.path for t in contracts() if t.layer != "bronze"}


@pytest.mark.slow
def test_the_maintenance_job_reports_what_it_reclaimed_and_changes_no_row(
    instance: dg.DagsterInstance,
) -> None:
    land_sample()
    run(instance)
    before = {path: told[1] for path, told in stored().items()}
    result = defs.resolve_job_def("maintain").execute_in_process(instance=instance)
    told = {
        e.asset_key.path[1]: e.materialization.metadata for e in result.get_asset_materialization_events()
    }
    assert set(told) == {"bronze", "silver", "gold", "quarantine", "system", "runs"}
    assert told["runs"]["runs"].value == 0
    assert told["silver"]["rows"].value == sum(n for path, n in EXPECTED if path.startswith("silver/"))
    assert told["silver"]["bytes_reclaimed"].value == 0
    assert {path: told[1] for path, told in stored().items()} == before
    known = {path: version for path, (version, _) in stored().items()}
    assert verify(open_lake(), contracts(), materialised=known).all_problems == []


@pytest.mark.slow
def test_what_others_did_to_a_table_is_told_by_the_next_run(instance: dg.DagsterInstance) -> None:
    import polars as pl
    from deltalake import DeltaTable, write_deltalake

    land_sample()
    run_telemetry(instance)
    gold = next(t for t in contracts() if t.path == "gold/user_profiles")
    uri = open_lake().store.uri(gold)
    foreign = pl.read_delta(uri).head(1).with_columns(username=pl.lit("intruder"))
    write_deltalake(uri, foreign.to_arrow(), mode="append")
    DeltaTable(uri)
    land(
        "crawler_results/more.ndjson", sample_files()["crawler_results/sample.ndjson"].replace(b"api", b"apj")
    )
    result = run_telemetry(instance)
    drift = {
        e.asset_key.to_user_string(): e
        for e in result.get_asset_check_evaluations()
        if e.check_name.endswith("_drift")
    }
    assert not drift["gold/user_profiles"].passed
    assert "(WRITE" in (drift["gold/user_profiles"].description or "")
    assert "written by something else: delta-rs" in (drift["gold/user_profiles"].description or "")
    assert all(e.passed for key, e in drift.items() if key != "gold/user_profiles")


@pytest.mark.slow
def test_a_damaged_table_fails_its_own_step_in_our_words_and_the_others_are_written(
    instance: dg.DagsterInstance,
) -> None:
    land_sample()
    run_telemetry(instance)
    silver = next(t for t in contracts() if t.path == "silver/crawler_results")
    log = Path(open_lake().store.uri(silver)) / "_delta_log"
    last = sorted(log.glob("*.json"))[-1]
    last.write_bytes(last.read_bytes()[:150])
    more = sample_files()["pipeline_events/sample.ndjson"].replace(b"ws-", b"wt-")
    land("pipeline_events/more.ndjson", more)
    result = run_telemetry(instance)
    assert not result.success
    failed = {e.step_key: e for e in result.get_step_failure_events()}
    says = failed["silver__crawler_results"].step_failure_data.error_display_string
    assert "DamagedTable" in says
    assert f"log entry 1 (_delta_log/{last.name}) is cut short or altered. To mend it, put " in says
    assert "Kernel" not in says
    written = {e.asset_key.to_user_string() for e in result.get_asset_materialization_events()}
    assert "gold/pipeline_metrics" in written


def run_cohorts(instance: dg.DagsterInstance, **kwargs: object) -> dg.ExecuteInProcessResult:
    job = defs.resolve_job_def("materialize_clinical")
    return job.execute_in_process(instance=instance, raise_on_error=False, **kwargs)  # type: ignore[arg-type]


def land_cohorts(**seeds: int) -> None:
    for name, seed in seeds.items():
        for file, body in cohort.cohort(2, seed=seed).items():
            land(f"clinical/{name}/{file}", body)


def patients() -> dict[str, int]:
    frame = open_lake().store.scan(next(t for t in contracts() if t.path == "silver/patient"))
    return dict(frame.group_by("cohort").len().sort("cohort").collect().iter_rows())


def by_partition(result: dg.ExecuteInProcessResult) -> set[str | None]:
    events = result.get_asset_materialization_events()
    return {e.partition for e in events if e.asset_key == dg.AssetKey(["landing", "cohorts"])}


@pytest.mark.slow
def test_a_run_of_one_cohort_leaves_the_others_alone(instance: dg.DagsterInstance) -> None:
    land_cohorts(a=1, b=2, c=3)
    instance.add_dynamic_partitions("cohorts", ["a", "b", "c"])
    result = run_cohorts(instance, partition_key="b")
    assert (result.success, by_partition(result), patients()) == (True, {"b"}, {"b": 2})
    told = result.get_asset_materialization_events()[0].materialization.metadata
    assert (told["files"].value, told["dagster/partition_row_count"].value) == (4, 24 + 2)


@pytest.mark.slow
def test_a_cohort_with_too_many_rejects_holds_gold_until_a_better_one_comes(
    instance: dg.DagsterInstance,
) -> None:
    land_cohorts(a=1, c=3)
    land("clinical/b/wrong.ndjson", b'{"resourceType": "Patient"}\n' * 11)
    instance.add_dynamic_partitions("cohorts", ["a", "b", "c"])
    assert run_cohorts(instance, partition_key="a").success
    summary = next(t for t in contracts() if t.path == "gold/encounter_summary")
    before = open_lake().store.snapshot(summary).rows
    bad = run_cohorts(instance, partition_key="b")
    assert not bad.success
    assert [name for name, (passed, _) in checks(bad).items() if not passed] == [
        "patient_reject_share", "fhir_index_reject_share",
    ]  # fmt: skip
    assert "id_valid (11)" in checks(bad)["patient_reject_share"][1]
    empty = run_cohorts(instance, partition_key="b")
    assert empty.success
    assert open_lake().store.snapshot(summary).rows == before
    assert run_cohorts(instance, partition_key="c").success
    assert open_lake().store.snapshot(summary).rows > before
    assert patients() == {"a": 2, "c": 2}


@pytest.mark.slow
def test_a_range_of_cohorts_goes_in_one_run(instance: dg.DagsterInstance) -> None:
    land_cohorts(a=1, b=2, c=3)
    instance.add_dynamic_partitions("cohorts", ["a", "b", "c"])
    tags = {"dagster/asset_partition_range_start": "a", "dagster/asset_partition_range_end": "b"}
    result = run_cohorts(instance, tags=tags)
    assert (result.success, by_partition(result), patients()) == (True, {"a", "b"}, {"a": 2, "b": 2})


@pytest.mark.slow
def test_a_run_of_everything_takes_in_every_cohort_and_says_so(instance: dg.DagsterInstance) -> None:
    land_sample()
    land_cohorts(a=1, b=2)
    assert run(instance).success
    assert patients() == {"a": 2, "b": 2, "sample": 4}
    document = json.loads((Path(os.environ["LAKE_URL"]) / "_odp/manifests/clinical.json").read_text())
    assert document["coverage"]["cohorts"] == ["a", "b", "sample"]
    assert document["coverage"]["references"]["dangling"] == 0
    assert document["tables"]["silver/patient"]["rows"] == 8
    key = dg.AssetKey(["landing", "cohorts"])
    assert instance.get_dynamic_partitions("cohorts") == ["a", "b", "sample"]
    assert instance.get_materialized_partitions(key) == {"a", "b", "sample"}


def test_the_sensor_asks_for_one_run_per_new_or_changed_cohort(instance: dg.DagsterInstance) -> None:
    sensor = PARTITION_SENSORS[0]
    land_cohorts(a=1, b=2)
    settle()
    first, cursor = look(instance, SECOND_LOOK, sensor)
    assert isinstance(first, dg.SensorResult)
    assert [r.partition_key for r in first.run_requests or []] == ["a", "b"]
    assert isinstance(look(instance, cursor, sensor)[0], dg.SkipReason)
    land_cohorts(c=3)
    land("clinical/a/more.ndjson", b'{"resourceType": "Patient", "id": "one-more"}\n')
    settle()
    again, _ = look(instance, cursor, sensor)
    assert isinstance(again, dg.SensorResult)
    assert [r.partition_key for r in again.run_requests or []] == ["a", "c"]
    assert again.dynamic_partitions_requests[0].partition_keys == ["a", "c"]  # type: ignore[index]
    everything, _ = look(instance, SECOND_LOOK)
    assert isinstance(everything, dg.SensorResult)
    assert everything.run_requests  # landing was never looked at


@pytest.mark.slow
def test_a_cohort_of_old_files_is_asked_for_after_a_run_of_everything(instance: dg.DagsterInstance) -> None:
    """As `rsync -a` and `cp -p` bring them: with times from before that run."""
    sensor = PARTITION_SENSORS[0]
    land_cohorts(a=1)
    settle()
    assert run(instance).success
    first, cursor = look(instance, None, sensor)
    assert "a finished run has seen these files" in str(first.skip_message)  # type: ignore[attr-defined]
    land_cohorts(b=2)
    settle()
    second, _ = look(instance, cursor, sensor)
    assert isinstance(second, dg.SensorResult)
    assert [r.partition_key for r in second.run_requests or []] == ["b"]


@pytest.mark.slow
def test_a_table_that_fails_does_not_keep_the_others_from_being_written(
    instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    land_sample()
    store = type(open_lake().store)
    real = store.merge

    def broken(self, table, *args, **kwargs):  # type: ignore[no-untyped-def]
        if table.name == "encounter":
            raise SchemaViolation("on purpose")
        return real(self, table, *args, **kwargs)

    monkeypatch.setattr(store, "merge", broken)
    result = run(instance)
    assert not result.success
    assert {"silver/patient", "silver/observation", "silver/fhir_index"} <= made(result)
    assert "silver/encounter" not in made(result)
    monkeypatch.setattr(store, "merge", real)
    assert run(instance).success
