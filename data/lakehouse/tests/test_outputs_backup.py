"""Outputs of a lake whose backup was put back: another commit of the same number is another one."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import duckdb
import lakes
import polars as pl
import pytest
from conftest_outputs import PEOPLE, at, people, put, small_lake
from test_mart_postgres import ask

from lakehouse.outputs.exports import export
from lakehouse.outputs.lag import behind
from lakehouse.outputs.mart import refresh_mart
from lakehouse.outputs.settings import OutputSettings
from lakehouse.pipeline import Lake, open_lake


def two_ways(folder: Path, settings: OutputSettings, first: Lake, refresh: Any) -> Lake:
    """Refresh outputs of a version, put the backup of before back, and make that version of other rows."""
    put(first, PEOPLE, people(2, 1))
    shutil.copytree(folder / "lake", folder / "backup")
    put(first, PEOPLE, people(2, 7))
    refresh(first)
    version = first.store.snapshot(PEOPLE).version
    shutil.rmtree(folder / "lake")
    (folder / "backup").rename(folder / "lake")
    again = open_lake(settings.lake)
    put(again, PEOPLE, people(3, 9))
    assert again.store.snapshot(PEOPLE).version == version
    return again


def test_files_and_the_duckdb_mart_are_those_of_what_was_put_back(tmp_path: Path) -> None:
    lake, given = small_lake(tmp_path)
    settings = replace(given, mart_pii=True)

    def refresh(lake: Lake) -> None:
        export(lake, [PEOPLE], settings, pii=True)
        refresh_mart(lake, [PEOPLE], settings)

    again = two_ways(tmp_path, settings, lake, refresh)
    assert set(behind(again, [PEOPLE], settings)) == {"exports", "mart"}
    refresh(again)
    assert pl.read_parquet(tmp_path / "exports/gold/people.parquet")["visits"].to_list() == [9, 9, 9]
    assert isinstance(settings.mart, Path)
    with duckdb.connect(settings.mart, read_only=True) as mart:
        assert mart.sql("SELECT visits FROM people").fetchall() == [(9,), (9,), (9,)]
    assert behind(again, [PEOPLE], settings) == {}
    assert not export(again, [PEOPLE], settings, pii=True).tables[0].written
    assert not refresh_mart(again, [PEOPLE], settings).changed


@pytest.mark.slow
def test_the_mart_in_postgres_is_that_of_what_was_put_back(tmp_path: Path) -> None:
    lake, given = small_lake(tmp_path)
    database = lakes.database()
    settings = at(given, database, mart_pii=True)
    again = two_ways(tmp_path, settings, lake, lambda lake: refresh_mart(lake, [PEOPLE], settings))
    assert refresh_mart(again, [PEOPLE], settings).changed
    assert not refresh_mart(again, [PEOPLE], settings).changed
    assert ask(database, "SELECT visits FROM people") == [(9,), (9,), (9,)]
