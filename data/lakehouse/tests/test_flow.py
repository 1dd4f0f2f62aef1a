"""Moving rows exactly once: landing -> Bronze -> Silver -> Gold on a real folder, killed and repeated."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

import narwhals.stable.v2 as nw
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lakehouse.contracts import LANDING_REJECTS, Contract, Materialization, quarantine_of
from lakehouse.domains.pipelines import contracts as c
from lakehouse.domains.pipelines import transforms
from lakehouse.errors import DataViolation, TableNotFound
from lakehouse.landing import LandedFile
from lakehouse.pipeline import Lake, ingest, open_lake, refresh
from lakehouse.pipeline.holds import hold_of
from lakehouse.pipeline.ingest import report_undeclared
from lakehouse.quarantine import accept
from lakehouse.registry import contracts, sources
from lakehouse.settings import Settings
from lakehouse.store import CommitOptions
from lakehouse.store.delta import DeltaStore
from lakehouse.verify import content_hash, verify

NOON = datetime(2026, 1, 10, 12, tzinfo=UTC)
EVENT_SOURCES = [s for s in sources() if s.table is c.RAW_PIPELINE_EVENTS]
CRAWL_SOURCES = [s for s in sources() if s.table is c.RAW_CRAWLER_RESULTS]


class Killed(BaseException):
    """Stands for kill -9: nothing may catch it."""


def lake_at(root: Path, *, batch_rows: int = 500_000) -> Lake:
    opened = open_lake(Settings(lake_url=str(root / "lake"), landing_url=str(root / "landing")))
    return dataclasses.replace(opened, clock=lambda: NOON, batch_rows=batch_rows)


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return lake_at(tmp_path)


def event(
    pipeline: object, kind: str = "completed", at: str = "2026-01-10T10:00:00Z", **data: object
) -> dict:  # type: ignore[type-arg]
    return {"pipeline_id": pipeline, "event_type": f"pipeline.{kind}", "workspace_id": "w", "timestamp": at,
            "raw_data": {"duration_ms": 1000, **data}}  # fmt: skip


def land(lake: Lake, name: str, *records: object) -> None:
    lake.landing.put(f"pipeline_events/{name}", "".join(json.dumps(r) + "\n" for r in records).encode())


def run(lake: Lake) -> None:
    """One init: every table of the domain."""
    ingest(lake, c.RAW_PIPELINE_EVENTS, EVENT_SOURCES)
    refresh(lake, c.PIPELINE_EVENTS, transforms.pipeline_events)
    refresh(lake, c.PIPELINE_METRICS, transforms.pipeline_metrics)


EVENT_TABLES = (c.RAW_PIPELINE_EVENTS, c.PIPELINE_EVENTS, c.PIPELINE_METRICS)


def hashes(lake: Lake) -> dict[str, str]:
    return {t.path: content_hash(t, lake.store.scan(t)) for t in EVENT_TABLES}


def versions(lake: Lake) -> dict[str, int]:
    return {t.path: lake.store.snapshot(t).version for t in EVENT_TABLES}


def assert_sound(lake: Lake) -> None:
    result = verify(lake, EVENT_TABLES)
    assert [p for p in result.all_problems if p.check != "declared"] == []


def metrics(lake: Lake) -> list[tuple[object, ...]]:
    columns = ["workspace_id", "date", "total_pipelines", "success_count", "failed_count"]
    return lake.store.scan(c.PIPELINE_METRICS).select(columns).sort(columns).collect().rows()


def test_a_file_lands_once_under_whatever_name(lake: Lake) -> None:
    land(lake, "a.ndjson", event("p1"), event("p2"))
    first = ingest(lake, c.RAW_PIPELINE_EVENTS, EVENT_SOURCES)
    land(lake, "copy-of-a.ndjson", event("p1"), event("p2"))
    again = ingest(lake, c.RAW_PIPELINE_EVENTS, EVENT_SOURCES)
    assert (first.files, first.rows, first.batches) == (1, 2, 1)
    assert (again.files, again.known, again.rows, again.batches) == (0, 2, 0, 0)


def test_a_second_run_commits_nothing(lake: Lake) -> None:
    land(lake, "a.ndjson", event("p1"), event(None))
    run(lake)
    before = versions(lake)
    run(lake)
    assert versions(lake) == before
    assert_sound(lake)


def test_every_row_is_written_merged_or_quarantined_with_all_reasons(lake: Lake) -> None:
    land(
        lake,
        "a.ndjson",
        event("p1"),
        event("p1", activities_executed=9),
        event(None, at="never", duration_ms=-5),
    )
    ingest(lake, c.RAW_PIPELINE_EVENTS, EVENT_SOURCES)
    report = refresh(lake, c.PIPELINE_EVENTS, transforms.pipeline_events)
    assert (report.read, report.written, report.merged, report.quarantined) == (3, 1, 1, 1)
    kept = lake.store.scan(c.PIPELINE_EVENTS).collect().row(0, named=True)
    assert (kept["pipeline_id"], kept["activities_executed"], kept["_row"]) == ("p1", 9, 1)
    refused = lake.store.scan(quarantine_of(c.PIPELINE_EVENTS)).collect().row(0, named=True)
    assert refused["rules"] == "pipeline_id_present,occurred_at_readable,duration_ms_not_negative"
    assert json.loads(refused["reasons"])[2] == {
        "rule": "duration_ms_not_negative", "values": {"duration_ms_text": "-5"},
    }  # fmt: skip
    assert json.loads(refused["record"])["timestamp"] == "never"
    assert (refused["_source"], refused["_row"]) == ("pipeline_events/a.ndjson", 2)
    assert refused["contract_version"] == c.PIPELINE_EVENTS.version


def test_a_late_event_corrects_the_day_it_belongs_to_and_no_other(lake: Lake) -> None:
    land(lake, "a.ndjson", event("p1"), event("p2", at="2026-01-09T10:00:00Z"))
    run(lake)
    land(
        lake,
        "b.ndjson",
        event("p2", "failed", at="2026-01-09T11:00:00Z"),
        event("p3", at="2026-01-09T12:00:00Z"),
    )
    run(lake)
    day9, day10 = datetime(2026, 1, 9).date(), datetime(2026, 1, 10).date()
    assert metrics(lake) == [("w", day9, 2, 1, 1), ("w", day10, 1, 1, 0)]
    assert_sound(lake)


def test_a_corrected_event_replaces_the_old_one(lake: Lake) -> None:
    land(lake, "a.ndjson", event("p1"))
    run(lake)
    land(lake, "b.ndjson", event("p1", steps=4))
    run(lake)
    assert lake.store.scan(c.PIPELINE_EVENTS).collect()["steps"].to_list() == [4]
    assert_sound(lake)


def test_a_file_that_cannot_be_read_is_kept_and_reported_once(lake: Lake) -> None:
    land(lake, "a.ndjson", event("p1"))
    lake.landing.put("pipeline_events/b.parquet", b"PAR1 no parquet")
    lake.landing.put("github/c.json", b'{"zen": "Keep it logically awesome."}')
    report = ingest(lake, c.RAW_PIPELINE_EVENTS, EVENT_SOURCES)
    again = ingest(lake, c.RAW_PIPELINE_EVENTS, EVENT_SOURCES)
    assert report.rows == 1
    assert [r.file for r in report.refused] == [r.file for r in again.refused]
    assert {r.file for r in report.refused} == {"pipeline_events/b.parquet", "github/c.json"}
    assert lake.store.snapshot(LANDING_REJECTS).rows == 2
    assert {f.name for f in lake.landing.list()} >= {"pipeline_events/b.parquet", "github/c.json"}


def test_a_file_nobody_declared_is_reported(lake: Lake) -> None:
    lake.landing.put("holiday/photo.json", b"{}")
    refused = report_undeclared(lake, sources())
    assert [r.file for r in refused] == ["holiday/photo.json"]
    assert "no source is declared for folder 'holiday'" in refused[0].reason
    assert "pipeline_events" in refused[0].reason


def test_an_empty_file_is_known_and_brings_nothing(lake: Lake) -> None:
    lake.landing.put("pipeline_events/empty.ndjson", b"\n")
    first = ingest(lake, c.RAW_PIPELINE_EVENTS, EVENT_SOURCES)
    second = ingest(lake, c.RAW_PIPELINE_EVENTS, EVENT_SOURCES)
    assert (first.rows, len(first.refused), second.known + len(second.refused)) == (0, len(second.refused), 1)


@pytest.mark.slow
def test_small_batches_give_the_same_content_as_one(tmp_path: Path) -> None:
    kinds = ("started", "completed", "failed")
    records = [event(f"p{n % 7}", kinds[n % 3], f"2026-01-{n % 5 + 1:02}T10:00:00Z") for n in range(40)]
    results = []
    for size in (3, 500_000):
        opened = lake_at(tmp_path / str(size), batch_rows=size)
        for part in range(4):
            land(opened, f"{part}.ndjson", *records[part * 10 : part * 10 + 10])
        run(opened)
        assert_sound(opened)
        results.append(hashes(opened))
    assert results[0] == results[1]


def test_a_source_that_was_never_written_is_named(lake: Lake) -> None:
    with pytest.raises(
        TableNotFound, match="refreshing silver/pipeline_events: its source bronze/raw_pipeline_events"
    ):
        refresh(lake, c.PIPELINE_EVENTS, transforms.pipeline_events)


def test_a_transform_that_loses_rows_is_refused(lake: Lake) -> None:
    land(lake, "a.ndjson", event("p1"), event("p2"))
    ingest(lake, c.RAW_PIPELINE_EVENTS, EVENT_SOURCES)
    with pytest.raises(DataViolation, match="made 1 rows of 2"):
        refresh(lake, c.PIPELINE_EVENTS, lambda raw: transforms.pipeline_events(raw).head(1))
    assert lake.store.snapshot(c.PIPELINE_EVENTS).rows == 0


# -- killed in the middle ---------------------------------------------------------------------------------


def killing(after: int, table: Contract | None = None) -> Callable[..., object]:
    """Return a `DeltaStore._commit` that dies after its n-th commit (on `table`), before it can say so."""
    real, seen = DeltaStore._commit, []

    def commit(
        self: DeltaStore,
        target: Contract,
        frame: pl.DataFrame,
        what: CommitOptions,
        *args: object,
        **kw: object,
    ):  # type: ignore[no-untyped-def]
        result = real(self, target, frame, what, *args, **kw)  # type: ignore[arg-type]
        if table is None or target.path == table.path:
            seen.append(target.path)
            if len(seen) == after:
                raise Killed
        return result

    return commit


@pytest.mark.slow
@pytest.mark.parametrize("after", range(1, 9))
def test_killed_after_any_commit_the_next_run_ends_where_an_undisturbed_one_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, after: int
) -> None:
    def fill(opened: Lake) -> None:
        for part in range(3):
            land(opened, f"{part}.ndjson", event(f"p{part}"), event("again", steps=part), event(None))

    undisturbed, killed = (lake_at(tmp_path / n, batch_rows=2) for n in ("undisturbed", "killed"))
    fill(undisturbed)
    run(undisturbed)
    fill(killed)
    with monkeypatch.context() as patch:
        patch.setattr(DeltaStore, "_commit", killing(after))
        with pytest.raises(Killed):
            run(killed)
    run(killed)
    assert hashes(killed) == hashes(undisturbed)
    assert_sound(killed)
    refused = quarantine_of(c.PIPELINE_EVENTS)
    assert killed.store.snapshot(refused).rows == undisturbed.store.snapshot(refused).rows == 3


def test_killed_between_quarantine_and_silver_with_new_files_meanwhile(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The very batch whose rejects are in is done again first; rows that came meanwhile follow."""
    land(lake, "a.ndjson", event("p1"), event(None))
    ingest(lake, c.RAW_PIPELINE_EVENTS, EVENT_SOURCES)
    with monkeypatch.context() as patch:
        patch.setattr(DeltaStore, "_commit", killing(1, quarantine_of(c.PIPELINE_EVENTS)))
        with pytest.raises(Killed):
            refresh(lake, c.PIPELINE_EVENTS, transforms.pipeline_events)
    land(lake, "b.ndjson", event("p2"), event(None, "failed"))
    run(lake)
    assert lake.store.snapshot(quarantine_of(c.PIPELINE_EVENTS)).rows == 2
    assert lake.store.snapshot(c.PIPELINE_EVENTS).rows == 2
    assert_sound(lake)


