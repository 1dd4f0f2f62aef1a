"""The dbt project as assets: what hangs on what, a run for real, and a build that fails.

Belongs here: what Dagster is told of it. Does not: the build itself (lakehouse, test_dbt.py).
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest
from loans import one_more

from lakehouse import registry
from lakehouse.dbt import Project
from lakehouse.domains.lending.sample import sample_files
from lakehouse.pipeline import open_lake
from orchestration import assets as factory
from orchestration import resources
from orchestration.definitions import build_defs

PROJECT = Path(__file__).resolve().parents[2] / "dbt"
GOLD = ("borrower_segments", "loan_performance", "loan_status_history", "vintage_curves")


@pytest.fixture
def defs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dg.Definitions]:
    """Definitions with the shipped project, and a lake of its own."""
    monkeypatch.setenv("ODP_DBT_PROJECT", str(PROJECT))
    monkeypatch.setenv("LAKE_URL", str(tmp_path / "lake"))
    monkeypatch.setenv("LANDING_URL", str(tmp_path / "landing"))
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    registry.clear()
    factory.assets.cache_clear()
    yield build_defs()
    monkeypatch.undo()
    registry.clear()
    factory.assets.cache_clear()


def specs(defs: dg.Definitions) -> dict[str, dg.AssetSpec]:
    return {spec.key.to_user_string(): spec for asset in defs.assets or () for spec in asset.specs}  # type: ignore[union-attr]


def test_models_stand_between_silver_and_gold(defs: dg.Definitions) -> None:
    found = specs(defs)
    deps = {key: {dep.asset_key.to_user_string() for dep in spec.deps} for key, spec in found.items()}
    assert deps["dbt/stg_loans"] == {"silver/loans"}
    assert deps["dbt/int_loans"] == {"dbt/stg_loans"}
    for name in ("borrower_segments", "loan_performance", "vintage_curves"):
        assert deps[f"gold/{name}"] == {"silver/loans", "dbt/int_loans"}
    assert {found[key].group_name for key in found if key.startswith("dbt/")} == {"models"}
    assert all(spec.owners and spec.tags["domain"] for key, spec in found.items() if key.startswith("dbt/"))


@pytest.mark.slow
def test_definitions_load_neither_dbt_nor_duckdb() -> None:
    code = (
        "import sys, orchestration.definitions;"
        "print(sorted(m for m in sys.modules if m.split('.')[0] in ('dbt', 'duckdb', 'dagster_dbt')))"
    )
    env = {"PATH": "/usr/bin:/bin", "PYTHONPATH": ":".join(sys.path), "ODP_DBT_PROJECT": str(PROJECT)}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def run(defs: dg.Definitions, instance: dg.DagsterInstance) -> dg.ExecuteInProcessResult:
    job = defs.resolve_job_def("materialize_all")
    keys = [spec.key for spec in specs(defs).values() if spec.tags.get("domain") == "lending"]
    return job.execute_in_process(instance=instance, raise_on_error=False, asset_selection=keys)


def verdicts(result: dg.ExecuteInProcessResult) -> dict[tuple[str, str], bool]:
    found = result.get_asset_check_evaluations()
    return {(one.asset_key.to_user_string(), one.check_name): one.passed for one in found}


def lineage(event: dg.DagsterEvent, column: str) -> set[str]:
    found = event.step_materialization_data.materialization.metadata["dagster/column_lineage"].value
    deps = found.deps_by_column.get(column, ())
    return {f"{dep.asset_key.to_user_string()}.{dep.column_name}" for dep in deps}


@pytest.mark.slow
def test_a_run_makes_the_tables_and_a_failing_test_is_a_failed_check(defs: dg.Definitions) -> None:
    instance = dg.DagsterInstance.ephemeral()
    for name, body in sample_files().items():
        open_lake().landing.put(name, body)
    first = run(defs, instance)
    assert first.success
    made = {e.asset_key.to_user_string(): e for e in first.get_asset_materialization_events() if e.asset_key}
    assert {f"gold/{name}" for name in GOLD} | {"dbt/stg_loans", "dbt/int_loans"} <= set(made)
    assert lineage(made["gold/loan_performance"], "weighted_interest_rate") == {
        "dbt/int_loans.funded_amount",
        "dbt/int_loans.interest_rate",
    }
    assert lineage(made["gold/loan_performance"], "loan_count") == {
        "silver/loans.loan_key"
    }  # as its YAML says
    assert lineage(made["gold/loan_status_history"], "loan_status") == {"silver/loans.loan_status"}
    assert lineage(made["dbt/int_loans"], "income_band") == {"dbt/stg_loans.annual_income"}
    assert lineage(made["dbt/int_loans"], "grade") == {"dbt/stg_loans.grade"}  # of a star
    assert lineage(made["dbt/stg_loans"], "annual_income") == {"silver/loans.annual_income"}
    passed = {
        (e.asset_key.to_user_string(), e.check_name): e.passed for e in first.get_asset_check_evaluations()
    }
    assert passed["dbt/stg_loans", "dbt_payments_add_up"]
    assert passed["gold/loan_status_history", "loan_status_history_dbt_versions_do_not_overlap"]
    assert all(passed.values())

    open_lake().landing.put("loans/odd.csv", one_more(total_pymnt="734911.27"))
    second = run(defs, instance)
    assert not second.success
    made = {e.asset_key.to_user_string(): e for e in second.get_asset_materialization_events() if e.asset_key}
    assert not {key for key in made if key.startswith("gold/")}
    assert verdicts(second)["dbt/stg_loans", "dbt_payments_add_up"] is False
    told = [e for e in second.all_events if e.is_step_failure]
    assert "payments_add_up: 1 rows fail it" in str(told)
    ours = [e for e in second.all_events if e.step_key == "dbt_build"]  # the preview of Silver shows amounts
    assert "734911" not in str(ours)


def test_dbt_gets_ready_beside_the_first_steps_of_a_run_that_will_build(
    defs: dg.Definitions, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[Project] = []
    closed: list[bool] = []
    monkeypatch.setattr(resources, "open_early", opened.append)
    monkeypatch.setattr(resources, "close_early", lambda: closed.append(True))
    job = defs.resolve_job_def("materialize_all")
    with dg.DagsterInstance.ephemeral() as instance:
        for table, known in (("bronze/raw_loans", 0), ("gold/vintage_curves", 1)):
            key = dg.AssetKey(table.split("/"))
            job.execute_in_process(instance=instance, asset_selection=[key], raise_on_error=False)
            assert len(opened) == known
    assert len(closed) == 2
