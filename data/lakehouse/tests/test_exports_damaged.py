"""Exports of a lake of which one table cannot be read: the others go out, and that one is named."""

from __future__ import annotations

import shutil
from contextlib import nullcontext
from pathlib import Path

import polars as pl
import pytest
from conftest_outputs import ADA, EVERY, PEOPLE, ROWS, people, put, small_lake

from lakehouse.errors import DamagedTable
from lakehouse.outputs.exports import export


@pytest.mark.parametrize("part", ["log", "data"])
@pytest.mark.parametrize("order", [(EVERY, PEOPLE), (PEOPLE, EVERY)])
def test_a_damaged_table_keeps_no_other_from_its_files(tmp_path: Path, part: str, order: tuple) -> None:  # type: ignore[type-arg]
    lake, settings = small_lake(tmp_path)
    put(lake, EVERY, ROWS)
    put(lake, PEOPLE, people(2, 1))
    export(lake, order, settings)
    files = tmp_path / "exports" / "gold"
    before = (files / "every_type.csv").read_bytes()
    put(lake, EVERY, ROWS[:2])
    put(lake, PEOPLE, people(3, 5))
    folder = tmp_path / "lake" / EVERY.path
    if part == "log":
        sorted(folder.glob("_delta_log/*.json"))[-1].write_bytes(b"{")
    else:
        for file in folder.glob("*.parquet"):
            file.unlink()
    fresh, _ = small_lake(tmp_path)
    with pytest.raises(DamagedTable, match="gold/every_type"):
        export(fresh, order, settings)
    assert pl.read_csv(files / "people.csv")["visits"].to_list() == [5, 5, 5]
    assert (files / "every_type.csv").read_bytes() == before
    put(fresh, PEOPLE, people(1, 8))
    with pytest.raises(DamagedTable, match="gold/every_type"):
        export(fresh, order, settings)
    assert pl.read_csv(files / "people.csv")["visits"].to_list() == [8]


@pytest.mark.parametrize("part", ["damaged", "gone"])
def test_no_personal_data_stays_that_was_not_asked_for(tmp_path: Path, part: str) -> None:
    """Of a table that cannot be written anew, either."""
    lake, settings = small_lake(tmp_path)
    put(lake, EVERY, ROWS)
    put(lake, PEOPLE, people(2, 1))
    export(lake, [EVERY, PEOPLE], settings, pii=True)
    exports, folder = tmp_path / "exports", tmp_path / "lake" / EVERY.path
    assert ADA in (exports / "gold" / "every_type.csv").read_text(encoding="utf-8")
    if part == "gone":
        shutil.rmtree(folder)
    else:
        sorted(folder.glob("_delta_log/*.json"))[-1].write_bytes(b"{")
    fresh, _ = small_lake(tmp_path)
    with pytest.raises(DamagedTable) if part == "damaged" else nullcontext():
        export(fresh, [EVERY, PEOPLE], settings)
    left = [file for file in exports.rglob("*") if file.is_file() and file.name != ".lock"]
    assert sorted(file.name for file in left) == ["manifest.json", "people.csv", "people.parquet"]
    assert not any(ADA.encode() in file.read_bytes() for file in left)
    assert pl.read_csv(exports / "gold" / "people.csv").columns == ["visits"]