def test_a_file_larger_than_a_batch_goes_on_where_it_was_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = lake_at(tmp_path, batch_rows=4)
    monkeypatch.setattr("lakehouse.domains.pipelines.reading.CHUNK_ROWS", 3, raising=False)
    land(opened, "big.ndjson", *[event(f"p{n}") for n in range(20)])
    with monkeypatch.context() as patch:
        patch.setattr(DeltaStore, "_commit", killing(1, c.RAW_PIPELINE_EVENTS))
        with pytest.raises(Killed):
            ingest(opened, c.RAW_PIPELINE_EVENTS, EVENT_SOURCES)
    ingest(opened, c.RAW_PIPELINE_EVENTS, EVENT_SOURCES)
    assert sorted(opened.store.scan(c.RAW_PIPELINE_EVENTS).collect()["_row"]) == list(range(20))


def test_two_ingests_at_once_land_every_row_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second takes the batch number between the first one's look and its commit."""
    first, second = lake_at(tmp_path), lake_at(tmp_path)
    land(first, "a.ndjson", event("p1"), event("p2"))
    real, raced = DeltaStore.append, []

    def overtaken(self: DeltaStore, table: Contract, frame: pl.DataFrame, commit: CommitOptions):  # type: ignore[no-untyped-def]
        if not raced:
            raced.append(1)
            ingest(second, c.RAW_PIPELINE_EVENTS, EVENT_SOURCES)
        return real(self, table, frame, commit)

    monkeypatch.setattr(DeltaStore, "append", overtaken)
    report = ingest(first, c.RAW_PIPELINE_EVENTS, EVENT_SOURCES)
    assert (report.rows, report.known) == (0, 1)
    assert first.store.scan(c.RAW_PIPELINE_EVENTS).collect().height == 2


