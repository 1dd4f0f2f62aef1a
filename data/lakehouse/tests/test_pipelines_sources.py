"""The telemetry sources: every shape becomes Bronze rows, in order, with nothing left out."""

from __future__ import annotations

import gzip
import io
import itertools
import json
from collections import Counter
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from conftest_landing import bronze, landed, shared, silver
from hypothesis import given, settings
from hypothesis import strategies as st

from lakehouse.domains.pipelines import transforms
from lakehouse.domains.pipelines.contracts import PIPELINE_EVENTS, RAW_PIPELINE_EVENTS
from lakehouse.domains.pipelines.sources import SOURCES
from lakehouse.errors import SourceError, UnknownShape
from lakehouse.registry import sources

BY_FOLDER = {source.folder: source for source in SOURCES}
EVENT = ("pipeline_id", "event_type", "workspace_id", "timestamp", "raw_data")


def read(name: str, content: bytes | str | Any) -> pl.DataFrame:
    if not isinstance(content, bytes | str):
        content = json.dumps(content)
    raw = content.encode() if isinstance(content, str) else content
    source = BY_FOLDER[name.split("/")[0]]
    frames = list(source.read(landed(name, raw)))
    assert all(frame.schema == source.payload_schema for frame in frames)
    return pl.concat(frames)


def rows(name: str, content: bytes | str | Any) -> list[tuple[str | None, ...]]:
    return read(name, content).rows()


def parquet(frame: pl.DataFrame) -> bytes:
    raw = io.BytesIO()
    frame.write_parquet(raw)
    return raw.getvalue()


def test_the_declared_folders_are_found_by_discovery() -> None:
    assert [s.folder for s in SOURCES] == ["pipeline_events", "github", "temporal", "crawler_results"]
    assert set(SOURCES) <= set(sources())


# -- envelopes -------------------------------------------------------------------------------------------

ROW = ("p1", "Started", "w", "2026-01-01T00:00:00Z", '{"a": 1}')


def test_the_envelope_is_the_same_in_every_format() -> None:
    record = dict(zip(EVENT, ROW, strict=True))
    frame = pl.DataFrame([record])
    for content, suffix in (
        (json.dumps(record), "ndjson"),
        (json.dumps([record]), "json"),
        (json.dumps(record, indent=1), "json"),
        (frame.write_csv(), "csv"),
        (frame.write_csv(separator=";"), "csv"),
        (parquet(frame), "parquet"),
        (gzip.compress(json.dumps(record).encode()), "ndjson.gz"),
        (gzip.compress(frame.write_csv().encode()), "csv.gz"),
    ):
        assert rows(f"pipeline_events/x.{suffix}", content) == [ROW]


def test_values_become_text_without_harm() -> None:
    text = (
        '{"pipeline_id":12345678901234567890123,"event_type":true,"workspace_id":1.10,"timestamp":1767225600.50,'
        '"raw_data":{"duration_ms": 1.50, "n": [1, 2], "s": "é"}}'
    )
    assert rows("pipeline_events/x.ndjson", text) == [
        ("12345678901234567890123", "true", "1.10", "1767225600.50", '{"duration_ms":1.50,"n":[1,2],"s":"é"}')
    ]


def test_missing_fields_are_null_and_text_payloads_untouched() -> None:
    assert rows(
        "pipeline_events/x.ndjson", '{"pipeline_id":"p"}\n{"raw_data":" {bad \\n"}\n{"event_type":null}'
    ) == [
        ("p", None, None, None, None),
        (None, None, None, None, " {bad \n"),
        (None,) * 5,
    ]
    assert rows("pipeline_events/x.csv", "pipeline_id,timestamp\np,2026") == [("p", None, None, "2026", None)]


