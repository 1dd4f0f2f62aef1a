"""Gold of workflow telemetry: every figure on small frames, and that order and replays do not matter."""

from __future__ import annotations

import statistics
from datetime import UTC, date, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

import polars as pl
import pytest
from conftest_landing import gold
from hypothesis import given, settings
from hypothesis import strategies as st

from lakehouse.domains.pipelines.contracts import (
    CRAWLER_RESULTS,
    PIPELINE_EVENTS,
    PIPELINE_METRICS,
    USER_PROFILES,
)
from lakehouse.domains.pipelines.transforms import pipeline_metrics, user_profiles

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
METRICS = ("total_pipelines", "success_count", "failed_count", "skipped_count", "success_rate",
           "avg_duration_sec", "p50_duration_sec", "p95_duration_sec")  # fmt: skip


def event(
    pipeline: str, status: str, *, minute: float = 0, ms: int | None = None, **more: Any
) -> dict[str, Any]:
    kind = "pipeline_started" if status == "in_progress" else f"pipeline_{status}"
    return {
        "workspace_id": "w",
        "pipeline_id": pipeline,
        "event_type": kind,
        "event_id": "",
        "status": status,
        "duration_ms": ms,
        "occurred_at": NOON + timedelta(minutes=minute),
        **more,
    }


def metrics(*rows: dict[str, Any]) -> dict[tuple[str, date], tuple[Any, ...]]:
    """The figures by workspace and day."""
    frame = _silver(PIPELINE_EVENTS.polars_schema(), rows)
    made = gold(pipeline_metrics, frame)
    assert made.schema == PIPELINE_METRICS.polars_schema()
    return {(r["workspace_id"], r["date"]): tuple(r[m] for m in METRICS) for r in made.iter_rows(named=True)}


def _silver(schema: pl.Schema, rows: tuple[dict[str, Any], ...]) -> pl.DataFrame:
    return pl.DataFrame([{**dict.fromkeys(schema), **r} for r in rows], schema=schema)


TODAY = ("w", NOON.date())


def test_only_ends_count_and_the_figures_add_up() -> None:
    found = metrics(
        event("a", "completed", ms=1000), event("b", "completed", ms=2000), event("c", "failed", ms=4000),
        event("d", "in_progress", ms=9), event("a", "in_progress", minute=5),
    )  # fmt: skip
    assert found == {TODAY: (3, 2, 1, 0, 66.67, pytest.approx(7 / 3), 2.0, pytest.approx(3.8))}


def test_a_pipeline_counts_once_a_day_by_its_last_outcome() -> None:
    tomorrow = 24 * 60
    found = metrics(
        event("a", "failed", ms=5),
        event("a", "completed", minute=1, ms=7000),
        event("a", "failed", minute=tomorrow),
        event("a", "completed", minute=-1, workspace_id="x"),
    )
    assert found == {
        TODAY: (1, 1, 0, 0, 100.0, 7.0, 7.0, 7.0),
        ("w", date(2026, 1, 2)): (1, 0, 1, 0, 0.0, None, None, None),
        ("x", NOON.date()): (1, 1, 0, 0, 100.0, None, None, None),
    }


def test_on_a_tie_the_event_type_that_sorts_last_wins_and_then_the_event_id() -> None:
    for one, other in (({}, {"event_type": "a"}), ({"event_id": "r/2"}, {"event_id": "r/1"})):
        tie = [
            event("a", "failed", **{"event_type": "b", **one}),
            event("a", "completed", **{"event_type": "b", **other}),
        ]
        for rows in (tie, tie[::-1]):
            assert metrics(*rows)[TODAY][:3] == (1, 0, 1)


def test_the_end_of_a_part_is_no_end_of_its_pipeline() -> None:
    """A job succeeds at 23:55, its run fails at 00:10; another run goes on with one job done."""
    late = datetime(2026, 1, 1, 23, 55, tzinfo=UTC)
    found = metrics(
        event("run", "completed", event_type="workflow_job_completed_success", parent_id="run",
              occurred_at=late),
        event("run", "failed", event_type="workflow_run_completed_failure", event_id="1/1",
              occurred_at=late + timedelta(minutes=15)),
        event("other", "completed", event_type="workflow_job_completed_success", parent_id="other"),
        event("other", "in_progress", event_type="workflow_run_in_progress", event_id="2/1"),
    )  # fmt: skip
    assert {day: row[:4] for (_, day), row in found.items()} == {date(2026, 1, 2): (1, 0, 1, 0)}


