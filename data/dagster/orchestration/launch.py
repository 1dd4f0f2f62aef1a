"""`make init-data-layers` in the containers: one run of one job through the running stack.

Belongs here: waiting for readiness, launching or attaching, telling progress. Standard library only.
Does not: running anything itself. The same path as the button in the UI: queue, launcher, monitoring.

Exit codes:
  0    every table is up to date and every check passed (warnings are told)
  1    the run failed or was canceled
  2    the stack is not ready
  3    the run ended well, but a check of severity error failed
  4    no end within --timeout; the run goes on
  130  interrupted; the run goes on
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from dataclasses import dataclass, field
from typing import Any

from orchestration import BOOT_TAG, FULL_REFRESH_TAG, graphql
from orchestration.graphql import Client, Readiness, Unreachable

_POLL_SECONDS = 0.25
_FOLLOW_SECONDS = 0.5  # an answer costs the webserver some 15 ms of CPU
_DONE = ("SUCCESS", "FAILURE", "CANCELED")


class NotReady(Exception):
    """The stack could not start a run in time."""


@dataclass
class Told:
    """What the run has said so far."""

    quiet: bool = False
    tables: list[dict[str, Any]] = field(default_factory=list)
    failed_checks: list[dict[str, Any]] = field(default_factory=list)
    warnings: list[dict[str, Any]] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    checks: int = 0

    def say(self, text: str) -> None:
        if not self.quiet:
            print(text, flush=True)


def main(argv: list[str] | None = None) -> int:
    """Parse the arguments, run, return the exit code."""
    options = _parser().parse_args(argv)
    client = Client(options.url.rstrip("/"))
    told = Told(quiet=options.json)
    run_id = None
    deadline = time.monotonic() + options.timeout
    try:
        ready = wait_ready(client, options.job, min(deadline, time.monotonic() + options.ready_timeout))
        run_id = launch(client, options.job, ready, told, full_refresh=options.full_refresh)
        link = f"{options.public_url.rstrip('/')}/runs/{run_id}"
        told.say(f"run {link}")
        status = follow(client, run_id, told, deadline)
    except (NotReady, Unreachable) as exc:
        print(f"✗ not ready: {exc}\n  → make status; make logs SERVICE=dagster-code", file=sys.stderr)
        return 2
    except TimeoutError:
        print(f"✗ run {run_id} has not ended after {options.timeout:.0f} s; it goes on", file=sys.stderr)
        return 4
    except KeyboardInterrupt:
        print(f"\ninterrupted; the run goes on: {options.public_url}/runs/{run_id}", file=sys.stderr)
        return 130
    return _end(status, told, run_id, link, as_json=options.json)


def wait_ready(client: Client, job: str, deadline: float) -> Readiness:
    """Wait until webserver, daemon and code location could run the job. Raises NotReady with the reason."""
    why = "the webserver does not answer"
    while True:
        try:
            ready = graphql.readiness(client.ask(graphql.READY, job=job), job, BOOT_TAG)
        except Unreachable as exc:
            why = str(exc)
        else:
            if ready.waiting_for is None and ready.broken is None:
                return ready
            why = ready.broken or f"waiting for {ready.waiting_for}"
        if time.monotonic() > deadline:
            raise NotReady(why)
        time.sleep(_POLL_SECONDS)


def launch(client: Client, job: str, ready: Readiness, told: Told, *, full_refresh: bool = False) -> str:
    """Return the run to follow: one that is going on already, or a new one.

    Raises NotReady when a full refresh is asked for while a run is going on, which might not be one.
    """
    for orphan in ready.orphans:
        client.ask(graphql.END, run=orphan)
        told.say(f"run {orphan[:8]} was orphaned by a restart: ended it, starting over")
    if ready.going and full_refresh:
        raise NotReady(f"run {ready.going[:8]} is going on; ask for the full refresh when it has ended")
    if ready.going:
        told.say(f"run {ready.going[:8]} is going on already: following it")
        return ready.going
    selector = {
        "repositoryLocationName": ready.location,
        "repositoryName": ready.repository,
        "jobName": job,
    }
    tags = [{"key": "odp/source", "value": "make init-data-layers"}]
    if full_refresh:
        tags.append({"key": FULL_REFRESH_TAG, "value": "true"})
    params = {
        "selector": selector,
        "runConfigData": {},
        "mode": "default",
        "executionMetadata": {"tags": tags},
    }
    answer = client.ask(graphql.LAUNCH, params=params)["launchRun"]
    if answer["__typename"] != "LaunchRunSuccess":
        raise NotReady(f"{answer['__typename']}: {answer.get('message') or answer.get('errors')}")
    run_id: str = answer["run"]["runId"]
    return run_id


def follow(client: Client, run_id: str, told: Told, deadline: float) -> str:
    """Tell each event until the run ends; return its status. A webserver away for a moment is waited for."""
    cursor = None
    silent_until = time.monotonic() + 60
    while True:
        if time.monotonic() > deadline:
            raise TimeoutError
        try:
            answer = client.ask(graphql.EVENTS, run=run_id, cursor=cursor)
        except Unreachable:
            if time.monotonic() > silent_until:
                raise
            time.sleep(1)
            continue
        silent_until = time.monotonic() + 60
        logs = answer["logsForRun"]
        for event in logs.get("events", []):
            _tell(event, told)
        cursor = logs.get("cursor") or cursor
        status: str = answer["runOrError"]["status"]
        if status in _DONE and not logs.get("events"):
            return status
        if not logs.get("hasMore"):
            time.sleep(0.1 if status in _DONE else _FOLLOW_SECONDS)


def _tell(event: dict[str, Any], told: Told) -> None:
    kind = event["__typename"]
    if kind == "MaterializationEvent":
        numbers = {m["label"]: m.get("intValue", m.get("floatValue")) for m in event["metadataEntries"]}
        table = {
            "table": "/".join(event["assetKey"]["path"]),
            "rows": numbers.get("dagster/row_count"),
            "seconds": numbers.get("seconds"),
        }
        told.tables.append(table)
        told.say(f"  ✓ {table['table']:<30} {table['rows'] or 0:>10,} rows  {table['seconds'] or 0:>6.2f} s")
    elif kind == "AssetCheckEvaluationEvent":
        _tell_check(event["evaluation"], told)
    elif kind == "ExecutionStepUpForRetryEvent":
        told.say(f"  ↻ {event['stepKey']}: {_cause(event)} (trying again)")
    elif kind == "ExecutionStepFailureEvent":
        told.errors.append(f"{event['stepKey']}: {_cause(event)}")
        told.say(f"  ✗ {told.errors[-1]}")
    elif kind == "RunFailureEvent" and not told.errors:
        told.errors.append(_cause(event))


def _tell_check(check: dict[str, Any], told: Told) -> None:
    told.checks += 1
    one = {"check": check["checkName"], "says": check["description"] or ""}
    if check["success"]:
        told.say(f"    ✓ {one['check']}")
    elif check["severity"] == "ERROR":
        told.failed_checks.append(one)
        told.say(f"    ✗ {one['check']}: {one['says']}")
    else:
        told.warnings.append(one)
        told.say(f"    ! {one['check']}: {one['says']}")


def _cause(event: dict[str, Any]) -> str:
    described = (event.get("failureMetadata") or {}).get("description")
    message = described or (event.get("error") or {}).get("message") or event.get("message") or ""
    lines = [line.strip() for line in message.splitlines() if line.strip()]
    return lines[0] if lines else "no reason given"


def _end(status: str, told: Told, run_id: str, link: str, *, as_json: bool) -> int:
    code = 1 if status != "SUCCESS" else 3 if told.failed_checks else 0
    if as_json:
        print(
            json.dumps(
                {
                    "ok": code == 0,
                    "run_id": run_id,
                    "status": status,
                    "link": link,
                    "tables": told.tables,
                    "checks": told.checks,
                    "failed_checks": told.failed_checks,
                    "warnings": told.warnings,
                    "errors": told.errors,
                }
            )
        )
    else:
        mark = "✓" if code == 0 else "✗"
        bad = f", {len(told.failed_checks)} failed" if told.failed_checks else ""
        warned = f", {len(told.warnings)} warnings" if told.warnings else ""
        print(f"{mark} {status.lower()}: {len(told.tables)} tables, {told.checks} checks{bad}{warned}")
        if code:
            print(f"  → open {link}", file=sys.stderr)
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="init-data-layers",
        description="Materialise every layer in one run of the running stack.",
        epilog=(__doc__ or "").split("\n\n", 2)[2],
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    url = os.environ.get("DAGSTER_URL", "http://127.0.0.1:18084")
    parser.add_argument("--url", default=url, help="the webserver, from here (default $DAGSTER_URL)")
    parser.add_argument(
        "--public-url", default=os.environ.get("DAGSTER_PUBLIC_URL", url), help="the webserver, for links"
    )
    parser.add_argument("--job", default="materialize_all", help="which job (default materialize_all)")
    parser.add_argument("--timeout", type=float, default=1800, help="seconds to wait for the end (1800)")
    parser.add_argument("--ready-timeout", type=float, default=90, help="seconds to wait for the stack (90)")
    parser.add_argument(
        "--full-refresh", action="store_true", help="compute Silver and Gold anew from every row of Bronze"
    )
    parser.add_argument("--json", action="store_true", help="one JSON object instead of progress lines")
    return parser


if __name__ == "__main__":
    sys.exit(main())
