"""What an event type says: the words that are known, and the status that each gives.

Belongs here: the words, the conditions made of them, and their description. Does not: columns and scores
(transforms.py), or how an event type is spelled (xp.snake_case).

The last word of a type in snake_case decides. A word before it that takes it back (`not_completed`), a verb
that is only intended (`failed_to_complete`), the end of what was done about a run (`rollback_completed`,
`attempt_failed`), and a word that nobody listed here make the status `unknown`: it ends no pipeline, and is
warned of.
"""

from __future__ import annotations

import narwhals.stable.v2 as nw

COMPLETED = (
    "completed", "complete", "succeeded", "success", "successful", "successfully", "finished", "passed",
    "done", "ok", "neutral",
)  # fmt: skip
FAILED = (
    "failed", "failure", "fail", "error", "errored", "timed_out", "timedout", "timeout", "terminated",
    "cancelled", "canceled", "aborted", "killed", "crashed", "rejected", "stopped",
)  # fmt: skip
SKIPPED = ("skipped",)
IN_PROGRESS = (
    "submitted", "requested", "created", "scheduled", "queued", "enqueued", "pending", "waiting", "accepted",
    "admitted", "received", "registered", "assigned", "dispatched", "triggered", "initiated", "ready",
    "starting", "started", "running", "progress", "heartbeat", "signaled", "updated", "modified",
    "modified_externally", "paused", "unpaused", "resumed", "retrying", "retried", "continued_as_new",
)  # fmt: skip
TAKEN_BACK = (
    "not", "never", "no", "non", "cannot", "unable", "without", "almost", "nearly", "hardly", "barely",
    "partly", "partial", "partially", "to_be", "if", "until", "before", "awaiting", "wait_for", "waiting_for",
    "expected",
    "will", "would", "should", "didn_t", "doesn_t", "isn_t", "wasn_t", "hasn_t", "couldn_t", "won_t",
)  # fmt: skip

INTENDED = ("to_complete", "to_fail")
ABOUT_A_RUN = (
    "cancel",
    "cancellation",
    "abort",
    "termination",
    "rollback",
    "revert",
    "undo",
    "retry",
    "attempt",
)


def _listed(words: tuple[str, ...]) -> str:
    return ", ".join(words)


STATUSES = (
    f"completed ({_listed(COMPLETED)}), failed ({_listed(FAILED)}), skipped ({_listed(SKIPPED)}) or "
    f"in_progress ({_listed(IN_PROGRESS)})"
)
"""The vocabulary in one sentence, for the data dictionary and for what refuses or warns."""
EXCEPTIONS = (
    f"Any other last word, and one of these before it, gives unknown: {_listed(TAKEN_BACK)}; so does a verb "
    f"that is only intended: {_listed(INTENDED)}; so does the end of what was done about a run: "
    f"{_listed(ABOUT_A_RUN)}, and one of these with a number. A failure whose raw_data says `will_retry` is "
    "in_progress, as a workflow run that Temporal retries. Of GitHub, "
    "completed_action_required and completed_stale are failed, and completed without a conclusion is "
    "unknown. What happens inside a Temporal workflow (activity, timer, child workflow …), a step, a task "
    "run of Prefect and a task instance of Airflow is in_progress"
)

# Parts of a pipeline, whose end is not the pipeline's end (Temporal's sub-steps, and plain words for them).
_WITHIN = (
    r"^(activity|local_activity|timer|child_workflow|start_child_workflow|workflow_task|decision_task"
    r"|nexus_operation|marker|signal_external|external_workflow|request_cancel_external|upsert|step)_"
    r"|^workflow_execution_update_"
    r"|(^|_)task_(run|instance)_"  # as in prefect.task-run.Completed and on_task_instance_failed
)
_JOB = r"^workflow_job_"
_GITHUB_FAILED = r"^workflow_(run|job)_completed_(action_required|stale)$"
_GITHUB_OPEN = r"^workflow_(run|job)_completed$"


def _ends_in(words: tuple[str, ...]) -> nw.Expr:
    return nw.col("event_type").str.contains(f"(^|_)({'|'.join(words)})$")


_OF_WHAT_WAS_DONE = rf"(^|_)({'|'.join(ABOUT_A_RUN)})(_[0-9]+)?_({'|'.join((*COMPLETED, *FAILED))})$"


def is_part() -> nw.Expr:
    """Whether `event_type` tells of a part of its pipeline: a GitHub job, a task, a step of a workflow."""
    return nw.col("event_type").str.contains(f"{_JOB}|{_WITHIN}")


def status() -> nw.Expr:
    """The status that `event_type` (snake_case) gives: of its run or workflow, or of its own of a GitHub job.

    One of completed, failed, skipped, in_progress and unknown; unknown for null.
    """
    event = nw.col("event_type")
    said = (
        nw.when(_ends_in(COMPLETED)).then(nw.lit("completed"))
        .otherwise(nw.when(_ends_in(IN_PROGRESS)).then(nw.lit("in_progress"))
        .otherwise(nw.when(_ends_in(FAILED)).then(nw.lit("failed"))
        .otherwise(nw.when(_ends_in(SKIPPED)).then(nw.lit("skipped"))
        .otherwise(nw.lit("unknown")))))
    )  # fmt: skip
    taken_back = event.str.contains(f"(^|_)({'|'.join(TAKEN_BACK)})_") | event.str.contains(_GITHUB_OPEN)
    known = (
        nw.when(taken_back | _ends_in(INTENDED) | event.str.contains(_OF_WHAT_WAS_DONE))
        .then(nw.lit("unknown"))
        .otherwise(said)
    )
    named = nw.when(event.str.contains(_GITHUB_FAILED)).then(nw.lit("failed")).otherwise(known)
    return nw.when(event.str.contains(_WITHIN)).then(nw.lit("in_progress")).otherwise(named)