@pytest.mark.parametrize(
    ("given_", "kept"),
    [
        ({"raw_data": {"a": 1}, "x": 2}, '{"a":1,"_extra":{"x":2}}'),
        ({"raw_data": {"_extra": 1}, "x": 2}, '{"_extra":1,"__extra":{"x":2}}'),
        ({"raw_data": '{"a": 1} ', "x": 2}, '{"a": 1,"_extra":{"x":2}}'),
        ({"raw_data": "{}", "x": 2}, '{"_extra":{"x":2}}'),
        ({"raw_data": "broken", "x": 2}, 'broken {"x":2}'),
        ({"raw_data": None, "x": 2}, 'null {"x":2}'),
        ({"duration_ms": 5}, '{"duration_ms":5}'),
    ],
)
def test_extra_fields_are_kept_in_the_payload(given_: dict[str, Any], kept: str) -> None:
    assert rows("pipeline_events/x.json", {"pipeline_id": "p", **given_}) == [("p", None, None, None, kept)]


def test_extra_columns_are_kept_in_the_payload() -> None:
    table = 'pipeline_id,raw_data,x\np,"{""a"": 1}",2\np,{},2\np,broken,2\np,,2\n'
    assert read("pipeline_events/x.csv", table)["raw_data"].to_list() == [
        '{"a": 1,"_extra":{"x":"2"}}', '{"_extra":{"x":"2"}}', 'broken {"x":"2"}', 'null {"x":"2"}',
    ]  # fmt: skip
    assert read("pipeline_events/x.csv", "pipeline_id,duration_ms\np,5")["raw_data"].to_list() == [
        '{"duration_ms":"5"}'
    ]


def test_typed_parquet_columns_become_text() -> None:
    frame = pl.DataFrame(
        {"Pipeline_ID ": [7], "timestamp": ["2026-01-01"], "raw_data": [{"duration_ms": 5, "s": None}]}
    )
    frame = frame.with_columns(pl.col("timestamp").str.to_datetime(time_unit="us"))
    assert rows("temporal/x.parquet", parquet(frame)) == [
        ("7", None, None, "2026-01-01T00:00:00.000000Z", '{"duration_ms":5,"s":null}')
    ]


def test_unknown_records_among_known_ones_stay_as_rows() -> None:
    known = {"pipeline_id": "p", "event_type": "x"}
    expected = [
        ("p", "x", None, None, None),
        (None, None, None, None, '{"who":"knows"}'),
        (None, None, None, None, "5"),
    ]
    assert rows("pipeline_events/x.json", [known, {"who": "knows"}, 5]) == expected
    lines = '{"pipeline_id":"p","event_type":"x"}\n{"who": "knows"}\n5\n{"pipeline_id": oops\n\n'
    assert rows("github/x.ndjson", lines) == [*expected, (None, None, None, None, '{"pipeline_id": oops')]


@pytest.mark.parametrize(
    ("name", "content", "error"),
    [
        ("x.json", "{}", "JSON of another shape; this source knows event envelopes"),
        ("x.json", "3", "another shape"),
        ("x.json", '[{"a":1},{"b":2}]', "another shape"),
        ("x.ndjson", '{"a":1}\noops', "another shape"),
        ("x.csv", "a,b\n1,2", "CSV with other columns"),
        ("x.parquet", parquet(pl.DataFrame({"a": [1]})), "Parquet with other columns"),
        ("x.json", '{"crawl_id":"c","username":"u"}', "another shape"),
        ("x.json", '{"action":"completed","check_run":{"id":1},"workflow_run":{"id":2}}', "another shape"),
        ("x.json", '{"events":[1,2]}', "another shape"),
    ],
)  # fmt: skip
def test_a_file_without_any_known_record_is_of_unknown_shape(
    name: str, content: bytes | str, error: str
) -> None:
    with pytest.raises(UnknownShape, match=error):
        read(f"pipeline_events/{name}", content)


def test_a_file_without_any_json_line_is_unreadable() -> None:
    with pytest.raises(SourceError, match="none of its 2 lines is readable") as caught:
        read("pipeline_events/x.ndjson", "oops\n\nsecret")
    assert not isinstance(caught.value, UnknownShape)
    assert "secret" not in str(caught.value)


