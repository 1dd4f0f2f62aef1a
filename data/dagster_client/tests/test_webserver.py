"""Every query, sent to a real webserver with its daemon: ready, launched, followed to the end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from checkouts import free_ports, wait_until

from dagster_client import Client, Unreachable, answers
from dagster_client.assets import job_assets, materialised_versions
from dagster_client.follow import follow
from dagster_client.launch import RunRequest, start_run
from dagster_client.progress import RunProgress
from dagster_client.readiness import NotReady, wait_ready
from dagster_client.runs import Run, newest_run_tagged, run_by_id

pytestmark = pytest.mark.slow

DEFINITIONS = """
import dagster as dg

@dg.asset(key_prefix="silver", check_specs=[dg.AssetCheckSpec("fine", asset=["silver", "a"])])
def a():
    return dg.MaterializeResult(
        metadata={"dagster/row_count": 3, "seconds": 0.25, "version": 7},
        check_results=[dg.AssetCheckResult(check_name="fine", passed=False, description="late",
                                           severity=dg.AssetCheckSeverity.WARN)],
    )

@dg.asset(key_prefix="gold", deps=[a])
def b():
    raise dg.Failure(description="no rows at all", allow_retries=False)

everything = dg.define_asset_job("everything", executor_def=dg.in_process_executor, tags={"boot": "now"})
defs = dg.Definitions(assets=[a, b], jobs=[everything])
"""


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    home = tmp_path_factory.mktemp("dagster")
    (home / "few.py").write_text(DEFINITIONS)
    (home / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
    url = f"http://127.0.0.1:{(port := free_ports(1)[0])}"
    argv = [str(Path(sys.executable).with_name("dagster")), "dev", "-m", "few", "-p", str(port)]
    env = {**os.environ, "DAGSTER_HOME": str(home), "PYTHONPATH": str(home)}
    with (home / "log").open("wb") as log:
        dagster = subprocess.Popen(argv, cwd=home, env=env, stdout=log, stderr=log, start_new_session=True)
    try:
        wait_until("Dagster answers", lambda: answers(url), 120)
        yield Client(url)
    finally:
        os.killpg(dagster.pid, signal.SIGINT)
        dagster.wait(30)


def ready(client: Client, job: str = "everything", seconds: float = 120):  # type: ignore[no-untyped-def]
    return wait_ready(client, job, boot_tag="boot", deadline=time.monotonic() + seconds)


def test_a_run_of_one_asset_is_launched_and_followed(
    client: Client, capsys: pytest.CaptureFixture[str]
) -> None:
    found = ready(client)
    assert (found.run_in_progress, found.orphans) == (None, ())
    before = job_assets(client, "everything", found)
    assert before.dependencies == {("silver", "a"): set(), ("gold", "b"): {("silver", "a")}}
    assert before.materialised == frozenset()
    progress = RunProgress()
    request = RunRequest("everything", assets=[("silver", "a")], tags={"why": "test"})
    run = start_run(client, found, request, progress)
    assert follow(client, run, progress, deadline=time.monotonic() + 120) == "SUCCESS"
    assert progress.finish("SUCCESS") == 0
    assert capsys.readouterr().out.splitlines() == [
        "  ✓ silver/a                                3 rows    0.25 s",
        "    ! fine: late",
        "✓ success: 1 tables, 1 checks, 1 warnings",
    ]
    assert job_assets(client, "everything", found).materialised == {"silver/a"}
    assert materialised_versions(client, [("silver", "a"), ("gold", "b")]) == {("silver", "a"): 7}


def test_a_run_that_fails_says_why(client: Client) -> None:
    progress = RunProgress(quiet=True)
    run = start_run(client, ready(client), RunRequest("everything"), progress)
    assert follow(client, run, progress, deadline=time.monotonic() + 120) == "FAILURE"
    assert progress.errors == ["gold__b: no rows at all"]
    assert progress.exit_code("FAILURE") == 1


def test_a_run_is_found_by_its_id_and_by_a_tag(client: Client) -> None:
    key, value = "odp.ingest/0123456789abcdef01234567", f"pipeline_events~{'0' * 64}"
    progress, assets = RunProgress(quiet=True), [("silver", "a")]
    for _ in range(2):
        request = RunRequest("everything", assets=assets, tags={key: value})
        run = start_run(client, ready(client), request, progress)
        follow(client, run, progress, deadline=time.monotonic() + 120)
    assert run_by_id(client, run) == newest_run_tagged(client, key, value) == Run(run, "SUCCESS")
    assert newest_run_tagged(client, key, "another") is None
    assert run_by_id(client, "00000000-0000-0000-0000-000000000000") is None


def test_what_dagster_refuses_is_named(client: Client) -> None:
    with pytest.raises(NotReady, match="a code location with the job nothing"):
        ready(client, "nothing", 0)
    request = RunRequest("everything", assets=[("no", "such")])
    with pytest.raises((NotReady, Unreachable)):
        start_run(client, ready(client), request, RunProgress(quiet=True))
    with pytest.raises(Unreachable, match="Cannot query field"):
        client.ask("query Broken { nothing }")
    [port] = free_ports(1)
    assert not answers(f"http://127.0.0.1:{port}")
