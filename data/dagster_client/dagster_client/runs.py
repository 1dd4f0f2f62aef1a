"""The newest runs of a Dagster instance.

Belongs here: this question and its answer. Does not: following one run (follow.py).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from dagster_client.client import Client, Unreachable
from dagster_client.queries import RECENT_RUNS


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


def _time(seconds: float | None) -> datetime | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)