def test_nothing_is_no_error_and_gives_an_empty_frame() -> None:
    empty = parquet(pl.DataFrame(schema=dict.fromkeys(EVENT, pl.String)))
    for name, content in (
        ("x.json", "[]"),
        ("x.csv", ",".join(EVENT)),
        ("x.parquet", empty),
        ("x.json", '{"total_count":0,"workflow_runs":[]}'),
        ("x.json", '{"events":[]}'),
    ):
        assert read(f"pipeline_events/{name}", content).shape == (0, 5)


def test_long_files_come_in_frames_in_the_same_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lakehouse.domains.pipelines.reading.CHUNK_ROWS", 10)
    lines = "\n".join(json.dumps({"pipeline_id": str(i)}) for i in range(35))
    frames = list(BY_FOLDER["pipeline_events"].read(landed("pipeline_events/x.ndjson", lines.encode())))
    assert [f.height for f in frames] == [10, 10, 10, 5]
    assert pl.concat(frames)["pipeline_id"].to_list() == [str(i) for i in range(35)]
    monkeypatch.setattr("lakehouse.domains.pipelines.reading.CHUNK_BYTES", 100)
    big = json.dumps([{"pipeline_id": "p", "raw_data": "x" * 60} for _ in range(4)])
    assert [f.height for f in BY_FOLDER["github"].read(landed("github/x.json", big.encode()))] == [2, 2]


texts = st.none() | st.text(st.characters(codec="utf-8", exclude_characters="\0\r"), max_size=8)


@settings(deadline=None)
@given(st.lists(st.fixed_dictionaries(dict.fromkeys(EVENT, texts)), min_size=1, max_size=6))
def test_any_text_comes_through_json_and_parquet_alike(records: list[dict[str, str | None]]) -> None:
    expected = [tuple(r[f] for f in EVENT) for r in records]
    assert rows("pipeline_events/x.json", records) == expected
    assert (
        rows(
            "pipeline_events/x.parquet",
            parquet(pl.DataFrame(records, schema=dict.fromkeys(EVENT, pl.String))),
        )
        == expected
    )


# -- Temporal --------------------------------------------------------------------------------------------


def event(number: int | str, kind: Any, time: Any, **attributes: Any) -> dict[str, Any]:
    return {"eventId": number, "eventTime": time, "eventType": kind, **attributes}


STARTED = {"workflowExecutionStartedEventAttributes": {"workflowId": "wf", "originalExecutionRunId": "run"}}
HISTORY = {
    "events": [
        event("1", "WorkflowExecutionStarted", "2026-01-01T00:00:00.000000001Z", **STARTED),
        event(2, "EVENT_TYPE_ACTIVITY_TASK_COMPLETED", "2026-01-01T00:00:01Z"),
        event("3", "SomethingNew", "2026-01-01T00:00:01Z"),
        event(4, "EVENT_TYPE_WORKFLOW_EXECUTION_FAILED", "2026-01-01T00:00:02.000500001Z"),
    ]
}


def test_one_row_per_history_event() -> None:
    found = rows("temporal/x.json", HISTORY)
    assert [r[:4] for r in found] == [
        ("wf", "WorkflowExecutionStarted", None, "2026-01-01T00:00:00.000000001Z"),
        ("wf", "EVENT_TYPE_ACTIVITY_TASK_COMPLETED", None, "2026-01-01T00:00:01Z"),
        ("wf", "SomethingNew", None, "2026-01-01T00:00:01Z"),
        ("wf", "EVENT_TYPE_WORKFLOW_EXECUTION_FAILED", None, "2026-01-01T00:00:02.000500001Z"),
    ]
    assert [json.loads(r[4] or "") for r in found] == [
        {"source_format": "temporal", "event_id": f"run/{e['eventId']}", **facts, "payload": e}
        for e, facts in zip(
            HISTORY["events"], ({}, {}, {}, {"duration_ms": 2001, "activities_executed": 1}), strict=True
        )
    ]


