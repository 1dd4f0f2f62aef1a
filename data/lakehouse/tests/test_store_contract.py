"""What every backend of the persistence authority promises, tried on each: Delta on a folder, and DuckLake.

Belongs here: promises of the Protocol. Does not: a library's own traps (test_store.py), hostile trials in
number (tests/guarantees).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from multiprocessing import get_context
from pathlib import Path
from threading import Barrier

import lakes
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from lakehouse.contracts import Column, Contract, Materialization, Type
from lakehouse.errors import DataViolation, SchemaViolation, StaleWriter, TableNotFound, Unsupported
from lakehouse.settings import Settings
from lakehouse.storage.files import BucketFiles
from lakehouse.store import (
    COMMIT_ID,
    CommitOptions,
    MaintenanceOptions,
    Outcome,
    TableStore,
    Term,
    Transaction,
    Where,
    open_store,
)

NOON = datetime(2024, 5, 1, 12, tzinfo=UTC)
EVENTS = Contract(
    layer="silver",
    name="events",
    domain="test",
    description="One event.",
    columns=(
        Column(name="id", type=Type.STRING, nullable=False, description="It's an identity"),
        Column(name="at", type=Type.TIMESTAMP, nullable=False, description="When"),
        Column(name="n", type=Type.INT32, description="A number"),
    ),
    key=("id", "at"),
    materialization=Materialization.INCREMENTAL_BY_KEY,
)
DAYS = Contract(
    layer="gold",
    name="days",
    domain="test",
    description="One day.",
    columns=(
        Column(name="day", type=Type.STRING, nullable=False, description="Day"),
        Column(name="n", type=Type.INT64, description="A number"),
    ),
    key=("day",),
    partition_by=("day",),
    materialization=Materialization.FULL,
)
LOG = Contract(
    layer="bronze",
    name="log",
    domain="test",
    description="One line.",
    columns=(Column(name="line", type=Type.INT64, nullable=False, description="Number"),),
    materialization=Materialization.APPEND,
)
EVERY_TYPE = Contract(
    layer="silver",
    name="every_type",
    domain="test",
    description="One row of awkward values.",
    columns=tuple(Column(name=f"c_{t.value}", type=t, description=t.value) for t in Type),
    materialization=Materialization.APPEND,
)


@pytest.fixture(
    params=[
        "folder",
        pytest.param("ducklake", marks=pytest.mark.slow),
        pytest.param("ducklake-s3", marks=pytest.mark.containers),
    ]
)
def lake(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Settings]:
    with lakes.lake_of(request.param, tmp_path) as settings:
        yield settings


@pytest.fixture
def store(lake: Settings) -> TableStore:
    return open_store(lake)


def events(*rows: tuple[str, int | None]) -> pl.DataFrame:
    return pl.DataFrame([(i, NOON, n) for i, n in rows], schema=EVENTS.polars_schema(), orient="row")


def stored(store: TableStore, *, version: int | None = None) -> list[tuple[str, int | None]]:
    return store.scan(EVENTS, version=version).select("id", "n").sort("id").collect().rows()


def days(*rows: tuple[str, int]) -> pl.DataFrame:
    return pl.DataFrame(list(rows), schema=DAYS.polars_schema(), orient="row")


def counting(**extra: int) -> CommitOptions:
    """A commit that keeps the table's row count as a mark."""
    return CommitOptions(reads=("rows",), state=lambda o, b: {"rows": b.get("rows", 0) + o.inserted, **extra})


def test_a_table_comes_to_be_once(store: TableStore) -> None:
    assert (store.exists(EVENTS), store.found(), store.read_state(EVENTS, ["x"])) == (False, [], {})
    version = store.ensure(EVENTS)
    assert (store.ensure(EVENTS), store.exists(EVENTS), store.found()) == (version, True, ["silver/events"])
    assert (stored(store), store.snapshot(EVENTS).rows, store.schema_problems(EVENTS)) == ([], 0, [])


