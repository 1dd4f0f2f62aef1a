"""Two flows over one table: whatever the second does amid the first, nothing is lost or doubled."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import lakes
import polars as pl
import pytest
from test_flow import EVENT_SOURCES, EVENT_TABLES, NOON, assert_sound, event, hashes, land, run

from lakehouse import fault_points
from lakehouse.contracts import quarantine_of
from lakehouse.domains.pipelines import contracts as c
from lakehouse.domains.pipelines import transforms
from lakehouse.errors import Unsupported
from lakehouse.maintenance import diff, record_point, restore_run
from lakehouse.pipeline import Lake, ingest, open_lake, refresh
from lakehouse.pipeline.contention import until_it_lands
from lakehouse.quarantine import replay
from lakehouse.settings import Settings
from lakehouse.storage.lease import held_by_another
from lakehouse.store import CommitOptions

SILVER = c.PIPELINE_EVENTS.path
REFUSED = quarantine_of(c.PIPELINE_EVENTS)
COUNTERS = ("rows", "read", "merged", "quarantined")


@pytest.fixture(params=["folder", pytest.param("ducklake", marks=pytest.mark.slow)])
def settings(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Settings]:
    with lakes.lake_of(request.param, tmp_path) as found:
        yield found


def lake_of(settings: Settings, **more: int) -> Lake:
    return dataclasses.replace(open_lake(settings), clock=lambda: NOON, **more)


def bring(lake: Lake) -> None:
    ingest(lake, c.RAW_PIPELINE_EVENTS, EVENT_SOURCES)


def silver(lake: Lake) -> None:
    refresh(lake, c.PIPELINE_EVENTS, transforms.pipeline_events)


@contextmanager
def in_between(do: Callable[[], None], *, at: int = 1, point: str = "commit.begin") -> Iterator[list[str]]:
    """Do it once, when a flow reaches the point for the n-th time."""
    reached: list[str] = []

    def hook(name: str) -> None:
        if name == point:
            reached.append(name)
            if len(reached) == at:
                do()

    fault_points.arm(hook)
    try:
        yield reached
    finally:
        fault_points.arm(None)
    assert len(reached) >= at, "the other flow never had its turn"


def counters(lake: Lake) -> dict[str, int]:
    return lake.store.read_state(c.PIPELINE_EVENTS, COUNTERS)


def test_two_refreshes_while_bronze_grows_count_every_row_once(settings: Settings) -> None:
    first, second = lake_of(settings), lake_of(settings)
    land(first, "1.ndjson", event("p1"), event(None), event("p2", duration_ms=-1))
    bring(first)

    def other() -> None:
        land(second, "2.ndjson", event("p3"), event(None))
        bring(second)
        silver(second)

    with in_between(other):
        silver(first)
    assert counters(first) == {"rows": 2, "read": 5, "merged": 0, "quarantined": 3}
    assert first.store.snapshot(REFUSED).rows == 3
    refresh(first, c.PIPELINE_METRICS, transforms.pipeline_metrics)
    assert_sound(first)


@pytest.mark.parametrize("at", [1, 2])
def test_a_refresh_that_a_restore_overtakes_starts_over_and_no_row_stays_behind(
    settings: Settings, at: int
) -> None:
    lake, other = lake_of(settings, batch_rows=2), lake_of(settings)
    land(lake, "1.ndjson", event("p1"))
    run(lake)
    record_point(lake, "one", EVENT_TABLES)
    for number in (2, 3):
        land(lake, f"{number}.ndjson", event(f"p{number}"), event(None, "failed", duration_ms=number))
        bring(lake)
    with in_between(lambda: restore_run(other, "one", EVENT_TABLES) and None, at=at):
        silver(lake)
    land(lake, "4.ndjson", event("p4"))
    run(lake)
    kept = lake.store.scan(c.PIPELINE_EVENTS).collect()["pipeline_id"].sort().to_list()
    assert (kept, lake.store.snapshot(REFUSED).rows) == (["p1", "p2", "p3", "p4"], 2)
    assert_sound(lake)


@pytest.mark.slow
def test_positions_past_a_restore_of_the_source_alone_are_noticed(settings: Settings) -> None:
    """Bronze is restored alone; new batches then have the numbers of those that Silver has seen."""
    lake = lake_of(settings)
    land(lake, "1.ndjson", event("p1"))
    run(lake)
    point = record_point(lake, "one", EVENT_TABLES)
    assert point is not None
    land(lake, "2.ndjson", event("p2"))
    run(lake)
    restore_run(lake, "one", [c.RAW_PIPELINE_EVENTS])
    from lakehouse.verify import verify

    told = verify(lake, EVENT_TABLES).all_problems
    assert [(p.table, p.check) for p in told if "was restored" in p.message] == [(SILVER, "position")]
    assert {p.fix for p in told if p.table == SILVER} == {"make init-data-layers"}
    (settings_landing(settings) / "pipeline_events" / "2.ndjson").unlink()
    land(lake, "3.ndjson", event("p3"))
    run(lake)
    kept = lake.store.scan(c.PIPELINE_EVENTS).collect()["pipeline_id"].sort().to_list()
    assert kept == ["p1", "p3"]
    assert_sound(lake)


def settings_landing(settings: Settings) -> Path:
    return Path(settings.landing_url)


def test_a_restore_of_every_table_makes_nobody_compute_anew(settings: Settings) -> None:
    lake = lake_of(settings)
    land(lake, "1.ndjson", event("p1"), event(None))
    run(lake)
    record_point(lake, "one", EVENT_TABLES)
    before = hashes(lake)
    land(lake, "2.ndjson", event("p2"), event(None, "failed"))
    run(lake)
    after = hashes(lake)
    restore_run(lake, "one", EVENT_TABLES)
    assert hashes(lake) == before
    generation = lake.store.read_state(c.PIPELINE_EVENTS, ["generation"])["generation"]
    run(lake)
    assert hashes(lake) == after
    assert lake.store.read_state(c.PIPELINE_EVENTS, ["generation"])["generation"] == generation
    assert_sound(lake)


def test_the_newest_row_is_chosen_against_the_state_that_is_committed_onto(settings: Settings) -> None:
    newest = dataclasses.replace(c.PIPELINE_EVENTS, sequence_by=("duration_ms",))
    lenient = dataclasses.replace(
        newest, rules=tuple(r for r in newest.rules if "pipeline_id_present" not in r.name)
    )
    lake, other = lake_of(settings), lake_of(settings)
    land(lake, "1.ndjson", event(None, duration_ms=9))
    bring(lake)
    refresh(lake, newest, transforms.pipeline_events)
    named = _naming("p1")
    land(lake, "2.ndjson", event("p1", duration_ms=5))
    bring(lake)
    with in_between(lambda: replay(other, lenient, named) and None):
        refresh(lake, lenient, transforms.pipeline_events)
    assert lake.store.scan(newest).collect()["duration_ms"].to_list() == [9]


def _naming(name: str):  # type: ignore[no-untyped-def]
    import narwhals.stable.v2 as nw

    return lambda raw: transforms.pipeline_events(raw).with_columns(nw.col("pipeline_id").fill_null(name))


def test_who_keeps_losing_gets_a_turn(settings: Settings) -> None:
    lake, other = lake_of(settings), lake_of(settings)
    lake.store.ensure(c.PIPELINE_EVENTS)
    nothing = pl.DataFrame(schema=c.PIPELINE_EVENTS.polars_schema())
    held: list[bool] = []

    def write(one: Lake, name: str) -> None:
        onto = one.store.base_version(c.PIPELINE_EVENTS)
        if name == "loser":
            held.append(held_by_another(lake.store.files, f"write/{SILVER}"))
            if not held[-1]:  # the other one sees no lease, and is quicker
                until_it_lands(other, c.PIPELINE_EVENTS, lambda: write(other, "other"))
        one.store.append(c.PIPELINE_EVENTS, nothing, CommitOptions(onto=onto, state=lambda _o, _b: {name: 1}))

    until_it_lands(lake, c.PIPELINE_EVENTS, lambda: write(lake, "loser"))
    assert held == [False] * 5 + [True]
    assert lake.store.read_state(c.PIPELINE_EVENTS, ["loser", "other"]) == {"loser": 1, "other": 1}
    assert lake.store.files.read_tagged(f"write/{SILVER}") is None


def test_a_table_made_anew_is_not_taken_back_to_versions_of_another(
    settings: Settings, tmp_path: Path
) -> None:
    lake = lake_of(settings)
    for number in (1, 2, 3):
        land(lake, f"{number}.ndjson", event(f"p{number}"))
        run(lake)
        record_point(lake, f"run {number}", EVENT_TABLES)
    lake.store.drop(c.PIPELINE_EVENTS)
    lake = lake_of(settings)
    run(lake)
    after = hashes(lake)
    for name in ("run 1", "run 3"):
        with pytest.raises(Unsupported, match=r"recreated|no such version"):
            restore_run(lake, name, EVENT_TABLES)
        with pytest.raises(Unsupported, match=r"recreated|no such version"):
            diff(lake, name, "run 2", EVENT_TABLES)
    assert hashes(lake) == after
    assert_sound(lake)


def test_a_point_of_an_older_library_says_by_its_time_which_table_it_means(tmp_path: Path) -> None:
    from lakehouse.contracts import RESTORE_POINTS

    settings = Settings(lake_url=str(tmp_path / "lake"), landing_url=str(tmp_path / "landing"))
    lake = lake_of(settings)
    land(lake, "1.ndjson", event("p1"))
    run(lake)
    record_point(lake, "old", EVENT_TABLES)
    old = lake.store.scan(RESTORE_POINTS).collect()
    lake.store.overwrite(RESTORE_POINTS, old.with_columns(identity=pl.lit(None, pl.String)))
    shutil.rmtree(tmp_path / "lake" / "silver")
    lake = lake_of(settings)
    run(lake)
    with pytest.raises(Unsupported, match="recreated"):
        restore_run(lake, "old", EVENT_TABLES)