@pytest.mark.parametrize(
    ("attributes", "will_retry"),
    [
        ({"retryState": "RETRY_STATE_IN_PROGRESS", "newExecutionRunId": "run2"}, True),
        ({"retryState": "InProgress"}, True),
        ({"retry_state": 1}, True),
        ({"retryState": "RETRY_STATE_MAXIMUM_ATTEMPTS_REACHED"}, None),
        ({"retryState": 5, "newExecutionRunId": "of-a-cron"}, None),
        ({}, None),
    ],
)
def test_a_run_that_the_server_retries_says_so(attributes: dict[str, Any], will_retry: bool | None) -> None:
    """RetryState of https://github.com/temporalio/api, temporal/api/enums/v1/workflow.proto."""
    for kind in ("Failed", "TimedOut"):
        last = event(5, f"WorkflowExecution{kind}", "2026-01-01T00:00:03Z")
        last[f"workflowExecution{kind}EventAttributes"] = attributes
        part = event(4, "ActivityTaskFailed", "2026-01-01T00:00:02Z")
        part["activityTaskFailedEventAttributes"] = attributes
        for before in (HISTORY["events"][:1], []):  # also of a later page
            found = rows("temporal/x.json", {"events": [*before, part, last]})
            told = [json.loads(row[4] or "").get("will_retry") for row in found]
            assert told == [None] * (len(before) + 1) + [will_retry]


def test_histories_come_wrapped_listed_in_lines_and_loose() -> None:
    expected = rows("temporal/x.json", HISTORY)
    for content in ([HISTORY], {"history": HISTORY}, HISTORY["events"], [{"history": HISTORY}]):
        assert rows("temporal/x.json", content) == expected
    assert rows("temporal/x.ndjson", "\n".join(map(json.dumps, HISTORY["events"]))) == expected
    twice = f"{json.dumps(HISTORY)}\n{json.dumps({'history': HISTORY})}"
    assert rows("temporal/x.ndjson", twice) == [*expected, *expected]


def test_a_history_in_any_order_tells_the_same_of_each_event() -> None:
    expected = sorted(rows("temporal/x.json", HISTORY), key=str)
    assert rows("temporal/x.json", {"events": HISTORY["events"][::-1]})[0][:2] == (
        "wf",
        "EVENT_TYPE_WORKFLOW_EXECUTION_FAILED",
    )
    for order in itertools.permutations(HISTORY["events"]):
        assert sorted(rows("temporal/x.json", {"events": list(order)}), key=str) == expected
    without = {"events": [{k: v for k, v in e.items() if k != "eventId"} for e in HISTORY["events"]]}
    without["events"][0]["eventId"] = "1"
    assert json.loads(rows("temporal/x.json", without)[3][4] or "")["duration_ms"] == 2001


def test_a_page_without_the_first_event_tells_neither_duration_nor_activities() -> None:
    """A page of a long history is no whole one: its first event is not when the run began."""
    pages = [HISTORY["events"][:2], HISTORY["events"][2:]]
    for page in (pages[1], pages[1][::-1]):
        told = [json.loads(r[4] or "") for r in rows("temporal/x.json", {"events": page})]
        assert [one.keys() for one in told] == [{"source_format", "event_id", "payload"}] * 2
    bare = [{"eventId": e["eventId"], "eventTime": e["eventTime"], "eventType": e["eventType"]}
            for e in HISTORY["events"]]  # fmt: skip
    assert json.loads(rows("temporal/x.json", {"events": bare})[3][4] or "")["duration_ms"] == 2001


def test_times_with_an_offset_tell_the_duration() -> None:
    times = {0: "2026-01-01T01:00:00.000000001+01:00", 3: "2025-12-31T22:00:02.000500001-02:00"}
    first, last = ({**HISTORY["events"][n], "eventTime": time} for n, time in times.items())
    assert json.loads(rows("temporal/x.json", [first, last])[1][4] or "")["duration_ms"] == 2001


