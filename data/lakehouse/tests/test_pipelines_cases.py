"""Small cases and real input of workflow telemetry, from the file to Gold, against values computed here.

The values come from the raw JSON and plain Python: nothing of the domain is used to compute them.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from conftest_landing import shared
from test_flow import CRAWL_SOURCES, lake_at, run

from lakehouse.contracts import Contract, quarantine_of
from lakehouse.domains.pipelines import contracts as c
from lakehouse.domains.pipelines import sample
from lakehouse.pipeline import Lake, ingest, refresh
from lakehouse.registry import transform_of
from lakehouse.verify import content_hash, verify

COMPUTED = (c.PIPELINE_EVENTS, c.PIPELINE_METRICS, c.CRAWLER_RESULTS, c.USER_PROFILES)


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return lake_at(tmp_path)


def land(lake: Lake, files: dict[str, bytes]) -> None:
    for name, body in files.items():
        lake.landing.put(name, body)
    run(lake)
    ingest(lake, c.RAW_CRAWLER_RESULTS, CRAWL_SOURCES)
    for table in (c.CRAWLER_RESULTS, c.USER_PROFILES):
        refresh(lake, table, transform_of(table))


def rows(lake: Lake, table: Contract, *columns: str) -> list[tuple[Any, ...]]:
    return sorted(lake.store.scan(table).select(columns).collect().rows(), key=repr)


def assert_a_full_refresh_says_the_same(lake: Lake) -> None:
    before = {t.path: content_hash(t, lake.store.scan(t)) for t in COMPUTED}
    for table in COMPUTED:
        refresh(lake, table, transform_of(table), full=True)
    assert {t.path: content_hash(t, lake.store.scan(t)) for t in COMPUTED} == before
    assert {p.check for p in verify(lake, c.CONTRACTS).all_problems} <= {"rows"}, "an empty table, at most"


# -- cases -----------------------------------------------------------------------------------------------


def second_crawl(lake: Lake, body: bytes) -> None:
    """After the sample's five: Gold takes the change incrementally, and the others stay as they were."""
    land(lake, sample.sample_files())
    before = {r["username"]: r for r in lake.store.scan(c.USER_PROFILES).collect().to_dicts()}
    version = lake.store.snapshot(c.USER_PROFILES).version
    land(lake, {"crawler_results/second_crawl.ndjson": body})
    crawls = [json.loads(line) for line in body.splitlines()]
    after = {r["username"]: r for r in lake.store.scan(c.USER_PROFILES).collect().to_dicts()}
    told = {crawl["raw_json"]["username"]: crawl for crawl in crawls}
    assert after.keys() == before.keys() | told.keys()
    assert len(before) == 5
    assert lake.store.snapshot(c.USER_PROFILES).version == version + 1
    assert {name: row for name, row in after.items() if name not in told} == {
        name: row for name, row in before.items() if name not in told
    }
    for name, crawl in told.items():
        profile, row = crawl["raw_json"], after[name]
        assert row["scraped_at"] == datetime.fromisoformat(crawl["timestamp"])
        assert (row["followers_count"], row["posts_count"]) == (
            profile["followers_count"],
            profile["posts_count"],
        )
        assert row["crawl_id"] == crawl["crawl_id"]
        rate = profile["posts_count"] / max(profile["followers_count"], 1) * 100
        assert row["engagement_rate"] == pytest.approx(rate, abs=0.005)


def short_year(lake: Lake, body: bytes) -> None:
    """Years of two digits: quarantine, never the year 26."""
    land(lake, {"pipeline_events/short_year.ndjson": body})
    assert rows(lake, c.PIPELINE_EVENTS, "occurred_at") == []
    assert rows(lake, quarantine_of(c.PIPELINE_EVENTS), "rules") == [("occurred_at_readable",)] * len(
        body.splitlines()
    )


def temporal_reversed(lake: Lake, body: bytes) -> None:
    """A history newest first: duration 5000 ms."""
    land(lake, {"temporal/temporal_reversed.json": body})
    columns = ("pipeline_id", "event_id", "event_type", "status", "duration_ms")
    assert rows(lake, c.PIPELINE_EVENTS, *columns) == [
        ("rev-wf", "r/1", "workflow_execution_started", "in_progress", None),
        ("rev-wf", "r/2", "workflow_execution_completed", "completed", 5000),
    ]
    figures = ("total_pipelines", "success_count", "success_rate", "avg_duration_sec")
    assert rows(lake, c.PIPELINE_METRICS, *figures) == [(1, 1, 100.0, 5.0)]


@pytest.mark.parametrize("check", [second_crawl, short_year, temporal_reversed], ids=lambda f: f.__name__)
def test_case(lake: Lake, check: Callable[[Lake, bytes], None]) -> None:
    (path,) = (p for p in shared("cases") if p.stem == check.__name__)
    check(lake, path.read_bytes())
    assert_a_full_refresh_says_the_same(lake)


