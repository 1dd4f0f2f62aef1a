"""A run with too many rejects holds its table: judged once, with reasons, ended by a stated act alone."""

from __future__ import annotations

import dataclasses
import threading
from datetime import datetime

import pytest
from test_flow import EVENT_SOURCES, EVENT_TABLES, Killed, event, lake, lake_at, land, run, versions
from test_flow_increment import day, metrics

from lakehouse import fault_points
from lakehouse.cli.main import main
from lakehouse.domains.pipelines import contracts as c
from lakehouse.domains.pipelines import transforms
from lakehouse.errors import Conflict, LakeError, Unsupported
from lakehouse.maintenance import record_point, restore_run, upgrade
from lakehouse.pipeline import Lake, RefreshReport, ingest, refresh
from lakehouse.pipeline.holds import Hold, hold_of, judged, replayed, verdict
from lakehouse.quarantine import accept, accepted, describe, held_tables, list_rejects, replay
from lakehouse.registry import transform_of
from lakehouse.verify import verify

__all__ = ["lake"]
SILVER, GOLD = c.PIPELINE_EVENTS, c.PIPELINE_METRICS
LENIENT = dataclasses.replace(SILVER, rules=(), version="2.0.0")
NOON = datetime.fromisoformat("2026-01-10T12:00:00Z")


def good(count: int, *, tag: str = "g", on: int = 1) -> list[dict]:  # type: ignore[type-arg]
    return [event(f"{tag}{n}", at=day(on)) for n in range(count)]


def bad(count: int, *, tag: str = "b", on: int = 1) -> list[dict]:  # type: ignore[type-arg]
    return [event(f"{tag}{n}", at=day(on), duration_ms=-1) for n in range(count)]


def silver(lake: Lake, **how: bool) -> RefreshReport:
    ingest(lake, c.RAW_PIPELINE_EVENTS, EVENT_SOURCES)
    return refresh(lake, SILVER, transforms.pipeline_events, **how)


def gold(lake: Lake) -> RefreshReport:
    return refresh(lake, GOLD, transforms.pipeline_metrics)


def hold(lake: Lake) -> Hold | None:
    return hold_of(lake, SILVER)


def held(lake: Lake) -> Lake:
    """Bring in one good file, and then one of which a third is refused."""
    land(lake, "1.ndjson", *good(30))
    run(lake)
    land(lake, "2.ndjson", *good(20, tag="h", on=2), *bad(10, on=2))
    assert silver(lake).judged.verdict == "bad"  # type: ignore[union-attr]
    return lake


def assert_gold_is_whole(lake: Lake, **days: int) -> None:
    assert gold(lake).waits_for == ()
    assert metrics(lake) == {f"2026-01-{int(d[1:]):02d}": n for d, n in days.items()}
    assert [p for p in verify(lake, EVENT_TABLES).all_problems if p.check != "declared"] == []


@pytest.mark.parametrize(
    ("read", "quarantined", "limit", "found"),
    [
        (100, 5, 0.05, "good"), (100, 6, 0.05, "few"), (100, 9, 0.05, "few"), (100, 10, 0.05, "bad"),
        (4, 2, 0.05, "few"), (4, 4, 0.05, "bad"), (1, 1, 0.05, "bad"), (1, 0, 0.0, "good"),
        (1000, 10, 0.05, "good"), (9, 8, 0.05, "few"), (20, 10, 0.5, "good"), (5, 5, 1.0, "good"),
        (10_000, 10, 0.0, "bad"),
    ],
)  # fmt: skip
def test_the_verdict(read: int, quarantined: int, limit: float, found: str) -> None:
    assert verdict(dataclasses.replace(SILVER, max_reject_ratio=limit), read, quarantined) == found


def test_a_bad_run_is_judged_once_and_no_empty_run_frees_it(lake: Lake) -> None:
    held(lake)
    found = Hold(table=SILVER.path, since=NOON, after=1, upto=2, read=30, quarantined=10)
    assert hold(lake) == found
    before = versions(lake)
    for _ in range(2):
        report = silver(lake)
        assert (report.judged, report.hold) == (None, found)
        waits = gold(lake)
        assert (waits.waits_for, waits.batches) == ((found,), 0)
        assert metrics(lake) == {"2026-01-01": 30}
    assert versions(lake) == before, "nothing is written while it waits"