@pytest.mark.parametrize("many", [1, 60])
def test_an_ingest_while_another_reads_lands_every_row_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, many: int
) -> None:
    """The second lands the very files between the first one's look at the state and its commit."""
    first, second = lake_at(tmp_path), lake_at(tmp_path)
    for number in range(many):
        land(first, f"{number}.ndjson", event(f"p{number}"))
    real, raced = LandedFile.open, []

    def overtaken(self: LandedFile) -> BinaryIO:
        if len(raced) == 2 * many - 1:  # all are known by their bytes, and the last is about to be read
            raced.append("")
            ingest(second, c.RAW_PIPELINE_EVENTS, EVENT_SOURCES)
        raced.append(self.name)
        return real(self)

    monkeypatch.setattr(LandedFile, "open", overtaken)
    report = ingest(first, c.RAW_PIPELINE_EVENTS, EVENT_SOURCES)
    assert "" in raced
    assert (report.rows, report.known) == (0, many)
    assert first.store.scan(c.RAW_PIPELINE_EVENTS).collect().height == many


def accept_holds(lake: Lake) -> None:
    """Let Gold go on where a run refused too much."""
    if hold_of(lake, c.PIPELINE_EVENTS) is not None:
        accept(lake, c.PIPELINE_EVENTS, who="test", why="made to be refused")
        refresh(lake, c.PIPELINE_METRICS, transforms.pipeline_metrics)


