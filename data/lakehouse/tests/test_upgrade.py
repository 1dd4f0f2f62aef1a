"""A lake of an older version is brought to today's: what changed is computed anew, what was refused lands."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import lakes
import narwhals.stable.v2 as nw
import polars as pl
import pytest
from test_flow import EVENT_SOURCES, EVENT_TABLES, assert_sound, event, land, run
from test_lakes_of_before import KINDS, lake_of_before, problems

from lakehouse import fault_points
from lakehouse.contracts import Column, Contract, Type, quarantine_of
from lakehouse.domains.pipelines import contracts as c
from lakehouse.domains.pipelines import transforms
from lakehouse.errors import SchemaViolation
from lakehouse.maintenance import Upgraded, upgrade
from lakehouse.pipeline import Lake, open_lake, refresh
from lakehouse.pipeline.state import REBUILDING
from lakehouse.registry import contracts, sources, transform_of
from lakehouse.verify import verify

EVENTS, METRICS = c.PIPELINE_EVENTS, c.PIPELINE_METRICS


class Killed(BaseException):
    """Stands for kill -9: nothing may catch it."""


@pytest.fixture(params=KINDS)
def lake(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Lake]:
    with lakes.lake_of(request.param, tmp_path) as settings:
        lake = open_lake(settings)
        land(lake, "1.ndjson", event("p1"), event("p2"), event(None))
        run(lake)
        yield lake


def with_column(table: Contract, name: str = "shouted", *, nullable: bool = False) -> Contract:
    fresh = Column(name=name, type=Type.STRING, nullable=nullable, description="The pipeline, in capitals")
    return dataclasses.replace(table, columns=(*table.columns, fresh), version="9.0.0")


def shouted(bronze: nw.LazyFrame) -> nw.LazyFrame:
    made = transforms.pipeline_events(bronze)
    return made.with_columns(shouted=nw.col("pipeline_id").str.to_uppercase().fill_null("?"))


NEWER = with_column(EVENTS)
TABLES = (EVENT_TABLES[0], NEWER, dataclasses.replace(METRICS, sources=(NEWER,)))


def of(table: Contract) -> Callable[..., Any]:
    return shouted if table.path == EVENTS.path else transform_of(table)


def upgraded(lake: Lake, **how: bool) -> list[Upgraded]:
    return upgrade(lake, TABLES, EVENT_SOURCES, of, **how)


def killed(lake: Lake, at: int) -> None:
    """Upgrade, and be killed after the commit of that number."""
    reached = 0

    def kill(point: str) -> None:
        nonlocal reached
        reached += point == "commit.done"
        if reached == at:
            raise Killed

    fault_points.arm(kill)
    try:
        with pytest.raises(Killed):
            upgraded(lake)
    finally:
        fault_points.arm(None)


def test_a_lake_of_this_version_has_nothing_to_do(lake: Lake) -> None:
    before = {t.path: lake.store.snapshot(t).version for t in EVENT_TABLES}
    assert upgrade(lake, EVENT_TABLES, EVENT_SOURCES, transform_of) == []
    assert {t.path: lake.store.snapshot(t).version for t in EVENT_TABLES} == before


def test_a_table_of_other_columns_is_computed_anew_with_all_made_of_it(lake: Lake) -> None:
    with pytest.raises(SchemaViolation, match="make odp ARGS=upgrade"):
        refresh(lake, NEWER, shouted)
    [told] = [u for u in upgraded(lake, dry_run=True) if u.table == EVENTS.path]
    assert (told.rows_before, told.rows) == (2, None)
    assert "shouted is missing" in told.reason
    assert lake.store.schema_problems(NEWER) != []
    done = {u.table: u for u in upgraded(lake)}
    assert (done[EVENTS.path].rows_before, done[EVENTS.path].rows) == (2, 2)
    assert sorted(lake.store.scan(NEWER).collect()["shouted"]) == ["P1", "P2"]
    assert lake.store.snapshot(quarantine_of(NEWER)).rows == 1
    assert verify(lake, TABLES).all_problems == []
    assert upgraded(lake) == []


@pytest.mark.parametrize(
    ("lake", "at"),
    [
        *(("folder", at) for at in range(1, 7)),
        pytest.param("s3", 2, marks=pytest.mark.containers),
        pytest.param("ducklake", 2, marks=pytest.mark.slow),
    ],
    indirect=["lake"],
)
def test_killed_at_any_commit_it_goes_on_and_no_row_is_lost(lake: Lake, at: int) -> None:
    killed(lake, at)
    land(lake, "2.ndjson", event("p3"))
    upgraded(lake)
    assert sorted(lake.store.scan(NEWER).collect()["shouted"]) == ["P1", "P2", "P3"]
    assert lake.store.read_state(NEWER, [REBUILDING]).get(REBUILDING, 0) == 0
    assert verify(lake, TABLES).all_problems == []
    assert upgraded(lake) == []


def test_a_run_after_a_kill_computes_it_as_well(lake: Lake) -> None:
    killed(lake, 1)
    assert lake.store.scan(NEWER).collect().height == 0
    refresh(lake, NEWER, shouted)
    assert sorted(lake.store.scan(NEWER).collect()["shouted"]) == ["P1", "P2"]


def test_files_that_an_older_version_refused_land_when_they_can_be_read(lake: Lake) -> None:
    lake.landing.put("pipeline_events/2.ndjson", b"{broken")
    run(lake)
    land(lake, "2.ndjson", event("p9"))
    done = {u.table: u for u in upgraded(lake)}
    assert (done[EVENT_TABLES[0].path].rows_before, done[EVENT_TABLES[0].path].rows) == (3, 4)
    assert "P9" in lake.store.scan(NEWER).collect()["shouted"].to_list()


def test_a_bronze_table_of_other_columns_is_named_and_nothing_is_changed(lake: Lake) -> None:
    raw = with_column(EVENT_TABLES[0])
    with pytest.raises(SchemaViolation, match=r"bronze/raw_pipeline_events.*cannot be computed anew"):
        upgrade(lake, (raw,), EVENT_SOURCES, transform_of)
    assert_sound(lake)


@pytest.mark.parametrize("kind", KINDS)
def test_a_lake_of_before_is_upgraded(kind: str, tmp_path: Path) -> None:
    with lake_of_before(kind, tmp_path) as lake:
        before = lake.store.snapshot(EVENTS).rows
        done = {u.table: u.reason for u in upgraded(lake)}
        assert {EVENTS.path, METRICS.path} <= set(done)
        rows = lake.store.scan(NEWER).collect()
        assert rows.height == before
        assert (rows["shouted"] == rows["pipeline_id"].str.to_uppercase()).all()
        assert [p for p in problems(lake) if EVENTS.path not in p and METRICS.path not in p] == []
        assert verify(lake, TABLES).all_problems == []
        assert upgraded(lake) == []


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.slow
def test_a_clinical_lake_of_before_says_afterwards_what_a_fresh_one_says(kind: str, tmp_path: Path) -> None:
    """Its keys had no cohort, and a file that lay in two cohorts had landed in one."""
    tables = [table for table in contracts() if table.domain == "clinical"]
    fed = [source for source in sources() if source.table in tables]
    with lake_of_before(kind, tmp_path, "clinical") as lake:
        fresh = open_lake(tmp_path / "fresh")
        for file in lake.landing.list():
            fresh.landing.put(file.name, file.read())
        before = lake.store.snapshot(tables[0]).rows
        done = {u.table: u for u in upgrade(lake, tables, fed, transform_of)}
        assert done[tables[0].path].rows_before == before < (done[tables[0].path].rows or 0)
        assert set(done) == {table.path for table in tables}
        upgrade(fresh, tables, fed, transform_of)
        for table in tables:
            assert said(lake, table).equals(said(fresh, table)), table.path
        assert verify(lake, tables).all_problems == []
        assert upgrade(lake, tables, fed, transform_of) == []


def said(lake: Lake, table: Contract) -> pl.DataFrame:
    """What a table says, but for where in which batch its rows came from."""
    rows = lake.store.scan(table).select(table.content_columns).collect()
    return rows.sort(rows.columns)
