"""A full refresh whose staging tables another flow removes, at whatever moment: it ends, and all is right."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from test_flow import EVENT_TABLES, assert_sound, event, hashes, lake_at, land, run

from lakehouse.domains.pipelines import contracts as c
from lakehouse.domains.pipelines import transforms
from lakehouse.maintenance.leftovers import remove_leftovers
from lakehouse.pipeline import Lake, refresh

MOST = 400


class Called:
    """Hands every call on to `real`, and calls `before` first."""

    def __init__(self, real: Any, before: Callable[[str], None]) -> None:
        self._real, self._before = real, before

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._real, name)
        if not callable(found):
            return found

        def call(*args: Any, **more: Any) -> Any:
            self._before(name)
            return found(*args, **more)

        return call


def filled(root: Path) -> Lake:
    lake = lake_at(root, batch_rows=3)
    for number in range(3):
        land(lake, f"{number}.ndjson", *(event(f"p{number}-{n}") for n in range(3)), event(None))
    run(lake)
    return lake


def rebuild(lake: Lake) -> None:
    refresh(lake, c.PIPELINE_EVENTS, transforms.pipeline_events, full=True)


def interrupted(lake: Lake, other: Lake, at: int) -> tuple[str, ...]:
    """Run a full refresh; another one runs from its begin to its end right before call number `at`."""
    calls: list[str] = []

    def before(name: str) -> None:
        calls.append(name)
        if len(calls) == at:
            rebuild(other)

    engine = Called(lake.engine, before)
    watched = dataclasses.replace(lake, store=Called(lake.store, before), engine=engine)  # type: ignore[arg-type]
    rebuild(watched)
    return tuple(calls)


@pytest.mark.slow
@pytest.mark.parametrize("every", [5, pytest.param(1, marks=pytest.mark.long)])
def test_another_full_refresh_at_any_moment_of_one(tmp_path: Path, every: int) -> None:
    want = hashes(filled(tmp_path / "first"))
    for at in range(1, MOST, every):
        root = tmp_path / f"at-{at}"
        shutil.copytree(tmp_path / "first", root)
        lake, other = lake_at(root, batch_rows=3), lake_at(root, batch_rows=3)
        calls = interrupted(lake, other, at)
        assert hashes(lake) == want, calls[:at][-3:]
        assert_sound(lake)
        assert [name for name in lake.store.found() if "__rebuild" in name] == [], calls[:at][-3:]
        shutil.rmtree(root)
        if len(calls) < at:
            break
    assert 20 < at < MOST - every


@pytest.mark.parametrize("left", ["log", "data", "half a log"])
def test_a_staging_table_of_which_half_is_removed_goes_once_it_is_old(tmp_path: Path, left: str) -> None:
    lake = filled(tmp_path)
    stage = dataclasses.replace(c.PIPELINE_EVENTS, name="pipeline_events__rebuild_abc")
    lake.store.ensure(stage)
    lake.store.append(stage, lake.store.scan(c.PIPELINE_EVENTS).collect())
    place = Path(lake.store.uri(stage))
    files = [file for file in place.rglob("*") if file.is_file()]
    log = {file for file in files if file.parent.name == "_delta_log"}
    gone = {"log": {*files} - log, "data": log, "half a log": {f for f in log if f.stem.endswith("0")}}[left]
    for file in gone:
        file.unlink()
    assert remove_leftovers(lake, EVENT_TABLES) == []
    removed = remove_leftovers(lake, EVENT_TABLES, young=timedelta(0))
    assert "silver/pipeline_events__rebuild_abc" in removed
    assert not [name for name in lake.store.found() if "__rebuild" in name]