def test_merge_inserts_new_keys_and_replaces_known_ones(store: TableStore) -> None:
    first = store.merge(EVENTS, events(("a", 1), ("b", 2)))
    second = store.merge(EVENTS, events(("b", 3), ("c", None)))
    assert first.outcome == Outcome(rows=2, inserted=2, updated=0)
    assert second.outcome == Outcome(rows=2, inserted=1, updated=1)
    assert second.version > first.version
    assert stored(store) == [("a", 1), ("b", 3), ("c", None)]
    assert stored(store, version=first.version) == [("a", 1), ("b", 2)]


# DuckLake's shortest look with `make test`; the others are slow.
@pytest.mark.parametrize(
    "lake",
    ["folder", "ducklake", pytest.param("ducklake-s3", marks=pytest.mark.containers)],
    indirect=True,
)
def test_a_token_makes_a_commit_happen_once(store: TableStore) -> None:
    commit = CommitOptions(transaction=Transaction("position:bronze/x", 7))
    first = store.merge(EVENTS, events(("a", 1)), commit)
    again = store.merge(EVENTS, events(("a", 99)), commit)
    assert (first.landed, again.landed, again.version) == ("committed", "duplicate", first.version)
    with pytest.raises(StaleWriter, match=r"silver/events.*stands at 7, past this writer's 6"):
        store.merge(EVENTS, events(("a", 99)), CommitOptions(transaction=Transaction("position:bronze/x", 6)))
    assert stored(store) == [("a", 1)]


def test_marks_change_with_the_rows_and_are_known_of_every_version(store: TableStore) -> None:
    for number in range(12):
        store.merge(EVENTS, events((f"id{number % 9}", number)), counting())
    before = store.snapshot(EVENTS).version
    store.append(EVENTS, events(), CommitOptions(state=lambda *_: {"flag": 1, "rows": 0}))
    assert store.read_state(EVENTS, ["rows", "never"]) == {"rows": 0}
    assert store.all_state(EVENTS) == {"rows": 0, "flag": 1}
    assert store.all_state(EVENTS, version=before) == {"rows": 9}
    assert store.snapshot(EVENTS).rows == 9


def test_marks_alone_change_no_rows(store: TableStore) -> None:
    landed = store.merge(EVENTS, events(("a", 1))).version
    only_state = store.append(EVENTS, events(), CommitOptions(state=lambda *_: {"flag": 1}))
    assert (only_state.landed, store.data_version(EVENTS)) == ("committed", landed)
    assert store.merge(EVENTS, events()).landed == "skipped"


def test_a_wrong_frame_is_refused_and_nothing_is_made(store: TableStore) -> None:
    with pytest.raises(SchemaViolation, match="n is Int64, not Int32"):
        store.append(EVENTS, events(("a", 1)).with_columns(pl.col("n").cast(pl.Int64)))
    with pytest.raises(DataViolation, match=r"id \(1 rows\)"):
        store.merge(EVENTS, events(("a", 1)).with_columns(pl.lit(None, pl.String).alias("id")))
    with pytest.raises(DataViolation, match="1 rows repeat the key"):
        store.merge(EVENTS, events(("a", 1), ("a", 2)))
    assert not store.exists(EVENTS)


def test_replace_partitions_touches_no_other(store: TableStore) -> None:
    nasty = 'it\'s 100% "fine" / a=b; -- ü'
    store.replace_partitions(DAYS, days(("d1", 1), (nasty, 2)))
    store.replace_partitions(DAYS, days((nasty, 3)))
    assert sorted(store.scan(DAYS).collect().rows()) == sorted([("d1", 1), (nasty, 3)])


def test_overwrite_replaces_everything_and_can_leave_nothing(store: TableStore) -> None:
    store.merge(EVENTS, events(("a", 1), ("b", 2)))
    store.overwrite(EVENTS, events(("c", 3)))
    assert stored(store) == [("c", 3)]
    store.overwrite(EVENTS, events())
    assert stored(store) == []


