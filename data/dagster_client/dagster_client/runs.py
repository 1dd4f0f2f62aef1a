"""Runs as they stand: the newest ones, one by its id, or the newest with a tag.

Belongs here: these questions and their answers. Does not: following a run's events (follow.py).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from dagster_client.client import Client, Unreachable
from dagster_client.queries import RECENT_RUNS, RUN, RUNS_TAGGED

_ENDED = ("SUCCESS", "FAILURE", "CANCELED")


@dataclass(frozen=True)
class Run:
    """A run, and its status in Dagster's words."""

    id: str
    status: str

    @property
    def ended(self) -> bool:
        return self.status in _ENDED

    @property
    def failed(self) -> bool:
        return self.status in ("FAILURE", "CANCELED")


@dataclass(frozen=True)
class RecentRun:
    """One run; times are UTC, None for what has not come yet."""

    id: str
    job: str
    status: str
    created_at: datetime
    started_at: datetime | None
    ended_at: datetime | None


def recent_runs(client: Client, *, limit: int) -> list[RecentRun]:
    """Return the newest runs of any job, newest first. Raises Unreachable."""
    answer = client.ask(RECENT_RUNS, limit=limit)["runsOrError"]
    if answer["__typename"] != "Runs":
        raise Unreachable(f"{client.url}: {answer['__typename']}")
    return [
        RecentRun(
            id=run["runId"],
            job=run["jobName"],
            status=run["status"],
            created_at=datetime.fromtimestamp(run["creationTime"], UTC),
            started_at=_time(run["startTime"]),
            ended_at=_time(run["endTime"]),
        )
        for run in answer["results"]
    ]


def run_by_id(client: Client, run_id: str) -> Run | None:
    """Return the run; None where Dagster has none of this id (any more). Raises Unreachable."""
    return _run(client.ask(RUN, run=run_id)["runOrError"])


def newest_run_tagged(client: Client, key: str, value: str) -> Run | None:
    """Return the newest run with this tag; None where there is none. Raises Unreachable."""
    answer = client.ask(RUNS_TAGGED, tags=[{"key": key, "value": value}])["runsOrError"]
    found = answer.get("results") or []
    return _run(found[0]) if found else None


def _run(node: dict[str, Any]) -> Run | None:
    return Run(node["runId"], node["status"]) if "runId" in node else None


def _time(seconds: float | None) -> datetime | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)