def history(name: str, *, length: int) -> list[dict[str, Any]]:
    started = {
        "workflowExecutionStartedEventAttributes": {"workflowId": name, "originalExecutionRunId": name}
    }
    events = [event(n, "TimerStarted", f"2026-01-01T00:00:{n:02d}Z") for n in range(1, length + 1)]
    if length > 1:
        events[-1]["eventType"] = "WorkflowExecutionCompleted"
    return [{**events[0], "eventType": "WorkflowExecutionStarted", **started}, *events[1:]]


@pytest.mark.parametrize("lengths", [(2, 2), (2, 3, 4), (5, 2, 3)])
@pytest.mark.parametrize("step", [1, -1], ids=["oldest first", "newest first"])
def test_loose_events_of_several_histories_are_told_apart(lengths: tuple[int, ...], step: int) -> None:
    histories = {f"w{n}": history(f"w{n}", length=length) for n, length in enumerate(lengths)}
    loose = [e for events in histories.values() for e in events[::step]]
    found = rows("temporal/x.ndjson", "\n".join(map(json.dumps, loose)))
    assert [r[0] for r in found] == [name for name, events in histories.items() for _ in events]
    ends = [json.loads(r[4] or "") for r in found if r[1] == "WorkflowExecutionCompleted"]
    assert [end["duration_ms"] for end in ends] == [(length - 1) * 1000 for length in lengths]
    assert [end["event_id"] for end in ends] == [f"w{n}/{length}" for n, length in enumerate(lengths)]


def test_the_run_is_named_by_what_the_history_states() -> None:
    def named(attributes: dict[str, Any], **wrapper: Any) -> str:
        first = event(1, "x", "2026-01-01T00:00:00Z", workflowExecutionStartedEventAttributes=attributes)
        return str(
            json.loads(rows("temporal/x.json", {"events": [first], **wrapper})[0][4] or "")["event_id"]
        )

    assert named({"workflowId": "w", "originalExecutionRunId": "r", "firstExecutionRunId": "f"}) == "r/1"
    assert named({"firstExecutionRunId": "f"}) == "f/1"
    assert (
        named({"originalExecutionRunId": "r"}, workflowExecution={"workflowId": "w", "runId": "o"}) == "o/1"
    )
    assert named({"originalExecutionRunId": "r"}, runId="o") == "o/1"
    assert named({}) == "1"


def test_an_envelope_that_also_has_event_ids_stays_an_envelope() -> None:
    record = {"event_id": 1, "event_time": "t", "event_type": "x", "pipeline_id": "p"}
    assert rows("temporal/x.json", [record]) == [("p", "x", None, None, '{"event_id":1,"event_time":"t"}')]


def test_the_workflow_is_named_by_what_the_history_states() -> None:
    def named(attributes: dict[str, Any], **wrapper: Any) -> tuple[str | None, ...]:
        first = event(1, "x", "2026-01-01T00:00:00Z", workflowExecutionStartedEventAttributes=attributes)
        row = rows("temporal/folder/my.history.json", {"events": [first], **wrapper})[0]
        return row[0], row[2]

    assert named({"workflowId": "w", "originalExecutionRunId": "r"}) == ("w", None)
    assert named({"workflowId": " ", "originalExecutionRunId": "r", "firstExecutionRunId": "f"}) == (
        "r",
        None,
    )
    assert named(
        {"firstExecutionRunId": "f", "taskQueue": {"name": "q"}, "parentWorkflowNamespace": "n"}
    ) == ("f", None)
    assert named({}) == ("my", None)
    assert named({}, namespace="prod", workflowExecution={"workflowId": "outer"}) == ("outer", "prod")


