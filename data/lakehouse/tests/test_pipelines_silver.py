"""Silver of workflow telemetry: every rule of its tables, on small frames, and what holds for any input."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import polars as pl
import pytest
from conftest_landing import Parts, bronze, silver
from hypothesis import given, settings
from hypothesis import strategies as st

from lakehouse.domains.pipelines.contracts import (
    CRAWLER_RESULTS,
    PIPELINE_EVENTS,
    RAW_CRAWLER_RESULTS,
    RAW_PIPELINE_EVENTS,
)
from lakehouse.domains.pipelines.transforms import crawler_results, pipeline_events

GOOD = {
    "pipeline_id": "p1", "event_type": "WorkflowExecutionCompleted", "workspace_id": "w",
    "timestamp": "2026-01-01T12:00:00.123456789+02:00",
    "raw_data": '{"duration_ms": 1500, "activities_executed": 3, "steps": [1, {"a": [2]}, null]}',
}  # fmt: skip


def events(*rows: dict[str, Any]) -> Parts:
    return silver(
        PIPELINE_EVENTS, pipeline_events, bronze(RAW_PIPELINE_EVENTS, [{**GOOD, **r} for r in rows])
    )


def data(**fields: Any) -> dict[str, Any]:
    return {"raw_data": json.dumps(fields)}


def reasons(found: Parts) -> list[dict[str, Any]]:
    return [{r["rule"]: r["values"] for r in json.loads(text)} for text in found.refused["reasons"]]


def test_a_good_event_whole() -> None:
    found = events({})
    assert found.refused.is_empty()
    assert found.good.schema == PIPELINE_EVENTS.polars_schema()
    assert found.good.row(0, named=True) == {
        "workspace_id": "w", "pipeline_id": "p1", "event_type": "workflow_execution_completed",
        "occurred_at": datetime(2026, 1, 1, 10, 0, 0, 123456, UTC), "status": "completed",
        "event_id": "", "parent_id": None,
        "duration_ms": 1500, "activities_executed": 3, "steps": 3, "quality_score": 100, "is_valid": True,
        "_source": "t/f", "_fingerprint": "0" * 64, "_row": 0, "_batch_id": 1,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("row", "score", "valid"),
    [
        ({}, 100, True),
        ({"raw_data": "{}"}, 80, True),
        ({"workspace_id": None}, 80, True),
        ({"workspace_id": " \t"}, 80, True),
        ({"workspace_id": None, "raw_data": "{}"}, 60, False),
    ],
)
def test_quality_score_and_validity(row: dict[str, Any], score: int, valid: bool) -> None:
    good = events(row).good
    assert (good["quality_score"].item(), good["is_valid"].item()) == (score, valid)
    assert good["workspace_id"].item() == ("w" if "workspace_id" not in row else "unassigned")


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ({"pipeline_id": None}, {"pipeline_id_present": {"pipeline_id": None}}),
        ({"pipeline_id": "  "}, {"pipeline_id_present": {"pipeline_id": None}}),
        ({"event_type": "--"}, {"event_type_present": {"event_type": None}}),
        ({"timestamp": None}, {"occurred_at_readable": {"timestamp": None}}),
        ({"timestamp": "yesterday"}, {"occurred_at_readable": {"timestamp": "yesterday"}}),
        ({"timestamp": " None "}, {"occurred_at_readable": {"timestamp": " None "}}),
        ({"timestamp": "26-01-10T10:00:00Z"}, {"occurred_at_readable": {"timestamp": "26-01-10T10:00:00Z"}}),
        (
            {"timestamp": "2026-02-30T00:00:00Z"},
            {"occurred_at_readable": {"timestamp": "2026-02-30T00:00:00Z"}},
        ),
        ({"raw_data": None}, {"raw_data_readable": {"raw_data_length": None}}),
        ({"raw_data": " "}, {"raw_data_readable": {"raw_data_length": 1}}),
        ({"raw_data": "[1]"}, {"raw_data_readable": {"raw_data_length": 3}}),
        ({"raw_data": '{"a":1'}, {"raw_data_readable": {"raw_data_length": 6}}),
        ({"raw_data": '{"a":1} x'}, {"raw_data_readable": {"raw_data_length": 9}}),
        (data(duration_ms=-1), {"duration_ms_not_negative": {"duration_ms_text": "-1"}}),
        (data(duration_ms=-0.4), {"duration_ms_not_negative": {"duration_ms_text": "-0.4"}}),
        (data(duration_ms="soon"), {"duration_ms_readable": {"duration_ms_text": "soon"}}),
        (data(duration_ms={"s": 1}), {"duration_ms_readable": {"duration_ms_text": '{"s":1}'}}),
        (data(duration_ms=10**18), {"duration_ms_readable": {"duration_ms_text": str(10**18)}}),
        (
            data(activities_executed=-3),
            {"activities_executed_not_negative": {"activities_executed_text": "-3"}},
        ),
        (data(activities_executed="x"), {"activities_executed_readable": {"activities_executed_text": "x"}}),
        (data(steps=-1), {"steps_not_negative": {"steps_text": "-1"}}),
        (data(steps="many"), {"steps_readable": {"steps_text": "many"}}),
    ],
)
def test_a_refused_event_says_why(row: dict[str, Any], expected: dict[str, Any]) -> None:
    found = events(row)
    assert found.good.is_empty()
    assert reasons(found) == [expected]


def test_all_reasons_are_given_at_once() -> None:
    found = events(
        {
            "pipeline_id": None,
            "event_type": None,
            "timestamp": "",
            "raw_data": '{"duration_ms":-5,"steps":"x"}',
        }
    )
    assert found.refused["rules"].to_list() == [
        "pipeline_id_present,event_type_present,occurred_at_readable,duration_ms_not_negative,steps_readable"
    ]
    assert found.refused.select("_source", "_fingerprint", "_row", "_batch_id").rows() == [
        ("t/f", "0" * 64, 0, 1)
    ]


@pytest.mark.parametrize(
    ("given_", "expected"),
    [
        (0, 0),
        (-0.0, 0),
        ("12", 12),
        (" 12 ", 12),
        ("+7", 7),
        (1.0, 1),
        (1.49, 1),
        (1.5, 2),
        (2.5, 3),
        (1e3, 1000),
        ("1.5e2", 150),
        (999_999_999_999_999_999, 999_999_999_999_999_999),
        (None, None),
        ("", None),
        ("  ", None),
        *[(nothing, None) for nothing in ("None ", " null", "NaN", "N/A", "na", "nil", "undefined", "-")],
    ],
)
def test_readable_durations(given_: Any, expected: int | None) -> None:
    found = events(data(duration_ms=given_))
    assert (found.good["duration_ms"].to_list(), found.warnings) == ([expected], {})


@pytest.mark.parametrize("given_", [True, False, "True ", " no", "Y", "off"])
def test_a_bool_where_a_number_belongs_is_none_and_is_warned_of_as_what_it_is(given_: Any) -> None:
    found = events(data(duration_ms=given_, steps=given_), data(duration_ms=1))
    assert found.good["duration_ms"].to_list() == [None, 1]
    assert found.warnings == {"duration_ms_is_no_bool": 1, "steps_is_no_bool": 1}
    assert crawls({"posts_count": given_}).warnings == {"posts_count_is_no_bool": 1}


@pytest.mark.parametrize("given_", ["1,5", "1,000", "1_000", "0x1F", "12 ms", "½", "1e400", "Infinity"])
def test_a_text_that_may_mean_several_numbers_or_none_is_refused(given_: str) -> None:
    assert events(data(duration_ms=given_)).refused["rules"].to_list() == ["duration_ms_readable"]


def test_steps_are_a_number_or_a_list() -> None:
    made = events(
        data(steps=[]), data(steps=[[], {}]), data(steps=4), data(steps="5"), data(steps=None), data()
    ).good
    assert made["steps"].to_list() == [0, 2, 4, 5, None, None]


@pytest.mark.parametrize(
    ("given_", "name", "status"),
    [
        ("EVENT_TYPE_WORKFLOW_EXECUTION_STARTED", "workflow_execution_started", "in_progress"),
        ("WorkflowExecutionStarted", "workflow_execution_started", "in_progress"),
        ("workflowExecutionCompleted", "workflow_execution_completed", "completed"),
        ("WorkflowExecutionFailed", "workflow_execution_failed", "failed"),
        ("WORKFLOW_EXECUTION_TIMED_OUT", "workflow_execution_timed_out", "failed"),
        ("WorkflowExecutionTerminated", "workflow_execution_terminated", "failed"),
        ("workflow_execution_canceled", "workflow_execution_canceled", "failed"),
        ("workflow execution cancelled", "workflow_execution_cancelled", "failed"),
        ("WorkflowExecutionContinuedAsNew", "workflow_execution_continued_as_new", "in_progress"),
        ("WorkflowExecutionCancelRequested", "workflow_execution_cancel_requested", "in_progress"),
        ("WorkflowExecutionUpdateCompleted", "workflow_execution_update_completed", "in_progress"),
        ("ActivityTaskFailed", "activity_task_failed", "in_progress"),
        ("EVENT_TYPE_ACTIVITY_TASK_COMPLETED", "activity_task_completed", "in_progress"),
        ("TimerCanceled", "timer_canceled", "in_progress"),
        ("ChildWorkflowExecutionCompleted", "child_workflow_execution_completed", "in_progress"),
        ("StartChildWorkflowExecutionFailed", "start_child_workflow_execution_failed", "in_progress"),
        ("WorkflowTaskTimedOut", "workflow_task_timed_out", "in_progress"),
        ("NexusOperationFailed", "nexus_operation_failed", "in_progress"),
        ("MarkerRecorded", "marker_recorded", "in_progress"),
        ("workflow_run.requested", "workflow_run_requested", "in_progress"),
        ("workflow_run.completed.success", "workflow_run_completed_success", "completed"),
        ("workflow_run.completed", "workflow_run_completed", "unknown"),
        ("workflow_run.completed.new_word", "workflow_run_completed_new_word", "unknown"),
        ("workflow_run.completed.skipped", "workflow_run_completed_skipped", "skipped"),
        ("workflow_job.waiting", "workflow_job_waiting", "in_progress"),
        *[
            (f"workflow_run.completed.{c}", f"workflow_run_completed_{c}", "failed")
            for c in (
                "failure",
                "cancelled",
                "timed_out",
                "action_required",
                "stale",
                "startup_failure",
            )
        ],
        ("workflow_job.completed.success", "workflow_job_completed_success", "completed"),
        ("workflow_job.completed.skipped", "workflow_job_completed_skipped", "skipped"),
        ("workflow_run.completed.neutral", "workflow_run_completed_neutral", "completed"),
        ("pipeline_submitted", "pipeline_submitted", "in_progress"),
        ("PipelineCompleted", "pipeline_completed", "completed"),
        ("pipeline-succeeded", "pipeline_succeeded", "completed"),
        ("FAILED", "failed", "failed"),
        ("incomplete", "incomplete", "unknown"),
        ("not_completed", "not_completed", "unknown"),
        ("PipelineNeverFinished", "pipeline_never_finished", "unknown"),
        ("didn't succeed: no success", "didn_t_succeed_no_success", "unknown"),
        ("partially-completed", "partially_completed", "unknown"),
        ("not failed", "not_failed", "unknown"),
        ("partial_success", "partial_success", "unknown"),
        ("failed_to_complete", "failed_to_complete", "unknown"),
        ("UnableToComplete", "unable_to_complete", "unknown"),
        ("about to fail", "about_to_fail", "unknown"),
        ("moved_to_completed", "moved_to_completed", "completed"),
        ("waiting for success", "waiting_for_success", "unknown"),
        ("check_if_done", "check_if_done", "unknown"),
        (
            "EVENT_TYPE_WORKFLOW_PROPERTIES_MODIFIED_EXTERNALLY",
            "workflow_properties_modified_externally",
            "in_progress",
        ),
        ("UnknownEvent", "unknown_event", "unknown"),
        ("completed_with_errors", "completed_with_errors", "unknown"),
        ("notify_completed", "notify_completed", "completed"),
        ("cancel_completed", "cancel_completed", "unknown"),
        ("Cancel.Failed", "cancel_failed", "unknown"),
        ("RollbackSucceeded", "rollback_succeeded", "unknown"),
        ("attempt_3_failed", "attempt_3_failed", "unknown"),
        ("retry_timed_out", "retry_timed_out", "unknown"),
        ("pipeline_canceled", "pipeline_canceled", "failed"),
        ("prefect.flow-run.Completed", "prefect_flow_run_completed", "completed"),
        ("prefect.task-run.Completed", "prefect_task_run_completed", "in_progress"),
        ("on_task_instance_failed", "on_task_instance_failed", "in_progress"),
        ("WorkflowPropertiesModified", "workflow_properties_modified", "in_progress"),
        ("HTTPError", "http_error", "failed"),
        ("42", "42", "unknown"),
        *[
            (f"pipeline_{word}", f"pipeline_{word}", "completed")
            for word in (
                "passed",
                "done",
                "ok",
                "neutral",
                "succeeded",
                "success",
                "finished",
                "successfully",
            )
        ],
        *[
            (f"Pipeline.{word}", f"pipeline_{word}", "failed")
            for word in ("killed", "crashed", "rejected", "stopped", "error", "errored", "aborted", "timeout")
        ],
        ("SKIPPED", "skipped", "skipped"),
        *[
            (word, word, "in_progress")
            for word in (
                "pipeline_queued",
                "in_progress",
                "run_pending",
                "retrying",
                "heartbeat",
                "job_scheduled",
            )
        ],
    ],
)
def test_event_names_and_status(given_: str, name: str, status: str) -> None:
    found = events({"event_type": given_})
    assert found.good.select("event_type", "status").rows() == [(name, status)]
    assert found.warnings == ({"event_type_known": 1} if status == "unknown" else {})


def test_the_vocabulary_is_told_where_a_type_is_described_warned_of_and_refused() -> None:
    told = [PIPELINE_EVENTS.by_name["status"].description]
    told += [r.description for r in PIPELINE_EVENTS.rules if r.name.startswith("event_type_")]
    assert len(told) == 3
    for word in ("succeeded", "passed", "ok", "killed", "stopped", "skipped", "submitted"):
        assert all(f" {word}" in text or f"({word}" in text for text in told)
    assert ": not, never, " in told[0]


@pytest.mark.parametrize(
    ("kind", "given_", "status"),
    [
        ("WorkflowExecutionFailed", True, "in_progress"),
        ("workflow_execution_timed_out", "true", "in_progress"),
        ("WorkflowExecutionFailed", False, "failed"),
        ("WorkflowExecutionFailed", None, "failed"),
        ("WorkflowExecutionCompleted", True, "completed"),
        ("odd", True, "unknown"),
    ],
)
def test_a_failure_that_will_be_retried_ends_no_pipeline(kind: str, given_: Any, status: str) -> None:
    row = data(will_retry=given_) | {"event_type": kind}
    assert events(row).good["status"].to_list() == [status]


@pytest.mark.parametrize(
    ("kind", "is_part"),
    [
        ("workflow_job.completed.failure", True),
        ("workflow_job.queued", True),
        ("ActivityTaskCompleted", True),
        ("EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_FAILED", True),
        ("step_completed", True),
        ("prefect.task-run.Failed", True),
        ("task_instance_success", True),
        ("prefect.flow-run.Failed", False),
        ("dag_run_failed", False),
        ("workflow_run.completed.failure", False),
        ("WorkflowExecutionCompleted", False),
        ("pipeline_completed", False),
        ("job_completed", False),
        ("UnknownEvent", False),
    ],
)
def test_a_part_has_its_pipeline_as_parent(kind: str, is_part: bool) -> None:
    assert events({"event_type": kind}).good["parent_id"].to_list() == ["p1" if is_part else None]


@pytest.mark.parametrize(
    ("raw_data", "event_id"),
    [
        ({}, ""),
        ({"event_id": "run/7"}, "run/7"),
        ({"event_id": 7}, "7"),
        ({"event_id": " "}, ""),
        ({"event_id": None, "_extra": {"event_id": "e1"}}, "e1"),
        # As earlier releases wrote GitHub's rows to Bronze.
        (
            {
                "source_format": "github.workflow_job",
                "payload": {"workflow_job": {"id": 5, "run_attempt": 2}},
            },
            "5/2",
        ),
        ({"source_format": "github.workflow_run", "payload": {"workflow_run": {"id": 6}}}, "6/1"),
        ({"source_format": "github.workflow_run", "payload": {"id": 6, "run_attempt": 3}}, "6/3"),
        ({"source_format": "github.workflow_run", "payload": {}}, ""),
        ({"source_format": "other", "payload": {"id": 6, "run_attempt": 3}}, ""),
    ],
)
def test_the_event_id_is_the_sources_own(raw_data: dict[str, Any], event_id: str) -> None:
    text = json.dumps(raw_data, separators=(",", ":"))
    escaped = text.replace('"event_id"', '"event\\u005fid"')
    found = events({"raw_data": text}, {"raw_data": escaped}, {})
    assert found.good["event_id"].to_list() == [event_id, event_id, ""]


nasty = (
    st.none()
    | st.sampled_from(
        [
            "",
            " ",
            "p",
            "w",
            "completed",
            "2026-01-01T00:00:00Z",
            "1767225600",
            "{}",
            '{"duration_ms":5}',
            "[",
            "{",
            '{"duration_ms":"x","steps":[1]}',
            '{"duration_ms":-1e300}',
            '{"steps":1e5}',
            "\ufeff",
            "9" * 40,
            "é\u2028",
        ]
    )
    | st.text(max_size=12)
)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(nasty, nasty, nasty, nasty, nasty), max_size=8))
@pytest.mark.slow
def test_any_event_is_kept_or_refused_with_reasons(rows: list[tuple[str | None, ...]]) -> None:
    names = ("pipeline_id", "event_type", "workspace_id", "timestamp", "raw_data")
    found = events(*[dict(zip(names, row, strict=True)) for row in rows])
    assert sorted([*found.good["_row"], *found.refused["_row"]]) == list(range(len(rows)))
    assert all(found.refused["rules"].str.len_chars() > 0)
    for column in PIPELINE_EVENTS.columns:
        assert column.nullable or found.good[column.name].null_count() == 0
    good = found.good.to_dicts()
    assert all(r["is_valid"] == (r["quality_score"] >= 70) and r["quality_score"] >= 60 for r in good)
    assert all((r["duration_ms"] or 0) >= 0 and (r["steps"] or 0) >= 0 for r in good)


# -- crawls ----------------------------------------------------------------------------------------------

PROFILE = {
    "username": "ada",
    "display_name": "Ada",
    "followers_count": 10,
    "following_count": 5,
    "posts_count": 3,
    "location": "Lisbon",
    "is_verified": True,
    "bio": "Maps",
    "account_created_at": "2020-01-01",
    "profile_image_url": "https://x/y.png",
    "recent_posts_count": 2,
}


def crawls(*profiles: dict[str, Any], **envelope: Any) -> Parts:
    base = {"crawl_id": "c1", "method_id": "api", "username": "asked", "timestamp": "2026-01-01T00:00:00Z"}
    rows = [{**base, "raw_json": json.dumps(p), **envelope} for p in profiles]
    return silver(CRAWLER_RESULTS, crawler_results, bronze(RAW_CRAWLER_RESULTS, rows))


def test_a_good_crawl_whole() -> None:
    found = crawls(PROFILE)
    assert (found.refused.height, found.warnings) == (0, {})
    assert found.good.schema == CRAWLER_RESULTS.polars_schema()
    assert found.good.row(0, named=True) == {
        **PROFILE,
        "method_id": "api",
        "crawl_id": "c1",
        "scraped_at": datetime(2026, 1, 1, tzinfo=UTC),
        "account_created_at": datetime(2020, 1, 1, tzinfo=UTC),
        "completeness_score": 100,
        "is_complete": True,
        "_source": "t/f",
        "_fingerprint": "0" * 64,
        "_row": 0,
        "_batch_id": 1,
    }


@pytest.mark.parametrize(
    ("profile", "score"),
    [
        (PROFILE, 100),
        ({}, 20),
        ({"followers_count": 0}, 40),
        ({"followers_count": 0, "posts_count": 0}, 60),
        ({"followers_count": 1, "location": "x"}, 55),
        ({"location": " ", "bio": ""}, 20),
        ({"bio": "b", "location": "l", "recent_posts_count": 1}, 60),
        ({"recent_posts_count": 0}, 20),
        ({"recent_posts": [1, 2]}, 30),
        ({"recent_posts": []}, 20),
        ({"recent_posts": 3}, 30),
    ],
)
def test_completeness(profile: dict[str, Any], score: int) -> None:
    good = crawls(profile).good
    assert (good["completeness_score"].item(), good["is_complete"].item()) == (score, score >= 60)


def test_whose_name_and_time_win() -> None:
    assert crawls({"username": "own"}, {"username": " "}, {}).good["username"].to_list() == [
        "own",
        "asked",
        "asked",
    ]
    late = {"scraped_at": "2026-02-02T00:00:00Z"}
    assert crawls(late).good["scraped_at"].item() == datetime(2026, 1, 1, tzinfo=UTC)
    assert crawls(late, timestamp=" ").good["scraped_at"].item() == datetime(2026, 2, 2, tzinfo=UTC)


def test_verified_is_false_unless_said() -> None:
    said = {
        True: (True, "True ", "true", " YES", "y", "t", "on", 1, "1", 1.0),
        False: (False, "False ", "no", "N", "f", "off", 0, " 0 ", 0.0, None, "", "None ", "null", "NaN"),
    }
    for meant, given_ in said.items():
        found = crawls(*[{"is_verified": value} for value in given_])
        assert (found.good["is_verified"].unique().to_list(), found.warnings) == ([meant], {})
    for value, rule in (
        ("maybe", "is_verified_readable"),
        ([True], "is_verified_readable"),
        ({}, "is_verified_readable"),
        (2, "is_verified_is_no_number"),
        (" 12 ", "is_verified_is_no_number"),
    ):
        found = crawls({"is_verified": value})
        assert (found.good["is_verified"].to_list(), found.warnings) == ([False], {rule: 1})


@pytest.mark.parametrize(
    ("given_", "rule"),
    [
        ("long ago", "account_created_at_readable"),
        ("20-01-01T00:00:00Z", "account_created_at_readable"),
        ("01/02/2020", "account_created_at_readable"),
        (12, "account_created_at_is_no_number"),
        ("True ", "account_created_at_is_no_bool"),
        (" None ", None),
    ],
)
def test_an_unreadable_time_of_an_account_is_none_and_warned_of_by_kind(
    given_: Any, rule: str | None
) -> None:
    found = crawls({"account_created_at": given_})
    assert found.good["account_created_at"].to_list() == [None]
    assert found.warnings == ({rule: 1} if rule else {})


def test_words_for_nothing_stay_in_text_and_are_none_in_numbers_and_times() -> None:
    good = crawls({**PROFILE, "location": "None", "posts_count": "None ", "followers_count": " 12 "}).good
    assert good.select("location", "posts_count", "followers_count").rows() == [("None", None, 12)]
    late = {"scraped_at": "2026-02-02T00:00:00Z"}
    assert crawls(late, timestamp="null").good["scraped_at"].item() == datetime(2026, 2, 2, tzinfo=UTC)


@pytest.mark.parametrize(
    ("profile", "envelope", "rules"),
    [
        ({}, {"username": None}, "username_present"),
        ({"username": None}, {"username": " "}, "username_present"),
        (PROFILE, {"method_id": ""}, "method_id_present"),
        (PROFILE, {"timestamp": "soon"}, "scraped_at_readable"),
        (PROFILE, {"raw_json": "{"}, "raw_json_readable"),
        (PROFILE, {"raw_json": None}, "raw_json_readable"),
        ({"followers_count": -1, "following_count": "x", "posts_count": -2.5}, {},
         "followers_count_not_negative,following_count_readable,posts_count_not_negative"),
        ({"recent_posts_count": -1}, {}, "recent_posts_count_not_negative"),
    ],
)  # fmt: skip
def test_a_refused_crawl_says_why(profile: dict[str, Any], envelope: dict[str, Any], rules: str) -> None:
    found = crawls(profile, **envelope)
    assert (found.good.height, found.refused["rules"].to_list()) == (0, [rules])


def test_nothing_in_nothing_out() -> None:
    assert events().good.schema == PIPELINE_EVENTS.polars_schema()
    assert crawls().good.schema == CRAWLER_RESULTS.polars_schema()
    assert pl.concat([events().good, events({}).good]).height == 1
