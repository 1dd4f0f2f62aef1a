"""Work follows the change: what a refresh reads and writes, and that it ends where a full refresh ends."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import narwhals.stable.v2 as nw
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from test_flow import (
    EVENT_TABLES,
    Killed,
    assert_sound,
    event,
    hashes,
    lake,
    lake_at,
    land,
    run,
    versions,
)

from lakehouse import fault_points
from lakehouse.contracts import Column, Contract, Groups, Materialization, Type, quarantine_of
from lakehouse.domains.pipelines import contracts as c
from lakehouse.domains.pipelines import transforms
from lakehouse.engine.polars import engine as polars_engine
from lakehouse.pipeline import Lake, aggregates, refresh
from lakehouse.pipeline.rowwise import latest
from lakehouse.store import CommitOptions, Term, Where
from lakehouse.verify import content_hash

__all__ = ["lake"]


def full(lake: Lake) -> None:
    refresh(lake, c.PIPELINE_EVENTS, transforms.pipeline_events, full=True)
    refresh(lake, c.PIPELINE_METRICS, transforms.pipeline_metrics, full=True)


def day(number: int, hour: int = 10) -> str:
    return f"2026-01-{number:02d}T{hour:02d}:00:00Z"


def many(days: int, each: int) -> list[dict]:  # type: ignore[type-arg]
    return [event(f"p{d}-{n}", at=day(d, n % 24)) for d in range(1, days + 1) for n in range(each)]


def metrics(lake: Lake) -> dict[str, int]:
    rows = lake.store.scan(c.PIPELINE_METRICS).select(pl.col("date").cast(pl.String), "total_pipelines")
    return dict(rows.collect().rows())


def rejects(lake: Lake) -> str:
    table = quarantine_of(c.PIPELINE_EVENTS)
    return content_hash(table, lake.store.scan(table))


def test_a_full_refresh_gives_the_same_content_and_leaves_a_sound_lake(tmp_path: Path) -> None:
    lake = lake_at(tmp_path, batch_rows=7)
    land(lake, "1.ndjson", *many(3, 5), event("bad", duration_ms=-1))
    land(lake, "2.ndjson", event("p1-1", at=day(1, 1), kind="completed", duration_ms=5), event(None))
    run(lake)
    before, refused = hashes(lake), rejects(lake)
    full(lake)
    assert (hashes(lake), rejects(lake)) == (before, refused)
    assert_sound(lake)
    assert not [name for name in lake.store.found() if "__rebuild" in name]
    land(lake, "3.ndjson", event("late", at=day(2)), event("bad2", duration_ms=-1))
    run(lake)
    assert metrics(lake) == {"2026-01-01": 5, "2026-01-02": 6, "2026-01-03": 5}
    assert_sound(lake)


def test_a_batch_in_parts_gives_the_same_tables_as_one_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = []
    for rows in (1_000, 3):
        monkeypatch.setattr(polars_engine, "_PART_ROWS", rows)
        lake = lake_at(tmp_path / str(rows))
        land(lake, "1.ndjson", *many(3, 5), event("bad", duration_ms=-1), event("p1-1", at=day(1, 1)))
        land(lake, "2.ndjson", *many(2, 2), event("bad", duration_ms=-1), event(None))
        run(lake)
        assert_sound(lake)
        found.append((hashes(lake), rejects(lake), metrics(lake)))
    assert found[0] == found[1]


@settings(max_examples=100, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(0, 3), st.integers(1, 3), st.sampled_from("fg"), st.integers(0, 99)),
        min_size=1,
        max_size=30,
        unique_by=lambda row: row[1:],
    ),
    st.lists(st.integers(0, 30), max_size=4),
)
def test_of_rows_with_one_key_the_last_landed_stays(
    rows: list[tuple[int, int, str, int]], cuts: list[int]
) -> None:
    names = [*c.PIPELINE_EVENTS.key, "_batch_id", "_source", "_row"]
    at = datetime(2026, 1, 1, tzinfo=UTC)
    frame = pl.DataFrame(
        [("w", f"p{key}", "e", at, "", *landed) for key, *landed in rows], schema=names, orient="row"
    )
    ends = [0, *sorted(min(cut, len(rows)) for cut in cuts), len(rows)]
    kept = latest(
        c.PIPELINE_EVENTS,
        [frame.slice(low, high - low) for low, high in pairwise(ends)],
    )
    last = {key: max(tuple(landed) for one, *landed in rows if one == key) for key, *_ in rows}
    assert sorted(kept.select("pipeline_id", *names[-3:]).rows()) == sorted(
        (f"p{key}", *landed) for key, landed in last.items()
    )


def test_groups_computed_some_days_at_a_time_are_those_of_all_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = []
    for rows in (1_000, 6):
        lake = lake_at(tmp_path / str(rows), batch_rows=rows)
        land(lake, "1.ndjson", *many(5, 4), event("p2-1", at=day(2, 3), kind="completed", duration_ms=5))
        read: list[int] = []
        compute = aggregates.RefreshContext.compute

        def counted(step, *sources, read=read, compute=compute):  # type: ignore[no-untyped-def]
            if step.table is c.PIPELINE_METRICS:
                read.append(step.lake.engine.stage(sources[0]).height)
            return compute(step, *sources)

        monkeypatch.setattr(aggregates.RefreshContext, "compute", counted)
        run(lake)
        monkeypatch.setattr(aggregates.RefreshContext, "compute", compute)
        found.append((hashes(lake), read))
    assert found[0] == (found[1][0], [21])
    assert found[1][1] == [4, 5, 4, 4, 4]


def test_a_group_of_rows_without_a_time_is_made_and_kept_up(tmp_path: Path) -> None:
    """Its rows lie in no span of time, and a new one touches that group alone."""
    group = nw.col("ended_at").dt.date().fill_null(date(1970, 1, 1)).alias("date")
    at, key = c.PIPELINE_EVENTS.by_name["occurred_at"], c.PIPELINE_METRICS.by_name["date"]
    ended = replace(at, name="ended_at", nullable=True)
    source = Contract(
        layer="silver", name="ends", domain="test", description="One end.", key=("event_id",), sources=(),
        materialization=Materialization.INCREMENTAL_BY_KEY,
        columns=(c.PIPELINE_EVENTS.by_name["event_id"], ended),
    )  # fmt: skip
    table = Contract(
        layer="gold", name="ends_by_day", domain="test", description="One day.", key=("date",),
        sources=(source,), materialization=Materialization.INCREMENTAL_BY_GROUP,
        columns=(key, Column(name="n", type=Type.INT64, description="Ends")),
        groups=Groups(by=lambda: [group], within=("ended_at", timedelta(days=1))),
    )  # fmt: skip

    def counted(rows: nw.LazyFrame) -> nw.LazyFrame:
        return rows.with_columns(group).group_by("date").agg(nw.len().cast(nw.Int64).alias("n"))

    lake = lake_at(tmp_path)
    days = [datetime(2026, 1, n, tzinfo=UTC) for n in range(1, 10)]
    found = []
    for n, news in enumerate(([*days], [None], [None, days[0]])):
        ids = [f"{n}-{m}" for m in range(len(news))]
        rows = pl.DataFrame({"event_id": ids, "ended_at": news}, schema=source.polars_schema())
        lake.store.append(source, rows)
        refresh(lake, table, counted)
        counts = dict(lake.store.scan(table).select("date", "n").collect().iter_rows())
        found.append((counts.get(date(1970, 1, 1)), counts[date(2026, 1, 1)], len(counts)))
    assert found == [(None, 1, 9), (1, 1, 10), (2, 2, 10)]


def test_a_changed_transform_reaches_old_rows_by_a_full_refresh(lake: Lake) -> None:
    land(lake, "1.ndjson", *many(2, 3))
    run(lake)
    halved = lambda raw: transforms.pipeline_events(raw).with_columns(duration_ms=pl_lit(7))  # noqa: E731
    refresh(lake, c.PIPELINE_EVENTS, halved)
    assert lake.store.scan(c.PIPELINE_EVENTS).collect()["duration_ms"].unique().to_list() == [1000]
    refresh(lake, c.PIPELINE_EVENTS, halved, full=True)
    assert lake.store.scan(c.PIPELINE_EVENTS).collect()["duration_ms"].unique().to_list() == [7]
    refresh(lake, c.PIPELINE_METRICS, transforms.pipeline_metrics)
    assert lake.store.scan(c.PIPELINE_METRICS).collect()["avg_duration_sec"].unique().to_list() == [0.007]
    assert_sound(lake)


def pl_lit(value: int):  # type: ignore[no-untyped-def]
    import narwhals.stable.v2 as nw

    return nw.lit(value, nw.Int64)


@pytest.mark.parametrize(
    "point",
    [
        "commit.begin",
        "commit.done",
        "flow.refused",
        "flow.committed",
        "flow.delivered",
        "flow.batch",
        "flow.rebuilt",
    ],
)
@pytest.mark.slow
def test_a_full_refresh_killed_anywhere_is_finished_by_the_next_refresh(tmp_path: Path, point: str) -> None:
    lake = lake_at(tmp_path, batch_rows=6)
    land(lake, "1.ndjson", *many(3, 5), event("bad", duration_ms=-1), event("bad2", duration_ms=-1))
    land(lake, "2.ndjson", *many(2, 4))
    run(lake)
    wanted, refused = hashes(lake), rejects(lake)
    killed = 0
    for occurrence in range(1, 20):
        left = occurrence

        def kill(reached: str) -> None:
            nonlocal left
            left -= reached == point
            if left == 0:
                raise Killed

        fault_points.arm(kill)
        try:
            full(lake)
            done = True
        except Killed:
            done = False
        finally:
            fault_points.arm(None)
        killed += not done
        run(lake)
        assert (hashes(lake), rejects(lake)) == (wanted, refused)
        assert_sound(lake)
        assert not [name for name in lake.store.found() if "__rebuild" in name]
        if done:
            break
    assert done
    assert killed >= (1 if point == "flow.rebuilt" else 2)


def test_a_late_event_reads_and_writes_the_files_of_its_day_only(lake: Lake, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    """Thirty days in small files: one late event leaves the files of all other days as they are."""
    monkeypatch.setattr("lakehouse.store.delta.layout._SMALLEST_FILE_BYTES", 2_000)
    land(lake, "1.ndjson", *many(28, 300))
    run(lake)
    silver = lake.store.scan(c.PIPELINE_EVENTS).collect()
    before = files(lake, c.PIPELINE_EVENTS)
    gold = files(lake, c.PIPELINE_METRICS)
    land(lake, "2.ndjson", event("p5-1", at=day(5, 1), duration_ms=2), event("late", at=day(5)))
    run(lake)
    assert len(before) >= 8
    assert len(before - files(lake, c.PIPELINE_EVENTS)) <= 2
    assert metrics(lake) == {f"2026-01-{d:02d}": 300 + (d == 5) for d in range(1, 29)}
    assert lake.store.scan(c.PIPELINE_EVENTS).collect().height == silver.height + 1
    assert gold != files(lake, c.PIPELINE_METRICS)
    assert_sound(lake)


def files(lake: Lake, table) -> set[str]:  # type: ignore[no-untyped-def]
    from deltalake import DeltaTable

    return set(DeltaTable(lake.store.uri(table)).file_uris())


def test_rows_deleted_from_silver_leave_gold(lake: Lake) -> None:
    land(lake, "1.ndjson", *many(4, 3))
    run(lake)
    gone = Where(Term("pipeline_id", "in", ("p1-0", "p2-0", "p2-1", "p2-2")))
    lake.store.delete(c.PIPELINE_EVENTS, gone)
    refresh(lake, c.PIPELINE_METRICS, transforms.pipeline_metrics)
    assert metrics(lake) == {"2026-01-01": 2, "2026-01-03": 3, "2026-01-04": 3}


def test_compaction_of_silver_is_no_change_for_gold(lake: Lake) -> None:
    from deltalake import DeltaTable

    for number in range(3):
        land(lake, f"{number}.ndjson", event(f"p{number}", at=day(1 + number)))
        run(lake)
    DeltaTable(lake.store.uri(c.PIPELINE_EVENTS)).optimize.compact()
    before = versions(lake)
    run(lake)
    assert versions(lake) == before
    report = refresh(lake, c.PIPELINE_METRICS, transforms.pipeline_metrics)
    assert report.batches == 0


def test_a_source_that_forgot_its_changes_is_read_whole(lake: Lake) -> None:
    land(lake, "1.ndjson", *many(3, 2))
    run(lake)
    land(lake, "2.ndjson", event("p1-0", at=day(1, 0), duration_ms=9), event("x", at=day(2)))
    refresh_silver_only(lake)
    log = Path(lake.store.uri(c.PIPELINE_EVENTS)) / "_delta_log"
    from deltalake import DeltaTable

    DeltaTable(str(log.parent)).create_checkpoint()
    for commit in sorted(log.glob("*.json"))[:-1]:
        commit.unlink()
    lake = lake_at(log.parents[3])
    refresh(lake, c.PIPELINE_METRICS, transforms.pipeline_metrics)
    assert metrics(lake) == {"2026-01-01": 2, "2026-01-02": 3, "2026-01-03": 2}


def refresh_silver_only(lake: Lake) -> None:
    from test_flow import EVENT_SOURCES

    from lakehouse.pipeline import ingest

    ingest(lake, c.RAW_PIPELINE_EVENTS, EVENT_SOURCES)
    refresh(lake, c.PIPELINE_EVENTS, transforms.pipeline_events)


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    steps=st.lists(
        st.lists(
            st.tuples(st.integers(1, 6), st.integers(1, 9), st.sampled_from(["completed", "failed"])),
            max_size=8,
        ),
        min_size=1,
        max_size=5,
    )
)
@pytest.mark.slow
def test_however_rows_come_incremental_equals_full(
    tmp_path_factory: pytest.TempPathFactory, steps: list[list[tuple[int, int, str]]]
) -> None:
    lake = lake_at(tmp_path_factory.mktemp("lake"))
    for number, step in enumerate(steps):
        records = [event(p, kind, at=day(d), n=number) for p, d, kind in step]
        land(lake, f"{number}.ndjson", *records)
        run(lake)
    incremental = hashes(lake)
    full(lake)
    assert hashes(lake) == incremental
    assert_sound(lake)


def test_marks_without_rows_are_committed(lake: Lake) -> None:
    lake.store.ensure(EVENT_TABLES[1])
    nothing = pl.DataFrame(schema=EVENT_TABLES[1].polars_schema())
    lake.store.append(EVENT_TABLES[1], nothing, CommitOptions(state=lambda _o, _b: {"x": 3}))
    assert lake.store.read_state(EVENT_TABLES[1], ["x"]) == {"x": 3}
