"""Temporal workflow histories: one row per history event.

Belongs here: recognising a history and reading its events. Does not: what an event means (transforms.py).

Known shapes: `{"events": [...]}`, `{"history": {"events": [...]}}`, either of them in a list or one per
line, and the events alone, in a list or one per line. Both enum styles, ids as number or text, times as
text or as `{"seconds", "nanos"}`. An event type that is only a number is told by its attributes' name, where
it can be.

pipeline_id is the workflow id, else the first run id, else the file's stem: older servers do not write the
workflow id into the history. workspace_id is the namespace, which only some exports state; neither the task
queue nor the parent's namespace is one, so it stays empty then and Silver says `unassigned`.

Silver's key has microseconds: events of one type of one workflow in the same microsecond become one row.
In the 50 histories of Temporal's own Go SDK (1349 events) that is 12 events, all in the two hand-made
files whose events share one time.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

from lakehouse.landing import LandedFile
from lakehouse.landing.json_text import dumps, text_of

Row = tuple[str | None, ...]

_CLOSE = re.compile(
    r"workflow_?execution_?(completed|failed|timed_?out|cancell?ed|terminated|continued_?as_?new)$"
)
_ACTIVITY_DONE = re.compile(r"activity_?task_?completed$")
_STARTED = ("workflowExecutionStartedEventAttributes", "workflow_execution_started_event_attributes")
_RUN_IDS = (
    "originalExecutionRunId",
    "original_execution_run_id",
    "firstExecutionRunId",
    "first_execution_run_id",
)
_EVENT_IDS = frozenset(("eventId", "event_id"))
_TIME = re.compile(r"^(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?Z$")


def rows(record: Any, file: LandedFile) -> Sequence[Row] | None:
    """Return one row per event of a history, in its order; None for another shape."""
    history = _history(record)
    if history is None:
        return None
    events = history["events"]
    pipeline, workspace = _workflow_id(history, events) or file.stem, _namespace(history)
    done, start = 0, _time(events[0]) if events and isinstance(events[0], dict) else None
    out: list[Row] = []
    for event in events:
        if not isinstance(event, dict):
            out.append((None, None, None, None, dumps(event)))
            continue
        kind = _type(event)
        done += bool(_ACTIVITY_DONE.search((kind or "").lower()))
        facts = _closing(kind, start, _time(event), done)
        out.append((pipeline, kind, workspace, _time(event), _payload(event, facts)))
    return out


def gathered(records: Iterator[Any]) -> Iterator[Any]:
    """Put events that stand alone back into histories; one begins at each started event."""
    events: list[Any] = []
    for record in records:
        alone = type(record) is dict and not _EVENT_IDS.isdisjoint(record) and is_event(record)
        if events and (not alone or any(key in record for key in _STARTED)):
            yield {"events": events}
            events = []
        if alone:
            events.append(record)
        else:
            yield record
    if events:
        yield {"events": events}


def is_event(value: Any) -> bool:
    """Say whether a value is one history event: an id and a type in Temporal's words, and no envelope."""
    if not isinstance(value, dict) or "pipeline_id" in value or "raw_data" in value:
        return False
    return ("eventId" in value and "eventType" in value) or ("event_id" in value and "event_time" in value)


def _history(record: Any) -> dict[str, Any] | None:
    """Return the object that holds the events (with the wrapper's own fields), or None."""
    if not isinstance(record, dict):
        return None
    history: dict[str, Any] = record
    if isinstance(inner := record.get("history"), dict) and "events" in inner:
        history = {**record, **inner}
    events = history.get("events")
    known = isinstance(events, list) and (not events or any(map(is_event, events)))
    return history if known else None


def _payload(event: dict[str, Any], facts: dict[str, int]) -> str:
    known = {
        "source_format": "temporal",
        "event_id": text_of(event.get("eventId", event.get("event_id"))),
        **facts,
    }
    return dumps({**known, "payload": event})


def _closing(kind: str | None, start: str | None, end: str | None, done: int) -> dict[str, int]:
    """State what can be known only when the run closes: how long it took, how many activities completed.

    Local activities run inside the worker and leave only markers; they are not counted.
    """
    if (
        kind is None
        or not _CLOSE.search(kind.lower())
        or "child" in kind.lower()
        or "external" in kind.lower()
    ):
        return {}
    took = _nanoseconds(end) - _nanoseconds(start) if _readable(start) and _readable(end) else None
    facts = {} if took is None else {"duration_ms": _half_up(took)}
    return {**facts, "activities_executed": done}


def _half_up(nanoseconds: int) -> int:
    return (nanoseconds + 500_000) // 1_000_000


def _readable(text: str | None) -> bool:
    return text is not None and _TIME.match(text) is not None


def _nanoseconds(text: str | None) -> int:
    match = _TIME.match(text or "")
    if match is None:
        raise ValueError("not a time of a history")
    whole = datetime.fromisoformat(match[1]).replace(tzinfo=UTC)
    return int(whole.timestamp()) * 1_000_000_000 + int((match[2] or "").ljust(9, "0"))


def _type(event: dict[str, Any]) -> str | None:
    """Return the event's type as it stands; for a bare number, the name its attributes have."""
    stated = text_of(event.get("eventType", event.get("event_type")))
    if stated is None or stated.isdigit():
        for key in event:
            if key.endswith("EventAttributes"):
                return key.removesuffix("EventAttributes")
    return stated


def _time(event: dict[str, Any]) -> str | None:
    """Return the event's time as text; a protobuf timestamp object as RFC 3339."""
    time = event.get("eventTime", event.get("event_time"))
    if not isinstance(time, dict):
        return text_of(time)
    seconds, nanos = text_of(time.get("seconds")) or "", text_of(time.get("nanos", 0)) or ""
    if not (seconds.isdigit() and nanos.isdigit() and len(seconds) <= 11 and len(nanos) <= 9):
        return dumps(time)
    return f"{datetime.fromtimestamp(int(seconds), UTC):%Y-%m-%dT%H:%M:%S}.{int(nanos):09d}Z"


def _workflow_id(history: dict[str, Any], events: list[Any]) -> str | None:
    stated = history.get("workflowExecution") or history.get("workflow_execution") or history
    if isinstance(stated, dict) and (workflow := _text(stated, ("workflowId", "workflow_id"))):
        return workflow
    for event in events:
        for key in _STARTED:
            if isinstance(event, dict) and isinstance(started := event.get(key), dict):
                return _text(started, ("workflowId", "workflow_id")) or _text(started, _RUN_IDS)
    return None


def _namespace(history: dict[str, Any]) -> str | None:
    return _text(history, ("namespace",))


def _text(record: dict[str, Any], names: Sequence[str]) -> str | None:
    """Return the first of the named fields that holds text."""
    for name in names:
        if isinstance(value := record.get(name), str) and value.strip():
            return value
    return None