def test_what_verify_says_of_a_held_table(lake: Lake) -> None:
    held(lake)
    told = verify(lake, EVENT_TABLES)
    assert told.ok or [p.check for p in told.all_problems] == ["declared"]
    assert [(w.table, w.check) for w in told.warnings] == [(SILVER.path, "held"), (GOLD.path, "waits")]
    (message, fix) = told.warnings[0].message, told.warnings[0].fix
    assert message == (
        "10 of 30 rows quarantined (33.3%, limit 5%): duration_ms_not_negative (10). silver/pipeline_events "
        "is held by pipeline_events_reject_share since 2026-01-10 12:00:00 UTC: its good rows are in, and "
        "the Gold tables made of it wait"
    )
    for verb in ("quarantine show", "quarantine replay", "quarantine accept"):
        assert f"{verb} silver/pipeline_events" in fix
    assert describe(lake, SILVER, hold(lake)) == f"{message}. {fix}"  # type: ignore[arg-type]


def test_the_commonest_reasons_are_those_of_the_held_rows(lake: Lake) -> None:
    land(lake, "1.ndjson", *good(200), *[event(None) for _ in range(9)])
    run(lake)
    wrong = [event("x", at="never", duration_ms=-1, steps=-1, activities_executed="?") for _ in range(12)]
    wrong += [event("y", at=day(1), duration_ms=-1) for _ in range(5)]
    wrong += [event("z", at="never", duration_ms=5)]
    land(lake, "2.ndjson", *wrong)
    silver(lake)
    says = describe(lake_at_again(lake), SILVER, hold(lake))  # type: ignore[arg-type]
    assert (
        "duration_ms_not_negative (17), occurred_at_readable (13), activities_executed_readable (12)." in says
    )
    assert "pipeline_id" not in says


def lake_at_again(lake: Lake) -> Lake:
    from pathlib import Path

    return lake_at(Path(lake.store.uri(SILVER)).parents[2])


def test_few_rejects_never_hold_unless_all_rows_failed(lake: Lake) -> None:
    land(lake, "1.ndjson", *good(2), *bad(2))
    assert silver(lake).judged.verdict == "few"  # type: ignore[union-attr]
    assert hold(lake) is None
    assert_gold_is_whole(lake, d1=2)
    land(lake, "2.ndjson", *bad(1, tag="all"))
    assert silver(lake).judged.verdict == "bad"  # type: ignore[union-attr]
    assert gold(lake).waits_for


def test_few_rejects_do_not_end_a_hold_and_a_good_run_does(lake: Lake) -> None:
    held(lake)
    land(lake, "3.ndjson", *good(2, tag="i", on=3), *bad(2, tag="c", on=3))
    report = silver(lake)
    assert (report.judged.verdict, report.hold is not None) == ("few", True)  # type: ignore[union-attr]
    land(lake, "4.ndjson", *good(1, tag="j", on=4))
    report = silver(lake)
    assert (report.judged.verdict, report.hold) == ("good", None)  # type: ignore[union-attr]
    assert_gold_is_whole(lake, d1=30, d2=20, d3=2, d4=1)


def test_a_second_bad_run_adds_to_the_hold(lake: Lake) -> None:
    held(lake)
    land(lake, "3.ndjson", *bad(11, tag="c"))
    assert silver(lake).judged.quarantined == 11  # type: ignore[union-attr]
    assert hold(lake) == Hold(table=SILVER.path, since=NOON, after=1, upto=3, read=41, quarantined=21)


def test_replay_that_leaves_nothing_open_ends_it_and_gold_follows(lake: Lake) -> None:
    held(lake)
    assert replay(lake, SILVER, transforms.pipeline_events).written == 0
    assert hold(lake) is not None
    assert replay(lake, LENIENT, transforms.pipeline_events).written == 10
    assert hold(lake) is None
    report = refresh(lake, LENIENT, transforms.pipeline_events)
    assert (report.judged, report.hold) == (None, None), "the old share is not judged again"
    assert_gold_is_whole(lake, d1=30, d2=30)


