"""What happens by itself: landing is watched, orphaned runs are ended, failures are told.

Belongs here: sensors. Does not: jobs, or what a run does.
"""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.request import Request, urlopen

import dagster as dg

from lakehouse.settings import read
from orchestration import BOOT_TAG
from orchestration.cohorts import cohort_sensor
from orchestration.domains import cohorts
from orchestration.jobs import BOOT_ID, COHORT_JOBS, NO_BOOT, materialize_all
from orchestration.listing import SETTLING, fingerprint, having_waited, seen_before, settling
from orchestration.resources import LakeResource

if TYPE_CHECKING:
    from lakehouse.landing import LandedFile

GOING = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
]


@dg.sensor(
    job=materialize_all,
    minimum_interval_seconds=30,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="A file came into landing, in no cohort, or changed: bring the lake up to it.",
)
def on_landed_file(
    context: dg.SensorEvaluationContext, lake: LakeResource
) -> dg.SensorResult | dg.SkipReason:
    """Compare landing with what it was at the last run that this sensor saw or asked for."""
    by_cohort = {one.source.folder for one in cohorts()}
    files = [file for file in lake.landing().list() if file.source not in by_cohort]
    listing = fingerprint(files)
    cursor, waited = seen_before(context.cursor)
    if listing == cursor:
        return dg.SkipReason("landing is as it was")
    if _going(context.instance):
        return dg.SkipReason("a run is going on; looking again after it")
    if cursor is None and _covered(context.instance, files):
        context.update_cursor(listing)
        return dg.SkipReason("a finished run has seen these files")
    if settling(files) and not waited:
        context.update_cursor(having_waited(cursor))
        return dg.SkipReason(SETTLING)
    return dg.SensorResult(run_requests=[dg.RunRequest(run_key=f"landing-{listing}")], cursor=listing)


def _going(instance: dg.DagsterInstance) -> bool:
    return bool(instance.get_runs_count(dg.RunsFilter(job_name=materialize_all.name, statuses=GOING)))


def _seen(instance: dg.DagsterInstance, files: list[LandedFile]) -> bool | None:
    """Say whether a finished run of everything has seen the files; None while one is going on."""
    return None if _going(instance) else _covered(instance, files)


def _covered(instance: dg.DagsterInstance, files: list[LandedFile]) -> bool:
    done = instance.get_run_records(
        dg.RunsFilter(job_name=materialize_all.name, statuses=[dg.DagsterRunStatus.SUCCESS]), limit=1
    )
    newest = max((file.modified.timestamp() for file in files), default=0.0)
    return bool(done) and (done[0].start_time or 0.0) > newest


@dg.sensor(
    minimum_interval_seconds=30,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="A run whose code server is gone can never end: mark it failed, so that the next can start.",
)
def on_orphaned_run(context: dg.SensorEvaluationContext) -> dg.SkipReason:
    """Runs are children of the code server here; with another launcher this sensor leaves them alone."""
    if type(context.instance.run_launcher).__name__ != "DefaultRunLauncher":
        return dg.SkipReason("runs do not die with the code server under this launcher")
    started = [dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.STARTED]
    orphans = [
        run
        for run in context.instance.get_runs(dg.RunsFilter(statuses=started))
        if run.tags.get(BOOT_TAG, NO_BOOT) not in (BOOT_ID, NO_BOOT)
    ]
    for run in orphans:
        context.instance.report_run_failed(run, "Its code server is gone. Nothing is lost: run it again.")
    return dg.SkipReason(f"{len(orphans)} orphaned runs marked failed")


@dg.run_failure_sensor(
    name="on_run_failure",
    default_status=dg.DefaultSensorStatus.RUNNING,
    minimum_interval_seconds=30,
    description="A run failed: write an alert line, and post it to ALERT_WEBHOOK_URL when that is set.",
)
def on_run_failure(context: dg.RunFailureSensorContext) -> None:
    """The line names job, run, steps and error class; never an error's text, which may quote data."""
    steps = [e for e in context.get_step_failure_events() if e.step_key]
    errors = [e.event_specific_data for e in steps]
    line: dict[str, object] = {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "event": "run_failed",
        "job": context.dagster_run.job_name,
        "run_id": context.dagster_run.run_id,
        "steps": [e.step_key for e in steps],
        "errors": sorted({getattr(getattr(d, "error", None), "cls_name", None) or "?" for d in errors}),
        "link": f"{os.environ.get('DAGSTER_PUBLIC_URL', '')}/runs/{context.dagster_run.run_id}",
    }
    alert(line)


def alert(line: dict[str, object]) -> None:
    """Append the alert to ALERT_LOG (default $DAGSTER_HOME/alerts.log) and post it to the webhook."""
    log = Path(os.environ.get("ALERT_LOG") or Path(os.environ.get("DAGSTER_HOME", ".")) / "alerts.log")
    with log.open("a", encoding="utf-8") as out:
        out.write(json.dumps(line) + "\n")
    webhook = read(os.environ, "ALERT_WEBHOOK_URL")
    if webhook:
        body = json.dumps({"text": f"ODP: {line['job']} failed: {line['link']}", **line}).encode()
        request = Request(webhook, data=body, headers={"Content-Type": "application/json"})  # noqa: S310
        urlopen(request, timeout=10).close()  # noqa: S310


COHORT_SENSORS = [cohort_sensor(one, COHORT_JOBS[one.name], _seen) for one in cohorts()]
SENSORS = [on_landed_file, *COHORT_SENSORS, on_orphaned_run, on_run_failure]
