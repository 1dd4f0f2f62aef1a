"""Temporal workflow histories: one row per history event.

Belongs here: recognising a history and reading its events. Does not: what an event means (transforms.py).

Known shapes: `{"events": [...]}`, `{"history": {"events": [...]}}`, either of them in a list or one per
line, and the events alone, in a list or one per line. Both enum styles, ids as number or text, times as
text or as `{"seconds", "nanos"}`, or nanoseconds in an older server's `timestamp`. An event type that is
only a number is told by its attributes' name, where it can be.

pipeline_id is the workflow id, else the first run id, else the file's stem: older servers do not write the
workflow id into the history. workspace_id is the namespace, which only some exports state; neither the task
queue nor the parent's namespace is one, so it stays empty then and Silver says `unassigned`.

An event's id is `<run id>/<number>`, its number alone where the history states no run. Histories come oldest
event first or newest first (as a UI shows them): a row stands where its event stands, but what only the
whole history tells (durations, activities) is told by the events' numbers. Of events that stand alone, a
history begins at its started event, and where the numbers fall it ends there.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
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
_RETRIES = re.compile(r"(?i)(?:retry_state_)?in_?progress|1")  # of RetryState, in either style or as a number
_ATTRIBUTES = re.compile(r"(\w+?)_?[Ee]vent_?[Aa]ttributes")
_EVENT_IDS = frozenset(("eventId", "event_id"))
_1970, _SECOND = datetime(1970, 1, 1, tzinfo=UTC), timedelta(seconds=1)
_SECONDS, _NANOS = re.compile(r"-?[0-9]{1,12}"), re.compile(r"[0-9]{1,9}")  # Go's zero time is before 1970
_NANOSECONDS = re.compile(r"([0-9]{10})([0-9]{9})")  # of an older server's `timestamp`
_TIME = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2})(?:\.([0-9]{1,9}))?(?:Z|([+-][0-9]{2}:[0-9]{2}))"
)


def rows(record: Any, file: LandedFile) -> Sequence[Row] | None:
    """Return one row per event of a history, in its order; None for another shape."""
    history = _history(record)
    if history is None:
        return None
    events = history["events"]
    pipeline, workspace = _workflow_id(history, events) or file.stem, _namespace(history)
    run, facts = _run_id(history, events), _facts(events)
    return [
        (
            pipeline,
            _type(event),
            workspace,
            _time(event),
            _payload(event, run, facts.get(place, {}) | _retry(event)),
        )
        if isinstance(event, dict)
        else (None, None, None, None, dumps(event))
        for place, event in enumerate(events)
    ]


def gathered(records: Iterator[Any]) -> Iterator[Any]:
    """Put events that stand alone back into histories; each holds one started event, where it has one."""
    events: list[Any] = []
    for record in records:
        alone = type(record) is dict and not _EVENT_IDS.isdisjoint(record) and is_event(record)
        if events and (not alone or _begins(record, events)):
            yield {"events": events}
            events = []
        if alone:
            events.append(record)
        else:
            yield record
    if events:
        yield {"events": events}


def _begins(event: dict[str, Any], before: list[Any]) -> bool:
    """Return whether an event is the first of a history, and none of the events before it."""
    last = _number(before[-1])
    falls = len(before) > 1 and _number(before[0]) > last
    if falls or not _is_started(event):
        return falls and _is_started(before[-1])
    ends_here = len(before) == 1 and _number(event) == last - 1  # a history of two events, newest first
    return not ends_here


def _is_started(event: dict[str, Any]) -> bool:
    return any(key in event for key in _STARTED)


def _is_first(event: dict[str, Any]) -> bool:
    """Return whether the event begins its run, also where it states no attributes."""
    return _is_started(event) or _number(event) == 1


def _number(event: dict[str, Any]) -> int:
    """Return the event's place in its history; 0 where it states none."""
    stated = _event_id(event) or ""
    return int(stated) if stated.isascii() and stated.isdigit() and len(stated) < 20 else 0


def _event_id(event: dict[str, Any]) -> str | None:
    return text_of(event.get("eventId", event.get("event_id")))


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


def _payload(event: dict[str, Any], run: str | None, facts: dict[str, Any]) -> str:
    number = _event_id(event)
    own = f"{run}/{number}" if run and number else number
    return dumps({"source_format": "temporal", "event_id": own, **facts, "payload": event})


def _facts(events: list[Any]) -> dict[int, dict[str, int]]:
    """Return what the closing events state, by their place in the list; told in the order of the numbers.

    Nothing where the first event is missing, as on a later page of a long history: the others tell neither
    when the run began nor what it did before.
    """
    placed = [(_number(event), place) for place, event in enumerate(events) if isinstance(event, dict)]
    if not all(number for number, _ in placed):
        placed = [(place, place) for _, place in placed]
    ordered = [place for _, place in sorted(placed)]
    first = next((place for place in ordered if _is_first(events[place])), None)
    if first is None:
        return {}
    start, done, facts = _time(events[first]), 0, {}
    for place in ordered:
        kind = _type(events[place])
        done += bool(_ACTIVITY_DONE.search((kind or "").lower()))
        if told := _closing(kind, start, _time(events[place]), done):
            facts[place] = told
    return facts