def test_a_table_takes_all_rows_of_another_and_a_stage_leaves_no_trace(store: TableStore) -> None:
    stage = replace(EVENTS, name="events__rebuild")
    store.merge(EVENTS, events(("old", 1)))
    store.merge(stage, events(("a", 1), ("b", 2)))
    result = store.overwrite_from(EVENTS, stage, CommitOptions(state=lambda *_: {"rows": 2}))
    store.drop(stage)
    store.drop(stage)
    assert (result.outcome, stored(store)) == (Outcome(rows=2, inserted=2, updated=0), [("a", 1), ("b", 2)])
    assert (store.read_state(EVENTS, ["rows"]), store.found()) == ({"rows": 2}, ["silver/events"])
    store.merge(stage, events(("z", 9)))
    assert store.scan(stage).select("id").collect().rows() == [("z",)]


def test_delete_removes_what_the_condition_holds_for(store: TableStore) -> None:
    store.merge(EVENTS, events(("a", 1), ("b", 2), ("c", None)))
    gone = store.delete(EVENTS, Where(Term("n", ">=", 2), Term("at", "=", NOON)))
    assert (gone.outcome.deleted, stored(store)) == (1, [("a", 1), ("c", None)])
    none = store.delete(EVENTS, Where(Term("id", "=", "x' OR 1=1")))
    assert (none.landed, none.outcome.deleted) == ("skipped", 0)
    store.append(LOG, pl.DataFrame({"line": [1]}))
    with pytest.raises(Unsupported, match=r"bronze/log.*append-only"):
        store.delete(LOG, Where())
    with pytest.raises(Unsupported, match="no column 'x'"):
        store.delete(EVENTS, Where(Term("x", "=", 1)))


def test_changes_are_rows_that_came_and_went(store: TableStore) -> None:
    base = store.merge(EVENTS, events(("a", 1), ("b", 2))).version
    store.merge(EVENTS, events(("b", 3), ("c", 4)))
    store.delete(EVENTS, Where(Term("id", "=", "a")))
    changed = store.changes(EVENTS, since=base)
    assert (changed.complete, changed.since, changed.until) == (True, base, store.snapshot(EVENTS).version)
    assert sorted(changed.added.select("id", "n").collect().rows()) == [("b", 3), ("c", 4)]
    assert sorted(changed.removed.select("id", "n").collect().rows()) == [("a", 1), ("b", 2)]
    nothing = store.changes(EVENTS, since=changed.until)
    assert (nothing.added.collect().height, nothing.removed.collect().height, nothing.compared_rows) == (
        0,
        0,
        0,
    )


def test_changes_count_equal_rows_of_a_table_without_key(store: TableStore) -> None:
    base = store.append(LOG, pl.DataFrame({"line": [1, 1, 2]})).version
    store.append(LOG, pl.DataFrame({"line": [1, 1]}))
    changed = store.changes(LOG, since=base)
    assert (changed.added.collect().rows(), changed.removed.collect().rows()) == ([(1,), (1,)], [])


def test_maintenance_joins_files_and_changes_no_row(store: TableStore) -> None:
    for number in range(6):
        last = store.append(LOG, pl.DataFrame({"line": [number]})).version
    done = store.maintain(LOG, MaintenanceOptions(retain=timedelta(0)))
    assert (done.rows, done.files_before, done.files_after) == (6, 6, 1)
    assert done.reclaimed_bytes > 0
    assert sorted(store.scan(LOG).collect()["line"]) == list(range(6))
    assert store.missing_files(LOG) == []
    assert store.data_version(LOG) == last
    changed = store.changes(LOG, since=last)
    assert changed.added.collect().is_empty()
    assert COMMIT_ID in store.history(LOG, limit=1)[0].info


def test_maintenance_keeps_what_it_is_told_to(store: TableStore) -> None:
    versions = [store.overwrite(EVENTS, events((name, 1)), counting()).version for name in "abc"]
    store.maintain(EVENTS, MaintenanceOptions(retain=timedelta(0), keep=[versions[0]]))
    store.check_version(EVENTS, versions[0])
    assert stored(store, version=versions[0]) == [("a", 1)]
    with pytest.raises(Unsupported):
        store.check_version(EVENTS, versions[1])
    store.restore(EVENTS, versions[0])
    assert (stored(store), store.read_state(EVENTS, ["rows"])) == ([("a", 1)], {"rows": 1})


