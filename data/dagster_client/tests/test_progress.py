"""The printer of a run's progress: each line, the exit code, and what a report counts."""

from __future__ import annotations

import pytest

from dagster_client.follow import hand_over
from dagster_client.progress import BLOCKED, RunProgress, limit_exceeded


def test_events_of_graphql_are_printed_line_by_line(capsys: pytest.CaptureFixture[str]) -> None:
    progress = RunProgress()
    rows = {"label": "dagster/row_count", "intValue": 12345}
    seconds = {"label": "seconds", "floatValue": 0.5}
    held = {"label": "held", "text": "held: 3 rows wait"}
    for key, more in (("a", []), ("b", [held])):
        hand_over(
            {
                "__typename": "MaterializationEvent",
                "assetKey": {"path": ["silver", key]},
                "metadataEntries": [rows, seconds, *more],
            },
            progress,
        )
    for success, severity in ((True, "ERROR"), (False, "WARN"), (False, "ERROR")):
        check = {"checkName": f"c_{severity}", "success": success, "severity": severity, "description": "no"}
        hand_over({"__typename": "AssetCheckEvaluationEvent", "evaluation": check}, progress)
    error = {"message": "\n  Conflict: twice \nstack", "className": "Conflict"}
    hand_over({"__typename": "ExecutionStepUpForRetryEvent", "stepKey": "s", "error": error}, progress)
    retried = {"message": "Exceeded max_retries of 3\n", "className": "RetryRequestedFromPolicy",
               "cause": {"message": "StorageUnavailable: away\n"}}  # fmt: skip
    hand_over({"__typename": "ExecutionStepUpForRetryEvent", "stepKey": "s", "error": retried}, progress)
    hand_over({"__typename": "StepWorkerStartedEvent"}, progress)
    assert capsys.readouterr().out.splitlines() == [
        "  ✓ silver/a                           12,345 rows    0.50 s",
        "  ! silver/b                           12,345 rows    0.50 s  held: 3 rows wait",
        "    ✓ c_ERROR",
        "    ! c_WARN: no",
        "    ✗ c_ERROR: no",
        "  ↻ s: Conflict: twice (trying again)",
        "  ↻ s: StorageUnavailable: away (trying again)",
    ]
    assert progress.report() == {
        "tables": [
            {"table": "silver/a", "rows": 12345, "seconds": 0.5, "held": None},
            {"table": "silver/b", "rows": 12345, "seconds": 0.5, "held": "held: 3 rows wait"},
        ],
        "checks": 3,
        "failed_checks": [{"check": "c_ERROR", "says": "no"}],
        "warnings": [{"check": "c_WARN", "says": "no"}],
        "errors": [],
    }


def ended(status: str, *, failed_check: bool = False, error_class: str | None = None) -> int:
    progress = RunProgress(quiet=True)
    if failed_check:
        progress.check_evaluated("c", passed=False, is_error=True, description=None)
    if error_class:
        progress.step_failed("s", "why", error_class=error_class)
    return progress.exit_code(status)


def test_a_step_that_a_failed_check_ends_is_no_error() -> None:
    assert ended("SUCCESS") == 0
    assert ended("SUCCESS", failed_check=True) == 3
    assert ended("FAILURE", failed_check=True, error_class=BLOCKED) == 3
    assert ended("FAILURE", failed_check=True, error_class="Conflict") == 1
    assert ended("FAILURE") == 1
    assert ended("CANCELED", failed_check=True) == 1


def test_the_end_names_what_failed_and_what_is_held(capsys: pytest.CaptureFixture[str]) -> None:
    progress = RunProgress(quiet=True)
    progress.check_evaluated("a", passed=False, is_error=True, description="2 rows")
    progress.check_evaluated("b", passed=False, is_error=False, description="t is held by 3 rows")
    progress.check_evaluated("c", passed=False, is_error=False, description="late")
    progress.quiet = False
    assert progress.finish("FAILURE", link="http://ui/runs/1") == 3
    out, err = capsys.readouterr()
    assert out == "✗ failure: 0 tables, 3 checks, 1 failed, 2 warnings\n"
    assert err.splitlines() == ["✗ a: 2 rows", "! b: t is held by 3 rows", "  → open http://ui/runs/1"]


def test_a_run_that_was_too_long_says_what_sets_the_limit() -> None:
    told = limit_exceeded("Exceeded maximum runtime of 60 seconds.")
    assert told.startswith("ended: it took longer than 60 s. DAGSTER_RUN_MAX_SECONDS in .env sets this limit")
    assert limit_exceeded("a step failed") == ""
    progress = RunProgress(quiet=True)
    progress.run_failed("Exceeded maximum runtime of 60 seconds.", "a step failed")
    assert progress.errors == [told]
