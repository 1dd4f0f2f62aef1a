"""Kill -9 in the middle of an init, then `make start`: a verified lake, nothing lost and nothing doubled.

The measure is the same input in the embedded profile, undisturbed: equal content in every table. The input is
all that the landing bucket holds, since tests of other files land more in the same stack.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from checkouts import ROOT, clean_env, wait_until
from stacks import Stack

pytestmark = [pytest.mark.containers, pytest.mark.timeout(900)]

EVENTS_PER_FILE = 40_000
RAW, EVENTS = "raw_pipeline_events", "pipeline_events"


def write_events(path: Path, name: str, count: int) -> None:
    """Events of many pipelines over a month, in the platform's own envelope; the same for the same name."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        for number in range(count):
            kind = ("pipeline.submitted", "pipeline.started", "pipeline.completed")[number % 3]
            day, second = 1 + number // 3 % 28, number % 60
            event = {
                "pipeline_id": f"{name}-{number // 3}",
                "event_type": kind,
                "workspace_id": f"workspace-{number // 3 % 7}",
                "timestamp": f"2026-02-{day:02}T10:{number // 60 % 60:02}:{second:02}Z",
                "raw_data": json.dumps({"duration_ms": number % 90_000, "activities_executed": number % 9}),
            }
            file.write(json.dumps(event) + "\n")


def commits(stack: Stack, table: str) -> int:
    """How many commits a table's log holds."""
    layer, _, name = table.partition("/")
    listed = stack.s3().list_objects_v2(Bucket=layer, Prefix=f"{name}/_delta_log/")
    return sum(one["Key"].endswith(".json") for one in listed.get("Contents", []))


def kill_in_the_middle(stack: Stack, service: str, reached: str) -> None:
    """Begin an init, wait until a table has a new commit, kill the service, then end the init itself."""
    before = commits(stack, reached)
    init = subprocess.Popen(
        [stack.dir / "ops" / "scripts" / "init-data-layers.sh"],
        cwd=stack.dir,
        env=clean_env(**stack.given),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    try:
        wait_until(f"{reached} has a new commit", lambda: commits(stack, reached) > before, 120)
        assert stack.run("docker", "kill", "-s", "KILL", stack.containers()[service]["Id"]).returncode == 0
        wait_until(f"{service} is gone", lambda: service not in stack.running(), 30)
    finally:
        if init.poll() is None:
            init.send_signal(signal.SIGINT)
        init.communicate(timeout=60)


@pytest.fixture(scope="module")
def expected(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Content hashes of the same files, never disturbed."""
    place = tmp_path_factory.mktemp("undisturbed")
    store = stack.s3()
    for page in store.get_paginator("list_objects_v2").paginate(Bucket="landing"):
        for one in page.get("Contents", []):
            file = place / "landing" / one["Key"]
            file.parent.mkdir(parents=True, exist_ok=True)
            store.download_file("landing", one["Key"], str(file))
    for name in ("first", "second"):
        write_events(place / "landing" / EVENTS / f"{name}.ndjson", name, EVENTS_PER_FILE)
    command = [sys.executable, "-m", "orchestration.embedded"]
    where = ["--data", str(place / "data"), "--landing", str(place / "landing")]
    for verb in ("init", "verify"):
        told = ["--json"] if verb == "verify" else []
        done = subprocess.run(
            [*command, verb, *where, *told],
            cwd=ROOT,
            env=clean_env(),
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
    return {table["table"]: table["content_hash"] for table in json.loads(done.stdout)["tables"]}


def test_killed_code_and_killed_store_lose_and_double_nothing(stack: Stack, expected: dict[str, str]) -> None:
    for service, name, reached in (
        ("dagster-code", "first", f"bronze/{RAW}"),
        ("minio", "second", f"bronze/{RAW}"),
    ):
        write_events(stack.dir / "landing" / EVENTS / f"{name}.ndjson", name, EVENTS_PER_FILE)
        kill_in_the_middle(stack, service, reached)
        done = stack.make("start", "PROFILE=full")
        assert done.returncode == 0, f"after {service}: {done.stdout}{done.stderr}"
        assert stack.verify()[0] == 0
    assert stack.hashes() == expected