# -- properties -------------------------------------------------------------------------------------------

records = st.builds(
    event,
    pipeline=st.sampled_from(["p1", "p2", "p3", None, ""]),
    kind=st.sampled_from(["submitted", "started", "completed", "failed", "timed_out"]),
    at=st.sampled_from(
        ["2026-01-01T00:00:00Z", "2026-01-01 00:00:00", "2026-01-02T23:59:59.999999Z", "?", ""]
    ),
    duration_ms=st.one_of(st.integers(-5, 10**12), st.floats(-1, 1e6), st.just("x"), st.none()),
)
files = st.lists(st.lists(records, max_size=6), min_size=1, max_size=5)


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(files=files, batch_rows=st.integers(1, 12))
@pytest.mark.slow
def test_whatever_lands_in_whatever_steps_is_conserved_and_equal(
    tmp_path_factory: pytest.TempPathFactory,
    files: list[list[dict]],
    batch_rows: int,  # type: ignore[type-arg]
) -> None:
    root = tmp_path_factory.mktemp("lake")
    stepwise, at_once = lake_at(root / "stepwise", batch_rows=batch_rows), lake_at(root / "at_once")
    for number, part in enumerate(files):
        land(stepwise, f"{number}.ndjson", *part)
        run(stepwise)
        land(at_once, f"{number}.ndjson", *part)
    run(at_once)
    for opened in (stepwise, at_once):
        accept_holds(opened)
    assert hashes(stepwise) == hashes(at_once)
    for opened in (stepwise, at_once):
        result = verify(opened, EVENT_TABLES)
        assert {p.check for p in result.all_problems} <= {"rows"}  # an empty table, where nothing good came
        bronze, silver = (opened.store.snapshot(t).rows for t in EVENT_TABLES[:2])
        state = opened.store.read_state(c.PIPELINE_EVENTS, ["read", "merged", "quarantined"])
        assert bronze == state.get("read", 0) == silver + state.get("merged", 0) + state.get("quarantined", 0)


