"""Which engine computes a table: by setting, by contract, and what is said where it cannot.

Belongs here: choosing. Does not: that engines agree (test_engine_parity.py), Spark itself
(test_engine_spark.py).
"""

from __future__ import annotations

import dataclasses
import os
import tempfile
from datetime import UTC, datetime
from pathlib import Path

import narwhals.stable.v2 as nw
import pandas as pd
import polars as pl
import pytest
from test_flow import event, hashes, land, run

from lakehouse import process
from lakehouse.domains.pipelines import contracts as c
from lakehouse.engine import choice
from lakehouse.engine.choice import open_engine
from lakehouse.engine.duckdb import DuckDBEngine
from lakehouse.engine.frames import adapt
from lakehouse.engine.polars import PolarsEngine
from lakehouse.errors import SettingsError, StorageUnavailable
from lakehouse.pipeline import Lake, open_lake
from lakehouse.pipeline.context import RefreshContext
from lakehouse.settings import Settings


def environment(root: Path, **more: str) -> dict[str, str]:
    return {"LAKE_URL": str(root / "lake"), "LANDING_URL": str(root / "landing"), **more}


def lake_of(root: Path, **more: str) -> Lake:
    return open_lake(Settings.from_env(environment(root, **more)))


def test_polars_computes_where_nothing_is_said(tmp_path: Path) -> None:
    assert isinstance(lake_of(tmp_path).engine, PolarsEngine)


def test_a_setting_chooses_the_engine(tmp_path: Path) -> None:
    assert isinstance(lake_of(tmp_path, ODP_ENGINE="duckdb").engine, DuckDBEngine)


def test_a_contract_chooses_for_its_table(tmp_path: Path) -> None:
    lake = lake_of(tmp_path)
    other = dataclasses.replace(c.PIPELINE_METRICS, engine="duckdb")
    assert isinstance(lake.engine_of(other), DuckDBEngine)
    assert isinstance(lake.engine_of(c.PIPELINE_METRICS), PolarsEngine)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"ODP_ENGINE": "flink"}, "ODP_ENGINE=flink is not known: give polars or duckdb or spark"),
        ({"ODP_ENGINE": "spark"}, "SPARK_REMOTE is not set"),
        ({"SPARK_READS_LAKE": "perhaps"}, "SPARK_READS_LAKE=perhaps is neither true nor false"),
    ],
)
def test_a_setting_that_cannot_be_is_refused(tmp_path: Path, given: dict[str, str], said: str) -> None:
    with pytest.raises(SettingsError, match=said):
        Settings.from_env(environment(tmp_path, **given))


def test_an_engine_that_is_not_installed_is_refused_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choice, "find_spec", lambda name: None)
    with pytest.raises(
        SettingsError, match=r"the engine duckdb is not installed: install the extra `duckdb`"
    ):
        open_engine("duckdb")


def test_a_contract_with_an_engine_that_is_none_is_refused() -> None:
    with pytest.raises(SettingsError, match="the engine 'flink' is not known"):
        open_engine("flink")


@pytest.mark.slow
def test_a_table_of_another_engine_holds_the_same_rows(tmp_path: Path) -> None:
    """DuckDB reads the very files that Polars wrote, and what it makes is read back by Polars."""
    found = []
    for engine in ("polars", "duckdb"):
        lake = lake_of(tmp_path / engine, ODP_ENGINE=engine)
        land(lake, "1.ndjson", *(event(f"p{n}", at=f"2026-01-{n % 28 + 1:02}T10:00:00Z") for n in range(60)))
        run(lake)
        land(lake, "2.ndjson", event("p1", at="2026-01-02T11:00:00Z"))
        run(lake)
        found.append(hashes(lake))
    assert found[0] == found[1]


def test_a_frame_that_another_program_asked_for_comes_from_any_engine(tmp_path: Path) -> None:
    lake = lake_of(tmp_path, ODP_ENGINE="duckdb")

    def transform(rows: pd.DataFrame) -> pd.DataFrame:
        assert isinstance(rows, pd.DataFrame)
        return rows.assign(total_pipelines=rows["total_pipelines"] + 1)

    table = dataclasses.replace(c.PIPELINE_METRICS, sources=(c.PIPELINE_METRICS,))
    step = RefreshContext(lake=lake, table=table, transform=adapt(transform, table), info={})
    rows = pl.DataFrame({"total_pipelines": [1, None]}, schema={"total_pipelines": pl.Int64})
    made = step.compute(lake.engine.scan(rows.lazy()))
    assert made.implementation is nw.Implementation.DUCKDB
    assert sorted(lake.engine.stage(made)["total_pipelines"].to_list(), key=str) == [2, None]


def test_duckdb_is_bounded_by_what_the_container_may_use(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    limit = tmp_path / "memory.max"
    limit.write_text("536870912\n")
    monkeypatch.setattr(process, "_CGROUPS", (tmp_path / "another", limit))
    frame = DuckDBEngine().scan(pl.LazyFrame({"a": [1]}))
    said = nw.to_native(frame).query("t", "SELECT current_setting('memory_limit') FROM t").fetchone()
    assert said == ("256.0 MiB",)
    limit.write_text("max\n")
    assert process.memory_limit() > 536870912


@pytest.mark.parametrize("given", [True, False])
def test_duckdb_goes_to_the_disk_that_it_is_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: bool
) -> None:
    """In a container the folder for temporary files is memory, and small."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "small"))
    (tmp_path / "small").mkdir()
    monkeypatch.delenv("ODP_SCRATCH", raising=False)
    if given:
        monkeypatch.setenv("ODP_SCRATCH", str(tmp_path / "not" / "there" / "yet"))
    frame = DuckDBEngine().scan(pl.LazyFrame({"a": [1]}))
    said = nw.to_native(frame).query("t", "SELECT current_setting('temp_directory') FROM t").fetchone()
    assert said is not None
    place = Path(said[0])
    assert place.parent == tmp_path / ("not/there/yet" if given else "small")
    assert place.parent.is_dir()


def test_what_killed_processes_left_on_the_disk_goes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ODP_SCRATCH", str(tmp_path))
    for name in ("odp-duckdb-1", "odp-duckdb-2", "duckdb-of-others"):
        (tmp_path / name).mkdir()
    days_ago = datetime.now(UTC).timestamp() - 2 * 24 * 3600
    for name in ("odp-duckdb-1", "duckdb-of-others"):
        os.utime(tmp_path / name, (days_ago, days_ago))
    DuckDBEngine()
    assert {one.name for one in tmp_path.iterdir()} == {"odp-duckdb-2", "duckdb-of-others"}


def test_a_server_that_does_not_answer_is_told_at_once(tmp_path: Path) -> None:
    pytest.importorskip("pyspark", reason="needs the extra spark")
    lake = lake_of(tmp_path, ODP_ENGINE="spark", SPARK_REMOTE="sc://127.0.0.1:9/;token=secret-token")
    with pytest.raises(StorageUnavailable, match=r"opening Spark Connect at 127\.0\.0\.1:9") as raised:
        lake.engine.scan(pl.LazyFrame({"a": [1]}))
    assert "secret-token" not in str(raised.value)
    assert "secret-token" not in repr(
        Settings.from_env(environment(tmp_path, SPARK_REMOTE="sc://secret-token"))
    )