# -- Temporal --------------------------------------------------------------------------------------------

CLOSED = {"Completed": "completed", "Failed": "failed", "TimedOut": "failed", "Canceled": "failed",
          "Terminated": "failed"}  # fmt: skip
OPEN = ("Started", "Signaled", "CancelRequested", "ContinuedAsNew")


def camel(kind: str) -> str:
    return (
        "".join(w.capitalize() for w in kind.removeprefix("EVENT_TYPE_").split("_")) if "_" in kind else kind
    )


def microseconds(time: str) -> datetime:
    return datetime.fromisoformat(re.sub(r"(\.\d{6})\d+", r"\1", time))


def nanoseconds(time: str) -> int:
    whole, _, fraction = time.removesuffix("Z").partition(".")
    since = datetime.fromisoformat(whole + "+00:00") - datetime(1970, 1, 1, tzinfo=UTC)
    return since // timedelta(seconds=1) * 10**9 + int(fraction.ljust(9, "0"))


def told(stem: str, events: list[dict[str, Any]]) -> list[tuple[Any, ...]]:
    """What a history says: pipeline, event type without case and state, time, event id, status, parent."""
    first = next(e for e in events if "workflowExecutionStartedEventAttributes" in e)
    attributes = first["workflowExecutionStartedEventAttributes"]
    run_id = attributes.get("originalExecutionRunId") or attributes.get("firstExecutionRunId")
    pipeline = attributes.get("workflowId") or run_id or stem
    found = []
    for event in events:
        kind = camel(event["eventType"])
        word = kind.removeprefix("WorkflowExecution") if kind.startswith("WorkflowExecution") else None
        whole = word in CLOSED or word in OPEN or kind in ("WorkflowPropertiesModified", "UnknownEvent")
        status = "unknown" if kind == "UnknownEvent" else CLOSED.get(word or "", "in_progress")
        own = f"{run_id}/{event['eventId']}" if run_id else str(event["eventId"])
        parent = None if whole else pipeline
        found.append((pipeline, kind.lower(), microseconds(event["eventTime"]), own, status, parent))
    return found


def histories() -> dict[str, list[dict[str, Any]]]:
    return {
        path.stem: document["events"]
        for path in shared("temporal_histories")
        if path.suffix == ".json" and "events" in (document := json.loads(path.read_bytes()))
    }


@pytest.mark.slow
@pytest.mark.parametrize("step", [1, -1], ids=["as exported", "newest first"])
def test_real_histories_keep_each_event_with_its_id_status_and_duration(lake: Lake, step: int) -> None:
    files = histories()
    land(
        lake,
        {f"temporal/{stem}.json": json.dumps({"events": e[::step]}).encode() for stem, e in files.items()},
    )
    expected = {row for stem, events in files.items() for row in told(stem, events)}
    columns = ("pipeline_id", "event_type", "occurred_at", "event_id", "status", "parent_id")
    found = [(p, kind.replace("_", ""), *rest) for p, kind, *rest in rows(lake, c.PIPELINE_EVENTS, *columns)]
    assert len(expected) > 1000
    assert Counter(found) == Counter(expected)

    took: dict[str, set[int]] = {}
    last: dict[tuple[Any, Any], tuple[Any, ...]] = {}
    for stem, events in files.items():
        start = nanoseconds(events[0]["eventTime"])
        for event, row in zip(events, told(stem, events), strict=True):
            if row[1] == "workflowexecutioncontinuedasnew" or row[4] in ("completed", "failed"):
                took.setdefault(row[3], set()).add(
                    (nanoseconds(event["eventTime"]) - start + 500_000) // 10**6
                )
            if row[4] in ("completed", "failed") and row[5] is None:
                day = (row[2].date(), row[0])
                last[day] = max(last.get(day, row), row, key=lambda r: (r[2], r[1]))
    stored = lake.store.scan(c.PIPELINE_EVENTS).filter(pl.col("duration_ms").is_not_null()).collect()
    assert set(stored["event_id"]) == took.keys()
    assert all(row["duration_ms"] in took[row["event_id"]] for row in stored.iter_rows(named=True))

    days = Counter(day for day, _ in last)
    good = Counter(day for (day, _), row in last.items() if row[4] == "completed")
    figures = rows(lake, c.PIPELINE_METRICS, "date", "total_pipelines", "success_count", "skipped_count")
    assert figures == sorted(((day, n, good[day], 0) for day, n in days.items()), key=repr)
    assert_a_full_refresh_says_the_same(lake)


# -- GitHub ----------------------------------------------------------------------------------------------


