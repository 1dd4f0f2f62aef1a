"""Traps of the table format's library in what it stores: types, names, partitions, files. See test_traps.py.

Each is first shown in the library alone, then our answer: mostly a refusal, by name, and nothing is written.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable, Field, Schema, WriterProperties, write_deltalake
from deltalake.exceptions import DeltaError
from test_traps import ITEMS, OPEN, held, rows

from lakehouse import Column, Contract, Materialization, Term, Type, Where, open_lake
from lakehouse.errors import ContractError, DataViolation, SchemaViolation
from lakehouse.store import MaintenanceOptions
from lakehouse.store.delta import DeltaStore

TIMES = Contract(
    layer="silver", name="times", domain="test", description="One time.",
    materialization=Materialization.APPEND,
    columns=(Column(name="at", type=Type.TIMESTAMP, description="When"),),
)  # fmt: skip
PLACES = Contract(
    layer="gold", name="places", domain="test", description="One place.",
    materialization=Materialization.FULL, partition_by=("p",),
    columns=(
        Column(name="p", type=Type.STRING, description="Where"),
        Column(name="n", type=Type.INT64, description="A number"),
    ),
)  # fmt: skip


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "bare")


@pytest.fixture
def store(tmp_path: Path) -> DeltaStore:
    store = open_lake(tmp_path / "lake").store
    assert isinstance(store, DeltaStore)
    return store


def stored_type(path: str, column: str) -> str:
    [kind] = [field.type for field in DeltaTable(path).schema().fields if field.name == column]
    return str(getattr(kind, "type", kind))


def test_schema_mode_merge_does_not_widen(path: str, store: DeltaStore) -> None:
    write_deltalake(path, rows(("a", 1)).to_arrow())
    more = pa.table({"k": ["b"], "n": [1.5]})
    write_deltalake(path, more, mode="append", schema_mode="merge")
    assert sorted(pl.read_delta(path).rows()) == [("a", 1), ("b", 1)]
    with pytest.raises(SchemaViolation, match="n is Float64, not Int32"):
        store.append(ITEMS, rows(("b", 1)).with_columns(n=pl.lit(1.5)))


def test_a_time_without_zone_changes_the_protocol(path: str, store: DeltaStore) -> None:
    naive = pl.DataFrame({"at": [datetime(2024, 1, 1)]})
    write_deltalake(path, naive.to_arrow())
    assert stored_type(path, "at") == "timestamp_ntz"
    assert DeltaTable(path).protocol().min_reader_version == 3
    with pytest.raises(SchemaViolation, match="at is Datetime"):
        store.append(TIMES, naive)
    store.append(TIMES, naive.select(pl.col("at").dt.replace_time_zone("UTC")))
    assert DeltaTable(store.uri(TIMES)).protocol().min_reader_version == 1


def test_nanoseconds_are_cut(path: str, store: DeltaStore) -> None:
    at = pl.DataFrame({"at": [1_700_000_000_123_456_789]}).cast(pl.Datetime("ns", "UTC"))
    write_deltalake(path, at.to_arrow())
    assert pl.read_delta(path)["at"].to_list() == [datetime(2023, 11, 14, 22, 13, 20, 123_456, tzinfo=UTC)]
    with pytest.raises(SchemaViolation, match="time_unit='ns'"):
        store.append(TIMES, at)


def test_the_named_range_index_of_a_pandas_frame_is_dropped(path: str, store: DeltaStore) -> None:
    frame = pd.DataFrame({"n": [1]})
    write_deltalake(path, frame.rename_axis("id"))
    assert pl.read_delta(path).columns == ["n"]
    write_deltalake(
        path, frame.set_index(pd.Index(["a"], name="id")), mode="overwrite", schema_mode="overwrite"
    )
    assert pl.read_delta(path).columns == ["n", "id"], "any other index is kept"
    for given in (frame, frame.to_dict("list"), rows(("a", 1)).lazy()):
        with pytest.raises(SchemaViolation, match=r"rows come as an Arrow stream, such as .*, not as "):
            store.append(ITEMS, given)  # type: ignore[arg-type]


def test_categories_panic_in_the_parquet_writer(path: str, store: DeltaStore) -> None:
    frame = rows(("a", 1)).with_columns(pl.col("k").cast(pl.Categorical))
    with pytest.raises(DeltaError, match="panicked"):
        write_deltalake(path, frame)
    with pytest.raises(SchemaViolation, match="k is Categorical, not String"):
        store.append(ITEMS, frame)


def test_a_column_of_nothing_but_null_has_no_type(path: str, store: DeltaStore) -> None:
    nulls = pl.DataFrame({"k": ["a"], "n": [None]})
    write_deltalake(path, nulls.to_arrow())
    assert stored_type(path, "n") == "void"  # DuckDB and ClickHouse cannot read such a table at all
    with pytest.raises(SchemaViolation, match="n is Null, not Int32"):
        store.append(ITEMS, nulls)
    store.append(ITEMS, rows(("a", None)))
    assert held(store) == [("a", None)]


@pytest.mark.parametrize("name", ["a b", "a,b", "a;b", "{a}", "a.b", "a=b", "A", "", "a\n"])
def test_names_that_other_engines_refuse(path: str, name: str) -> None:
    write_deltalake(path, pa.table({name: [1]}))
    assert DeltaTable(path).schema().fields[0].name == name
    with pytest.raises(ContractError, match="must match"):
        Contract(layer="silver", name="x", domain="t", description="x",
                 materialization=Materialization.APPEND,
                 columns=(Column(name=name, type=Type.INT64, description="x"),))  # fmt: skip


def test_column_mapping_cannot_be_had(path: str, store: DeltaStore) -> None:
    """From 1.6.6 on it can, and pyarrow then reads nulls: a table of ours must not have it."""
    with pytest.raises(DeltaError, match="Column mapping is not supported"):
        DeltaTable.create(
            path, schema=Schema([Field("k", "string")]), configuration={"delta.columnMapping.mode": "name"}
        )
    store.ensure(ITEMS)
    protocol = DeltaTable(store.uri(ITEMS)).protocol()
    assert (protocol.min_reader_version, protocol.reader_features) == (1, None)


@pytest.mark.parametrize("text", ["", "__HIVE_DEFAULT_PARTITION__"])
def test_some_text_becomes_null_as_a_partition(path: str, store: DeltaStore, text: str) -> None:
    write_deltalake(path, pa.table({"p": [text], "n": [1]}), partition_by=["p"])
    write_deltalake(path, pa.table({"p": [text], "n": [2]}), mode="append")
    DeltaTable(path).optimize.compact()
    assert sorted(pl.read_delta(path).rows()) == [(None, 1), (None, 2)]
    frame = pl.DataFrame({"p": [text], "n": [1]})
    with pytest.raises(DataViolation, match="partitioned by p, where some text is empty"):
        store.append(PLACES, frame)
    with pytest.raises(DataViolation, match="partitioned by p"):
        store.replace_partitions(PLACES, frame)


@pytest.mark.parametrize("clustered", [False, True])
def test_a_tilde_in_a_partition_keeps_files_from_being_joined(
    path: str, store: DeltaStore, clustered: bool
) -> None:
    texts = ["~", "a~b", "a", "it's", "x,y", None]
    for n in range(6):
        write_deltalake(path, pa.table({"p": ["~"], "n": [n]}), partition_by=["p"], mode="append")
    with pytest.raises(DeltaError, match="File selection contains 6 missing files"):
        DeltaTable(path).optimize.compact()
    places = replace(PLACES, cluster_by=("n",) if clustered else ())
    rows = [(text, 0) for text in texts]
    for _ in range(6):
        store.append(places, pl.DataFrame(rows, schema=places.polars_schema(), orient="row"))
    done = store.maintain(places, MaintenanceOptions(retain=timedelta(days=1)))
    assert (done.files_before, done.rows) == (36, 36)
    assert done.files_after <= 6 * 3 + 3
    assert sorted(store.scan(places).collect().rows(), key=str) == sorted(6 * rows, key=str)


def test_a_partition_is_a_folder_whose_name_may_be_too_long(path: str, store: DeltaStore) -> None:
    longest = "ü" * 42 + "x"  # 6 bytes each once escaped, and `p=`: one more is too many
    with pytest.raises(DeltaError, match="File name too long"):
        write_deltalake(path, pa.table({"p": [longest + "y"], "n": [1]}), partition_by=["p"])
    with pytest.raises(DataViolation, match="longer than 253 bytes once escaped"):
        store.append(PLACES, pl.DataFrame({"p": [longest + "y"], "n": [1]}))
    store.append(PLACES, pl.DataFrame({"p": [longest], "n": [1]}))
    assert store.scan(PLACES).collect().rows() == [(longest, 1)]


@pytest.mark.parametrize("kind", [Type.FLOAT64, Type.TIMESTAMP])
def test_a_partition_by_float_or_time_is_refused(kind: Type) -> None:
    column = Column(name="p", type=kind, description="x")
    with pytest.raises(ContractError, match="must be text, a whole number, a bool or a date"):
        Contract(layer="silver", name="x", domain="t", description="x",
                 materialization=Materialization.APPEND, columns=(column,),
                 partition_by=("p",))  # fmt: skip


def views(path: str) -> list[bool]:
    """Say of each live file whether its Arrow schema has string views."""
    return [
        any(pa.types.is_string_view(field.type) for field in pq.read_schema(file))
        for file in DeltaTable(path).file_uris()
    ]


def test_string_views_stop_readers_that_go_through_pyarrow(path: str, store: DeltaStore) -> None:
    write_deltalake(path, rows(("a", 1), ("b", 2)))
    assert views(path) == [True]
    with pytest.raises(pa.ArrowNotImplementedError, match="string_view"):
        DeltaTable(path).to_pyarrow_dataset().to_table(filter=pc.field("k") == "a")

    store.append(ITEMS, rows(("a", 1), ("b", 2)))
    ours = DeltaTable(store.uri(ITEMS)).to_pyarrow_dataset()
    assert ours.to_table(filter=pc.field("k") == "a").to_pylist() == [{"k": "a", "n": 1}]
    store.overwrite(ITEMS, rows(("a", 1), ("b", 2)))
    assert views(store.uri(ITEMS)) == [False]


@pytest.mark.parametrize("verb", ["merge", "delete"])
def test_a_merge_or_a_delete_still_leaves_string_views(store: DeltaStore, verb: str) -> None:
    """Open; harmless to readers that ignore the Arrow schema within Parquet. When this fails, close it."""
    assert "string views" in OPEN
    store.append(ITEMS, rows(("a", 1), ("b", 2)))
    if verb == "merge":
        store.merge(ITEMS, rows(("a", 3)))
    else:
        store.delete(ITEMS, Where(Term("k", "=", "b")))
    assert views(store.uri(ITEMS)) == [True]


def test_a_failed_stream_leaves_files_that_only_a_full_vacuum_removes(store: DeltaStore) -> None:
    store.append(ITEMS, rows(("a", 1)))
    uri = store.uri(ITEMS)
    schema = pa.schema({"k": pa.large_string(), "n": pa.int32()})

    def breaks() -> Any:
        for _ in range(2):
            yield pa.record_batch([pa.array(["x" * 1000] * 5000), pa.array(range(5000))], ["k", "n"]).cast(
                schema
            )
        raise RuntimeError("the source failed")

    stream = pa.RecordBatchReader.from_batches(schema, breaks())
    small = WriterProperties(max_row_group_size=1000)
    with pytest.raises(DeltaError, match="the source failed"):
        write_deltalake(uri, stream, mode="append", target_file_size=1000, writer_properties=small)
    orphans = len(list(Path(uri).glob("*.parquet"))) - 1
    assert orphans > 0
    delta = DeltaTable(uri)
    assert delta.vacuum(retention_hours=0, dry_run=False, enforce_retention_duration=False) == []

    at_once = timedelta(0)
    assert store.maintain(ITEMS, MaintenanceOptions(retain=at_once, compact=False)).removed_files == 0
    assert (
        store.maintain(ITEMS, MaintenanceOptions(retain=at_once, compact=False, orphans=True)).removed_files
        == orphans
    )
    assert held(store) == [("a", 1)]
