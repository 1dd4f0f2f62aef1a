"""Verify beside runs that go on: what is between two commits is no problem, and what stands still is one."""

from __future__ import annotations

import itertools
import multiprocessing as mp
import time
from datetime import timedelta
from multiprocessing.synchronize import Event
from pathlib import Path

import pytest
from test_flow import EVENT_SOURCES, EVENT_TABLES, Killed, event, lake_at, land, run
from test_flow_increment import day

from lakehouse import fault_points
from lakehouse.domains.pipelines import contracts as c
from lakehouse.domains.pipelines import transforms
from lakehouse.errors import Conflict, LakeError
from lakehouse.pipeline import Lake, ingest, refresh
from lakehouse.verify import Patience, verify

AT_ONCE = Patience(quiet=timedelta(0))


def ingests(root: Path, done: Event) -> None:
    lake = lake_at(root)
    for n in itertools.count():
        if done.is_set():
            return
        land(lake, f"{n}.ndjson", event(f"p{n}", at=day(n % 28 + 1)), event(f"bad{n}", duration_ms=-1))
        _tried(lambda: ingest(lake, c.RAW_PIPELINE_EVENTS, EVENT_SOURCES))
        time.sleep(0.05)


def refreshes(root: Path, done: Event, *, full_each: int = 10**9) -> None:
    lake = lake_at(root)
    for n in itertools.count(1):
        if done.is_set():
            return
        full = n % full_each == 0
        _tried(lambda: refresh(lake, c.PIPELINE_EVENTS, transforms.pipeline_events, full=full))  # noqa: B023
        _tried(lambda: refresh(lake, c.PIPELINE_METRICS, transforms.pipeline_metrics))


def _tried(work: object) -> None:
    try:
        work()  # type: ignore[operator]
    except LakeError as exc:
        if not isinstance(exc, Conflict):
            raise


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("full_each", [10**9, 3], ids=["increments", "full refreshes too"])
def test_thirty_verifications_beside_running_processes_report_nothing(tmp_path: Path, full_each: int) -> None:
    lake = lake_at(tmp_path)
    land(lake, "first.ndjson", event("p", at=day(1)), event("bad", duration_ms=-1))
    run(lake)
    context = mp.get_context("spawn")
    done = context.Event()
    writers = [
        context.Process(target=ingests, args=(tmp_path, done)),
        context.Process(target=refreshes, args=(tmp_path, done), kwargs={"full_each": full_each}),
    ]
    for writer in writers:
        writer.start()
    found = []
    try:
        started = lake.store.snapshot(c.PIPELINE_EVENTS).version
        tries = 0
        while tries < 30 or lake.store.snapshot(c.PIPELINE_EVENTS).version < started + 30:
            result = verify(lake_at(tmp_path), EVENT_TABLES)
            found += [*result.all_problems, *result.notes]
            tries += 1
    finally:
        done.set()
        for writer in writers:
            writer.join(60)
    assert found == []
    assert [writer.exitcode for writer in writers] == [0, 0]


@pytest.mark.slow
def test_a_batch_that_never_comes_in_is_told_after_a_while(tmp_path: Path) -> None:
    lake = lake_at(tmp_path)
    land(lake, "1.ndjson", event("p1", at=day(1)))
    run(lake)
    land(lake, "2.ndjson", event("p2", at=day(2)))
    ingest(lake, c.RAW_PIPELINE_EVENTS, EVENT_SOURCES)
    before = time.monotonic()
    found = verify(lake, EVENT_TABLES, patience=Patience(quiet=timedelta(seconds=2))).all_problems
    assert [(p.table, p.check) for p in found] == [(c.PIPELINE_EVENTS.path, "position")]
    assert time.monotonic() - before >= 1


def killed_at(lake: Lake, point: str, work: object) -> None:
    def kill(reached: str) -> None:
        if reached == point:
            raise Killed

    fault_points.arm(kill)
    try:
        with pytest.raises(Killed):
            work()  # type: ignore[operator]
    finally:
        fault_points.arm(None)


def test_a_full_refresh_that_was_killed_is_told_and_its_staging_tables_are_no_strangers(
    tmp_path: Path,
) -> None:
    lake = lake_at(tmp_path)
    land(lake, "1.ndjson", event("p1", at=day(1)), event("bad", duration_ms=-1))
    run(lake)
    full = lambda: refresh(lake, c.PIPELINE_EVENTS, transforms.pipeline_events, full=True)  # noqa: E731
    killed_at(lake, "flow.batch", full)
    found = verify(lake, EVENT_TABLES, patience=AT_ONCE).all_problems
    assert [(p.table, p.check) for p in found] == [(c.PIPELINE_EVENTS.path, "rebuild")]
    run(lake)
    assert verify(lake, EVENT_TABLES).all_problems == []