def test_of_several_attempts_of_a_run_the_highest_decides_whenever_it_was_told() -> None:
    first = event(
        "r", "failed", minute=9, ms=9000, event_type="workflow_run_completed_failure", event_id="7/9"
    )
    again = event(
        "r", "completed", minute=5, ms=5000, event_type="workflow_run_completed_success", event_id="7/10"
    )
    for rows in ((first, again), (again, first)):
        assert metrics(*rows)[TODAY][:6] == (1, 1, 0, 0, 100.0, 5.0)


def test_skipped_is_an_outcome_of_its_own_and_unknown_is_none() -> None:
    found = metrics(
        event("a", "completed"), event("b", "failed"), event("c", "skipped"), event("d", "skipped"),
        event("e", "unknown"), event("a", "unknown", minute=5), event("f", "skipped", workspace_id="x"),
        event("g", "completed"), event("g", "skipped", minute=5), event("h", "unknown", workspace_id="y"),
    )  # fmt: skip
    assert {key: row[:5] for key, row in found.items()} == {
        TODAY: (5, 1, 1, 3, 50.0), ("x", NOON.date()): (1, 0, 0, 1, None),
    }  # fmt: skip


def test_days_are_utc_and_midnight_belongs_to_the_new_one() -> None:
    midnight = datetime(2026, 1, 2, tzinfo=UTC)
    found = metrics(
        event("a", "completed", occurred_at=midnight),
        event("b", "failed", occurred_at=midnight - timedelta(microseconds=1)),
    )
    assert {day: row[:3] for (_, day), row in found.items()} == {
        date(2026, 1, 1): (1, 0, 1), date(2026, 1, 2): (1, 1, 0),
    }  # fmt: skip


def test_a_day_without_an_end_has_no_row() -> None:
    assert metrics(event("a", "in_progress")) == {}
    assert metrics() == {}


@pytest.mark.parametrize(
    ("ends", "rate"),
    [((1, 3), 33.33), ((2, 3), 66.67), ((1, 8), 12.5), ((1, 800), 0.13), ((0, 5), 0.0), ((5, 5), 100.0)],
)
def test_success_rate_has_two_decimals_rounded_half_up(ends: tuple[int, int], rate: float) -> None:
    good, total = ends
    rows = [event(f"p{i}", "completed" if i < good else "failed") for i in range(total)]
    rows += [event(f"s{i}", "skipped") for i in range(3)]
    assert metrics(*rows)[TODAY][4] == rate


ends = st.tuples(
    st.sampled_from("abcd"),
    st.sampled_from(["completed", "failed", "skipped", "in_progress", "unknown"]),
    st.integers(-3000, 3000),
    st.none() | st.integers(0, 10**7),
)


@settings(max_examples=60, deadline=None)
@given(st.lists(ends, max_size=25, unique_by=lambda e: (e[0], e[1], e[2])), st.randoms())
def test_metrics_agree_with_plain_python_in_any_order(rows: list[tuple[Any, ...]], shuffle: Any) -> None:
    made = [event(p, status, minute=m, ms=ms) for p, status, m, ms in rows]
    expected = _expected(made)
    shuffle.shuffle(made)
    found = metrics(*made)
    assert {k: v[:5] for k, v in found.items()} == {k: v[:5] for k, v in expected.items()}
    for key, figures in expected.items():
        assert found[key][5:7] == pytest.approx(figures[5:]) or figures[5] is None is found[key][5]


def _expected(rows: list[dict[str, Any]]) -> dict[tuple[str, date], tuple[Any, ...]]:
    last: dict[tuple[Any, ...], dict[str, Any]] = {}
    for row in sorted(rows, key=lambda r: (r["occurred_at"], r["event_type"])):
        if row["status"] in ("completed", "failed", "skipped"):
            last[row["workspace_id"], row["occurred_at"].date(), row["pipeline_id"]] = row
    groups: dict[tuple[str, date], list[dict[str, Any]]] = {}
    for (workspace, day, _), row in last.items():
        groups.setdefault((workspace, day), []).append(row)
    return {key: _figures(group) for key, group in groups.items()}