def test_a_replay_of_a_part_ends_it_where_the_rest_is_too_little(lake: Lake) -> None:
    land(lake, "1.ndjson", *good(30), *bad(12), *[event(None, at=day(1)) for _ in range(5)])
    silver(lake)
    some = dataclasses.replace(SILVER, rules=SILVER.rules[1:], version="1.9.0", key=SILVER.key)
    # The rule on pipeline_id is gone, its null is refused all the same: nothing of these five passes.
    assert replay(lake, some, transforms.pipeline_events, rule="pipeline_id_present").written == 0
    assert hold(lake).quarantined == 17  # type: ignore[union-attr]
    assert replay(lake, LENIENT, transforms.pipeline_events, rule="duration_ms_not_negative").written == 12
    assert hold(lake) is None, "five of 47 are fewer than ten"
    assert_gold_is_whole(lake, d1=42)


def test_replay_counts_only_the_rows_it_was_held_for() -> None:
    before = {"held": 1, "held_after": 3, "held_upto": 5, "held_read": 100, "held_quarantined": 30}
    assert replayed(SILVER, before, [1, 2, 3, 6]) == {"held_quarantined": 30}
    assert replayed(SILVER, before, [4] * 10 + [5] * 10) == {"held_quarantined": 10}
    assert replayed(SILVER, before, [4] * 21) == {"held": 0}
    assert replayed(SILVER, {}, [4]) == {}


def test_accept_needs_a_name_and_a_reason_and_records_them(lake: Lake) -> None:
    with pytest.raises(Unsupported, match="is not held"):
        accept(lake, SILVER, who="Ada", why="x")
    held(lake)
    for who, why in (("", "x"), ("Ada", " \n"), ("Ada", "y" * 501)):
        with pytest.raises(Unsupported, match="needs a text"):
            accept(lake, SILVER, who=who, why=why)
    with pytest.raises(Unsupported, match="is not held"):
        accept(lake, GOLD, who="Ada", why="x")
    assert accepted(lake) == []
    done = accept(lake, SILVER, who="Ada", why="the sender has\nno better ones")
    assert vars(done) == {
        "table": SILVER.path, "at": NOON, "who": "Ada", "why": "the sender has no better ones",
        "held_since": NOON, "rows_read": 30, "rows_quarantined": 10,
        "rules": {"duration_ms_not_negative": 10},
    }  # fmt: skip
    assert (accepted(lake), hold(lake)) == ([done], None)
    entry = lake.store.history(SILVER, limit=1)[0]
    assert (entry.info["odp.accepted_by"], entry.info["odp.accepted_why"]) == (done.who, done.why)
    with pytest.raises(Unsupported, match="is not held"):
        accept(lake, SILVER, who="Bo", why="me too")
    assert silver(lake).hold is None
    assert_gold_is_whole(lake, d1=30, d2=20)
    assert list_rejects(lake, [SILVER])[0].open == 10


def test_accept_refuses_a_hold_that_has_changed_since_it_was_looked_at(lake: Lake) -> None:
    held(lake)
    land(lake, "3.ndjson", *bad(11, tag="c"))

    def meanwhile(reached: str) -> None:
        if reached == "commit.begin":
            fault_points.arm(None)
            silver(lake_at_again(lake))

    fault_points.arm(meanwhile)
    try:
        with pytest.raises(Conflict, match="has changed meanwhile"):
            accept(lake, SILVER, who="Ada", why="x")
    finally:
        fault_points.arm(None)
    assert hold(lake).quarantined == 21  # type: ignore[union-attr]


@pytest.mark.slow
@pytest.mark.parametrize("point", ["commit.begin", "commit.done"])
@pytest.mark.parametrize("occurrence", [1, 2])
def test_a_killed_accept_is_done_again(lake: Lake, point: str, occurrence: int) -> None:
    held(lake)
    with killed(point, occurrence):
        accept(lake, SILVER, who="Ada", why="x")
    if hold(lake) is not None:
        accept(lake, SILVER, who="Ada", why="x")
    assert hold(lake) is None
    assert {(a.who, a.rows_quarantined) for a in accepted(lake)} == {("Ada", 10)}
    assert_gold_is_whole(lake, d1=30, d2=20)


