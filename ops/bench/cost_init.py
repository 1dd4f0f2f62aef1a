"""What init costs where little is new, and an event of Dagster's log: the lines of cost.py on runs.

Belongs here: embedded init by runs made before, in processes of its own; an event in SQLite; the same init in
a running stack of this checkout, when there is one. Does not: a fresh start (stack.py, init.py).
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
RUNS = (1, 10)  # runs made before
EVENTS = (700, 3500)  # events in the log before
TABLES = 23
_TRIES = 5
_LINE = (
    '{"pipeline_id": "p%d", "event_type": "pipeline.completed", "workspace_id": "w", '
    '"timestamp": "2026-01-01T00:00:00Z", "raw_data": {"duration_ms": 7}}\n'
)


@cache
def _inits() -> dict[int, dict[str, float]]:
    """Seconds of an embedded init, process and all: nothing new, and one new file."""
    found: dict[int, dict[str, float]] = {}
    with tempfile.TemporaryDirectory(prefix="odp-bench-") as folder:
        env = {
            k: v for k, v in os.environ.items() if not k.startswith(("DAGSTER_", "LAKE_", "LANDING_", "S3_"))
        }
        _init(folder, env)
        for number in range(1, max(RUNS) + 1):
            if number in RUNS:
                found[number] = {"nothing": min(_init(folder, env) for _ in range(_TRIES))}
            Path(folder, "landing", "pipeline_events", f"{number}.ndjson").write_text(_LINE % number)
            seconds = _init(folder, env)
            if number in RUNS:
                found[number]["one"] = seconds
    return found


def _init(folder: str, env: Mapping[str, str]) -> float:
    started = time.monotonic()
    argv = [sys.executable, "-m", "orchestration.embedded", "init"]
    subprocess.run(argv, cwd=folder, env=env, check=True, capture_output=True)
    return time.monotonic() - started


def nothing_new() -> Mapping[int, float]:
    """Seconds of an init with nothing new."""
    return {runs: found["nothing"] for runs, found in _inits().items()}


def one_new_file() -> Mapping[int, float]:
    """Seconds of an init with one new file, which runs three tables."""
    return {runs: found["one"] for runs, found in _inits().items()}


def an_event() -> Mapping[int, float]:
    """Milliseconds that the embedded storage takes for one event of a run, by the events before."""
    import dagster as dg

    @dg.multi_asset(specs=[dg.AssetSpec(f"a{number}") for number in range(60)], can_subset=False)
    def many():  # type: ignore[no-untyped-def]
        for number in range(60):
            yield dg.MaterializeResult(asset_key=f"a{number}", metadata={"text": "x" * 1500})

    job = dg.Definitions([many]).resolve_implicit_global_asset_job_def()
    quiet = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
    found: dict[int, float] = {}
    with tempfile.TemporaryDirectory(prefix="odp-bench-") as home:
        source = ROOT / "data/dagster/orchestration/embedded.yaml"
        Path(home, "dagster.yaml").write_text(source.read_text(encoding="utf-8"), encoding="utf-8")
        os.environ |= {"DAGSTER_HOME": home, "DAGSTER_RUN_MAX_SECONDS": "0"}
        with dg.DagsterInstance.get() as instance:
            storage, taken = instance.event_log_storage, []
            store = storage.store_event

            def timed(event: object) -> None:
                started = time.perf_counter()
                store(event)
                taken.append(time.perf_counter() - started)

            storage.store_event = timed  # type: ignore[method-assign]
            for size in EVENTS:
                while len(taken) < size:
                    job.execute_in_process(instance=instance, run_config=quiet)
                last = taken[-size // 5 :]
                found[size] = sum(last) / len(last) * 1000
    return found


def stack() -> Mapping[int, float]:
    """Seconds of `make init-data-layers` with nothing new in this checkout's containers; nothing without."""
    running = subprocess.run(
        ["docker", "compose", "ps", "--services", "--status", "running"],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if "dagster-code" not in running.stdout.split():
        return {}
    seconds = []
    for _ in range(_TRIES):
        started = time.monotonic()
        subprocess.run(["make", "init-data-layers"], cwd=ROOT, check=True, capture_output=True)
        seconds.append(time.monotonic() - started)
    return {TABLES: min(seconds)}
