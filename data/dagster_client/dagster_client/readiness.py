"""Whether a run of a job could start now, and which one is going on.

Belongs here: reading Dagster's answer about daemon, code location and runs; waiting for it. Does not:
starting a run (launch.py).
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from dagster_client.client import Client, Unreachable
from dagster_client.queries import READY

_POLL_SECONDS = 0.25


class NotReady(Exception):
    """Dagster could not start a run in time, or refuses to."""


@dataclass(frozen=True)
class Readiness:
    """Where a job is, what keeps a run of it from starting, and its runs that have not ended.

    `orphans` are runs of a code server that has been restarted since: nothing executes them any more.
    """

    waiting_for: str | None
    broken: str | None
    location: str = ""
    repository: str = ""
    run_in_progress: str | None = None
    orphans: tuple[str, ...] = ()

    def selector(self, job: str) -> dict[str, Any]:
        """Return the GraphQL selector of the job."""
        return {
            "repositoryLocationName": self.location,
            "repositoryName": self.repository,
            "pipelineName": job,
        }


def wait_ready(client: Client, job: str, *, boot_tag: str, deadline: float) -> Readiness:
    """Wait until webserver, daemon and code location could run the job. Raises NotReady with the reason.

    `boot_tag` names the tag, on jobs and runs, of the start of the code server; `deadline` is a time of
    time.monotonic.
    """
    while True:
        try:
            ready = readiness(client.ask(READY, job=job), job, boot_tag)
        except Unreachable as exc:
            reason = str(exc)
        else:
            if ready.waiting_for is None and ready.broken is None:
                return ready
            reason = ready.broken or f"waiting for {ready.waiting_for}"
        if time.monotonic() > deadline:
            raise NotReady(reason)
        time.sleep(_POLL_SECONDS)


def readiness(data: dict[str, Any], job: str, boot_tag: str) -> Readiness:
    """Return what the answer to READY says of a job."""
    workspace = data["workspaceOrError"]
    if workspace["__typename"] == "PythonError":
        return Readiness(waiting_for=None, broken=_first_line(workspace["message"]))
    for entry in workspace["locationEntries"]:
        location = entry["locationOrLoadError"]
        if location is None:
            continue
        if location["__typename"] == "PythonError":
            # A code server that is still starting looks just like one that cannot load: wait, then tell.
            return Readiness(waiting_for="the code location", broken=_first_line(location["message"]))
        for repository in location["repositories"]:
            for found in repository["jobs"]:
                if found["name"] == job:
                    boot = _tags(found).get(boot_tag)
                    return _of_runs(data, entry["name"], repository["name"], boot_tag, boot)
    return Readiness(waiting_for=f"a code location with the job {job}", broken=None)


def _of_runs(
    data: dict[str, Any], location: str, repository: str, boot_tag: str, boot: str | None
) -> Readiness:
    instance, runs = data["instance"], data["runsOrError"]["results"]
    statuses = instance["daemonHealth"]["allDaemonStatuses"]
    down = [s["daemonType"].lower() for s in statuses if s["required"] and not s["healthy"]]
    ends_with_server = instance["runLauncher"]["name"] == "DefaultRunLauncher"
    orphans = [
        run["runId"]
        for run in runs
        if ends_with_server
        and run["status"] in ("STARTING", "STARTED", "CANCELING")
        and _tags(run).get(boot_tag, boot) != boot
    ]
    in_progress = [run["runId"] for run in runs if run["runId"] not in orphans]
    return Readiness(
        waiting_for=f"the daemon ({', '.join(down)})" if down else None,
        broken=None,
        location=location,
        repository=repository,
        run_in_progress=in_progress[-1] if in_progress else None,
        orphans=tuple(orphans),
    )


def _tags(thing: dict[str, Any]) -> dict[str, str]:
    return {tag["key"]: tag["value"] for tag in thing["tags"]}


def _first_line(text: str) -> str:
    lines = [line.strip() for line in text.strip().splitlines() if line.strip()]
    return lines[0] if lines else "unknown error"