def test_the_nanoseconds_of_an_older_server_are_its_times() -> None:
    started, ended = 1561674301723220900, "1561674331909758000"
    events = [
        {"eventId": 1, "timestamp": started, "eventType": "WorkflowExecutionStarted",
         "workflowExecutionStartedEventAttributes": {"originalExecutionRunId": "r"}},
        {"eventId": 2, "timestamp": "2019-06-27T22:25:02Z", "eventType": "DecisionTaskScheduled"},
        {"eventId": 3, "timestamp": 1, "eventType": "TimerFired"},
        {"eventId": 4, "timestamp": ended, "eventType": "WorkflowExecutionCompleted"},
    ]  # fmt: skip
    found = read("temporal/x.json", events)
    assert found["timestamp"].to_list() == [
        "2019-06-27T22:25:01.723220900Z", "2019-06-27T22:25:02Z", "1", "2019-06-27T22:25:31.909758000Z",
    ]  # fmt: skip
    assert json.loads(found["raw_data"][3])["duration_ms"] == 30187


def test_an_end_that_is_dated_before_its_start_stays_and_states_no_duration() -> None:
    events = [
        {"eventId": 1, "eventTime": "2026-01-01T00:00:00.005Z", "eventType": "WorkflowExecutionStarted"},
        {"eventId": 2, "eventTime": "2026-01-01T00:00:00.001Z", "eventType": "WorkflowExecutionCompleted"},
    ]
    found = silver(PIPELINE_EVENTS, transforms.pipeline_events, bronze(
        RAW_PIPELINE_EVENTS, read("temporal/x.json", {"events": events}).to_dicts()))  # fmt: skip
    assert found.good["status"].to_list() == ["in_progress", "completed"]
    assert found.good["duration_ms"].to_list() == [None, None]
    assert found.good["activities_executed"].to_list() == [None, 0]


def test_numeric_types_and_protobuf_times() -> None:
    time = {"seconds": "1767225600", "nanos": 5}
    found = rows(
        "temporal/x.json",
        {
            "events": [
                event(1, 1, time, workflowExecutionStartedEventAttributes={}),
                event(2, 6, {"odd": 1}),
                event(3, None, None),
            ]
        },
    )
    snake = {
        "event_id": 2,
        "event_type": 10,
        "event_time": time,
        "activity_task_scheduled_event_attributes": {},
    }
    assert rows("temporal/x.json", {"events": [snake]})[0][1] == "activity_task_scheduled"
    assert [r[1:4:2] for r in found] == [
        ("workflowExecutionStarted", "2026-01-01T00:00:00.000000005Z"), ("6", '{"odd":1}'), (None, None),
    ]  # fmt: skip


@pytest.mark.slow
def test_real_histories_are_read_event_for_event() -> None:
    total, refused = 0, 0
    for path in shared("temporal_histories"):
        document = json.loads(path.read_bytes())
        if not isinstance(document, dict) or "events" not in document:
            with pytest.raises(UnknownShape):
                read(f"temporal/{path.name}", path.read_bytes())
            continue
        frame = read(f"temporal/{path.name}", path.read_bytes())
        assert frame["event_type"].to_list() == [e["eventType"] for e in document["events"]]
        assert frame["timestamp"].to_list() == [e["eventTime"] for e in document["events"]]
        assert [json.loads(r)["payload"] for r in frame["raw_data"]] == document["events"]
        assert frame["pipeline_id"].n_unique() == 1
        made = silver(
            PIPELINE_EVENTS, transforms.pipeline_events, bronze(RAW_PIPELINE_EVENTS, frame.to_dicts())
        )
        assert made.good.height + made.refused.height == frame.height
        _check_status(made.good, document["events"])
        total, refused = total + frame.height, refused + made.refused.height
        assert made.good.select(PIPELINE_EVENTS.key).is_duplicated().sum() == 0
    assert (total > 1000, refused) == (True, 0)


