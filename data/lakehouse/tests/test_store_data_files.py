"""The files of a version, read by who knows nothing of the table format, are that version's rows.

Belongs here: that promise, on each backend. Does not: who is told of them, or where they can be fetched.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import lakes
import polars as pl
import pytest
from deltalake import DeltaTable
from polars.testing import assert_frame_equal
from test_store_contract import DAYS, EVENTS, LOG, days, events

from lakehouse.contracts import Column, Contract, Type
from lakehouse.errors import SchemaViolation, TableNotFound, Unsupported
from lakehouse.settings import Settings
from lakehouse.storage.paths import is_below
from lakehouse.store import MaintenanceOptions, TableStore, Term, Where, open_store
from lakehouse.store.ducklake.connection import DuckLake

STRANGE = [
    "a b",
    "ä/ö",
    "50%",
    "%20",
    "x=y&z",
    "#?",
    "'\"",
    "2024-01-01",
    "+",
    "日本",
    "__HIVE_DEFAULT_PARTITION__x",
]
"""Partition values that paths, URLs or logs write otherwise."""


@pytest.fixture(params=["folder", pytest.param("ducklake", marks=pytest.mark.slow)])
def lake(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Settings]:
    with lakes.lake_of(request.param, tmp_path) as settings:
        yield settings


@pytest.fixture
def store(lake: Settings) -> TableStore:
    return open_store(lake)


def read(store: TableStore, table: Contract, version: int | None = None) -> pl.DataFrame:
    """Return the rows that the files of a version hold, read file by file."""
    found = store.data_files(table, version=version)
    frames = []
    for file in found.files:
        frame = pl.read_parquet(f"{store.uri(table)}/{file.name}", hive_partitioning=False)
        assert frame.height == file.rows
        assert Path(store.uri(table), file.name).stat().st_size == file.size_bytes
        frame = frame.with_columns(pl.lit(value).alias(name) for name, value in file.partition.items())
        young = [name for name in found.columns if name not in frame.columns]
        frames.append(frame.with_columns(pl.lit(None).alias(name) for name in young).select(found.columns))
    schema = {name: kind for name, kind in table.polars_schema().items() if name in found.columns}
    cast = [frame.cast(schema) for frame in frames]  # type: ignore[arg-type]
    return pl.concat([pl.DataFrame(schema=schema), *cast])


def same(store: TableStore, table: Contract, version: int | None = None) -> None:
    rows = store.scan(table, version=version).collect()
    wanted = rows.select(store.data_files(table, version=version).columns)
    assert_frame_equal(read(store, table, version), wanted, check_row_order=False)


def test_files_are_the_rows_through_merges_deletes_and_compaction(store: TableStore) -> None:
    versions = [store.ensure(EVENTS)]
    for step in range(4):
        rows = [(f"k{n}", n + step) for n in range(step, step + 5)]
        versions.append(store.merge(EVENTS, events(*rows)).version)
    versions.append(store.delete(EVENTS, Where(Term("n", "=", 7))).version)
    store.maintain(EVENTS, MaintenanceOptions(retain=timedelta(days=7), keep=versions))
    for version in [*versions, None]:
        same(store, EVENTS, version)
    assert store.data_files(EVENTS).version == store.snapshot(EVENTS).version
    assert store.data_files(EVENTS).identity == store.snapshot(EVENTS).identity


def test_a_table_without_rows_has_no_files(store: TableStore) -> None:
    with pytest.raises(TableNotFound):
        store.data_files(EVENTS)
    store.ensure(EVENTS)
    found = store.data_files(EVENTS)
    assert (found.files, list(found.columns)) == ((), list(EVENTS.column_names))


def test_partition_values_are_those_of_the_rows(store: TableStore) -> None:
    store.overwrite(DAYS, days(*((day, n) for n, day in enumerate(STRANGE))))
    same(store, DAYS)
    if found := store.data_files(DAYS).partition_by:
        assert list(found) == ["day"]
        assert {file.partition["day"] for file in store.data_files(DAYS).files} == set(STRANGE)


def test_partition_values_of_every_kind_are_written_as_delta_does(tmp_path: Path) -> None:
    kinds = {"i": Type.INT64, "b": Type.BOOL, "d": Type.DATE, "s": Type.STRING}
    columns = tuple(Column(name=name, type=kind, description=name) for name, kind in kinds.items())
    table = replace(
        LOG, layer="gold", name="kinds", partition_by=tuple(kinds),
        columns=(*columns, Column(name="n", type=Type.INT64, description="n")),
    )  # fmt: skip
    store = open_store(Settings(lake_url=str(tmp_path), landing_url=str(tmp_path / "landing")))
    frame = pl.DataFrame(
        [
            (-5, True, datetime(2024, 2, 29, tzinfo=UTC).date(), "x", 1),
            (2**62, False, None, None, 2),
            (None, None, datetime(1, 1, 1, tzinfo=UTC).date(), "true", 3),
        ],
        schema=table.polars_schema(), orient="row",
    )  # fmt: skip
    store.append(table, frame)
    assert [
        dict(file.partition)
        for file in sorted(store.data_files(table).files, key=lambda f: str(f.partition["i"]))
    ] == [
        {"i": "-5", "b": "true", "d": "2024-02-29", "s": "x"},
        {"i": str(2**62), "b": "false", "d": None, "s": None},
        {"i": None, "b": None, "d": "0001-01-01", "s": "true"},
    ]


def test_a_column_added_later_is_absent_before(store: TableStore) -> None:
    before = store.merge(EVENTS, events(("a", 1))).version
    wider = replace(EVENTS, columns=(*EVENTS.columns, Column(name="late", type=Type.STRING, description="l")))
    store.merge(wider, events(("b", 2)).with_columns(late=pl.lit("x")))
    assert list(store.data_files(wider, version=before).columns) == list(EVENTS.column_names)
    same(store, wider, before)
    same(store, wider)


def test_a_column_that_the_contract_does_not_know_is_never_handed_out(store: TableStore) -> None:
    wider = replace(
        EVENTS, columns=(*EVENTS.columns, Column(name="secret", type=Type.STRING, description="s"))
    )
    store.merge(wider, events(("a", 1)).with_columns(secret=pl.lit("x")))
    with pytest.raises(SchemaViolation):
        store.data_files(EVENTS)


@pytest.mark.parametrize("version", [-1, 99, 2**63 - 1, 2**70])
def test_a_version_that_is_not_there_is_refused(store: TableStore, version: int) -> None:
    store.ensure(EVENTS)
    if version == 99 and store.snapshot(EVENTS).version >= version:
        pytest.skip("the lake has come that far")
    with pytest.raises(Unsupported):
        store.data_files(EVENTS, version=version)


def test_a_table_that_needs_a_younger_reader_is_refused(tmp_path: Path) -> None:
    store = open_store(Settings(lake_url=str(tmp_path), landing_url=str(tmp_path / "landing")))
    store.merge(EVENTS, events(("a", 1)))
    from deltalake import TableFeatures

    DeltaTable(store.uri(EVENTS)).alter.add_feature(
        TableFeatures.DeletionVectors, allow_protocol_versions_increase=True
    )
    with pytest.raises(Unsupported, match="reader version is 3"):
        store.data_files(EVENTS)


def test_rows_deleted_beside_the_files_are_refused(tmp_path: Path) -> None:
    with lakes.lake_of("ducklake", tmp_path) as settings:
        store = open_store(settings)
        before = store.merge(EVENTS, events(*((f"k{n}", n) for n in range(100)))).version
        with DuckLake(settings).asking("deleting as another program") as cursor:
            cursor.execute("DELETE FROM lake.silver.events WHERE n = 3")
        with pytest.raises(Unsupported, match="removed or kept outside"):
            store.data_files(EVENTS)
        same(store, EVENTS, before)


def test_a_column_that_was_renamed_is_refused(tmp_path: Path) -> None:
    with lakes.lake_of("ducklake", tmp_path) as settings:
        store = open_store(settings)
        store.merge(EVENTS, events(("a", 1)))
        with DuckLake(settings).asking("renaming as another program") as cursor:
            cursor.execute("ALTER TABLE lake.silver.events DROP COLUMN n")
            cursor.execute("ALTER TABLE lake.silver.events ADD COLUMN n INTEGER")
        assert store.scan(EVENTS).collect()["n"].to_list() == [None]  # not the 1 that its file holds
        with pytest.raises(Unsupported, match="renamed"):
            store.data_files(EVENTS)


@pytest.mark.parametrize(
    ("name", "below"),
    [
        ("part-0.parquet", True), ("day=a%20b/part-0.parquet", True), ("..x/y", True), ("", False),
        ("/etc/passwd", False), ("../gold/x.parquet", False), ("a/../b", False), ("a//b", False),
        ("file:///etc/passwd", False), ("s3://elsewhere/x", False), ("a\0b", False), (".", False),
    ],
)  # fmt: skip
def test_which_names_lie_below_a_table(name: str, below: bool) -> None:
    assert is_below(name) is below
