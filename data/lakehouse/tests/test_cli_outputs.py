"""`odp export`, `odp mart`, `odp report`: what they print, and what they leave behind."""

from __future__ import annotations

import json
from pathlib import Path

import duckdb
import pytest

from lakehouse.cli.main import main
from lakehouse.materialize import materialize
from lakehouse.pipeline import open_lake
from lakehouse.registry import sample_files, tables
from lakehouse.settings import Settings

NAMES = ("LAKE_URL", "LANDING_URL", "EXPORTS_URL", "EXPORTS_PII", "MART_PG_HOST", "MART_FILE", "MART_PII")


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cli")
    settings = Settings(lake_url=str(folder / "lake"), landing_url=str(folder / "landing"))
    opened = open_lake(settings)
    for name, body in sample_files().items():
        if not name.startswith("clinical"):
            opened.landing.put(name, body)
    for table in tables():
        if table.contract.domain == "pipelines":
            materialize(opened, table, checks=False)
    return folder


@pytest.fixture(autouse=True)
def here(lake: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("LAKE_URL", str(lake / "lake"))


def test_export_writes_files_once(lake: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export", "gold/pipeline_metrics", "gold/user_profiles"]) == 0
    first = capsys.readouterr().out
    assert (
        "left out, as personal data: gold/user_profiles (username, display_name); --pii takes it along"
        in first
    )
    assert f"exports: {lake}/exports" in first
    assert sorted(p.name for p in (lake / "exports/gold").iterdir()) == [
        "pipeline_metrics.csv", "pipeline_metrics.parquet", "user_profiles.csv", "user_profiles.parquet",
    ]  # fmt: skip
    assert main(["export", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert [(one["table"], one["written"]) for one in said["tables"]] == [
        ("gold/pipeline_metrics", False),
        ("gold/user_profiles", False),
    ]
    assert said["absent"] == ["gold/encounter_summary", "gold/condition_era", "gold/fhir_references"]


def test_export_takes_personal_data_along_where_it_is_asked_for(
    lake: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = lake / "exports/gold/user_profiles.csv"
    assert main(["export", "--pii"]) == 0
    assert '"username"' in file.read_text()
    assert main(["export"]) == 0
    assert '"username"' not in file.read_text()
    monkeypatch.setenv("EXPORTS_PII", "true")
    assert main(["export"]) == 0
    assert '"username"' in file.read_text()


def test_export_refuses_what_is_no_gold(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export", "silver/pipeline_events"]) == 1
    assert "silver/pipeline_events is no table of Gold" in capsys.readouterr().err
    assert main(["export", "gold/none"]) == 1
    assert "no table 'gold/none' is declared" in capsys.readouterr().err


def test_mart_is_a_file_beside_the_lake(lake: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["mart"]) == 0
    printed = capsys.readouterr()
    assert f"mart: {lake}/mart.duckdb" in printed.out
    assert "! not written yet in the lake: gold/encounter_summary" in printed.err
    with duckdb.connect(lake / "mart.duckdb", read_only=True) as database:
        assert database.sql("SELECT count(*) FROM pipeline_metrics").fetchall() == [(4,)]
    assert main(["mart", "--json"]) == 0
    assert {one["changed"] for one in json.loads(capsys.readouterr().out)["tables"]} == {False}


def test_a_mart_that_cannot_be_reached_is_no_success(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MART_PG_HOST", "127.0.0.1")
    monkeypatch.setenv("MART_PG_PORT", "9")
    monkeypatch.setenv("MART_PG_PASSWORD", "hush-hush")
    assert main(["mart"]) == 2
    told = capsys.readouterr().err
    assert "refreshing the mart at postgres://127.0.0.1:9/mart" in told
    assert "hush" not in told


def test_report_writes_json_and_a_page(lake: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report"]) == 0
    assert f"report: {lake}/exports/quality/report.html" in capsys.readouterr().out
    assert sorted(p.name for p in (lake / "exports/quality").iterdir()) == ["report.html", "report.json"]
    assert main(["report", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["refused_files"] == 0
