"""The progress of a run that executes in this very process, read from its instance while it goes on.

Belongs here: handing Dagster's event objects to the printer (dagster_client.progress). Does not: what is
printed, or runs of the stack, whose events come over GraphQL (dagster_client.follow).
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import dagster as dg

from dagster_client.progress import RunProgress, first_line, is_retry

_POLL_SECONDS = 0.3
_EVENTS_AT_ONCE = 500


@contextmanager
def following(instance: dg.DagsterInstance, run_id: str) -> Iterator[RunProgress]:
    """Print the run's events from a thread while the run goes on in this one."""
    progress, events, over = RunProgress(), RunEvents(instance, run_id), threading.Event()

    def watch() -> None:
        while not over.wait(_POLL_SECONDS):
            events.hand_over(progress)

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield progress
    finally:
        over.set()
        watcher.join()
        events.hand_over(progress)


class RunEvents:
    """The events of one run, each handed over once."""

    def __init__(self, instance: dg.DagsterInstance, run_id: str) -> None:
        self._instance, self._run_id = instance, run_id
        self._cursor: str | None = None

    def hand_over(self, progress: RunProgress) -> None:
        """Hand over what has come since the last call."""
        while True:
            found = self._instance.get_records_for_run(
                self._run_id, cursor=self._cursor, limit=_EVENTS_AT_ONCE
            )
            for record in found.records:
                if record.event_log_entry.dagster_event is not None:
                    _hand_over(record.event_log_entry.dagster_event, progress)
            self._cursor = found.cursor or self._cursor
            if not found.has_more:
                return


def _hand_over(event: dg.DagsterEvent, progress: RunProgress) -> None:
    match event.event_type_value:
        case "ASSET_MATERIALIZATION":
            made = event.step_materialization_data.materialization
            values = {label: value.value for label, value in made.metadata.items()}
            progress.table_written(
                "/".join(made.asset_key.path),
                rows=values.get("dagster/row_count"),  # type: ignore[arg-type]
                seconds=values.get("seconds"),  # type: ignore[arg-type]
                held=values.get("held"),  # type: ignore[arg-type]
            )
        case "ASSET_CHECK_EVALUATION":
            check = event.asset_check_evaluation_data
            progress.check_evaluated(
                check.check_name,
                passed=check.passed,
                is_error=check.severity is dg.AssetCheckSeverity.ERROR,
                description=check.description,
            )
        case "STEP_UP_FOR_RETRY":
            progress.step_retried(event.step_key or "", _cause(event.step_retry_data))
        case "STEP_FAILURE":
            data = event.step_failure_data
            error_class = data.error.cls_name if data.error else None
            progress.step_failed(event.step_key or "", _cause(data), error_class=error_class)


def _cause(data: Any) -> str:
    described, error = getattr(getattr(data, "user_failure_data", None), "description", None), data.error
    if error and error.cause and is_retry(error.cls_name):
        error = error.cause
    return first_line(described or (error.message if error else None))
