"""Rows are read, computed and written in parts of so many bytes, and none is lost between parts."""

from __future__ import annotations

import importlib
from pathlib import Path

import narwhals.stable.v2 as nw
import polars as pl
import pytest
from test_flow import EVENT_SOURCES, event, lake_at, land
from test_store_contract import LOG

from lakehouse.domains.pipelines import contracts as c
from lakehouse.engine.polars import PolarsEngine
from lakehouse.engine.polars import engine as polars_engine
from lakehouse.pipeline import ingest
from lakehouse.sizes import rows_within, size_of
from lakehouse.store.validation import Incoming


def frame(rows: int) -> pl.DataFrame:
    """Rows of 44 bytes: a number, a text of twenty characters, and where that stands."""
    n = pl.Series("n", range(rows), pl.Int64)
    return pl.DataFrame([(n * 7 % 101), n.cast(pl.String).str.zfill(20).alias("text")])


def test_a_row_takes_its_numbers_its_characters_and_sixteen_bytes_a_text() -> None:
    assert size_of(frame(100)) == 100 * (8 + 20 + 16)


@pytest.mark.parametrize(("most", "rows"), [(1_000, 20), (4_400, 100), (2_200, 50), (1 << 20, 100), (1, 1)])
def test_parts_are_equal_and_at_most_so_large(most: int, rows: int) -> None:
    assert rows_within(most, frame(100)) == rows


def test_no_row_is_a_part_of_one() -> None:
    assert rows_within(10, frame(0)) == 1


@pytest.mark.parametrize(("number", "heights"), [(0, [0]), (7, [7]), (100, [20] * 5)])
def test_the_engine_computes_a_batch_in_parts(
    number: int, heights: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(polars_engine, "_PART_BYTES", 1_000)
    found = [
        nw.to_native(part).collect() for part in PolarsEngine().parts(nw.from_native(frame(number).lazy()))
    ]
    assert [part.height for part in found] == heights
    assert pl.concat(found).equals(frame(number))


@pytest.mark.parametrize("staged", [False, True])
def test_rows_go_to_the_writer_sorted_and_in_parts(staged: bool) -> None:
    rows = frame(100).lazy() if staged else frame(100)
    parts = list(Incoming(LOG, rows, 100, 4_400).parts(1_000, ["n"]))
    assert len(parts) > 1
    assert max(part.height for part in parts) <= 22
    assert pl.concat(parts).equals(frame(100).sort("n"))


def test_files_are_committed_once_they_are_so_many_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.import_module("lakehouse.pipeline.ingest"), "_MOST_BYTES", 500)
    lake = lake_at(tmp_path)
    for number in range(4):
        land(lake, f"{number}.ndjson", *(event(f"p{number}-{n}", note="x" * 50) for n in range(4)))
    report = ingest(lake, c.RAW_PIPELINE_EVENTS, EVENT_SOURCES)
    assert (report.files, report.rows) == (4, 16)
    numbers = lake.store.scan(c.RAW_PIPELINE_EVENTS).group_by("_batch_id").len().sort("_batch_id").collect()
    assert numbers.rows() == [(1, 4), (2, 4), (3, 4), (4, 4)]