def _closing(kind: str | None, start: str | None, end: str | None, done: int) -> dict[str, int]:
    """State what can be known only when the run closes: how long it took, how many activities completed.

    Local activities run inside the worker and leave only markers; they are not counted. Where the end is
    dated before the start, as by the clocks of two servers, that is no duration.
    """
    if (
        kind is None
        or not _CLOSE.search(kind.lower())
        or "child" in kind.lower()
        or "external" in kind.lower()
    ):
        return {}
    began, ended = _nanoseconds(start), _nanoseconds(end)
    took = -1 if began is None or ended is None else ended - began
    facts = {} if took < 0 else {"duration_ms": _half_up(took)}
    return {**facts, "activities_executed": done}


def _retry(event: dict[str, Any]) -> dict[str, bool]:
    """State that the server runs the workflow again: then a failure or time-out ends this run, and not it."""
    if not _CLOSE.search((_type(event) or "").lower()):
        return {}
    for key, stated in event.items():
        if _ATTRIBUTES.fullmatch(key) and isinstance(stated, dict):
            state = text_of(stated.get("retryState", stated.get("retry_state")))
            return {"will_retry": True} if _RETRIES.fullmatch(state or "") else {}
    return {}


def _half_up(nanoseconds: int) -> int:
    return (nanoseconds + 500_000) // 1_000_000


def _nanoseconds(text: str | None) -> int | None:
    """Return a time of a history as nanoseconds since 1970; None where it is none, as in the year 0."""
    match = _TIME.fullmatch(text or "")
    if match is None:
        return None
    try:
        whole = datetime.fromisoformat(match[1] + (match[3] or "+00:00"))
    except ValueError:
        return None
    return (whole - _1970) // _SECOND * 1_000_000_000 + int((match[2] or "").ljust(9, "0"))


def _type(event: dict[str, Any]) -> str | None:
    """Return the event's type as it stands; for a bare number, the name its attributes have."""
    stated = text_of(event.get("eventType", event.get("event_type")))
    if stated is None or stated.isdigit():
        for key in event:
            if name := _ATTRIBUTES.fullmatch(key):
                return name[1]
    return stated


def _time(event: dict[str, Any]) -> str | None:
    """Return the event's time as text; a protobuf timestamp object, and nanoseconds, as RFC 3339."""
    time = event.get("eventTime", event.get("event_time"))
    if time is None:
        stated = text_of(event.get("timestamp"))
        found = _NANOSECONDS.fullmatch(stated or "")
        return _rfc3339(int(found[1]), int(found[2])) if found else stated
    if not isinstance(time, dict):
        return text_of(time)
    seconds, nanos = text_of(time.get("seconds")) or "", text_of(time.get("nanos", 0)) or ""
    if not (_SECONDS.fullmatch(seconds) and _NANOS.fullmatch(nanos)):
        return dumps(time)
    return _rfc3339(int(seconds), int(nanos)) or dumps(time)


def _rfc3339(seconds: int, nanos: int) -> str | None:
    """Return a time since 1970 as text; None where no calendar holds it."""
    try:
        whole = _1970 + seconds * _SECOND
    except OverflowError:
        return None
    return f"{whole.replace(tzinfo=None).isoformat(timespec='seconds')}.{nanos:09d}Z"


def _workflow_id(history: dict[str, Any], events: list[Any]) -> str | None:
    stated = history.get("workflowExecution") or history.get("workflow_execution") or history
    if isinstance(stated, dict) and (workflow := _text(stated, ("workflowId", "workflow_id"))):
        return workflow
    started = _started(events)
    if started is None:
        return None
    return _text(started, ("workflowId", "workflow_id")) or _text(started, _RUN_IDS)


def _run_id(history: dict[str, Any], events: list[Any]) -> str | None:
    """Return the id of the run: as the export states it, else as its started event does."""
    stated = history.get("workflowExecution") or history.get("workflow_execution") or history
    if isinstance(stated, dict) and (run := _text(stated, ("runId", "run_id"))):
        return run
    started = _started(events)
    return None if started is None else _text(started, _RUN_IDS)


def _started(events: list[Any]) -> dict[str, Any] | None:
    """Return the attributes of the started event."""
    for event in events:
        for key in _STARTED:
            if isinstance(event, dict) and isinstance(started := event.get(key), dict):
                return started
    return None


def _namespace(history: dict[str, Any]) -> str | None:
    return _text(history, ("namespace",))


def _text(record: dict[str, Any], names: Sequence[str]) -> str | None:
    """Return the first of the named fields that holds text."""
    for name in names:
        if isinstance(value := record.get(name), str) and value.strip():
            return value
    return None