def test_the_sample_gives_the_stated_rows_in_every_table(lake: Lake) -> None:
    from lakehouse.domains.pipelines.sample import EXPECTED
    from lakehouse.registry import sample_files

    for name, body in sample_files().items():
        lake.landing.put(name, body)
    run(lake)
    ingest(lake, c.RAW_CRAWLER_RESULTS, CRAWL_SOURCES)
    refresh(lake, c.CRAWLER_RESULTS, transforms.crawler_results)
    refresh(lake, c.USER_PROFILES, transforms.user_profiles)
    result = verify(lake, [t for t in contracts() if t.domain == "pipelines"])
    assert result.all_problems == []
    found = {t.table: t.rows for t in result.tables}
    assert {name: found[name] for name in EXPECTED} == EXPECTED


def test_a_group_that_no_longer_gives_a_row_leaves_the_table(lake: Lake) -> None:
    def sound_days(events: nw.LazyFrame) -> nw.LazyFrame:
        return transforms.pipeline_metrics(events).filter(nw.col("failed_count") == 0)

    def step() -> None:
        ingest(lake, c.RAW_PIPELINE_EVENTS, EVENT_SOURCES)
        refresh(lake, c.PIPELINE_EVENTS, transforms.pipeline_events)
        refresh(lake, c.PIPELINE_METRICS, sound_days)

    land(lake, "a.ndjson", event("p1"), event("p2", at="2026-01-09T10:00:00Z"))
    step()
    land(lake, "b.ndjson", event("p3", "failed", at="2026-01-09T11:00:00Z"))
    step()
    assert [row[1].day for row in metrics(lake)] == [10]  # type: ignore[attr-defined]
    assert_sound(lake)


def test_a_table_computed_whole_notices_a_source_that_was_built_again(lake: Lake, tmp_path: Path) -> None:
    import shutil

    whole = dataclasses.replace(
        c.PIPELINE_METRICS, name="whole_metrics", groups=None, materialization=Materialization.FULL
    )
    land(lake, "a.ndjson", event("p1"))
    run(lake)
    refresh(lake, whole, transforms.pipeline_metrics)
    shutil.rmtree(tmp_path / "lake" / "silver")
    lake = lake_at(tmp_path)  # a process that begins after that
    land(lake, "b.ndjson", event("p2"))
    run(lake)  # one batch fewer than commits before: the same version, another table
    assert refresh(lake, whole, transforms.pipeline_metrics).batches == 1
    assert lake.store.scan(whole).collect()["total_pipelines"].to_list() == [2]


def test_a_table_computed_whole_follows_its_source_and_a_later_run_wins(lake: Lake) -> None:
    whole = dataclasses.replace(
        c.PIPELINE_METRICS, name="whole_metrics", groups=None, materialization=Materialization.FULL
    )
    land(lake, "a.ndjson", event("p1"))
    run(lake)
    assert refresh(lake, whole, transforms.pipeline_metrics).batches == 1
    assert refresh(lake, whole, transforms.pipeline_metrics).batches == 0

    raced: list[int] = []

    def overtaken(events: nw.LazyFrame) -> nw.LazyFrame:
        made = transforms.pipeline_metrics(events)
        if not raced:
            raced.append(1)
            land(lake, "c.ndjson", event("p3"))
            run(lake)
            refresh(lake, whole, transforms.pipeline_metrics)
        return made

    land(lake, "b.ndjson", event("p2"))
    run(lake)
    assert refresh(lake, whole, overtaken).batches == 0  # the later one stands
    assert lake.store.scan(whole).collect()["total_pipelines"].to_list() == [3]
