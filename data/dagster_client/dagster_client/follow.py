"""Following a run over GraphQL to its end.

Belongs here: polling, and handing each event to the printer. Does not: what is printed (progress.py).
"""

from __future__ import annotations

import time
from typing import Any

from dagster_client.client import Client, Unreachable
from dagster_client.progress import RunProgress, first_line, is_retry
from dagster_client.queries import EVENTS

_POLL_SECONDS = 0.5  # an answer costs the webserver some 15 ms of CPU
_LAST_POLL_SECONDS = 0.1
_RETRY_SECONDS = 1.0
_SILENCE_SECONDS = 60.0
_ENDED = ("SUCCESS", "FAILURE", "CANCELED")


def follow(client: Client, run_id: str, progress: RunProgress, *, deadline: float) -> str:
    """Hand each event to `progress` until the run ends; return its status.

    A webserver that is away for a moment is waited for. Raises Unreachable after a minute without an answer,
    TimeoutError when `deadline` (of time.monotonic) passes; the run goes on then.
    """
    cursor = None
    while True:
        answer = _events(client, run_id, cursor, deadline)
        logs, status = answer["logsForRun"], str(answer["runOrError"]["status"])
        for event in logs.get("events", []):
            hand_over(event, progress)
        cursor = logs.get("cursor") or cursor
        if status in _ENDED and not logs.get("events"):
            return status
        if not logs.get("hasMore"):
            time.sleep(_LAST_POLL_SECONDS if status in _ENDED else _POLL_SECONDS)


def _events(client: Client, run_id: str, cursor: str | None, deadline: float) -> dict[str, Any]:
    silent_until = time.monotonic() + _SILENCE_SECONDS
    while True:
        if time.monotonic() > deadline:
            raise TimeoutError(f"run {run_id} has not ended")
        try:
            return client.ask(EVENTS, run=run_id, cursor=cursor)
        except Unreachable:
            if time.monotonic() > silent_until:
                raise
        time.sleep(_RETRY_SECONDS)


def hand_over(event: dict[str, Any], progress: RunProgress) -> None:
    """Hand one event of an answer to EVENTS to the printer; kinds that print nothing are passed over."""
    match event["__typename"]:
        case "MaterializationEvent":
            values = {entry["label"]: _value(entry) for entry in event["metadataEntries"]}
            progress.table_written(
                "/".join(event["assetKey"]["path"]),
                rows=values.get("dagster/row_count"),
                seconds=values.get("seconds"),
                held=values.get("held"),
            )
        case "AssetCheckEvaluationEvent":
            check = event["evaluation"]
            progress.check_evaluated(
                check["checkName"],
                passed=check["success"],
                is_error=check["severity"] == "ERROR",
                description=check["description"],
            )
        case "ExecutionStepUpForRetryEvent":
            progress.step_retried(event["stepKey"], _cause(event))
        case "ExecutionStepFailureEvent":
            error_class = (event["error"] or {}).get("className")
            progress.step_failed(event["stepKey"], _cause(event), error_class=error_class)
        case "RunFailureEvent":
            progress.run_failed(event.get("message") or "", _cause(event))


def _value(entry: dict[str, Any]) -> Any:
    return entry.get("intValue", entry.get("floatValue", entry.get("text")))


def _cause(event: dict[str, Any]) -> str:
    described = (event.get("failureMetadata") or {}).get("description")
    error = event.get("error") or {}
    if is_retry(error.get("className")) and error.get("cause"):
        error = error["cause"]
    return first_line(described or error.get("message") or event.get("message"))
