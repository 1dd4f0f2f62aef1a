"""The persistence authority on a folder: what it promises, tried."""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, datetime
from multiprocessing import get_context
from pathlib import Path

import polars as pl
import pytest
from deltalake import DeltaTable, write_deltalake
from deltalake.exceptions import DeltaError
from hypothesis import given
from hypothesis import strategies as st

from lakehouse.contracts import Column, Contract, Materialization, Type
from lakehouse.errors import DataViolation, SchemaViolation, StaleWriter, StorageUnavailable, TableNotFound
from lakehouse.settings import Settings
from lakehouse.store import CommitOptions, Outcome, Transaction
from lakehouse.store.delta import DeltaStore
from lakehouse.store.delta.write import partition_predicate
from lakehouse.store.validation import duplicated

EVENTS = Contract(
    layer="silver",
    name="events",
    domain="test",
    description="One event.",
    columns=(
        Column(name="id", type=Type.STRING, nullable=False, description="Identity"),
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
    key=("day", ),
    partition_by=("day",),
    materialization=Materialization.FULL,
)  # fmt: skip
LOG = Contract(
    layer="bronze",
    name="log",
    domain="test",
    description="One line.",
    columns=(Column(name="line", type=Type.INT64, nullable=False, description="Number"),),
    materialization=Materialization.APPEND,
)
NOON = datetime(2024, 5, 1, 12, tzinfo=UTC)


@pytest.fixture
def store(tmp_path: Path) -> DeltaStore:
    return DeltaStore(Settings(lake_url=str(tmp_path), landing_url=str(tmp_path)))


def events(*rows: tuple[str, int | None]) -> pl.DataFrame:
    return pl.DataFrame([(i, NOON, n) for i, n in rows], schema=EVENTS.polars_schema(), orient="row")


def stored(store: DeltaStore, *, version: int | None = None) -> list[tuple[str, int | None]]:
    return store.scan(EVENTS, version=version).select("id", "n").sort("id").collect().rows()


def test_merge_inserts_new_keys_and_replaces_known_ones(store: DeltaStore) -> None:
    first = store.merge(EVENTS, events(("a", 1), ("b", 2)))
    second = store.merge(EVENTS, events(("b", 3), ("c", None)))
    assert first.outcome == Outcome(rows=2, inserted=2, updated=0)
    assert second.outcome == Outcome(rows=2, inserted=1, updated=1)
    assert stored(store) == [("a", 1), ("b", 3), ("c", None)]
    assert stored(store, version=first.version) == [("a", 1), ("b", 2)]


def test_a_token_makes_a_commit_happen_once(store: DeltaStore) -> None:
    commit = CommitOptions(transaction=Transaction("position:bronze/x", 7))
    first = store.merge(EVENTS, events(("a", 1)), commit)
    again = store.merge(EVENTS, events(("a", 99)), commit)
    assert (first.landed, again.landed, again.version) == ("committed", "duplicate", first.version)
    assert stored(store) == [("a", 1)]


def test_a_writer_behind_the_recorded_position_is_refused(store: DeltaStore) -> None:
    store.merge(EVENTS, events(("a", 1)), CommitOptions(transaction=Transaction("position:bronze/x", 7)))
    with pytest.raises(StaleWriter, match=r"silver/events.*stands at 7, past this writer's 6"):
        store.merge(EVENTS, events(("a", 99)), CommitOptions(transaction=Transaction("position:bronze/x", 6)))
    assert stored(store) == [("a", 1)]


def test_marks_are_computed_from_the_outcome_and_survive_checkpoints(store: DeltaStore) -> None:
    for number in range(25):
        store.merge(
            EVENTS,
            events((f"id{number % 20}", number)),
            CommitOptions(reads=("rows",), state=lambda o, b: {"rows": b.get("rows", 0) + o.inserted}),
        )
    assert store.read_state(EVENTS, ["rows", "never"]) == {"rows": 20}
    assert store.snapshot(EVENTS).rows == 20


@pytest.mark.parametrize(
    ("frame", "says"),
    [
        (events(("a", 1)).drop("n"), "missing: n"),
        (events(("a", 1)).with_columns(x=pl.lit(1)), "unexpected: x"),
        (events(("a", 1)).with_columns(pl.col("n").cast(pl.Int64)), "n is Int64, not Int32"),
        (events(("a", 1)).with_columns(pl.lit(1.9).alias("n")), "n is Float64, not Int32"),
        (events(("a", 1)).with_columns(pl.lit("12").alias("n")), "n is String, not Int32"),
        (events(("a", 1)).with_columns(pl.lit(True).alias("n")), "n is Boolean, not Int32"),
        (events(("a", 1)).with_columns(pl.lit(None).alias("n")), "n is Null, not Int32"),
        (events(("a", 1)).with_columns(pl.col("at").dt.replace_time_zone(None)), "at is Datetime"),
        (events(("a", 1)).with_columns(pl.col("at").dt.cast_time_unit("ns")), "at is Datetime"),
        (events(("a", 1)).with_columns(pl.col("id").cast(pl.Categorical)), "id is Categorical"),
    ],
)
def test_what_a_library_would_cast_silently_is_refused_by_name(
    store: DeltaStore, frame: pl.DataFrame, says: str
) -> None:
    with pytest.raises(SchemaViolation, match=says):
        store.append(EVENTS, frame)
    assert not store.exists(EVENTS)


def test_the_bare_library_does_cast_silently(tmp_path: Path) -> None:
    """The trap behind the test above, still there in the pinned version."""
    write_deltalake(str(tmp_path), pl.DataFrame({"n": [1]}, schema={"n": pl.Int32}).to_arrow())
    write_deltalake(str(tmp_path), pl.DataFrame({"n": [1.9]}).to_arrow(), mode="append")
    assert pl.read_delta(str(tmp_path))["n"].to_list() == [1, 1]


def test_null_and_repeated_keys_are_refused(store: DeltaStore) -> None:
    nulls = events(("a", 1)).with_columns(pl.lit(None, pl.String).alias("id"))
    with pytest.raises(DataViolation, match=r"id \(1 rows\)"):
        store.merge(EVENTS, nulls)
    with pytest.raises(DataViolation, match="2 rows repeat the key"):
        store.merge(EVENTS, events(("a", 1), ("a", 2), ("a", 3)))


def test_replace_partitions_touches_no_other(store: DeltaStore) -> None:
    def days(*rows: tuple[str, int]) -> pl.DataFrame:
        return pl.DataFrame(list(rows), schema=DAYS.polars_schema(), orient="row")

    nasty = 'it\'s 100% "fine" / a=b; -- ü'
    store.replace_partitions(DAYS, days(("d1", 1), (nasty, 2)))
    store.replace_partitions(DAYS, days((nasty, 3)))
    assert sorted(store.scan(DAYS).collect().rows()) == sorted([("d1", 1), (nasty, 3)])
    assert partition_predicate(DAYS, days(("x' OR 1=1", 1))) == "(\"day\" = 'x'' OR 1=1')"


def test_overwrite_replaces_everything_and_can_leave_nothing(store: DeltaStore) -> None:
    store.merge(EVENTS, events(("a", 1), ("b", 2)))
    store.overwrite(EVENTS, events())
    assert stored(store) == []


def test_reading_says_what_is_wrong(store: DeltaStore) -> None:
    with pytest.raises(TableNotFound, match=r"silver/events.*never been written"):
        store.scan(EVENTS)
    store.merge(EVENTS, events(("a", 1)))
    other = Contract(layer="silver", name="events", domain="t", description="x",
                     materialization=Materialization.APPEND,
                     columns=(Column(name="id", type=Type.INT64, description="x"),))  # fmt: skip
    with pytest.raises(SchemaViolation, match="id is string, not long"):
        store.scan(other)
    with pytest.raises(SchemaViolation, match="another schema"):
        store.append(other, pl.DataFrame({"id": [1]}))


def test_a_commit_that_landed_is_not_repeated_after_an_error(
    store: DeltaStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The store answers an error although the commit is in: the log decides, not the answer."""
    store.ensure(EVENTS)
    real = DeltaStore._write

    def stored_then_failed(self: DeltaStore, *args: object, **kwargs: object) -> None:
        real(self, *args, **kwargs)  # type: ignore[arg-type]
        raise OSError("connection reset")

    monkeypatch.setattr(DeltaStore, "_write", stored_then_failed)
    result = store.merge(EVENTS, events(("a", 1)))
    assert (result.landed, result.attempts, stored(store)) == ("committed", 1, [("a", 1)])


def test_an_error_before_the_commit_is_retried(store: DeltaStore, monkeypatch: pytest.MonkeyPatch) -> None:
    store.ensure(EVENTS)
    real, calls = DeltaStore._write, []

    def fails_first(self: DeltaStore, *args: object, **kwargs: object) -> None:
        calls.append(1)
        if len(calls) == 1:
            raise OSError("503")
        real(self, *args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(DeltaStore, "_write", fails_first)
    assert store.merge(EVENTS, events(("a", 1))).attempts == 2
    assert stored(store) == [("a", 1)]


def test_other_errors_say_that_nothing_landed(store: DeltaStore, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("cast failed")

    monkeypatch.setattr(DeltaStore, "_write", broken)
    with pytest.raises(StorageUnavailable, match=r"RuntimeError at test_store:\d+\. Nothing of it landed"):
        store.merge(EVENTS, events(("a", 1)))


def _append_some(root: str, writer: int) -> int:
    store = DeltaStore(Settings(lake_url=root, landing_url=root))
    for number in range(10):
        store.append(LOG, pl.DataFrame({"line": [writer * 100 + number]}))
    return 10


def _count_up(root: str, writer: int) -> int:
    store = DeltaStore(Settings(lake_url=root, landing_url=root))
    for number in range(5):
        store.merge(
            EVENTS,
            events((f"shared{number}", writer), (f"own{writer}-{number}", 1)),
            CommitOptions(reads=("rows",), state=lambda o, b: {"rows": b.get("rows", 0) + o.inserted}),
        )
    return 5


@pytest.mark.slow
@pytest.mark.parametrize(("work", "table", "rows"), [(_append_some, LOG, 40), (_count_up, EVENTS, 25)])
def test_every_acknowledged_row_of_concurrent_writers_is_there_once(
    tmp_path: Path, work, table, rows
) -> None:  # type: ignore[no-untyped-def]
    with ProcessPoolExecutor(4, mp_context=get_context("spawn")) as pool:
        list(pool.map(work, [str(tmp_path)] * 4, range(4)))
    store = DeltaStore(Settings(lake_url=str(tmp_path), landing_url=str(tmp_path)))
    frame = store.scan(table).collect()
    assert frame.height == rows
    if table.key:
        assert frame.select(table.key).n_unique() == rows
        assert store.read_state(table, ["rows"]) == {"rows": rows}
    else:
        assert frame["line"].n_unique() == rows


def _compact(uri: str) -> str:
    try:
        return str(DeltaTable(uri).optimize.compact()["numFilesRemoved"])
    except DeltaError as exc:
        return type(exc).__name__


def test_two_compactions_at_once_do_not_double_the_rows(store: DeltaStore) -> None:
    """deltalake 1.6.4 to 1.6.6 double every row here; a bump of the pin must pass this."""
    plain = Contract(layer="gold", name="plain", domain="t", description="x",
                     materialization=Materialization.FULL,
                     columns=(Column(name="n", type=Type.INT64, description="x"),))  # fmt: skip
    for number in range(30):
        store.append(plain, pl.DataFrame({"n": [number] * 1000}))
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        list(pool.map(_compact, [store.uri(plain)] * 2))
    assert store.scan(plain).collect().height == 30_000


def test_comments_keys_and_properties_reach_the_table(store: DeltaStore) -> None:
    store.ensure(LOG)
    delta = DeltaTable(store.uri(LOG))
    assert delta.schema().fields[0].metadata == {"comment": "Number"}
    assert delta.metadata().configuration["delta.appendOnly"] == "true"
    assert delta.metadata().configuration["delta.checkpointInterval"] == "10"
    with pytest.raises(Exception, match=r"(?i)append"):
        delta.delete("line = 1")


def test_missing_and_cut_files_are_named(store: DeltaStore) -> None:
    store.merge(EVENTS, events(("a", 1)))
    store.merge(EVENTS, events(("b", 1)))
    first, second = sorted((Path(store.uri(EVENTS))).glob("*.parquet"))
    first.unlink()
    second.write_bytes(second.read_bytes()[:-4])
    assert sorted(store.missing_files(EVENTS)) == sorted([first.name, second.name])


@given(st.lists(st.tuples(st.sampled_from(["a", "b", None, ""]), st.integers(0, 3)), max_size=30))
def test_repeats_are_found_exactly(rows: list[tuple[str | None, int]]) -> None:
    frame = pl.DataFrame(rows, schema={"k": pl.String, "n": pl.Int64}, orient="row")
    assert duplicated(frame, ["k", "n"]).to_list() == [rows.count(row) > 1 for row in rows]


def test_rows_of_one_hash_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pl.DataFrame, "hash_rows", lambda self: pl.Series([7] * self.height, dtype=pl.UInt64))
    frame = pl.DataFrame({"k": ["a", "b", "a", "c"]})
    assert duplicated(frame, ["k"]).to_list() == [True, False, True, False]