def _check_status(good: pl.DataFrame, events: list[dict[str, Any]]) -> None:
    """Only the workflow's own end counts; told here from the type's letters, independently."""
    ends = {"workflowexecutioncompleted": "completed", "unknownevent": "unknown"} | dict.fromkeys(
        ["workflowexecution" + e for e in ("failed", "timedout", "canceled", "terminated")], "failed"
    )
    letters = [e["eventType"].removeprefix("EVENT_TYPE_").replace("_", "").lower() for e in events]
    assert Counter(good["status"]) == Counter(ends.get(word, "in_progress") for word in letters)
    for row in good.filter(pl.col("status").is_in(["completed", "failed"])).iter_rows(named=True):
        assert row["duration_ms"] >= 0
        assert row["activities_executed"] <= letters.count("activitytaskcompleted")


# -- GitHub ----------------------------------------------------------------------------------------------

REPO = {"full_name": "octo/repo"}
RUN = {
    "id": 30433642, "workflow_id": 159038, "run_number": 562, "status": "completed", "conclusion": "failure",
    "created_at": "2026-01-01T00:00:00Z", "run_started_at": "2026-01-01T00:01:00Z",
    "updated_at": "2026-01-01T00:03:30Z", "url": "https://api.github.com/repos/octo/repo/actions/runs/30433642",
}  # fmt: skip
JOB = {
    "id": 1, "run_id": 30433642, "status": "in_progress", "conclusion": None, "head_sha": "x",
    "created_at": "2026-01-01T00:00:00Z", "started_at": "2026-01-01T00:01:05Z", "completed_at": None,
    "steps": [{"name": "a"}, {"name": "b"}], "run_url": "https://api.github.com/repos/octo/repo/actions/runs/30433642",
}  # fmt: skip


def test_runs_and_jobs_as_webhook_page_and_object() -> None:
    run = ("30433642", "workflow_run.completed.failure", "octo/repo", "2026-01-01T00:03:30Z")
    job = ("30433642", "workflow_job.in_progress", "octo/repo", "2026-01-01T00:01:05Z")
    done = {**JOB, "status": "completed", "conclusion": "success", "completed_at": "2026-01-01T00:02:05.5Z"}
    for content, expected, facts in (
        ({"action": "completed", "workflow_run": RUN, "repository": REPO}, [run], {"duration_ms": 150_000}),
        ({"total_count": 1, "workflow_runs": [RUN]}, [run], {"duration_ms": 150_000}),
        (RUN, [run], {"duration_ms": 150_000}),
        ({"action": "in_progress", "workflow_job": JOB, "repository": REPO}, [job], {"steps": 2}),
        ({"total_count": 1, "jobs": [JOB]}, [job], {"steps": 2}),
        (done, [(job[0], "workflow_job.completed.success", job[2], "2026-01-01T00:02:05.5Z")],
         {"duration_ms": 60_500, "steps": 2}),
        ({"action": "queued", "workflow_job": JOB, "repository": REPO},
         [(job[0], "workflow_job.queued", job[2], "2026-01-01T00:00:00Z")], {"steps": 2}),
        ({"action": "requested", "workflow_run": RUN, "repository": REPO},
         [(run[0], "workflow_run.requested", run[2], run[3])], {}),
    ):  # fmt: skip
        found = rows("github/x.json", content)
        assert [r[:4] for r in found] == expected
        payload = json.loads(found[0][4] or "")
        stated = {k: v for k, v in payload.items() if k not in ("source_format", "event_id", "payload")}
        assert stated == facts
        assert payload["event_id"] == ("1/1" if "job" in expected[0][1] else "30433642/1")
        assert payload["source_format"] == "github." + expected[0][1].split(".")[0]


def test_a_rerun_is_a_further_attempt_of_its_run_and_a_run_without_a_number_is_the_first() -> None:
    page = {"total_count": 3, "workflow_runs": [RUN, {**RUN, "run_attempt": 2}, {**RUN, "run_attempt": None}]}
    found = rows("github/x.json", page)
    assert {r[0] for r in found} == {"30433642"}
    ids = [json.loads(r[4] or "")["event_id"] for r in found]
    assert ids == ["30433642/1", "30433642/2", "30433642/1"]


