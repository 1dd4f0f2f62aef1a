"""How long things are tried again, by a clock that only waiting moves: no test here sleeps."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
import tenacity
import tenacity.nap
from deltalake.exceptions import CommitFailedError
from test_store import EVENTS, events, store

from lakehouse.domains.pipelines.contracts import PIPELINE_EVENTS
from lakehouse.errors import Conflict, StorageUnavailable
from lakehouse.pipeline import open_lake
from lakehouse.pipeline.contention import until_it_lands
from lakehouse.provision import steps
from lakehouse.provision.steps import NotYet, Step, StepFailed
from lakehouse.settings import Settings
from lakehouse.storage.lease import held_by_another, lease
from lakehouse.store import MaintenanceOptions
from lakehouse.store.delta import DeltaStore

__all__ = ["store"]
CARE = MaintenanceOptions(retain=timedelta(days=7))


class Clock:
    """Stands in for the module `time`."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.waits: list[float] = []

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.waits.append(seconds)
        self.now += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    for module in (tenacity, tenacity.nap, steps):
        monkeypatch.setattr(module, "time", clock)
    return clock


def test_a_step_waits_longer_each_time_and_ends_before_its_deadline(clock: Clock) -> None:
    def never() -> str:
        raise NotYet("the store does not answer")

    with pytest.raises(StepFailed, match=r"^buckets: the store does not answer; gave up after 4 s$"):
        steps.run([Step("buckets", never)], deadline=clock.now + 4)
    assert clock.waits == pytest.approx([0.1, 0.2, 0.4, 0.8, 1, 1])


def test_a_step_whose_deadline_has_passed_is_tried_once(clock: Clock) -> None:
    lines: list[str] = []
    steps.run([Step("buckets", lambda: "done")], deadline=clock.now - 1, say=lines.append)
    assert (lines, clock.waits) == (["✓ buckets                 0.00 s  done"], [])


def failing(exc: Exception, times: int) -> Callable[..., int]:
    left = [exc] * times

    def work(*_: object) -> int:
        if left:
            raise left.pop()
        return 0

    return work


@pytest.mark.parametrize("losses", [0, 1, 4])
def test_maintenance_that_loses_to_a_writer_starts_over(
    losses: int, store: DeltaStore, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.append(EVENTS, events(("a", 1)))
    monkeypatch.setattr(DeltaStore, "_rearrange", failing(CommitFailedError("lost"), losses))
    assert store.maintain(EVENTS, CARE).rows == 1
    assert len(clock.waits) == losses
    assert all(0.1 <= wait <= 1 for wait in clock.waits)


def test_maintenance_gives_up_after_five_tries(
    store: DeltaStore, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.append(EVENTS, events(("a", 1)))
    monkeypatch.setattr(DeltaStore, "_rearrange", failing(CommitFailedError("lost"), 5))
    with pytest.raises(Conflict, match=r"^compaction of silver/\w+: writers kept winning"):
        store.maintain(EVENTS, CARE)
    assert len(clock.waits) == 4


def test_maintenance_of_a_store_that_is_away_is_not_repeated(
    store: DeltaStore, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.append(EVENTS, events(("a", 1)))
    monkeypatch.setattr(DeltaStore, "_rearrange", failing(OSError("Connection refused"), 1))
    with pytest.raises(StorageUnavailable, match="compaction of silver/"):
        store.maintain(EVENTS, CARE)
    assert clock.waits == []


def test_a_writer_waits_for_one_who_keeps_losing_but_not_for_ever(tmp_path: Path, clock: Clock) -> None:
    lake = open_lake(Settings(lake_url=str(tmp_path / "lake"), landing_url=str(tmp_path / "landing")))
    name = f"write/{PIPELINE_EVENTS.path}"
    with lease(lake.store.files, name):
        assert until_it_lands(lake, PIPELINE_EVENTS, lambda: "done") == "done"
        assert held_by_another(lake.store.files, name)
    assert 20 <= sum(clock.waits) < 20.1
    assert all(0.02 <= wait <= 0.1 for wait in clock.waits)
    waited = len(clock.waits)
    assert until_it_lands(lake, PIPELINE_EVENTS, lambda: "done") == "done"
    assert len(clock.waits) == waited