def test_restore_brings_back_rows_and_marks_and_is_a_commit_itself(store: TableStore) -> None:
    then = store.merge(
        EVENTS, events(("a", 1), ("b", 2)), CommitOptions(transaction=Transaction("position", 1))
    ).version
    store.merge(EVENTS, events(("b", 9), ("c", 3)), CommitOptions(transaction=Transaction("position", 2)))
    store.delete(EVENTS, Where(Term("id", "=", "a")), CommitOptions(state=lambda *_: {"later": 1}))
    result = store.restore(EVENTS, then, CommitOptions(info={"why": "test"}))
    assert (stored(store), store.all_state(EVENTS)) == ([("a", 1), ("b", 2)], {"position": 1})
    assert (result.landed, result.outcome.rows) == ("committed", 2)
    newest = store.history(EVENTS, limit=1)[0]
    assert (newest.version, newest.info["why"]) == (result.version, "test")
    again = store.merge(EVENTS, events(("d", 4)), CommitOptions(transaction=Transaction("position", 2)))
    assert (again.landed, stored(store)) == ("committed", [("a", 1), ("b", 2), ("d", 4)])


def test_history_names_every_commit(store: TableStore) -> None:
    store.merge(EVENTS, events(("a", 1)), CommitOptions(info={"odp.run_id": "r1"}))
    last = store.merge(EVENTS, events(("a", 2)), CommitOptions(info={"odp.run_id": "r2"}))
    entries = store.history(EVENTS)
    assert [e.info["odp.run_id"] for e in entries[:2]] == ["r2", "r1"]
    assert (entries[0].version, COMMIT_ID in entries[0].info) == (last.version, True)
    assert abs(datetime.now(UTC) - entries[0].at) < timedelta(minutes=5)
    assert store.history(EVENTS, limit=1) == entries[:1]


def test_reading_says_what_is_wrong(store: TableStore) -> None:
    with pytest.raises(TableNotFound, match=r"silver/events.*never been written"):
        store.scan(EVENTS)
    store.merge(EVENTS, events(("a", 1)))
    other = replace(EVENTS, key=(), materialization=Materialization.APPEND,
                    columns=(Column(name="id", type=Type.INT64, description="x"),))  # fmt: skip
    with pytest.raises(SchemaViolation, match="id is"):
        store.scan(other)
    with pytest.raises(SchemaViolation, match="another schema"):
        store.append(other, pl.DataFrame({"id": [1]}))
    assert len(store.schema_problems(other)) == 3


def test_missing_and_cut_files_are_named(store: TableStore) -> None:
    store.append(LOG, pl.DataFrame({"line": [1]}))
    store.append(LOG, pl.DataFrame({"line": [2]}))
    first, second = sorted(name for name in store.files.sizes(LOG.path) if name.endswith(".parquet"))
    damage(store, first, None)
    damage(store, second, b"cut short")
    assert sorted(store.missing_files(LOG)) == [first, second]


def damage(store: TableStore, name: str, body: bytes | None) -> None:
    """Put `body` in the place of a file of LOG; None removes it."""
    if isinstance(store.files, BucketFiles):
        layer, table = LOG.path.split("/")
        where = {"Bucket": layer, "Key": f"{table}/{name}"}
        _ = store.files.client.delete_object(**where)
        if body is not None:
            store.files.client.put_object(**where, Body=body)
        return
    file = Path(store.uri(LOG)) / name
    file.unlink()
    if body is not None:
        file.write_bytes(body)


def test_another_table_of_the_same_name_is_another_table(store: TableStore) -> None:
    store.merge(EVENTS, events(("a", 1)))
    first = store.snapshot(EVENTS)
    store.drop(EVENTS)
    store.merge(EVENTS, events(("b", 2)), CommitOptions(transaction=Transaction("position", 1)))
    assert store.snapshot(EVENTS).identity != first.identity
    assert stored(store) == [("b", 2)]


