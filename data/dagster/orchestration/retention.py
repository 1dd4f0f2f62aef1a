"""Dagster's memory of old runs, within bounds: runs, events, snapshots, logs. `make prune`, and daily.

Belongs here: which runs may go, and removing them. Does not: ticks (dagster.yaml keeps those within bounds).
Open-source Dagster deletes nothing by itself (dagster-io/dagster#33785). A run goes when it is older than
DAGSTER_KEEP_DAYS, or when there are more than DAGSTER_KEEP_RUNS newer ones, and it is at its end. Runs that
hold the latest materialisation, observation or check evaluation of anything, in any partition, stay: verify,
drift checks and the asset pages read those. Runs and their events go by Dagster's public `delete_run`, the
rest by workarounds/event_rows.py. A writer of the event log waits for none of it: each run is a transaction
of its own.

usage: python -m orchestration.retention [--days N] [--runs N] [--json]
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta

import dagster as dg

from orchestration.setting import whole_number
from orchestration.workarounds.event_rows import (
    remove_events_of_no_run,
    remove_rest_of_run,
    remove_snapshots,
    runs_of_the_latest,
)

KEEP_DAYS, KEEP_RUNS = 30, 500
_FOR_EVER_DAYS = 36_500  # more than that are as many: a calendar has no day so long ago
_ENDED = [dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED]
# The newest snapshots stay whether a run names them or not: one that is just being launched may be about to.
_FRESH_SNAPSHOTS = 200


@dataclass(frozen=True, kw_only=True)
class Pruned:
    """What a pruning removed, and what is left."""

    runs: int
    events_without_run: int
    snapshots: int
    runs_left: int

    def __str__(self) -> str:
        return (
            f"{self.runs} runs, {self.events_without_run} events of no run and {self.snapshots} snapshots "
            f"removed; {self.runs_left} runs are left"
        )


def prune(instance: dg.DagsterInstance, *, days: int | None = None, runs: int | None = None) -> Pruned:
    """Remove what is past its retention (None: that of the environment)."""
    days = whole_number("DAGSTER_KEEP_DAYS", KEEP_DAYS) if days is None else days
    runs = whole_number("DAGSTER_KEEP_RUNS", KEEP_RUNS) if runs is None else runs
    ended = _ended(instance)
    by_age = datetime.now(UTC) - timedelta(days=min(days, _FOR_EVER_DAYS))
    cutoff = _cutoff([*map(_created, ended)], by_age, runs)
    old = [record.dagster_run.run_id for record in ended if _created(record) < cutoff]
    kept = runs_of_the_latest(instance)
    gone = [run_id for run_id in old if run_id not in kept]
    for run_id in gone:
        _remove(instance, run_id)
    return Pruned(
        runs=len(gone),
        events_without_run=remove_events_of_no_run(instance, cutoff),
        snapshots=remove_snapshots(instance, _named_snapshots(instance), fresh=_FRESH_SNAPSHOTS),
        runs_left=instance.get_runs_count(),
    )


def _cutoff(ended: Sequence[datetime], by_age: datetime, runs: int) -> datetime:
    """Return the moment before which a run is past its retention, by age or by count."""
    if len(ended) <= runs:
        return by_age
    return max(by_age, sorted(ended, reverse=True)[runs - 1] if runs else datetime.now(UTC))


def _created(record: dg.RunRecord) -> datetime:
    return record.create_timestamp.astimezone(UTC)


def _ended(instance: dg.DagsterInstance) -> list[dg.RunRecord]:
    return list(instance.get_run_records(dg.RunsFilter(statuses=_ENDED)))


def _remove(instance: dg.DagsterInstance, run_id: str) -> None:
    instance.compute_log_manager.delete_logs(prefix=[run_id])
    instance.delete_run(run_id)
    remove_rest_of_run(instance, run_id)


def _named_snapshots(instance: dg.DagsterInstance) -> set[str]:
    """Return the descriptions of jobs and plans that runs name; each start of the code makes others."""
    jobs, plans = set(), set()
    for run in instance.get_runs():
        jobs.add(run.job_snapshot_id or "")
        plans.add(run.execution_plan_snapshot_id or "")
    whole = {
        lineage.parent_snapshot_id
        for job in jobs
        if instance.has_job_snapshot(job) and (lineage := instance.get_job_snapshot(job).lineage_snapshot)
    }
    return jobs | plans | whole


def main(argv: list[str] | None = None) -> int:
    """Prune the instance at DAGSTER_HOME."""
    parser = argparse.ArgumentParser(prog="prune", description="Remove old runs, their events and logs.")
    parser.add_argument(
        "--days", type=int, help=f"keep runs of the last days (DAGSTER_KEEP_DAYS, {KEEP_DAYS})"
    )
    parser.add_argument("--runs", type=int, help=f"and at most so many (DAGSTER_KEEP_RUNS, {KEEP_RUNS})")
    parser.add_argument("--json", action="store_true", help="one JSON object")
    options = parser.parse_args(argv)
    if min(options.days or 0, options.runs or 0) < 0:
        parser.error("give numbers from 0")
    with dg.DagsterInstance.get() as instance:
        done = prune(instance, days=options.days, runs=options.runs)
    print(json.dumps(asdict(done)) if options.json else f"✓ {done}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
