"""Gold of more rows than are held at once goes from the engine to the store as files; none of them stays."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from polars.testing import assert_frame_equal
from test_flow import event, lake_at, land, run

from lakehouse.contracts import Contract
from lakehouse.domains.pipelines import contracts as c
from lakehouse.domains.pipelines import transforms
from lakehouse.engine.duckdb import DuckDBEngine
from lakehouse.errors import Conflict
from lakehouse.pipeline import Lake, refresh
from lakehouse.store import Rows, StagedFiles
from lakehouse.store.delta.write import DeltaStore

EVENTS = [event(f"p{n}", at=f"2026-01-{n % 28 + 1:02d}T10:00:00Z", user_id=f"u{n % 7}") for n in range(60)]


def filled(root: Path, **engine: Any) -> Lake:
    lake = dataclasses.replace(lake_at(root, batch_rows=5), **engine)
    land(lake, "a.jsonl", *EVENTS)
    run(lake)
    return lake


@pytest.fixture
def handed_over(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[Rows]]:
    """What each table was overwritten with, by its path."""
    seen: dict[str, list[Rows]] = {}
    overwrite = DeltaStore.overwrite

    def spied(self: DeltaStore, table: Contract, rows: Rows, *more: Any) -> Any:
        seen.setdefault(table.path, []).append(rows)
        return overwrite(self, table, rows, *more)

    monkeypatch.setattr(DeltaStore, "overwrite", spied)
    return seen


def test_gold_by_way_of_files_is_the_gold_of_frames(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, handed_over: dict[str, list[Rows]]
) -> None:
    scratch = tmp_path / "scratch [a]=b*"
    monkeypatch.setenv("ODP_SCRATCH", str(scratch))
    plain = filled(tmp_path / "frames")
    assert all(isinstance(rows, pl.DataFrame) for rows in handed_over.pop(c.PIPELINE_METRICS.path))
    staged = filled(tmp_path / "files", engine=DuckDBEngine())
    assert all(isinstance(rows, StagedFiles) for rows in handed_over[c.PIPELINE_METRICS.path])
    key = c.PIPELINE_METRICS.key
    found, wanted = (lake.store.scan(c.PIPELINE_METRICS).collect().sort(key) for lake in (staged, plain))
    assert wanted.height > 5
    assert_frame_equal(found, wanted, check_exact=True)
    assert not list(scratch.glob("odp-staged-*"))


def test_a_write_that_fails_leaves_no_staged_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ODP_SCRATCH", str(tmp_path / "scratch"))
    lake = filled(tmp_path, engine=DuckDBEngine())
    before = lake.store.snapshot(c.PIPELINE_METRICS).version
    there: list[str] = []

    def refused(self: DeltaStore, table: Contract, rows: Rows, *_: Any) -> Any:
        assert isinstance(rows, StagedFiles)
        there.extend(file for file in rows.files if Path(file).is_file())
        raise Conflict("others keep changing it")

    monkeypatch.setattr(DeltaStore, "overwrite", refused)
    with pytest.raises(Conflict):
        refresh(lake, c.PIPELINE_METRICS, transforms.pipeline_metrics, full=True)
    assert len(there) == 1
    assert not list((tmp_path / "scratch").glob("odp-staged-*"))
    assert lake.store.snapshot(c.PIPELINE_METRICS).version == before