class killed:  # noqa: N801
    """Stands for kill -9 at the n-th time that a point is reached."""

    def __init__(self, point: str, occurrence: int) -> None:
        self.point, self.left = point, occurrence

    def __enter__(self) -> None:
        fault_points.arm(self._reach)

    def _reach(self, reached: str) -> None:
        self.left -= reached == self.point
        if self.left == 0:
            raise Killed

    def __exit__(self, kind: type | None, *_: object) -> bool:
        fault_points.arm(None)
        return kind is Killed


def test_a_full_refresh_ends_it(lake: Lake) -> None:
    held(lake)
    report = silver(lake, full=True)
    assert (report.judged.verdict, report.hold) == ("good", None)  # type: ignore[union-attr]
    assert_gold_is_whole(lake, d1=30, d2=20)


def test_a_full_refresh_after_a_rule_was_loosened_is_verified(lake: Lake) -> None:
    held(lake)
    refresh(lake, LENIENT, transforms.pipeline_events, full=True)
    gold(lake)
    tables = [LENIENT if t is SILVER else t for t in EVENT_TABLES]
    assert [p for p in verify(lake, tables).all_problems if p.check != "declared"] == []
    assert list_rejects(lake, [LENIENT])[0].open == 0
    assert metrics(lake) == {"2026-01-01": 30, "2026-01-02": 30}


def test_a_full_refresh_by_a_rule_too_strict_holds(lake: Lake) -> None:
    held(lake)
    refresh(lake, LENIENT, transforms.pipeline_events, full=True)
    report = silver(lake, full=True)
    assert report.judged.verdict == report.judged.verdict == "bad"  # type: ignore[union-attr]
    assert (report.hold.read, report.hold.quarantined) == (60, 10)  # type: ignore[union-attr]
    assert gold(lake).waits_for


def test_a_run_of_many_batches_is_judged_as_one_and_so_is_what_a_kill_left(lake: Lake) -> None:
    small = dataclasses.replace(lake, batch_rows=10)
    for number in range(4):
        land(
            small,
            f"{number}.ndjson",
            *good(5, tag=f"g{number}"),
            *bad(5 if number < 2 else 0, tag=f"b{number}"),
        )
    with killed("flow.batch", 2):
        silver(small)
    assert hold(lake) is None
    report = silver(small)
    assert (report.judged.verdict, report.judged.read, report.judged.quarantined) == ("bad", 30, 10)  # type: ignore[union-attr]
    assert (hold(lake).after, hold(lake).upto) == (0, 3)  # type: ignore[union-attr]


def test_a_batch_without_rows_judges_nothing() -> None:
    same = {"upto": 9, "quarantined": 0, "now": NOON}
    assert judged(SILVER, {"held": 1, "watermark": 8}, read=0, last=True, **same) == ({}, None)  # type: ignore[arg-type]


