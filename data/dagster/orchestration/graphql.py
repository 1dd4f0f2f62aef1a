"""A GraphQL client for Dagster's webserver on the standard library alone: it starts in milliseconds.

Belongs here: the queries and how their answers are read. Does not: what to do with them (launch.py).
The schema is semi-stable, so the Dagster version is pinned and a container test drives every query.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any
from urllib.error import URLError
from urllib.request import Request, urlopen

READY = """
query Ready($job: String!) {
  instance {
    runLauncher { name }
    daemonHealth { allDaemonStatuses { daemonType required healthy } }
  }
  workspaceOrError {
    __typename
    ... on PythonError { message }
    ... on Workspace {
      locationEntries {
        name
        locationOrLoadError {
          __typename
          ... on PythonError { message }
          ... on RepositoryLocation { repositories { name jobs { name tags { key value } } } }
        }
      }
    }
  }
  runsOrError(filter: {pipelineName: $job, statuses: [QUEUED, NOT_STARTED, STARTING, STARTED, CANCELING]}) {
    ... on Runs { results { runId status tags { key value } } }
  }
}
"""

LAUNCH = """
mutation Launch($params: ExecutionParams!) {
  launchRun(executionParams: $params) {
    __typename
    ... on LaunchRunSuccess { run { runId } }
    ... on PythonError { message }
    ... on RunConfigValidationInvalid { errors { message } }
  }
}
"""

END = """
mutation End($run: String!) {
  terminateRun(runId: $run, terminatePolicy: MARK_AS_CANCELED_IMMEDIATELY) {
    __typename
    ... on TerminateRunFailure { message }
    ... on PythonError { message }
  }
}
"""

EVENTS = """
query Events($run: ID!, $cursor: String) {
  runOrError(runId: $run) { ... on Run { status startTime endTime } }
  logsForRun(runId: $run, afterCursor: $cursor, limit: 1000) {
    __typename
    ... on PythonError { message }
    ... on EventConnection {
      cursor
      hasMore
      events {
        __typename
        ... on MessageEvent { timestamp stepKey message }
        ... on MaterializationEvent {
          assetKey { path }
          metadataEntries {
            label
            ... on IntMetadataEntry { intValue }
            ... on FloatMetadataEntry { floatValue }
          }
        }
        ... on AssetCheckEvaluationEvent {
          evaluation { checkName success severity description assetKey { path } }
        }
        ... on ExecutionStepFailureEvent { error { message } failureMetadata { description } }
        ... on ExecutionStepUpForRetryEvent { error { message } }
        ... on RunFailureEvent { error { message } }
      }
    }
  }
}
"""


class Unreachable(Exception):
    """The webserver did not answer, or not with what was asked."""


@dataclass(frozen=True)
class Client:
    """Asks one webserver."""

    url: str
    timeout_seconds: float = 15.0

    def ask(self, query: str, **variables: Any) -> dict[str, Any]:
        """Return the answer's `data`. Raises Unreachable."""
        body = json.dumps({"query": query, "variables": variables}).encode()
        request = Request(f"{self.url}/graphql", data=body, headers={"Content-Type": "application/json"})  # noqa: S310
        try:
            with urlopen(request, timeout=self.timeout_seconds) as answer:  # noqa: S310
                parsed = json.load(answer)
        except (URLError, OSError, ValueError) as exc:
            raise Unreachable(f"{self.url}: {getattr(exc, 'reason', exc)}") from exc
        if parsed.get("errors"):
            raise Unreachable(f"{self.url}: {parsed['errors'][0]['message']}")
        data: dict[str, Any] = parsed["data"]
        return data


@dataclass(frozen=True)
class Readiness:
    """Whether a run of the job could start now, and which one is going on."""

    waiting_for: str | None
    broken: str | None
    location: str = ""
    repository: str = ""
    going: str | None = None
    orphans: tuple[str, ...] = ()


def readiness(data: dict[str, Any], job: str, boot_tag: str) -> Readiness:
    """Read the answer to READY."""
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
                    return _ready(data, entry["name"], repository["name"], _tags(found), boot_tag)
    return Readiness(waiting_for=f"a code location with the job {job}", broken=None)


def _ready(
    data: dict[str, Any], location: str, repository: str, tags: dict[str, str], boot_tag: str
) -> Readiness:
    statuses = data["instance"]["daemonHealth"]["allDaemonStatuses"]
    down = [s["daemonType"].lower() for s in statuses if s["required"] and not s["healthy"]]
    mortal = data["instance"]["runLauncher"]["name"] == "DefaultRunLauncher"
    runs = data["runsOrError"]["results"]
    orphans = [
        run["runId"]
        for run in runs
        if mortal
        and run["status"] in ("STARTING", "STARTED", "CANCELING")
        and _tags(run).get(boot_tag, tags.get(boot_tag)) != tags.get(boot_tag)
    ]
    going = [run["runId"] for run in runs if run["runId"] not in orphans]
    return Readiness(
        waiting_for=f"the daemon ({', '.join(down)})" if down else None,
        broken=None,
        location=location,
        repository=repository,
        going=going[-1] if going else None,
        orphans=tuple(orphans),
    )


def _tags(thing: dict[str, Any]) -> dict[str, str]:
    return {tag["key"]: tag["value"] for tag in thing["tags"]}


def _first_line(text: str) -> str:
    lines = [line.strip() for line in text.strip().splitlines() if line.strip()]
    return lines[0] if lines else "unknown error"