def test_every_type_comes_back_as_it_was(store: TableStore) -> None:
    frame = pl.DataFrame(
        {
            "c_string": ["", "a\0b", 'it\'s; -- "x" %_\\', "\U0010ffff ü", "x" * 10_000, None],
            "c_bool": [True, False, None, True, False, None],
            "c_int32": [2**31 - 1, -(2**31), 0, None, 1, -1],
            "c_int64": [2**63 - 1, -(2**63), 0, None, 1, -1],
            "c_float64": [float("nan"), float("inf"), float("-inf"), -0.0, 5e-324, None],
            "c_date": [
                datetime(1, 1, 1).date(),
                datetime(9999, 12, 31).date(),
                None,
                NOON.date(),
                None,
                None,
            ],
            "c_timestamp": [
                datetime(1, 1, 1, tzinfo=UTC),
                datetime(9999, 12, 31, 23, 59, 59, 999999, tzinfo=UTC),
                datetime(1969, 12, 31, 23, 59, 59, 999999, tzinfo=UTC),
                NOON,
                None,
                NOON + timedelta(microseconds=1),
            ],
            "c_binary": [b"", b"\x00\xff", None, bytes(range(256)), "ü".encode(), b"a"],
        },
        schema=EVERY_TYPE.polars_schema(),
    )
    for row in frame.iter_slices(1):
        store.append(EVERY_TYPE, row)
    order = "c_int64", "c_int32"
    back = store.scan(EVERY_TYPE).collect()
    assert back.schema == frame.schema
    assert_frame_equal(back.sort(order), frame.sort(order))
    store.maintain(EVERY_TYPE, MaintenanceOptions(retain=timedelta(0)))
    assert_frame_equal(store.scan(EVERY_TYPE).collect().sort(order), frame.sort(order))


CONDITIONS: list[Callable[[], pl.Expr]] = [
    lambda: pl.col("n") > 3,
    lambda: pl.lit(3) < pl.col("n"),
    lambda: pl.col("n").is_between(2, 4, closed="right") | (pl.col("id") == "id7"),
    lambda: (pl.col("at") >= NOON + timedelta(hours=2)) & pl.col("n").is_not_null(),
    lambda: pl.col("n").is_null(),
    lambda: pl.col("n") != 5,
    lambda: ~(pl.col("n") == 5),
    lambda: pl.col("id").is_in(["id1", "id\0"]),
    lambda: pl.col("id") == "id\0",
    lambda: pl.col("id").str.ends_with("3"),
    lambda: pl.col("n") / 2 > 1.5,
]


@pytest.mark.parametrize("number", range(len(CONDITIONS)))
def test_what_is_pushed_down_gives_what_polars_gives(store: TableStore, number: int) -> None:
    frame = pl.DataFrame(
        [(f"id{i}", NOON + timedelta(hours=i), None if i == 2 else i) for i in range(9)]
        + [("id\0", NOON, 5)],
        schema=EVENTS.polars_schema(),
        orient="row",
    )
    for part in frame.iter_slices(3):
        store.merge(EVENTS, part)
    condition = CONDITIONS[number]
    scan = store.scan(EVENTS)
    assert_frame_equal(
        scan.filter(condition()).select("n", "id").collect().sort("id"),
        frame.filter(condition()).select("n", "id").sort("id"),
    )
    assert scan.filter(condition()).select(pl.len()).collect().item() == frame.filter(condition()).height
    assert scan.head(4).collect().height == 4
    assert scan.head(2).filter(condition()).collect().height <= 2


@pytest.mark.parametrize(
    "where",
    [
        Where(),
        Where(Term("n", "=", 5)),
        Where(Term("n", "!=", 5)),
        Where(Term("n", "in", (1, 2, 3)), Term("id", "!=", "id1")),
        Where(Term("n", "is null")),
        Where(Term("n", "is not null"), Term("at", "<", NOON + timedelta(hours=3))),
        Where(Term("id", "=", "id\0")),
        Where(Term("id", "in", ("id\0", "id1"))),
    ],
)
def test_a_condition_means_the_same_everywhere(store: TableStore, where: Where) -> None:
    frame = events(*[(f"id{i}", None if i == 2 else i) for i in range(7)], ("id\0", 5))
    store.merge(EVENTS, frame)
    wanted = frame.filter(where.polars()).sort("id")
    assert_frame_equal(store.scan(EVENTS, where=where).collect().sort("id"), wanted)
    assert store.delete(EVENTS, where).outcome.deleted == wanted.height
    kept = frame.filter(~where.polars().fill_null(False))
    assert_frame_equal(store.scan(EVENTS).collect().sort("id"), kept.sort("id"))


