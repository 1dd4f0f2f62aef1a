"""Dagster's instance as embedded has it: a cheap event log that others read, and a limit on runs.

Belongs here: embedded.yaml with the classes it names. Does not: init (tests/test_embedded.py).
"""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import dagster as dg
import pytest
from checkouts import wait_until

import orchestration
from lakehouse.errors import StorageUnavailable
from orchestration import embedded
from orchestration.coordinator import MAX_RUNTIME_TAG
from orchestration.limit import limited
from orchestration.planning import selection
from orchestration.workarounds.instance_files import told_by_sqlite

QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


@pytest.fixture(params=["0", "77"])
def instance(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[dg.DagsterInstance]:
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    monkeypatch.setenv("DAGSTER_RUN_MAX_SECONDS", request.param)
    shutil.copyfile(Path(orchestration.__file__ or "").with_name("embedded.yaml"), tmp_path / "dagster.yaml")
    with dg.DagsterInstance.get() as found:
        yield found


@dg.multi_asset(specs=[dg.AssetSpec(["silver", f"a{number}"]) for number in range(40)])
def many() -> Iterator[dg.MaterializeResult]:
    for number in range(40):
        yield dg.MaterializeResult(asset_key=["silver", f"a{number}"], metadata={"text": "x" * 1000})


def _place(tmp_path: Path) -> embedded.Place:
    return embedded.Place(data=tmp_path, landing=tmp_path / "landing", port=1)


def test_what_a_killed_ui_has_left_behind_is_ended(tmp_path: Path) -> None:
    """`dagster dev` starts webserver and daemon in its own session; they outlive a kill of it alone."""
    child = "import time; time.sleep(600)  # dagster"
    code = (
        f"import subprocess, sys, time; subprocess.Popen([sys.executable, '-c', {child!r}]); time.sleep(600)"
    )
    argv = [sys.executable, "-c", code, "orchestration.definitions"]
    leader = subprocess.Popen(argv, start_new_session=True)
    place = _place(tmp_path)
    place.pid_file.write_text(str(leader.pid))
    wait_until("the child runs", lambda: any(embedded._members(leader.pid)), 5)
    assert embedded._running(place) == leader.pid
    leader.kill()
    leader.wait()
    wait_until("the child is seen", lambda: embedded._running(place) == leader.pid, 5)
    embedded.ui_stop(place)
    assert embedded._members(leader.pid) == []
    assert not place.pid_file.exists()


def test_a_group_of_another_program_is_not_the_ui(tmp_path: Path) -> None:
    leader = subprocess.Popen(["sh", "-c", "sleep 600 & wait"], start_new_session=True)
    try:
        _place(tmp_path).pid_file.write_text(str(leader.pid))
        wait_until("the child runs", lambda: any(embedded._members(leader.pid)), 5)
        assert embedded._running(_place(tmp_path)) is None
        leader.kill()
        leader.wait()
        assert embedded._running(_place(tmp_path)) is None
    finally:
        os.killpg(leader.pid, signal.SIGKILL)


def test_an_init_that_waited_for_a_lake_that_is_gone_says_so(tmp_path: Path) -> None:
    place = _place(tmp_path)
    turn = embedded._only_one(place)
    with (tmp_path / "init.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with ThreadPoolExecutor(1) as pool:
            waiting = pool.submit(turn.__enter__)
            time.sleep(0.3)
            (tmp_path / "init.lock").unlink()
            fcntl.flock(lock, fcntl.LOCK_UN)
            with pytest.raises(StorageUnavailable, match="was removed"):
                waiting.result(timeout=5)


JOB = dg.Definitions([many]).resolve_implicit_global_asset_job_def()


@pytest.mark.parametrize("instance", ["0"], indirect=True)
def test_an_event_costs_two_milliseconds_of_this_processor_at_most(instance: dg.DagsterInstance) -> None:
    """CPU time, which a busy machine does not change much; stock SQLite takes five times as long."""
    taken: list[float] = []
    store = instance.event_log_storage.store_event

    def timed(event: object) -> None:
        started = time.process_time()
        store(event)  # type: ignore[arg-type]
        taken.append(time.process_time() - started)

    instance.event_log_storage.store_event = timed  # type: ignore[method-assign, assignment]
    for _ in range(2):
        assert JOB.execute_in_process(instance=instance, run_config=QUIET).success
    assert len(taken) > 100
    assert statistics.median(taken) < 0.004


@pytest.mark.parametrize("instance", ["0"], indirect=True)
def test_stock_sqlite_reads_what_it_wrote_while_it_is_open(
    instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    run_id = JOB.execute_in_process(instance=instance, run_config=QUIET).run_id
    from dagster._core.storage.event_log import SqliteEventLogStorage

    reader = SqliteEventLogStorage(str(tmp_path / "history" / "runs"))
    assert [e.message for e in reader.get_logs_for_run(run_id)] == [
        e.message for e in instance.all_logs(run_id)
    ]


@pytest.mark.parametrize("instance", ["0"], indirect=True)
def test_what_dagster_knows_is_read_without_dagster(instance: dg.DagsterInstance, tmp_path: Path) -> None:
    assert told_by_sqlite(tmp_path / "nowhere").known == frozenset()
    JOB.execute_in_process(instance=instance, run_config=QUIET)
    told = told_by_sqlite(tmp_path)
    assert (told.known, told.unfinished) == (frozenset(f"silver/a{number}" for number in range(40)), False)
    instance.create_run_for_job(JOB, status=dg.DagsterRunStatus.STARTED)
    assert told_by_sqlite(tmp_path).unfinished


def test_a_queued_run_carries_the_limit_of_the_environment(instance: dg.DagsterInstance) -> None:
    limit = getattr(instance.run_coordinator, "max_run_seconds", None)
    # Past the queue already: only a run of a code location can be put into it.
    run, own = (
        instance.create_run_for_job(JOB, tags=tags, status=dg.DagsterRunStatus.STARTING)
        for tags in ({}, {MAX_RUNTIME_TAG: "5"})
    )
    for one in (run, own):
        instance.run_coordinator.submit_run(dg.SubmitRunContext(one, workspace=None))  # type: ignore[arg-type]
    tags = [instance.get_run_by_id(one.run_id).tags.get(MAX_RUNTIME_TAG) for one in (run, own)]  # type: ignore[union-attr]
    assert tags == [str(limit) if limit else None, "5"]
    assert instance.run_monitoring_max_runtime_seconds == 0


@pytest.mark.parametrize("interrupts", [signal.default_int_handler, signal.SIG_IGN])
def test_what_runs_in_this_process_is_interrupted_when_its_time_is_up(interrupts: signal.Handlers) -> None:
    """Also where Ctrl-C is ignored, as in a process that a script has put into the background."""
    before = signal.getsignal(signal.SIGALRM)
    taken = signal.signal(signal.SIGINT, interrupts)
    try:
        with limited(1) as limit, pytest.raises(KeyboardInterrupt):
            time.sleep(60)
    finally:
        signal.signal(signal.SIGINT, taken)
    assert limit.struck
    assert signal.getsignal(signal.SIGALRM) is before
    with limited(0) as limit:
        pass
    assert not limit.struck


def test_what_follows_a_table_without_being_one_is_run_with_it() -> None:
    made_from = {
        ("bronze", "a"): set(),
        ("silver", "a"): {("bronze", "a")},
        ("silver", "b"): set(),
        ("gold", "manifest"): {("silver", "a"), ("silver", "b")},
        ("system", "points"): {("gold", "manifest")},
    }
    tables = {"bronze/a", "silver/a", "silver/b"}
    assert selection(["silver/a"], tables, made_from) == [
        ("gold", "manifest"), ("silver", "a"), ("system", "points")
    ]  # fmt: skip
    assert selection([], tables, made_from) == []


@pytest.mark.slow
def test_embedded_takes_the_verb_of_pruning(tmp_path: Path) -> None:
    argv = [sys.executable, "-m", "orchestration.embedded", "prune", "--days", "7"]
    done = subprocess.run(argv, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout == "✓ 0 runs, 0 events of no run and 0 snapshots removed; 0 runs are left\n"
    assert (tmp_path / ".data" / "dagster" / "pruned").exists()
