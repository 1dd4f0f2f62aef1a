"""What happens by itself: landing is watched, orphaned runs are ended, failures are told.

Belongs here: sensors. Does not: jobs, or what a run does.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.request import Request, urlopen

import dagster as dg

from lakehouse.errors import only_ours
from lakehouse.registry import contracts
from lakehouse.settings import read
from orchestration import BOOT_TAG, LISTED_TAG, maintenance, outputs
from orchestration.assets import assets
from orchestration.jobs import BOOT_ID, NO_BOOT, PARTITION_JOBS, materialize_all
from orchestration.listing import SETTLING, fingerprint, having_waited, seen_before, settling
from orchestration.partitions import GROUP, partition_sensor, partitioned
from orchestration.planning import Key, reasons_from_a_process, selection
from orchestration.resources import LakeResource

if TYPE_CHECKING:
    from lakehouse.landing import LandedFile

_LOOKED_BACK = 20  # runs that are asked whether they have seen the files
GOING = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
]

_FIRST_LOOK = dg.SkipReason("the first look here: an init, or more files, may follow: looking once more")
_GOING_ON = dg.SkipReason("a run of everything is going on; looking again after it")


@dg.sensor(
    job=materialize_all,
    minimum_interval_seconds=30,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="A file came into landing, of no partition, or changed: run what is made of it.",
)
def on_landed_file(
    context: dg.SensorEvaluationContext, lake: LakeResource
) -> dg.SensorResult | dg.SkipReason:
    """Compare landing with what it was at the last run that this sensor saw or asked for."""
    by_partition = {one.source.folder for one in partitioned()}
    with only_ours("looking into landing"):
        files = [file for file in lake.landing().list() if file.source not in by_partition]
    listing = fingerprint(files)
    if listing == seen_before(context.cursor)[0]:
        return dg.SkipReason("landing is as it was")
    if reason := held_back(context, files, listing):
        return reason
    listed_at = time.time()
    chosen = selection(reasons_from_a_process(), {table.path for table in contracts()}, _made_from())
    if not chosen:
        context.update_cursor(listing)
        return dg.SkipReason("every file is in already, and every table up to date")
    if _is_going_on(context):  # planning takes seconds, in which another may have begun
        return _GOING_ON
    request = dg.RunRequest(
        run_key=f"landing-{listing}",
        asset_selection=[dg.AssetKey(key) for key in chosen],
        tags={LISTED_TAG: f"{listed_at:.3f}"},
    )
    return dg.SensorResult(run_requests=[request], cursor=listing)


def _made_from() -> dict[Key, set[Key]]:
    """Return the assets of materialize_all, each with those it depends on."""
    specs = [
        spec for asset in (*assets(), maintenance.restore_points, *outputs.ASSETS) for spec in asset.specs
    ]
    return {
        tuple(spec.key.path): {tuple(dep.asset_key.path) for dep in spec.deps}
        for spec in specs
        if spec.group_name != GROUP
    }


def held_back(
    context: dg.SensorEvaluationContext, files: Sequence[LandedFile], listing: str
) -> dg.SkipReason | None:
    """Return why no run is asked for new files yet; None when one should be.

    At a sensor's first look a finished run of everything may have seen them: then `listing` is its cursor;
    where none has, the first init of a platform that has only now come up is about to. Later on, a time
    before that run may be that of a copy, which nobody has read.
    """
    cursor, waited = seen_before(context.cursor)
    if _is_going_on(context):
        return _GOING_ON
    if cursor is None and _covered(context.instance, files):
        context.update_cursor(listing)
        return dg.SkipReason("a finished run has seen these files")
    if not waited and (cursor is None or settling(files)):
        context.update_cursor(having_waited(cursor))
        return _FIRST_LOOK if cursor is None else dg.SkipReason(SETTLING)
    return None


def _is_going_on(context: dg.SensorEvaluationContext) -> bool:
    return context.instance.get_runs_count(dg.RunsFilter(job_name=materialize_all.name, statuses=GOING)) > 0


def _covered(instance: dg.DagsterInstance, files: Sequence[LandedFile]) -> bool:
    done = instance.get_run_records(
        dg.RunsFilter(job_name=materialize_all.name, statuses=[dg.DagsterRunStatus.SUCCESS]),
        limit=_LOOKED_BACK,
    )
    newest = max((file.modified.timestamp() for file in files), default=0.0)
    return any(_looked_at(record) > newest for record in done)


def _looked_at(record: dg.RunRecord) -> float:
    """Return when the run, or its plan, looked into all of landing; 0 for a run of some assets alone."""
    if (planned := record.dagster_run.tags.get(LISTED_TAG)) is not None:
        return float(planned)
    return 0.0 if record.dagster_run.asset_selection else record.start_time or 0.0


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
    with open(os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600), "a", encoding="utf-8") as out:
        out.write(json.dumps(line) + "\n")
    webhook = read(os.environ, "ALERT_WEBHOOK_URL")
    if webhook:
        body = json.dumps({"text": f"ODP: {line['job']} failed: {line['link']}", **line}).encode()
        with only_ours("posting the alert to ALERT_WEBHOOK_URL"):  # the address itself is a secret
            request = Request(webhook, data=body, headers={"Content-Type": "application/json"})  # noqa: S310
            urlopen(request, timeout=10).close()  # noqa: S310


PARTITION_SENSORS = [partition_sensor(one, PARTITION_JOBS[one.name], held_back) for one in partitioned()]
SENSORS = [on_landed_file, *PARTITION_SENSORS, on_orphaned_run, on_run_failure]
