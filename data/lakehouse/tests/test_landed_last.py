"""Of equal keys the row that landed last counts: files land in the natural order of their names."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
from test_flow import EVENT_SOURCES, assert_sound, event, lake_at, land, run

from lakehouse.domains.pipelines import contracts as c
from lakehouse.domains.pipelines import transforms
from lakehouse.landing import Source
from lakehouse.pipeline import Lake, ingest, refresh
from lakehouse.quarantine import replay

LOOSE = dataclasses.replace(
    c.PIPELINE_EVENTS, rules=tuple(r for r in c.PIPELINE_EVENTS.rules if "negative" not in r.name)
)


def took(lake: Lake) -> list[int]:
    return lake.store.scan(c.PIPELINE_EVENTS).collect()["duration_ms"].to_list()


@pytest.mark.parametrize(
    "names", [("part-2", "part-10"), ("a", "a1"), ("2026-9", "2026-10"), ("b/9", "b/10")]
)
@pytest.mark.parametrize("batch_rows", [1, 1000])
def test_the_last_file_of_one_landing_counts(tmp_path: Path, names: tuple[str, str], batch_rows: int) -> None:
    lake = lake_at(tmp_path, batch_rows=batch_rows)
    for number, name in enumerate(names):
        land(lake, f"{name}.ndjson", event("p", duration_ms=number))
    run(lake)
    assert took(lake) == [1]
    refresh(lake, c.PIPELINE_EVENTS, transforms.pipeline_events, full=True)
    assert took(lake) == [1]
    assert_sound(lake)


@pytest.mark.parametrize("batch_rows", [1, 1000])
@pytest.mark.parametrize("order", [EVENT_SOURCES, EVENT_SOURCES[::-1]])
def test_files_of_several_folders_count_alike_in_one_batch_or_in_several(
    tmp_path: Path, order: list[Source], batch_rows: int
) -> None:
    lake = lake_at(tmp_path, batch_rows=batch_rows)
    for number, folder in enumerate(["github", "pipeline_events", "temporal"]):
        lake.landing.put(f"{folder}/1.ndjson", json.dumps(event("p", duration_ms=number)).encode())
    ingest(lake, c.RAW_PIPELINE_EVENTS, order)
    run(lake)
    assert took(lake) == [2]


@pytest.mark.parametrize(("refused", "counts"), [("part-2", 7), ("part-11", -1)])
def test_a_replayed_row_yields_to_a_file_that_landed_after_its_own(
    tmp_path: Path, refused: str, counts: int
) -> None:
    lake = lake_at(tmp_path)
    land(lake, "part-10.ndjson", event("p", duration_ms=7))
    land(lake, f"{refused}.ndjson", event("p", duration_ms=-1))
    run(lake)
    assert took(lake) == [7]
    done = replay(lake, LOOSE, transforms.pipeline_events)
    assert (done.tried, done.written + done.merged) == (1, 1)
    assert took(lake) == [counts]
    refresh(lake, LOOSE, transforms.pipeline_events, full=True)
    assert took(lake) == [counts]