def test_a_page_keeps_what_is_no_run_and_a_backward_clock_gives_no_duration() -> None:
    late = {**RUN, "run_started_at": "2026-01-02T00:00:00Z"}
    found = rows("github/x.json", {"total_count": 2, "workflow_runs": [late, {"odd": 1}]})
    assert "duration_ms" not in json.loads(found[0][4] or "")
    assert found[1] == (None, None, None, None, '{"odd":1}')
    assert rows("github/x.json", {**RUN, "repository": None, "url": None, "status": None})[0][1:3] == (
        None,
        None,
    )


def test_real_webhooks_are_read_or_reported() -> None:
    read_in: Counter[str] = Counter()
    for path in shared("github_events"):
        document = json.loads(path.read_bytes())
        kind = _webhook(path, document)
        if kind is None:
            with pytest.raises(UnknownShape):
                read(f"github/{path.name}", path.read_bytes())
            continue
        (row,) = rows(f"github/{path.name}", path.read_bytes())
        thing = document[kind]
        assert row[0] == str(thing["run_id" if kind == "workflow_job" else "id"])
        assert (row[1] or "").startswith(f"{kind}.{document['action']}")
        assert row[2] == document["repository"]["full_name"]
        assert json.loads(row[4] or "")["payload"] == document
        made = silver(
            PIPELINE_EVENTS,
            transforms.pipeline_events,
            bronze(RAW_PIPELINE_EVENTS, [dict(zip(EVENT, row, strict=True))]),
        )
        assert made.refused.is_empty()
        assert made.good["event_id"].item() == f"{thing['id']}/{thing['run_attempt']}"
        assert made.good["parent_id"].item() == (row[0] if kind == "workflow_job" else None)
        ended = {"success": "completed"}.get(thing["conclusion"], "failed")
        assert made.good["status"].item() == (ended if document["action"] == "completed" else "in_progress")
        read_in[kind] += 1
    assert set(read_in) == {"workflow_run", "workflow_job"}


def _webhook(path: Path, document: Any) -> str | None:
    """The kind of a webhook file, by the folder GitHub's collection keeps it in."""
    kind = path.parent.name
    return kind if kind in ("workflow_run", "workflow_job") and kind in document else None


@pytest.mark.parametrize("folder", ["pipeline_events", "github", "temporal", "crawler_results"])
def test_no_real_file_brings_any_source_down(folder: str) -> None:
    known, reasons = 0, dict[str, str]()
    for kind in ("temporal_histories", "github_events", "json_robustness", "parquet_robustness"):
        for path in shared(kind):
            try:
                known += read(f"{folder}/{path.name}", path.read_bytes()).height
            except SourceError as exc:
                reasons[path.name] = str(exc)
    assert (known > 1000) == (folder != "crawler_results")
    assert [n for n, reason in reasons.items() if not reason.startswith(f"{folder}/{n}: ")] == []


# -- crawls ----------------------------------------------------------------------------------------------


def test_crawls_in_every_format() -> None:
    record = {"crawl_id": "c", "method_id": "m", "username": "u", "raw_json": '{"a": 1}', "timestamp": "2026"}
    expected = [("c", "m", "u", '{"a": 1}', "2026")]
    frame = pl.DataFrame([record])
    for content, suffix in (
        (json.dumps(record), "ndjson"),
        (frame.write_csv(), "csv"),
        (parquet(frame), "parquet"),
    ):
        assert rows(f"crawler_results/x.{suffix}", content) == expected
    assert (
        rows("crawler_results/x.json", {**record, "raw_json": {"a": 1}, "x": 2})[0][3]
        == '{"a":1,"_extra":{"x":2}}'
    )
    with pytest.raises(UnknownShape, match="this source knows crawl envelopes"):
        read("crawler_results/x.json", HISTORY)
