"""GitHub Actions: webhook payloads of runs and jobs, and the pages and objects of the REST API.

Belongs here: recognising these and reading runs and jobs. Does not: what an event means (transforms.py).
Other webhooks (check_run, deployment, ...) are none of these shapes.

One row per run or job. pipeline_id is the run's id, for a job too (Silver's parent_id tells them apart);
workspace_id the repository's full name. An event's id is `<run or job>/<attempt>`: a re-run is a further
attempt of one run, counted from 1, which also stands for what states none.
event_type is `workflow_run.<action>` or `workflow_job.<action>`, with `.<conclusion>` once completed; a page
has no action, so the status stands for it. Times: a run's `updated_at` moves with each change, so it is when
the change happened; a job has a time of its own for each action.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from lakehouse.landing import LandedFile
from lakehouse.landing.json_text import dumps, text_of

Row = tuple[str | None, ...]

# A webhook of a deployment or check also carries the run it belongs to, but is not about it.
_OTHERS = frozenset(
    (
        "deployment",
        "deployment_status",
        "workflow_job_runs",
        "reviewers",
        "requestor",
        "approver",
        "check_run",
        "check_suite",
    )
)
_REPOSITORY = re.compile(r"/repos/([^/]+/[^/]+)(?:/|$)")
_RUN_TIMES = ("updated_at", "run_started_at", "created_at")
_JOB_TIMES = {
    "completed": ("completed_at", "started_at", "created_at"),
    "in_progress": ("started_at", "created_at"),
}


def rows(record: Any, _: LandedFile) -> Sequence[Row] | None:
    """Return one row per run or job of a payload, page or object; None for another shape."""
    if not isinstance(record, dict):
        return None
    if isinstance(job := record.get("workflow_job"), dict) and "action" in record:
        return (_job(job, record),)
    if isinstance(run := record.get("workflow_run"), dict) and "action" in record:
        return (_run(run, record),) if _OTHERS.isdisjoint(record) else None
    page = record.get("workflow_runs", record.get("jobs"))
    if isinstance(page, list) and ("total_count" in record or any(map(_known, page))):
        return [_object(each) for each in page]
    return (_object(record),) if _known(record) else None


def _known(value: Any) -> bool:
    return _is_run(value) or _is_job(value)


def _object(value: Any) -> Row:
    """Return the row of a run or job; anything else on a page is kept as a row that Silver refuses."""
    if _is_run(value):
        return _run(value, {})
    return _job(value, {}) if _is_job(value) else (None, None, None, None, dumps(value))


def _is_run(value: Any) -> bool:
    return isinstance(value, dict) and {"id", "status", "workflow_id", "run_number"} <= value.keys()


def _is_job(value: Any) -> bool:
    return isinstance(value, dict) and {"id", "run_id", "status", "started_at", "head_sha"} <= value.keys()


def _run(run: dict[str, Any], envelope: dict[str, Any]) -> Row:
    action = _action(run, envelope)
    facts: dict[str, Any] = {}
    if action == "completed":
        facts = _duration(run.get("run_started_at") or run.get("created_at"), run.get("updated_at"))
    return (
        text_of(run.get("id")),
        _event_type("workflow_run", action, run),
        _repository(run, envelope),
        _first(run, _RUN_TIMES),
        _payload("workflow_run", facts, run, envelope),
    )


def _job(job: dict[str, Any], envelope: dict[str, Any]) -> Row:
    action = _action(job, envelope)
    facts = _duration(job.get("started_at"), job.get("completed_at")) if action == "completed" else {}
    if isinstance(steps := job.get("steps"), list):
        facts["steps"] = len(steps)
    return (
        text_of(job.get("run_id")),
        _event_type("workflow_job", action, job),
        _repository(job, envelope),
        _first(job, _JOB_TIMES.get(action or "", ("created_at", "started_at"))),
        _payload("workflow_job", facts, job, envelope),
    )


def _action(thing: dict[str, Any], envelope: dict[str, Any]) -> str | None:
    return text_of(envelope.get("action", thing.get("status")))


def _event_type(kind: str, action: str | None, thing: dict[str, Any]) -> str | None:
    """Return `<kind>.<action>[.<conclusion>]`; None, so that Silver refuses it, without an action."""
    if not action:
        return None
    conclusion = text_of(thing.get("conclusion")) if action == "completed" else None
    return ".".join(part for part in (kind, action, conclusion) if part)


def _repository(thing: dict[str, Any], envelope: dict[str, Any]) -> str | None:
    """Return `owner/name`, from the repository that is given, else from the object's own API address."""
    for holder in (envelope, thing):
        repository = holder.get("repository")
        if isinstance(repository, dict) and isinstance(name := repository.get("full_name"), str):
            return name
    for field in ("url", "run_url", "html_url"):
        if match := _REPOSITORY.search(text_of(thing.get(field)) or ""):
            return match[1]
    return None


def _first(thing: dict[str, Any], names: Sequence[str]) -> str | None:
    return next((text for name in names if (text := text_of(thing.get(name)))), None)


def _duration(start: Any, end: Any) -> dict[str, Any]:
    """Return the milliseconds from start to end; nothing where either is missing, odd, or after the other.

    GitHub sometimes moves `run_started_at` past `updated_at` (a later attempt); that is no duration.
    """
    try:
        took = datetime.fromisoformat(start) - datetime.fromisoformat(end)
    except (TypeError, ValueError, OverflowError):
        return {}
    milliseconds = round(-took.total_seconds() * 1000)
    return {"duration_ms": milliseconds} if milliseconds >= 0 else {}


def _payload(kind: str, facts: dict[str, Any], thing: dict[str, Any], envelope: dict[str, Any]) -> str:
    known = {"source_format": f"github.{kind}", "event_id": _event_id(thing), **facts}
    return dumps({**known, "payload": envelope or thing})


def _event_id(thing: dict[str, Any]) -> str | None:
    own = text_of(thing.get("id"))
    return own and f"{own}/{text_of(thing.get('run_attempt')) or 1}"
