"""The sample: equal bytes everywhere, no future, true durations; the large one has exactly its shares."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from conftest_landing import Parts, bronze, gold, landed, silver
from hypothesis import given, settings
from hypothesis import strategies as st

from lakehouse import registry
from lakehouse.contracts.model import Contract
from lakehouse.domains.pipelines import contracts as c
from lakehouse.domains.pipelines import sample, transforms
from lakehouse.domains.pipelines.sources import SOURCES

# Pinned, so that a change of the sample is seen: two machines must give equal bytes.
PINNED = {
    "pipeline_events/sample.ndjson": "50df71391fe52ee667ead8a2e54012549095878413ddc8bd9aadf7bd4bb65c18",
    "crawler_results/sample.ndjson": "2947e90f09c8ebfe9157e9d82b6a1b479fe9a52ae663680c66ea64fb21a2f676",
}


def lines(name: str, **given_: Any) -> list[dict[str, Any]]:
    return [json.loads(line) for line in sample.sample_files(**given_)[name].splitlines()]


def at(text: str) -> datetime:
    return datetime.fromisoformat(text)


def test_the_bytes_are_the_same_on_every_machine() -> None:
    assert {n: hashlib.sha256(b).hexdigest() for n, b in sample.sample_files().items()} == PINNED
    assert sample.sample_files(seed=8) != sample.sample_files()
    assert {n: b for n, b in registry.sample_files().items() if n in PINNED} == sample.sample_files()


@pytest.mark.parametrize("clock", [sample.CLOCK, datetime(2031, 5, 6, 7, 8, 9, tzinfo=UTC)])
@pytest.mark.parametrize("seed", [sample.SEED, 1, 99])
def test_thirty_events_of_ten_pipelines(clock: datetime, seed: int) -> None:
    events = lines("pipeline_events/sample.ndjson", clock=clock, seed=seed)
    assert Counter(e["event_type"] for e in events) == {
        "pipeline_submitted": 10, "pipeline_started": 10, "pipeline_completed": 8, "pipeline_failed": 2,
    }  # fmt: skip
    assert len({e["pipeline_id"] for e in events}) == 10
    assert len({e["workspace_id"] for e in events}) == 2
    assert max(at(e["timestamp"]) for e in events) <= clock
    for submitted, started, ended in zip(events[::3], events[1::3], events[2::3], strict=True):
        assert submitted["pipeline_id"] == started["pipeline_id"] == ended["pipeline_id"]
        assert at(submitted["timestamp"]) < at(started["timestamp"])
        gap = at(ended["timestamp"]) - at(started["timestamp"])
        assert gap == timedelta(milliseconds=ended["raw_data"]["duration_ms"])


def test_five_profiles() -> None:
    found = lines("crawler_results/sample.ndjson")
    assert len({p["username"] for p in found}) == len(found) == 5
    assert max(at(p["timestamp"]) for p in found) <= sample.CLOCK


def load(name: str, source: Contract, table: Contract, transform: Any) -> tuple[int, Parts]:
    file = landed(name, sample.sample_files()[name])
    reader = next(s for s in SOURCES if s.folder == file.source)
    raw = pl.concat(reader.read(file))
    return raw.height, silver(table, transform, bronze(source, raw.to_dicts()))


def test_the_expected_numbers_are_what_a_load_gives() -> None:
    raw_events, events = load(
        "pipeline_events/sample.ndjson", c.RAW_PIPELINE_EVENTS, c.PIPELINE_EVENTS, transforms.pipeline_events
    )
    raw_results, results = load(
        "crawler_results/sample.ndjson", c.RAW_CRAWLER_RESULTS, c.CRAWLER_RESULTS, transforms.crawler_results
    )
    assert {
        "bronze/raw_pipeline_events": raw_events,
        "bronze/raw_crawler_results": raw_results,
        "silver/pipeline_events": events.good.unique(c.PIPELINE_EVENTS.key).height,
        "silver/crawler_results": results.good.unique(c.CRAWLER_RESULTS.key).height,
        "quarantine/pipeline_events": events.refused.height,
        "quarantine/crawler_results": results.refused.height,
        "gold/pipeline_metrics": gold(transforms.pipeline_metrics, events.good).height,
        "gold/user_profiles": gold(transforms.user_profiles, results.good).height,
    } == sample.EXPECTED
    assert (events.warnings, results.warnings) == ({}, {})


@pytest.mark.parametrize(
    "clock", [sample.CLOCK, *(datetime(2031, 5, 6, hour, 8, 9, tzinfo=UTC) for hour in range(24))]
)
def test_the_sample_fits_into_a_day_before_any_clock(clock: datetime) -> None:
    events = lines("pipeline_events/sample.ndjson", clock=clock, seed=clock.hour)
    ends = [e for e in events if e["event_type"] in ("pipeline_completed", "pipeline_failed")]
    days = {(e["workspace_id"], at(e["timestamp"]).date()) for e in ends}
    assert (len(events), len(ends)) == (30, 10)
    assert 2 <= len(days) <= 5
    assert clock - timedelta(days=1) < min(at(e["timestamp"]) for e in events)


share = st.sampled_from([0.0, 0.01, 0.05, 0.2])


@pytest.mark.slow
@settings(max_examples=40, deadline=None)
@given(st.just(0) | st.integers(4, 400), share, share, share, st.integers(0, 2**64))
def test_shares_are_exact(rows: int, duplicates: float, late: float, broken: float, seed: int) -> None:
    wanted = {"duplicates": duplicates, "late": late, "broken": broken}
    count = sample.shares(rows, **wanted)
    frame = sample.events(rows, seed=seed, **wanted)
    assert frame.height == rows == sum(vars(count).values())
    found = silver(
        c.PIPELINE_EVENTS, transforms.pipeline_events, bronze(c.RAW_PIPELINE_EVENTS, frame.to_dicts())
    )
    distinct = found.good.unique(c.PIPELINE_EVENTS.key).height
    assert found.refused.height == count.broken
    assert distinct == count.good + count.late
    assert found.good.height - distinct == count.duplicates
    assert found.good.height == 0 or found.good["occurred_at"].max() <= sample.CLOCK  # type: ignore[operator]
    tardy, before = found.good.tail(count.late), found.good.head(found.good.height - count.late)
    if count.late and before.height:
        assert tardy["occurred_at"].max() < before["occurred_at"].max()  # type: ignore[operator]


def test_the_large_sample_is_pinned_and_tells_true_durations() -> None:
    frame = sample.events(3000, duplicates=0.1, late=0.1, broken=0.1)
    assert (
        hashlib.sha256(frame.write_ndjson().encode()).hexdigest()
        == "e37cd6387028549d884a882546c98daca7b67cf7842b8e99ff84b0a2b82e8f91"
    )
    whole = sample.events(3000).with_columns(pl.col("timestamp").str.to_datetime(time_zone="UTC"))
    by_kind = whole.with_columns(
        pl.col("raw_data").str.json_path_match("$.duration_ms").cast(pl.Int64).alias("ms")
    )
    ends, starts = by_kind.filter(pl.col("ms").is_not_null()), by_kind.filter(event_type="pipeline_started")
    both = ends.join(starts, on="pipeline_id", suffix="_start")
    assert both.height == 1000
    assert (both["timestamp"] - both["timestamp_start"]).dt.total_milliseconds().to_list() == both[
        "ms"
    ].to_list()
    assert ends["event_type"].value_counts().sort("count").rows() == [
        ("pipeline_failed", 200),
        ("pipeline_completed", 800),
    ]


def test_impossible_shares_are_refused() -> None:
    for wanted in ({"duplicates": 0.6}, {"broken": 1.1}, {"late": -0.1}, {"late": 0.6, "broken": 0.6}):
        with pytest.raises(ValueError, match="shares"):
            sample.shares(100, **wanted)


def run(*args: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "lakehouse.domains.pipelines.sample", *args]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


@pytest.mark.slow
def test_the_command_writes_each_format(tmp_path: Path) -> None:
    assert "--duplicates" in run("--help").stdout
    expected = sample.events(60, duplicates=0.1)
    for suffix in ("parquet", "ndjson", "csv"):
        out = tmp_path / f"e.{suffix}"
        done = run("--rows", "60", "--out", str(out), "--duplicates", "0.1")
        assert (done.returncode, done.stderr) == (0, "")
        assert "good=54, duplicates=6" in done.stdout
        file = landed(f"pipeline_events/e.{suffix}", out.read_bytes())
        assert pl.concat(SOURCES[0].read(file)).equals(expected)
    refused = run("--rows", "60", "--out", str(tmp_path / "e.txt"))
    assert (refused.returncode, "give a path that ends in" in refused.stderr) == (2, True)
