"""The run queue, with a limit on how long a run may take.

Belongs here: giving each queued run the limit of DAGSTER_RUN_MAX_SECONDS, as the tag that Dagster's run
monitoring goes by. Does not: ending a run (the daemon does, and says the limit in the run's failure), or runs
that no queue sees (embedded.py). Dagster's own setting takes no value of the environment.
"""

from __future__ import annotations

from typing import Any

from dagster import DagsterRun, Field, IntSource, QueuedRunCoordinator, SubmitRunContext

MAX_RUNTIME_TAG = "dagster/max_runtime"


class LimitedRunCoordinator(QueuedRunCoordinator):
    """QueuedRunCoordinator whose runs carry a limit; 0 means none."""

    max_run_seconds = 0

    @classmethod
    def config_type(cls) -> dict[str, Any]:
        limit = Field(IntSource, is_required=False, default_value=0)
        return {**super().config_type(), "max_run_seconds": limit}  # type: ignore[dict-item]

    @classmethod
    def from_config_value(cls, inst_data: Any, config_value: Any) -> LimitedRunCoordinator:
        """Build from dagster.yaml."""
        made = super().from_config_value(inst_data, config_value)
        made.max_run_seconds = config_value["max_run_seconds"]
        return made

    def submit_run(self, context: SubmitRunContext) -> DagsterRun:
        """Put the run into the queue, with the limit unless it has one of its own."""
        run = context.dagster_run
        if self.max_run_seconds > 0 and MAX_RUNTIME_TAG not in run.tags:
            self._instance.add_run_tags(run.run_id, {MAX_RUNTIME_TAG: str(self.max_run_seconds)})
        return super().submit_run(context)
