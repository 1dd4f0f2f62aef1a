"""Runs start warm: forked off a helper that has imported Dagster, has one thread, and has touched nothing."""

from __future__ import annotations

import inspect
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

PROBE = """
import json, os, sys

def look(answers):
    modules = [m for m in ("dagster", "dagster_postgres", "boto3", "polars", "deltalake") if m in sys.modules]
    threads = len(os.listdir(f"/proc/{os.getppid()}/task"))
    answers.put({"modules": modules, "helper_threads": threads, "is_child": os.getppid() != int(sys.argv[1])})

if __name__ == "__main__":
    import multiprocessing
    from orchestration.workarounds.warm_runs import fork_runs_off_a_warm_helper
    fork_runs_off_a_warm_helper()
    context = multiprocessing.get_context("spawn")
    answers = context.Queue()
    process = context.Process(target=look, args=(answers,))
    process.start()
    print(json.dumps(answers.get(timeout=60)))
    process.join()
"""


@pytest.mark.skipif(
    not Path("/proc/self/task").is_dir(), reason="needs /proc to count another process's threads"
)
def test_a_run_inherits_what_is_safe_to_inherit(tmp_path: Path) -> None:
    script = tmp_path / "probe.py"
    script.write_text(PROBE)
    done = subprocess.run(
        [sys.executable, str(script), str(os.getpid())],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["modules"] == ["dagster", "dagster_postgres", "boto3"], "Polars and deltalake start threads"
    assert found["helper_threads"] == 1
    assert found["is_child"]


def test_dagster_still_asks_for_its_run_processes_by_that_name() -> None:
    from dagster._grpc import server

    assert 'multiprocessing.get_context("spawn")' in inspect.getsource(server)


@pytest.mark.slow
def test_the_arguments_are_those_of_dagster() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "orchestration.serve", "api", "grpc", "--help"],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "--module-name" in done.stdout
