"""Refused rows: all their reasons, and another try that brings them in once."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import narwhals.stable.v2 as nw
import pytest
from test_flow import EVENT_TABLES, Killed, event, hashes, lake, land, run
from test_flow_increment import day, metrics

from lakehouse import fault_points
from lakehouse.contracts import Contract, quarantine_of
from lakehouse.domains.pipelines import contracts as c
from lakehouse.domains.pipelines import transforms
from lakehouse.errors import Conflict, ContractError, DamagedTable, Unsupported
from lakehouse.pipeline import Lake, refresh
from lakehouse.quarantine import Rejects, list_rejects, replay, show
from lakehouse.registry import transform_of
from lakehouse.verify import verify

__all__ = ["lake"]
STRICT = c.PIPELINE_EVENTS
LENIENT = dataclasses.replace(
    STRICT, rules=tuple(r for r in STRICT.rules if "negative" not in r.name), version="2.0.0"
)


def negative() -> str:
    return next(r.name for r in STRICT.rules if "negative" in r.name and "duration" in r.name)


def fill(lake: Lake) -> None:
    land(lake, "1.ndjson", event("p1", at=day(1)), event("n1", at=day(1), duration_ms=-1),
         event("n2", at=day(2), duration_ms=-1), event(None, at=day(2)),
         event("n1", at=day(1), duration_ms=-3), event("n3", at="no time", duration_ms=-1))  # fmt: skip
    run(lake)


def again(lake: Lake, table: Contract = LENIENT, transform: Callable = transforms.pipeline_events, **only):  # type: ignore[no-untyped-def]
    return replay(lake, table, transform, **only)


def assert_lenient_is_sound(lake: Lake) -> None:
    tables = [LENIENT if t is STRICT else t for t in EVENT_TABLES]
    assert [p for p in verify(lake, tables).all_problems if p.check != "declared"] == []


def test_figures_reasons_and_masks(lake: Lake) -> None:
    fill(lake)
    figures = list_rejects(lake, EVENT_TABLES)
    assert [(f.table, f.open, f.replayed) for f in figures] == [("silver/pipeline_events", 5, 0)]
    assert figures[0].by_rule[negative()] == 4
    (first, *_), told = show(lake, STRICT, limit=1), show(lake, STRICT, reveal_pii=True)
    assert (first.row, first.record, first.contract_version) == (5, "•••", STRICT.version)
    assert {value for reason in first.reasons for value in reason["values"].values()} == {"•••"}
    assert [r.row for r in told] == [5, 4, 3, 2, 1]
    assert len(told[0].rules) == 2
    assert told[0].record["pipeline_id"] == "n3"  # type: ignore[index]
    (absent,) = show(lake, STRICT, rule="pipeline_id_present")
    assert (absent.row, absent.reasons[0]["values"]) == (3, {"pipeline_id": None})  # no mask for no value
    with pytest.raises(Unsupported, match="has no rule 'nope'"):
        show(lake, STRICT, rule="nope")
    with pytest.raises(Unsupported, match="no quarantine"):
        show(lake, c.PIPELINE_METRICS)


def test_a_fixed_rule_brings_its_rejects_in_once_and_gold_follows(lake: Lake) -> None:
    fill(lake)
    assert again(lake, STRICT).written == 0
    done = again(lake)
    assert (done.tried, done.written, done.merged, done.still_refused) == (5, 2, 1, 2)
    assert_lenient_is_sound_after_gold(lake)
    assert metrics(lake) == {"2026-01-01": 2, "2026-01-02": 1}
    versions = lake.store.snapshot(STRICT).version
    repeated = again(lake)
    assert (repeated.tried, repeated.written, repeated.still_refused) == (2, 0, 2)
    assert lake.store.snapshot(STRICT).version == versions
    assert list_rejects(lake, EVENT_TABLES)[0] == dataclasses.replace(
        list_rejects(lake, EVENT_TABLES)[0], open=2, replayed=3
    )


def assert_lenient_is_sound_after_gold(lake: Lake) -> None:
    refresh(lake, c.PIPELINE_METRICS, transforms.pipeline_metrics)
    assert_lenient_is_sound(lake)


def test_only_the_named_rule_or_version_is_tried(lake: Lake) -> None:
    fill(lake)
    assert again(lake, rule="pipeline_id_present").tried == 1
    assert again(lake, contract_version="0.9.0").tried == 0
    assert again(lake, contract_version=STRICT.version, rule=negative()).written == 2


def test_a_row_that_landed_later_is_not_replaced(lake: Lake) -> None:
    fill(lake)
    land(lake, "2.ndjson", event("n1", at=day(1), duration_ms=50))
    run(lake)
    done = again(lake)
    assert (done.written, done.merged) == (1, 2)
    rows = lake.store.scan(STRICT).collect()
    kept = dict(rows.select("pipeline_id", "duration_ms").iter_rows())
    assert kept == {"p1": 1000, "n1": 50, "n2": -1}
    assert_lenient_is_sound_after_gold(lake)


@pytest.mark.parametrize(
    "point", ["flow.refused", "flow.committed", "flow.delivered", "commit.begin", "commit.done"]
)
@pytest.mark.parametrize("occurrence", [1, 2])
def test_a_killed_replay_is_ended_by_the_next(lake: Lake, point: str, occurrence: int) -> None:
    fill(lake)
    left = occurrence

    def kill(reached: str) -> None:
        nonlocal left
        left -= reached == point
        if left == 0:
            raise Killed

    fault_points.arm(kill)
    try:
        again(lake)
    except Killed:
        pass
    finally:
        fault_points.arm(None)
    again(lake)
    assert_lenient_is_sound_after_gold(lake)
    assert metrics(lake) == {"2026-01-01": 2, "2026-01-02": 1}
    assert list_rejects(lake, EVENT_TABLES)[0].open == 2


@pytest.mark.parametrize("left", [b"", b"PAR1", b"{", b"[]"], ids=["nothing", "cut", "json", "other"])
def test_refused_rows_that_a_crash_cut_short_on_their_way_are_computed_anew(lake: Lake, left: bytes) -> None:
    """A machine that goes down may leave a file empty that was not on its disk yet."""

    def kill(reached: str) -> None:
        if reached == "flow.committed":
            raise Killed

    land(lake, "1.ndjson", event("p1", at=day(1)), event("n1", at=day(1), duration_ms=-1))
    fault_points.arm(kill)
    try:
        with pytest.raises(Killed):
            run(lake)
    finally:
        fault_points.arm(None)
    (written,) = Path(lake.store.files.own_uri(f"outbox/{STRICT.path}")).glob("[0-9a-f]*")
    written.write_bytes(left)
    with pytest.raises(Conflict, match=f"refused last are lost on their way .*odp refresh {STRICT}`"):
        again(lake)
    run(lake)
    assert verify(lake, EVENT_TABLES).all_problems == []
    assert list_rejects(lake, EVENT_TABLES)[0].open == 1
    again(lake)
    assert_lenient_is_sound_after_gold(lake)
    assert metrics(lake) == {"2026-01-01": 2}


@pytest.mark.parametrize("table", [c.RAW_PIPELINE_EVENTS, STRICT, quarantine_of(STRICT)], ids=str)
def test_a_replay_that_stumbles_over_a_damaged_file_names_it(lake: Lake, table: Contract) -> None:
    fill(lake)
    for path in Path(lake.store.uri(table)).glob("*.parquet"):
        path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(DamagedTable, match=f"reading {table}: 1 data files cannot be read"):
        again(lake)


@pytest.mark.slow
def test_rows_of_a_killed_replay_are_in_or_open_whatever_the_rules_are_by_then(lake: Lake) -> None:
    fill(lake)

    def kill(reached: str) -> None:
        if reached == "flow.committed":
            raise Killed

    fault_points.arm(kill)
    try:
        with pytest.raises(Killed):
            again(lake)
    finally:
        fault_points.arm(None)
    problems = verify(lake, EVENT_TABLES).all_problems
    assert [p.table for p in problems if p.check == "outbox"] == ["silver/pipeline_events"]
    assert (again(lake, STRICT).tried, again(lake, STRICT).written) == (2, 0)
    assert list_rejects(lake, EVENT_TABLES)[0].open == 2
    assert_lenient_is_sound_after_gold(lake)


def test_two_replays_of_different_rules_at_once_lose_nothing(lake: Lake) -> None:
    """The second one lands between what the first has computed and its commit."""
    land(lake, "1.ndjson", event("n1", duration_ms=-1), event("n2", duration_ms=-1), event(None), event(None))
    run(lake)
    named = lambda raw: transforms.pipeline_events(raw).with_columns(nw.col("pipeline_id").fill_null("x"))  # noqa: E731
    loose = dataclasses.replace(
        LENIENT, rules=tuple(r for r in LENIENT.rules if r.name != "pipeline_id_present")
    )
    other = lake_of_same(lake)
    raced: list[str] = []

    def second(point: str) -> None:
        if point == "commit.begin" and not raced:
            raced.append(point)
            assert replay(other, loose, named, rule="pipeline_id_present").tried == 2

    fault_points.arm(second)
    try:
        first = replay(lake, loose, named, rule=negative())
    finally:
        fault_points.arm(None)
    assert (raced, first.tried) == (["commit.begin"], 2)
    assert list_rejects(lake, [STRICT])[0].open == 0
    kept = lake.store.scan(STRICT).collect()["pipeline_id"].sort().to_list()
    assert kept == ["n1", "n2", "x"]  # the two without an id are one event
    state = lake.store.read_state(STRICT, ["read", "merged", "quarantined"])
    assert state == {"read": 4, "merged": 1, "quarantined": 0}


def lake_of_same(lake: Lake) -> Lake:
    from lakehouse.pipeline import open_lake
    from lakehouse.settings import Settings

    root = lake.store.files.root.parent  # type: ignore[attr-defined]
    opened = open_lake(Settings(lake_url=str(root / "lake"), landing_url=str(root / "landing")))
    return dataclasses.replace(opened, clock=lake.clock)


def test_after_a_full_refresh_only_todays_rejects_are_there(lake: Lake) -> None:
    fill(lake)
    again(lake)
    refresh(lake, c.PIPELINE_METRICS, transforms.pipeline_metrics)
    before = hashes(lake)
    refresh(lake, LENIENT, transforms.pipeline_events, full=True)
    refresh(lake, c.PIPELINE_METRICS, transforms.pipeline_metrics)
    assert hashes(lake) == before
    assert list_rejects(lake, EVENT_TABLES) == [
        Rejects(table=STRICT.path, open=2, replayed=0,
                by_rule=list_rejects(lake, EVENT_TABLES)[0].by_rule,
                newest=list_rejects(lake, EVENT_TABLES)[0].newest)
    ]  # fmt: skip
    assert_lenient_is_sound(lake)
    assert again(lake).tried == 2


def test_transforms_are_found_by_their_tables_name() -> None:
    assert transform_of(STRICT) is transforms.pipeline_events
    assert transform_of(c.USER_PROFILES) is transforms.user_profiles
    with pytest.raises(ContractError, match="no table silver/other is declared"):
        transform_of(dataclasses.replace(STRICT, name="other"))
