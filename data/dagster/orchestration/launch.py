"""`make init-data-layers` in the containers: one run of what has something to do, through the running stack.

Belongs here: the command line, and planning what to run. Does not: talking to the webserver (dagster_client),
or running anything itself, and so no Dagster. The run takes the same path as one started by the button in the
UI: queue, launcher, monitoring.

Exit codes:
  0    every table is up to date and every check passed (warnings are printed)
  1    the run failed or was canceled
  2    the stack is not ready
  3    every table is written, but a check of severity error failed, and what waits for it was left as it is
  4    no end within --timeout; the run goes on
  130  interrupted; the run goes on
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dagster_client import Client, Unreachable
from dagster_client.assets import job_assets
from dagster_client.follow import follow
from dagster_client.launch import RunRequest, start_run
from dagster_client.progress import RunProgress
from dagster_client.readiness import NotReady, Readiness, wait_ready
from orchestration import BOOT_TAG, FULL_REFRESH_TAG, LISTED_TAG
from orchestration.planning import Key, import_library, plan_of_lake, selection

if TYPE_CHECKING:
    from lakehouse.pipeline.plan import Plan

PLANNED_JOB = "materialize_all"
_SOURCE_TAG = "odp/source"
_SOURCE = "make init-data-layers"
_NOTHING_NEW = "NOTHING_NEW"  # the status in the report where no run was needed


def main(argv: list[str] | None = None) -> int:
    """Parse the arguments, run, return the exit code."""
    options = _parser().parse_args(argv)
    init = Init(Client(options.url.rstrip("/")), options)
    try:
        return init.run()
    except (NotReady, Unreachable) as exc:
        print(f"✗ not ready: {exc}\n  → make status; make logs SERVICE=dagster-code", file=sys.stderr)
        return 2
    except TimeoutError:
        limit = f"{options.timeout:.0f} s"
        print(f"✗ run {init.run_id} has not ended after {limit}; it goes on", file=sys.stderr)
        return 4
    except KeyboardInterrupt:
        print(f"\ninterrupted; the run goes on: {init.link}", file=sys.stderr)
        return 130


@dataclass
class Init:
    """One call of the command: at most two runs, one that was going on already and one of what is new."""

    client: Client
    options: argparse.Namespace
    run_id: str | None = None

    def __post_init__(self) -> None:
        self.deadline = time.monotonic() + self.options.timeout
        self.planned = (
            self.options.job == PLANNED_JOB and not self.options.all and not self.options.full_refresh
        )

    @property
    def link(self) -> str:
        """The address of the run for a person."""
        return f"{self.options.public_url.rstrip('/')}/runs/{self.run_id}"

    def run(self) -> int:
        """Bring the lake up to date; return the exit code. Raises NotReady, Unreachable, TimeoutError."""
        if self.planned:
            threading.Thread(target=import_library, daemon=True).start()  # while the webserver answers
        ready = self._wait(time.monotonic() + self.options.ready_timeout)
        if self.planned and ready.run_in_progress:
            if code := self._follow(ready, RunRequest(self.options.job)):
                return code
            ready = self._wait(self.deadline)
        return self._run_planned(ready) if self.planned else self._run_whole_job(ready)

    def _wait(self, deadline: float) -> Readiness:
        deadline = min(self.deadline, deadline)
        return wait_ready(self.client, self.options.job, boot_tag=BOOT_TAG, deadline=deadline)

    def _run_whole_job(self, ready: Readiness) -> int:
        full = self.options.full_refresh
        tags = {_SOURCE_TAG: _SOURCE, **({FULL_REFRESH_TAG: "true"} if full else {})}
        # A run that is going on may be no full refresh, so it cannot stand for one.
        return self._follow(ready, RunRequest(self.options.job, tags=tags, alone=full))

    def _run_planned(self, ready: Readiness) -> int:
        listed_at = time.time()
        found, chosen = plan_run(self.client, self.options.job, ready)
        progress = RunProgress(quiet=self.options.json)
        for line in found.lines():
            progress.say(line)
        if not chosen:
            if self.options.json:
                self._print_report(progress, 0, _NOTHING_NEW, found)
            return 0
        tags = {_SOURCE_TAG: _SOURCE, LISTED_TAG: f"{listed_at:.3f}"}
        return self._follow(ready, RunRequest(self.options.job, assets=chosen, tags=tags), progress, found)

    def _follow(
        self,
        ready: Readiness,
        request: RunRequest,
        progress: RunProgress | None = None,
        plan: Plan | None = None,
    ) -> int:
        """Start or join the run and print it to its end; return the exit code."""
        progress = progress or RunProgress(quiet=self.options.json)
        self.run_id = start_run(self.client, ready, request, progress)
        progress.say(f"run {self.link}")
        status = follow(self.client, self.run_id, progress, deadline=self.deadline)
        if not self.options.json:
            return progress.finish(status, link=self.link)
        return self._print_report(progress, progress.exit_code(status), status, plan)

    def _print_report(self, progress: RunProgress, code: int, status: str, plan: Plan | None) -> int:
        report: dict[str, Any] = {
            "ok": code == 0,
            "run_id": self.run_id if status != _NOTHING_NEW else None,
            "status": status,
            "link": self.link if status != _NOTHING_NEW else None,
            "plan": dict(plan.reasons) if plan else None,
            "plan_warnings": list(plan.warnings) if plan else [],
            **progress.report(),
        }
        print(json.dumps(report))
        return code


def plan_run(client: Client, job: str, ready: Readiness) -> tuple[Plan, Sequence[Key]]:
    """Return what there is to do, and the assets of the job to run for it. Raises NotReady, Unreachable."""
    from lakehouse.errors import LakeError
    from lakehouse.registry import contracts

    assets = job_assets(client, job, ready)
    try:
        found = plan_of_lake(assets.materialised)
    except LakeError as exc:
        raise NotReady(str(exc)) from None
    return found, selection(found.reasons, {table.path for table in contracts()}, assets.dependencies)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="init-data-layers",
        description="Bring every layer up to date: one run, in the running stack, of what is new.",
        epilog=(__doc__ or "").split("\n\n", 2)[2],
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    url = os.environ.get("DAGSTER_URL", "http://127.0.0.1:18084")
    parser.add_argument("--url", default=url, help="the webserver, from here (default $DAGSTER_URL)")
    parser.add_argument(
        "--public-url", default=os.environ.get("DAGSTER_PUBLIC_URL", url), help="the webserver, for links"
    )
    parser.add_argument("--job", default=PLANNED_JOB, help="which job (default materialize_all)")
    parser.add_argument("--timeout", type=float, default=1800, help="seconds to wait for the end (1800)")
    parser.add_argument("--ready-timeout", type=float, default=90, help="seconds to wait for the stack (90)")
    parser.add_argument(
        "--full-refresh", action="store_true", help="compute Silver and Gold anew from every row of Bronze"
    )
    parser.add_argument("--all", action="store_true", help="run every table, whatever is new")
    parser.add_argument("--json", action="store_true", help="one JSON object instead of progress lines")
    return parser


if __name__ == "__main__":
    sys.exit(main())
