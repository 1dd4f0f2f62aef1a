"""Starting a run of a job, or finding the one that is going on.

Belongs here: ending orphaned runs, launching. Does not: which assets are worth a run
(orchestration.planning).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from dagster_client.assets import Key
from dagster_client.client import Client
from dagster_client.progress import RunProgress
from dagster_client.queries import LAUNCH, TERMINATE
from dagster_client.readiness import NotReady, Readiness


@dataclass(frozen=True)
class RunRequest:
    """A run to launch: of the whole job, or of some of its assets; `tags` go with it.

    `alone` refuses to follow a run that is going on already, for one that would do something else.
    """

    job: str
    assets: Sequence[Key] | None = None
    tags: Mapping[str, str] = field(default_factory=dict)
    alone: bool = False


def start_run(client: Client, ready: Readiness, request: RunRequest, progress: RunProgress) -> str:
    """Return the id of the run to follow: the one in progress, or the one launched now.

    Raises NotReady when Dagster refuses the launch, or when `alone` meets a run in progress; Unreachable.
    """
    for orphan in ready.orphans:
        client.ask(TERMINATE, run=orphan)
        progress.say(f"run {orphan[:8]} was orphaned by a restart: ended it, starting over")
    if ready.run_in_progress:
        return _join(ready.run_in_progress, request, progress)
    answer = client.ask(LAUNCH, params=_params(ready, request))["launchRun"]
    if answer["__typename"] != "LaunchRunSuccess":
        raise NotReady(f"{answer['__typename']}: {answer.get('message') or answer.get('errors')}")
    run_id: str = answer["run"]["runId"]
    return run_id


def _join(run_id: str, request: RunRequest, progress: RunProgress) -> str:
    if request.alone:
        raise NotReady(f"run {run_id[:8]} is going on; start this one when it has ended")
    progress.say(f"run {run_id[:8]} is going on already: following it")
    return run_id


def _params(ready: Readiness, request: RunRequest) -> dict[str, Any]:
    selector = ready.selector(request.job)
    if request.assets is not None:
        selector["assetSelection"] = [{"path": list(key)} for key in request.assets]
    return {
        "selector": selector,
        "runConfigData": {},
        "mode": "default",
        "executionMetadata": {"tags": [{"key": key, "value": value} for key, value in request.tags.items()]},
    }