def _figures(group: list[dict[str, Any]]) -> tuple[Any, ...]:
    good, bad, skipped = (sum(r["status"] == s for r in group) for s in ("completed", "failed", "skipped"))
    rate = Decimal(100 * good) / (good + bad) if good + bad else None
    stated = None if rate is None else float(rate.quantize(Decimal("0.01"), ROUND_HALF_UP))
    took = [r["duration_ms"] / 1000 for r in group if r["duration_ms"] is not None]
    middle = (statistics.mean(took), statistics.median(took)) if took else (None, None)
    return (len(group), good, bad, skipped, stated, *middle)


# -- profiles --------------------------------------------------------------------------------------------


def scrape(name: str = "ada", *, hour: int = 0, method: str = "api", **counts: Any) -> dict[str, Any]:
    return {
        "username": name,
        "method_id": method,
        "scraped_at": NOON + timedelta(hours=hour),
        "is_verified": False,
        "completeness_score": 20,
        "crawl_id": f"c{hour}",
        **counts,
    }


def profiles(*rows: dict[str, Any]) -> list[dict[str, Any]]:
    made = gold(user_profiles, _silver(CRAWLER_RESULTS.polars_schema(), rows))
    assert made.schema == USER_PROFILES.polars_schema()
    return made.sort("username").to_dicts()


def test_a_profile_whole() -> None:
    row = scrape(
        display_name="Ada", followers_count=64_000, following_count=310, posts_count=12_400, is_verified=True,
        completeness_score=100,
    )  # fmt: skip
    assert profiles(row) == [{
        "username": "ada", "display_name": "Ada", "followers_count": 64_000, "following_count": 310,
        "posts_count": 12_400, "is_verified": True, "engagement_rate": 19.38, "influence_score": 82.4,
        "following_ratio": 64_000 / 310, "activity_level": "very_high", "completeness_score": 100,
        "completeness_rating": "excellent", "method_id": "api", "scraped_at": NOON, "crawl_id": "c0",
    }]  # fmt: skip


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        ({"followers_count": 0, "posts_count": 3, "following_count": 0}, (300.0, 0.003, 0.0)),
        ({"followers_count": 0, "posts_count": 0, "following_count": 9}, (0.0, 0.0, 0.0)),
        ({"followers_count": 90, "posts_count": None, "following_count": 0}, (None, 0.09, 90.0)),
        ({"followers_count": None, "posts_count": 5000, "following_count": 3}, (None, 5.0, None)),
        ({"followers_count": 8, "posts_count": 1, "following_count": None}, (12.5, 0.009, None)),
        ({"followers_count": 800, "posts_count": 1, "following_count": 400}, (0.13, 0.801, 2.0)),
        (
            {"followers_count": 10**9, "posts_count": 10**9, "following_count": 1, "is_verified": True},
            (100.0, 100.0, 1e9),
        ),
        ({}, (None, 0.0, None)),
    ],
)
def test_rates_scores_and_ratios(counts: dict[str, Any], expected: tuple[float | None, ...]) -> None:
    (row,) = profiles(scrape(**counts))
    found = (row["engagement_rate"], row["following_ratio"])
    assert found == (expected[0], expected[2])
    assert row["influence_score"] == pytest.approx(expected[1])


@pytest.mark.parametrize(
    ("posts", "level"),
    [
        (None, "unknown"),
        (0, "low"),
        (99, "low"),
        (100, "medium"),
        (999, "medium"),
        (1000, "high"),
        (9999, "high"),
        (10_000, "very_high"),
    ],
)
def test_activity_levels(posts: int | None, level: str) -> None:
    assert profiles(scrape(posts_count=posts))[0]["activity_level"] == level


@pytest.mark.parametrize(
    ("score", "rating"),
    [
        (0, "poor"),
        (35, "poor"),
        (40, "fair"),
        (55, "fair"),
        (60, "good"),
        (75, "good"),
        (80, "excellent"),
        (100, "excellent"),
    ],
)
def test_completeness_ratings(score: int, rating: str) -> None:
    assert profiles(scrape(completeness_score=score))[0]["completeness_rating"] == rating


def test_the_latest_scrape_of_each_username() -> None:
    rows = (scrape(hour=2, posts_count=2), scrape(hour=1, posts_count=1), scrape("bo", posts_count=9),
            scrape(hour=2, method="html", posts_count=3, crawl_id="tie"))  # fmt: skip
    for order in (rows, rows[::-1]):
        assert [(r["username"], r["posts_count"], r["crawl_id"]) for r in profiles(*order)] == [
            ("ada", 3, "tie"), ("bo", 9, "c0"),
        ]  # fmt: skip
    assert profiles() == []
