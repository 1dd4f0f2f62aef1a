"""Rows come to the store as an Arrow stream, whoever made it; one that breaks off leaves nothing."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import duckdb
import narwhals.stable.v2 as nw
import polars as pl
import pyarrow as pa
import pytest
from test_store_contract import EVENTS, events, lake, store, stored

from lakehouse.errors import SchemaViolation
from lakehouse.store import ArrowStream, TableStore
from lakehouse.store.validation import conform

__all__ = ["lake", "store"]  # fixtures: both formats
WANTED = [("a", 1), ("b", None)]


def _rows() -> pl.DataFrame:
    return events(("a", 1)).vstack(events(("b", 2)).with_columns(n=pl.lit(None, pl.Int32)))


def _reader() -> pa.RecordBatchReader:
    table = _rows().to_arrow()
    return pa.RecordBatchReader.from_batches(table.schema, table.to_batches(max_chunksize=1))


STREAMS = {
    "polars": _rows,
    "pyarrow table": lambda: _rows().to_arrow(),
    "pyarrow reader": _reader,
    "narwhals": lambda: nw.from_native(_rows(), eager_only=True),
    "only the protocol": lambda: Only(_rows()),
}


class Only:
    """Nothing but the interface."""

    def __init__(self, rows: Any) -> None:
        self._rows = rows

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object:
        return self._rows.__arrow_c_stream__(requested_schema)


@pytest.mark.parametrize("kind", STREAMS)
def test_a_stream_of_any_library_is_taken(kind: str) -> None:
    rows: ArrowStream = STREAMS[kind]()
    assert conform(EVENTS, rows).frame().rows() == _rows().rows()


@pytest.mark.parametrize("write", ["append", "merge", "overwrite"])
def test_every_write_takes_a_stream(store: TableStore, write: str) -> None:
    done = getattr(store, write)(EVENTS, Only(_reader()))
    assert done.outcome.inserted == 2
    assert sorted(stored(store)) == WANTED


def test_what_duckdb_hands_over_is_taken_in_its_types() -> None:
    made = duckdb.connect().from_arrow(_rows().to_arrow())
    assert conform(EVENTS, made).frame().rows() == _rows().rows()
    with pytest.raises(SchemaViolation, match="n is Int64, not Int32"):
        conform(EVENTS, made.project('id, "at", CAST(n AS BIGINT) AS n'))


@pytest.mark.parametrize("zone", ["Etc/UTC", "+00:00", "Zulu"])
def test_a_zone_that_is_utc_by_another_name_is_utc(zone: str) -> None:
    table = _rows().to_arrow()
    at = pa.array([value.as_py() for value in table["at"]], pa.timestamp("us", zone))
    assert conform(EVENTS, table.set_column(1, "at", at)).frame().rows() == _rows().rows()
    berlin = pa.array([value.as_py() for value in table["at"]], pa.timestamp("us", "Europe/Berlin"))
    with pytest.raises(SchemaViolation, match="Europe/Berlin"):
        conform(EVENTS, table.set_column(1, "at", berlin))


def test_categories_are_not_text_in_a_stream_either(store: TableStore) -> None:
    table = _rows().to_arrow()
    coded = table.set_column(0, "id", pa.array(["a", "b"]).dictionary_encode())
    with pytest.raises(SchemaViolation, match="id is Categorical, not String"):
        store.append(EVENTS, coded)


def test_a_stream_that_breaks_off_leaves_nothing_and_quotes_nothing(store: TableStore) -> None:
    table = _rows().to_arrow()

    def batches() -> Iterator[pa.RecordBatch]:
        yield from table.to_batches()
        raise ValueError("the secret of patient 4711")

    store.ensure(EVENTS)
    before = store.snapshot(EVENTS).version
    with pytest.raises(SchemaViolation, match="broke off") as refused:
        store.append(EVENTS, pa.RecordBatchReader.from_batches(table.schema, batches()))
    assert "4711" not in str(refused.value)
    assert (store.snapshot(EVENTS).version, stored(store)) == (before, [])


def test_two_columns_of_one_name_are_refused(store: TableStore) -> None:
    table = _rows().to_arrow()
    twice = pa.Table.from_arrays([*table.columns, table.column(2)], names=[*table.column_names, "n"])
    with pytest.raises(SchemaViolation):
        store.append(EVENTS, twice)