def test_two_runs_at_once_judge_every_row_once(lake: Lake) -> None:
    small = dataclasses.replace(lake, batch_rows=10)
    for number in range(4):
        land(small, f"{number}.ndjson", *good(4, tag=f"g{number}"), *bad(6, tag=f"b{number}"))
    ingest(lake, c.RAW_PIPELINE_EVENTS, EVENT_SOURCES)
    reports: list[RefreshReport] = []

    def one() -> None:
        own = dataclasses.replace(lake_at_again(lake), batch_rows=10)
        while True:
            try:
                reports.append(refresh(own, SILVER, transforms.pipeline_events))
            except LakeError:
                continue
            return

    threads = [threading.Thread(target=one) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (hold(lake).read, hold(lake).quarantined) == (40, 24)  # type: ignore[union-attr]
    assert sum(r.judged is not None for r in reports) == 1


def test_restoring_brings_the_hold_back_or_takes_it_away(lake: Lake) -> None:
    land(lake, "1.ndjson", *good(30))
    run(lake)
    record_point(lake, "before", EVENT_TABLES)
    land(lake, "2.ndjson", *good(20, tag="h", on=2), *bad(10, on=2))
    silver(lake)
    record_point(lake, "during", EVENT_TABLES)
    accept(lake, SILVER, who="Ada", why="x")
    land(lake, "3.ndjson", *good(2, tag="i", on=3))
    run(lake)
    restore_run(lake, "during", EVENT_TABLES)
    found = hold(lake)
    assert found is not None
    assert gold(lake).waits_for == (found,)
    assert metrics(lake) == {"2026-01-01": 30}
    accept(lake, SILVER, who="Bo", why="y")
    assert sorted(a.who for a in accepted(lake)) == ["Ada", "Bo"]
    restore_run(lake, "before", EVENT_TABLES)
    assert hold(lake) is None
    assert silver(lake).judged.verdict == "bad", "its files come in anew, and are judged anew"  # type: ignore[union-attr]


def test_gold_that_was_never_made_is_no_missing_table_while_it_waits(lake: Lake) -> None:
    land(lake, "1.ndjson", *good(20), *bad(10))
    silver(lake)
    told = verify(lake, EVENT_TABLES)
    assert [p.check for p in told.all_problems if p.check != "declared"] == []
    assert [w.check for w in told.warnings] == ["held", "waits"]
    assert gold(lake).waits_for
    assert verify(lake, EVENT_TABLES).all_problems == told.all_problems
    accept(lake, SILVER, who="Ada", why="x")
    assert_gold_is_whole(lake, d1=20)


def test_an_upgrade_tells_what_gold_that_was_never_made_waits_for(lake: Lake) -> None:
    land(lake, "bad.ndjson", *good(5), *bad(15))
    ingest(lake, c.RAW_PIPELINE_EVENTS, EVENT_SOURCES)
    silver(lake)
    (told,) = upgrade(lake, EVENT_TABLES, EVENT_SOURCES, transform_of)
    assert (told.table, told.rows_before, told.rows) == (c.PIPELINE_METRICS.path, 0, 0)
    assert told.waits_for == (c.PIPELINE_EVENTS.path,)
    accept(lake, c.PIPELINE_EVENTS, who="a", why="b")
    assert upgrade(lake, EVENT_TABLES, EVENT_SOURCES, transform_of) == []
    assert lake.store.snapshot(c.PIPELINE_METRICS).rows > 0


def test_the_command_line_tells_and_ends_a_hold(
    lake: Lake, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from pathlib import Path

    root = Path(lake.store.uri(SILVER)).parents[2]
    monkeypatch.setenv("LAKE_URL", str(root / "lake"))
    monkeypatch.setenv("LANDING_URL", str(root / "landing"))
    land(lake, "1.ndjson", *good(20), *bad(10))
    ingest(lake, c.RAW_PIPELINE_EVENTS, EVENT_SOURCES)

    def odp(*words: str) -> tuple[int, str, str]:
        code = main(words)
        told = capsys.readouterr()
        return code, told.out, told.err

    code, _, err = odp("refresh", SILVER.path)
    assert (code, err[:2]) == (1, "✗ ")
    assert "silver/pipeline_events is held by pipeline_events_reject_share" in err
    code, _, err = odp("refresh", GOLD.path)
    assert (code, err) == (1, f"! {GOLD.path} was left as it is: {SILVER.path} is held by too many rejects\n")
    code, out, err = odp("quarantine", "list")
    assert (code, err[:2]) == (0, "! ")
    assert "held since" in out
    code, out, _ = odp("quarantine", "accept", SILVER.path, "--who", "Ada", "--why", "as agreed")
    assert (code, out) == (
        0,
        "accepted: 10 of 30 rows of silver/pipeline_events stay in quarantine\n"
        "`odp refresh` or the next run brings Gold up to it\n",
    )
    code, _, err = odp("quarantine", "accept", SILVER.path, "--who", "Ada", "--why", "as agreed")
    assert (code, "is not held" in err) == (1, True)
    code, out, err = odp("quarantine", "list")
    assert (code, err) == (0, "")
    assert "Ada" in out
    assert "as agreed" in out
    assert odp("refresh", GOLD.path)[0] == 0
    assert metrics(lake) == {"2026-01-01": 20}
    code, out, _ = odp("history", SILVER.path)
    assert "odp quarantine accept" in out
    assert held_tables(lake, EVENT_TABLES) == []
