"""Rows come to the store as Parquet files that an engine staged: each is checked, none changed on its way."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import duckdb
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from polars.testing import assert_frame_equal
from test_store_contract import DAYS, EVENTS, LOG, NOON, events, lake, store, stored
from test_store_types import struct

from lakehouse.contracts import Column, Contract, DecimalType, ListType, Materialization, Type
from lakehouse.errors import DataViolation, LakeError, SchemaViolation
from lakehouse.store import StagedFiles, TableStore
from lakehouse.store.validation import Incoming, conform

__all__ = ["lake", "store"]  # fixtures: both formats
NESTED = Contract(
    layer="silver",
    name="nested",
    domain="test",
    description="One row of every kind of value.",
    columns=(
        Column(name="id", type=Type.STRING, nullable=False, description="Identity"),
        Column(name="paid", type=DecimalType(18, 2), description="Amount"),
        Column(name="at", type=Type.TIMESTAMP, description="When"),
        Column(name="day", type=Type.DATE, description="Day"),
        Column(name="raw", type=Type.BINARY, description="Bytes"),
        Column(name="share", type=Type.FLOAT64, description="Share"),
        Column(name="names", type=ListType(Type.STRING), description="Names"),
        Column(name="codes", type=ListType(struct(code=Type.STRING, n=Type.INT64)), description="Codes"),
    ),
    key=("id",),
    materialization=Materialization.INCREMENTAL_BY_KEY,
)
ROWS = pl.DataFrame(
    {
        "id": ["a", "b", "c"],
        "paid": [Decimal("1234567890123456.78"), Decimal("-0.01"), None],
        "at": [datetime(1, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, 23, 59, 59, 999999, tzinfo=UTC), None],
        "day": [datetime(1, 1, 1), datetime(9999, 12, 31), None],
        "raw": [b"\x00\xff", b"", None],
        "share": [float("nan"), -0.0, None],
        "names": [["x", None, ""], [], None],
        "codes": [[{"code": "y", "n": 2**62}, {"code": None, "n": None}], [], None],
    },
    schema=NESTED.polars_schema(),
    strict=False,
)


def by_polars(rows: pl.DataFrame, file: Path) -> None:
    rows.write_parquet(file, row_group_size=2)


def by_pyarrow(rows: pl.DataFrame, file: Path) -> None:
    pq.write_table(rows.to_arrow(compat_level=pl.CompatLevel.oldest()), file)


def by_duckdb(rows: pl.DataFrame, file: Path) -> None:
    connection = duckdb.connect()
    connection.execute("SET TimeZone = 'America/New_York'")
    connection.register("made", rows.to_arrow())
    connection.execute(f"COPY (SELECT * FROM made) TO '{file}' (FORMAT parquet, COMPRESSION snappy)")


ENGINES: dict[str, Callable[[pl.DataFrame, Path], None]] = {
    "polars": by_polars,
    "pyarrow": by_pyarrow,
    "duckdb": by_duckdb,
}


@pytest.fixture
def stage(tmp_path: Path) -> Callable[..., StagedFiles]:
    """Write each frame to a file of its own, in a folder whose name is no pattern and no partition."""
    folder = tmp_path / "a=b [1]*?" / "id=z"
    folder.mkdir(parents=True)

    def write(*frames: pl.DataFrame, write: Callable[[pl.DataFrame, Path], None] = by_polars) -> StagedFiles:
        files = [folder / f"part %20 {number}.parquet" for number in range(len(frames))]
        for frame, file in zip(frames, files, strict=True):
            write(frame, file)
        return StagedFiles([str(file) for file in files])

    return write


@pytest.mark.parametrize("engine", ENGINES)
def test_every_kind_of_value_comes_back_as_it_was_staged(
    store: TableStore, stage: Callable[..., StagedFiles], engine: str
) -> None:
    staged = stage(ROWS.head(2), ROWS.tail(1).select(reversed(ROWS.columns)), write=ENGINES[engine])
    assert store.append(NESTED, staged).outcome.inserted == 3
    assert_frame_equal(store.scan(NESTED).collect().sort("id"), ROWS)
    assert not store.check_bytes(NESTED).unrecorded


def test_merge_replaces_what_is_known_and_adds_the_rest(
    store: TableStore, stage: Callable[..., StagedFiles]
) -> None:
    store.merge(EVENTS, stage(events(("a", 1)), events(("b", 2))))
    done = store.merge(EVENTS, stage(events(("b", 3)), events(("c", 4))))
    assert (done.outcome.inserted, done.outcome.updated) == (1, 1)
    assert sorted(stored(store)) == [("a", 1), ("b", 3), ("c", 4)]


def test_overwrite_and_partitions(store: TableStore, stage: Callable[..., StagedFiles]) -> None:
    def days(*rows: tuple[str, int]) -> pl.DataFrame:
        return pl.DataFrame(rows, schema=DAYS.polars_schema(), orient="row")

    store.overwrite(DAYS, stage(days(("mon", 1)), days(("tue", 2))))
    store.replace_partitions(DAYS, stage(days(("tue", 3)), days(("wed", 4))))
    assert sorted(store.scan(DAYS).collect().rows()) == [("mon", 1), ("tue", 3), ("wed", 4)]
    store.overwrite(DAYS, stage(days(("sun", 5))))
    assert store.scan(DAYS).collect().rows() == [("sun", 5)]
    assert store.overwrite(DAYS, StagedFiles([])).landed == "committed"
    assert store.scan(DAYS).collect().is_empty()
    assert store.merge(DAYS, StagedFiles([])).landed == "skipped"


def test_a_clustered_table_is_sorted_all_the_same(
    store: TableStore, stage: Callable[..., StagedFiles]
) -> None:
    table = replace(EVENTS, name="sorted_events", cluster_by=("n",))
    frames = [events(*((f"{n:03d}", 997 * n % 101) for n in range(at, 100, 2))) for at in (0, 1)]
    store.append(table, stage(*frames))
    found = store.scan(table).collect()
    assert found["n"].is_sorted()
    assert_frame_equal(found.sort("id"), pl.concat(frames).sort("id"))


def test_floats_of_a_key_that_are_equal_are_written_as_one(stage: Callable[..., StagedFiles]) -> None:
    share = replace(NESTED.by_name["share"], nullable=False)
    table = replace(NESTED, key=("share",), columns=(share,))
    staged = stage(pl.DataFrame({"share": [-0.0, 1.0, float("nan")]}))
    found = conform(table, staged).select(["share"])
    assert [str(value) for (value,) in found.rows()] == ["0.0", "1.0", "nan"]


def broken(change: Callable[[pl.DataFrame], pl.DataFrame]) -> pl.DataFrame:
    return change(events(("b", 2), ("c", 3)))


REFUSED = {
    "another type": (broken(lambda f: f.with_columns(pl.col("n").cast(pl.Int64))), "n is Int64, not Int32"),
    "a column less": (broken(lambda f: f.drop("n")), "missing: n"),
    "a column more": (broken(lambda f: f.with_columns(m=1)), "unexpected: m"),
    "another zone": (
        broken(lambda f: f.with_columns(pl.col("at").dt.convert_time_zone("Europe/Berlin"))),
        "at is Datetime",
    ),
    "no zone": (broken(lambda f: f.with_columns(pl.col("at").dt.replace_time_zone(None))), "at is Datetime"),
    "a null": (broken(lambda f: f.with_columns(id=pl.lit(None, pl.String))), r"a?id \(2 rows\)"),
    "a far time": (
        broken(lambda f: f.with_columns(at=pl.lit(2**62).cast(pl.Datetime("us", "UTC")))),
        r"at \(2 rows\)",
    ),
}


@pytest.mark.parametrize("kind", REFUSED)
@pytest.mark.parametrize("first", [True, False])
def test_what_the_table_cannot_take_is_named_whichever_file_has_it(
    stage: Callable[..., StagedFiles], kind: str, first: bool
) -> None:
    bad, says = REFUSED[kind]
    files = [bad, events(("a", 1))] if first else [events(("a", 1)), bad]
    with pytest.raises((SchemaViolation, DataViolation), match=says):
        conform(EVENTS, stage(*files))


def test_a_key_in_two_files_is_refused(store: TableStore, stage: Callable[..., StagedFiles]) -> None:
    version = store.ensure(EVENTS)
    for write in (store.merge, store.overwrite):
        with pytest.raises(DataViolation, match="1 rows repeat the key"):
            write(EVENTS, stage(events(("a", 1)), events(("a", 9))))
    assert (store.snapshot(EVENTS).version, stored(store)) == (version, [])


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-20])


def flip(file: Path) -> None:
    """Damage the first page alone: footer and names stay whole."""
    body = bytearray(file.read_bytes())
    body[4:60] = b"\xff" * 56
    file.write_bytes(body)


def folder(file: Path) -> None:
    file.unlink()
    file.mkdir()


DAMAGES: dict[str, Callable[[Path], None]] = {
    "gone": Path.unlink,
    "cut": cut,
    "empty": lambda file: file.write_bytes(b""),
    "a page": flip,
    "another format": lambda file: file.write_text("id,at,n\nthe secret of patient 4711,,\n"),
    "a folder": folder,
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_file_that_cannot_be_read_is_refused(stage: Callable[..., StagedFiles], damage: str) -> None:
    staged = stage(events(("a", 1)), events(("b", 2)))
    DAMAGES[damage](Path(staged.files[1]))
    with pytest.raises(SchemaViolation, match="a staged file cannot be read") as refused:
        conform(EVENTS, staged)
    assert "4711" not in str(refused.value)


@pytest.mark.parametrize("write", ["append", "merge", "overwrite"])
def test_a_file_that_goes_amid_the_write_leaves_nothing(
    store: TableStore, stage: Callable[..., StagedFiles], write: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    version = store.ensure(EVENTS)
    staged = stage(events(("a", 1)), events(("b", 2)))
    whole, parts = Incoming.frame, Incoming.parts
    for name, method in (("frame", whole), ("parts", parts)):

        def gone(self: Incoming, *args: object, method: Callable[..., object] = method) -> object:
            Path(staged.files[1]).unlink(missing_ok=True)
            return method(self, *args)

        monkeypatch.setattr(Incoming, name, gone)
    with pytest.raises(LakeError):
        getattr(store, write)(EVENTS, staged)
    monkeypatch.undo()
    assert (store.snapshot(EVENTS).version, stored(store)) == (version, [])


@pytest.mark.parametrize(
    "file", ["rows.parquet", "file:///tmp/rows.parquet", "https://host/rows.parquet", "s3://b/r"]
)
def test_an_address_of_another_kind_is_refused(file: str) -> None:
    with pytest.raises(SchemaViolation, match="neither an absolute path"):
        conform(LOG, StagedFiles([file]))


def test_types_of_another_engine_are_not_cast(stage: Callable[..., StagedFiles], tmp_path: Path) -> None:
    """As an older Spark writes times: nanoseconds in 96 bits, without a zone."""
    file = tmp_path / "old.parquet"
    times = pa.array([NOON.replace(tzinfo=None)], pa.timestamp("ns"))
    rows = pa.table({"id": ["a"], "at": times, "n": pa.array([1], pa.int32())})
    pq.write_table(rows, file, use_deprecated_int96_timestamps=True)
    with pytest.raises(SchemaViolation, match="at is Datetime"):
        conform(EVENTS, StagedFiles([str(file)]))