def _append_some(settings: Settings, writer: int) -> int:
    store = open_store(settings)
    for number in range(10):
        store.append(LOG, pl.DataFrame({"line": [writer * 100 + number]}))
    return 10


def _count_up(settings: Settings, writer: int) -> int:
    store = open_store(settings)
    for number in range(5):
        store.merge(EVENTS, events((f"shared{number}", writer), (f"own{writer}-{number}", 1)), counting())
    return 5


def _first_state(settings: Settings, writer: int) -> str:
    """Each writer is the first to set this mark, or sees that it is not."""
    commit = CommitOptions(reads=("first",), state=lambda _, before: {"first": before.get("first", writer)})
    open_store(settings).append(LOG, pl.DataFrame({"line": [writer]}), commit)
    return "done"


@pytest.mark.parametrize(("work", "table", "rows"), [(_append_some, LOG, 40), (_count_up, EVENTS, 25)])
def test_every_acknowledged_row_of_concurrent_writers_is_there_once(
    lake: Settings, work: Callable[[Settings, int], int], table: Contract, rows: int
) -> None:
    with ProcessPoolExecutor(4, mp_context=get_context("spawn")) as pool:
        list(pool.map(work, [lake] * 4, range(4)))
    store = open_store(lake)
    frame = store.scan(table).collect()
    assert (frame.height, frame.select(table.key or ["line"]).n_unique()) == (rows, rows)
    if table.key:
        assert store.read_state(table, ["rows"]) == {"rows": rows}


def test_of_writers_who_set_a_first_mark_at_once_all_see_the_first(lake: Settings) -> None:
    open_store(lake).ensure(LOG)
    with ProcessPoolExecutor(4, mp_context=get_context("spawn")) as pool:
        assert list(pool.map(_first_state, [lake] * 4, range(4))) == ["done"] * 4
    store = open_store(lake)
    versions = [entry.version for entry in store.history(LOG)]
    seen = {store.all_state(LOG, version=version).get("first") for version in versions}
    assert len(seen - {None}) == 1
    assert sorted(store.scan(LOG).collect()["line"]) == [0, 1, 2, 3]


def test_of_creators_at_once_one_makes_the_table(lake: Settings) -> None:
    """A second creation on top would give the table another identity, for which its readers start anew."""
    for number in range(4):
        table, start = replace(LOG, name=f"{LOG.name}_{number}"), Barrier(4)

        def create(table: Contract = table, start: Barrier = start) -> str:
            store = open_store(lake)
            start.wait(timeout=60)
            store.ensure(table)
            return store.snapshot(table).identity

        with ThreadPoolExecutor(4) as threads:
            seen = {made.result() for made in [threads.submit(create) for _ in range(4)]}
        store = open_store(lake)
        assert seen == {store.snapshot(table).identity}
        assert len(store.history(table)) == 1
        assert store.foreign_commits(table) == []


def test_steady_reads_see_own_commits_and_commits_see_those_of_others(lake: Settings) -> None:
    mine, other = open_store(lake), open_store(lake)
    mine.append(LOG, pl.DataFrame({"line": [1]}))
    with mine.pinned_reads():
        assert mine.snapshot(LOG).rows == 1
        early = mine.scan(LOG)
        other.append(LOG, pl.DataFrame({"line": [2]}))
        assert mine.snapshot(LOG).rows in (1, 2)
        mine.append(LOG, pl.DataFrame({"line": [3]}))
        assert mine.snapshot(LOG).rows == 3
        assert sorted(mine.scan(LOG).collect()["line"]) == [1, 2, 3]
        late = mine.scan(LOG)
    other.append(LOG, pl.DataFrame({"line": [4]}))
    mine.append(LOG, pl.DataFrame({"line": [5]}))
    assert mine.snapshot(LOG).rows == 5
    assert early.collect()["line"].to_list() == [1]
    assert sorted(late.collect()["line"]) == [1, 2, 3]