def test_real_webhooks_tell_runs_from_jobs(lake: Lake) -> None:
    bodies = {p.read_bytes(): p for p in shared("github_events") if p.suffix == ".json"}
    files = {
        f"github/{p.parent.name}.{p.name}": body
        for body, p in bodies.items()
        if p.parent.name in ("workflow_run", "workflow_job")
    }
    land(lake, files)
    expected, ends = set(), Counter[tuple[Any, ...]]()
    for body in files.values():
        hook = json.loads(body)
        kind = "workflow_job" if "workflow_job" in hook else "workflow_run"
        thing, action, repository = hook[kind], hook["action"], hook["repository"]["full_name"]
        is_job = kind == "workflow_job"
        conclusion = thing["conclusion"] if action == "completed" else None
        time = {"completed": "completed_at", "in_progress": "started_at"}.get(action, "created_at")
        begin, end = ("started_at", "completed_at") if is_job else ("run_started_at", "updated_at")
        at = datetime.fromisoformat(thing[time if is_job else "updated_at"])
        took = (
            datetime.fromisoformat(thing[end]) - datetime.fromisoformat(thing[begin]) if conclusion else None
        )
        status = {None: "in_progress", "success": "completed", "failure": "failed"}[conclusion]
        whole = str(thing["run_id"] if is_job else thing["id"])
        word = "_".join([kind, action, *([conclusion] if conclusion else [])])
        own = f"{thing['id']}/{thing['run_attempt']}"
        ms = None if took is None else took // timedelta(milliseconds=1)
        expected.add((repository, whole, word, at, own, whole if is_job else None, status, ms))
        if not is_job and status != "in_progress":
            ends[repository, at.date(), status] += 1
    columns = (
        "workspace_id", "pipeline_id", "event_type", "occurred_at", "event_id", "parent_id", "status",
        "duration_ms",
    )  # fmt: skip
    assert rows(lake, c.PIPELINE_EVENTS, *columns) == sorted(expected, key=repr)
    assert any(row[5] for row in expected)
    assert ends
    figures = ("workspace_id", "date", "total_pipelines", "success_count", "failed_count")
    assert rows(lake, c.PIPELINE_METRICS, *figures) == sorted(
        {
            (
                w,
                d,
                ends[w, d, "completed"] + ends[w, d, "failed"],
                ends[w, d, "completed"],
                ends[w, d, "failed"],
            )
            for w, d, _ in ends
        },
        key=repr,
    )
    assert_a_full_refresh_says_the_same(lake)


def run_told(attempt: int, at: str, conclusion: str | None) -> dict[str, Any]:
    return {
        "action": "completed" if conclusion else "in_progress", "repository": {"full_name": "o/r"},
        "workflow_run": {"id": 1, "workflow_id": 2, "run_number": 3, "run_attempt": attempt, "updated_at": at,
                         "conclusion": conclusion, "run_started_at": at, "created_at": at},
    }  # fmt: skip


def job_told(number: int, at: str, conclusion: str, attempt: int = 1) -> dict[str, Any]:
    return {
        "action": "completed", "repository": {"full_name": "o/r"},
        "workflow_job": {"id": number, "run_id": 1, "run_attempt": attempt, "conclusion": conclusion,
                         "started_at": at, "completed_at": at, "created_at": at},
    }  # fmt: skip


FIGURES = ("date", "total_pipelines", "success_count", "failed_count", "skipped_count", "success_rate")


@pytest.mark.parametrize("at_once", [True, False])
def test_jobs_around_midnight_and_reruns_step_by_step_and_at_once(lake: Lake, at_once: bool) -> None:
    day1, day2 = "2026-01-01", "2026-01-02"
    steps = [
        job_told(10, f"{day1}T23:55:00Z", "success"),
        job_told(11, f"{day1}T23:55:00Z", "success"),  # in the same second: a row of its own
        run_told(1, f"{day2}T00:10:00Z", "failure"),
        run_told(2, f"{day2}T01:00:00Z", None),
        job_told(12, f"{day2}T01:30:00Z", "failure", 2),
        run_told(2, f"{day2}T02:00:00Z", "success"),
        run_told(3, f"{day2}T03:00:00Z", "skipped"),
    ]
    outcomes = [None, None, (1, 0, 1, 0, 0.0), (1, 0, 1, 0, 0.0), (1, 0, 1, 0, 0.0), (1, 1, 0, 0, 100.0),
                (1, 0, 0, 1, None)]  # fmt: skip
    for number, (step, outcome) in enumerate(zip(steps, outcomes, strict=True)):
        lake.landing.put(f"github/{number}.json", json.dumps(step).encode())
        if not at_once or number == len(steps) - 1:
            land(lake, {})
            day = datetime.fromisoformat(day2).date()
            assert rows(lake, c.PIPELINE_METRICS, *FIGURES) == ([(day, *outcome)] if outcome else [])
    parents = rows(lake, c.PIPELINE_EVENTS, "event_id", "parent_id")
    jobs = [("10/1", "1"), ("11/1", "1"), ("12/2", "1")]
    assert parents == [("1/1", None), ("1/2", None), ("1/2", None), ("1/3", None), *jobs]
    assert_a_full_refresh_says_the_same(lake)
