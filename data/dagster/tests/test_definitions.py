"""The code location as Dagster sees it. A change of the graph shows here, and so in review."""

from __future__ import annotations

import dagster as dg

from lakehouse.contracts import LAYERS, Chart, Column, Contract, Materialization, Type, bronze_columns
from lakehouse.registry import contracts
from orchestration import metadata
from orchestration.definitions import defs

NO_TABLES = {"landing/cohorts", "gold/corpus_manifest", "maintenance/runs"}


def specs() -> dict[str, dg.AssetSpec]:
    return {spec.key.to_user_string(): spec for spec in defs.resolve_all_asset_specs()}


def test_the_assets_and_what_they_hang_on() -> None:
    graph = {k: sorted(d.asset_key.to_user_string() for d in s.deps) for k, s in specs().items()}
    assert {k: graph[k] for k in sorted(graph) if specs()[k].tags["domain"] == "pipelines"} == {
        "bronze/raw_crawler_results": [],
        "bronze/raw_pipeline_events": [],
        "gold/pipeline_metrics": ["silver/pipeline_events"],
        "gold/user_profiles": ["silver/crawler_results"],
        "silver/crawler_results": ["bronze/raw_crawler_results"],
        "silver/pipeline_events": ["bronze/raw_pipeline_events"],
    }


OUTPUTS = {"outputs/exports", "outputs/mart", "outputs/quality_report"}


def test_every_declared_table_is_an_asset_and_no_other() -> None:
    maintenance = {
        *OUTPUTS,
        "system/restore_points",
        "landing/cohorts",
        "gold/corpus_manifest",
        *(f"maintenance/{layer}" for layer in LAYERS),
        "maintenance/runs",
    }
    assert sorted(specs()) == sorted({t.path for t in contracts()} | maintenance)
    points = {d.asset_key.to_user_string() for d in specs()["system/restore_points"].deps}
    read = {source.path for t in contracts() for source in t.sources}
    assert points == {t.path for t in contracts()} - read
    assert points >= {t.path for t in contracts() if t.layer == "gold"}


def test_every_asset_says_who_what_and_how() -> None:
    for key, spec in specs().items():
        assert spec.description, key
        assert spec.owners, key
        assert spec.code_version, key
        if key in NO_TABLES | OUTPUTS:
            continue
        assert "deltalake" in spec.kinds, key
        layer = key.split("/")[0]
        assert spec.group_name == (layer if layer in {"bronze", "silver", "gold"} else "maintenance")
        if layer == "maintenance":
            continue
        schema = spec.metadata["dagster/column_schema"]
        assert all(column.description for column in schema.columns), key


def test_gold_has_a_freshness_policy() -> None:
    assert {k for k, s in specs().items() if s.freshness_policy} >= {
        "gold/pipeline_metrics",
        "gold/user_profiles",
    }


def test_jobs_and_sensors() -> None:
    jobs = {j.name for j in defs.resolve_all_job_defs() if not j.name.startswith("__")}
    assert jobs == {
        "materialize_all", "materialize_bronze", "materialize_silver", "materialize_gold", "maintain",
        "materialize_clinical",
    }  # fmt: skip
    sensors = {s.name: s.default_status for s in defs.sensors or []}
    assert sensors == dict.fromkeys(
        ("on_landed_file", "on_clinical_cohort", "on_orphaned_run", "on_run_failure"),
        dg.DefaultSensorStatus.RUNNING,
    )


def test_maintenance_runs_daily_and_no_run_waits_for_it() -> None:
    (schedule,) = defs.schedules or []
    assert (schedule.name, schedule.cron_schedule) == ("maintain_schedule", "0 3 * * *")
    assert schedule.default_status is dg.DefaultScheduleStatus.RUNNING
    everything = defs.resolve_job_def("materialize_all").asset_layer.selected_asset_keys
    assert {key.path[0] for key in everything} == {"bronze", "silver", "gold", "system", "outputs"}


def test_outputs_come_after_all_of_gold_and_the_report_after_the_restore_point() -> None:
    gold = {t.path for t in contracts() if t.layer == "gold"}
    hang_on = {key: {d.asset_key.to_user_string() for d in specs()[key].deps} for key in OUTPUTS}
    assert hang_on == {
        "outputs/exports": gold,
        "outputs/mart": gold,
        "outputs/quality_report": {*gold, "system/restore_points"},
    }
    assert {specs()[key].group_name for key in OUTPUTS} == {"outputs"}
    for name in ("materialize_all", "materialize_clinical"):
        keys = {k.to_user_string() for k in defs.resolve_job_def(name).asset_layer.selected_asset_keys}
        assert keys >= OUTPUTS


def test_every_table_has_its_checks_and_the_gates_block() -> None:
    names = {
        spec.name: spec.blocking
        for asset in defs.resolve_asset_graph().asset_check_keys
        for spec in [defs.resolve_asset_graph().get_check_spec(asset)]
    }
    gates = {n for n in names if n.endswith(("_conservation", "_reject_share", "_key", "_schema"))}
    assert {n for n in gates if not names[n]} == set()
    assert {"pipeline_events_conservation", "crawler_results_reject_share", "user_profiles_key"} <= gates
    assert names["raw_pipeline_events_files"] is False


SECRET = Contract(
    layer="silver", name="people", domain="t", description="One person.", key=("name",),
    materialization=Materialization.INCREMENTAL_BY_KEY,
    columns=(
        Column(name="name", type=Type.STRING, nullable=False, pii=True, description="Name"),
        Column(name="n", type=Type.INT64, unit="count", description="Number"),
    ),
    sources=(
        Contract(layer="bronze", name="b", domain="t", description="x",
                 materialization=Materialization.APPEND, columns=bronze_columns()),
    ),
    chart=Chart(label="name", value="n", title="People"),
)  # fmt: skip


def test_pii_never_reaches_preview_or_chart(tmp_path) -> None:  # type: ignore[no-untyped-def]
    import polars as pl

    from lakehouse.pipeline import open_lake
    from lakehouse.settings import Settings

    lake = open_lake(Settings(lake_url=str(tmp_path / "lake"), landing_url=str(tmp_path / "landing")))
    lake.store.merge(SECRET, pl.DataFrame({"name": ["Ada Lovelace"], "n": [3]}))
    found = metadata.of_run(lake, SECRET, 0.1)
    assert found["preview"].value == "| name | n |\n|---|---|\n| ••• | 3 |"
    assert found["chart"].value == "| name | People | |\n|---|---|--:|\n| #1 | " + "█" * 24 + " | 3 |"
