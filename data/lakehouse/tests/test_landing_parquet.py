"""Parquet values as text: exact, or refused by the column that holds them.

Right values are Python's own dates and numbers; files are written by pyarrow.
"""

from __future__ import annotations

import io
from datetime import date, datetime, time
from typing import Any
from uuid import UUID

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lakehouse.errors import SourceError
from lakehouse.landing import Form
from lakehouse.landing.columns import as_text, parquet_frames


def parquet(array: pa.Array, **options: Any) -> bytes:
    out = io.BytesIO()
    pq.write_table(pa.table({"v": array}), out, **options)
    return out.getvalue()


def texts(array: pa.Array, **options: Any) -> list[str | None]:
    frames = parquet_frames(io.BytesIO(parquet(array, **options)), name="x", rows=3)
    return pl.concat([as_text(frame) for frame in frames])["v"].to_list()


def refusal(array: pa.Array, **options: Any) -> str:
    with pytest.raises(SourceError) as caught:
        texts(array, **options)
    return str(caught.value)


INT96 = {"use_deprecated_int96_timestamps": True}
LAST = datetime(9999, 12, 31, 23, 59, 59, 999_999)
EDGES = [datetime(1, 1, 1), datetime(1582, 10, 15), datetime(1969, 12, 31, 23, 59, 59, 999_999), None,
         datetime(1677, 9, 21), datetime(2262, 4, 12), LAST]  # fmt: skip


def micros(at: datetime | None) -> str | None:
    return None if at is None else at.isoformat(timespec="microseconds") + "Z"


@pytest.mark.parametrize("row_group_size", [2, 100])
def test_int96_gives_the_very_times(row_group_size: int) -> None:
    array = pa.array(EDGES, pa.timestamp("us"))
    assert texts(array, **INT96, row_group_size=row_group_size) == [micros(at) for at in EDGES]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.none() | st.datetimes(datetime(1, 1, 1)), min_size=1, max_size=7))
def test_any_int96_gives_the_very_time(times: list[datetime | None]) -> None:
    assert texts(pa.array(times, pa.timestamp("us")), **INT96) == [micros(at) for at in times]


def test_int96_keeps_nanoseconds_where_they_fit() -> None:
    array = pa.array([-1, 1, None, 1_700_000_000_123_456_789], pa.timestamp("ns"))
    assert texts(array, **INT96) == [
        "1969-12-31T23:59:59.999999999Z",
        "1970-01-01T00:00:00.000000001Z",
        None,
        "2023-11-14T22:13:20.123456789Z",
    ]


def test_int96_within_a_list_is_refused() -> None:
    array = pa.array([[datetime(2026, 1, 1)]], pa.list_(pa.timestamp("us")))
    assert "INT96 times lie within nested values" in refusal(array, **INT96)


@pytest.mark.parametrize(("unit", "digits"), [("ms", 3), ("us", 6), ("ns", 9)])
def test_every_unit_of_times_is_exact(unit: str, digits: int) -> None:
    ticks = [0, 1, -1, 10**digits, None, -(10**digits) - 1]
    tail = [f"{tick % 10**digits:0{digits}}" for tick in ticks if tick is not None]
    found = texts(pa.array(ticks, pa.timestamp(unit)))
    assert [f[20:-1] for f in found if f] == tail
    assert found[3:5] == [f"1970-01-01T00:00:01.{'0' * digits}Z", None]


@pytest.mark.parametrize(
    "array",
    [pa.array([2**62], pa.timestamp("ms")), pa.array([2**31 - 1], pa.date32()),
     pa.array([[-(2**62)]], pa.list_(pa.timestamp("ms")))],
    ids=["timestamp", "date", "nested"],
)  # fmt: skip
def test_a_time_beyond_any_calendar_is_refused(array: pa.Array) -> None:
    assert refusal(array) == "column v holds a time that no calendar holds, which has no exact text"


def test_times_of_day_keep_their_fraction() -> None:
    for dtype, digits in ((pa.time32("ms"), 3), (pa.time64("us"), 6), (pa.time64("ns"), 9)):
        ticks = [36_000 * 10**digits + 1, 36_000 * 10**digits, None]
        assert texts(pa.array(ticks, dtype)) == [f"10:00:00.{1:0{digits}}", "10:00:00", None]


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_nan_within_nested_values_is_not_null(value: float) -> None:
    says = "column v holds NaN or infinity within nested values, which has no exact text"
    arrays = [
        pa.array([{"x": value}]),
        pa.array([[{"x": [value]}], None]),
        pa.array([[("k", value)]], pa.map_(pa.string(), pa.float64())),
        pa.array([[value, 0.0]], pa.list_(pa.float32(), 2)),
    ]
    assert [refusal(array) for array in arrays] == [says] * 4
    assert texts(pa.array([{"x": None}, None, {"x": 0.5}])) == ['{"x":null}', None, '{"x":0.5}']
    assert texts(pa.array([value, None]))[0] in ("NaN", "inf", "-inf")


@pytest.mark.parametrize(
    "array",
    [
        pa.array([{"x": b"\0"}]),
        pa.array([[b"a"]]),
        pa.array([[("k", b"v")]], pa.map_(pa.string(), pa.binary())),
        pa.array([{"x": [b"a"]}], pa.struct([("x", pa.list_(pa.binary(1)))])),
    ],
    ids=["struct", "list", "map", "fixed"],
)
def test_bytes_within_nested_values_are_refused(array: pa.Array) -> None:
    assert refusal(array) == "column v holds bytes within nested values, which has no exact text"


def test_bytes_in_a_column_are_text_or_refused() -> None:
    assert texts(pa.array([b"text", None])) == ["text", None]
    assert refusal(pa.array([b"\xff\xfe"])) == "column v has no text form (ComputeError)"
    interval = pa.array([b"\1\0\0\0\2\0\0\0\0\0\0\0", None], pa.binary(12))
    assert refusal(interval) == "column v holds bytes that are no text, which has no exact text"


@pytest.mark.parametrize("store_schema", [True, False])
def test_a_uuid_and_json_are_told_by_their_logical_type(store_schema: bool) -> None:
    """Their bytes may be UTF-8 too: those of the first id are."""
    ids = [UUID(int=0x31), None, UUID("f47ac10b-58cc-4372-a567-0e02b2c3d479"), UUID(int=2**128 - 1)]
    stored = pa.array([one and one.bytes for one in ids], pa.uuid())
    assert texts(stored, store_schema=store_schema) == [one and str(one) for one in ids]
    assert texts(pa.array([None], pa.uuid()), store_schema=store_schema) == [None]
    documents = ['{"duration_ms":5}', None, "[1.10]"]
    assert texts(pa.array(documents, pa.json_()), store_schema=store_schema) == documents


@pytest.mark.parametrize(
    "array",
    [
        pa.array([1], pa.decimal256(60, 2)),
        pa.array([1], pa.duration("us")),
        pa.array([[(1, 2)]], pa.map_(pa.int8(), pa.int8())),
    ],
    ids=["decimal256", "duration", "map by number"],
)
def test_a_type_without_a_text_form_is_refused_and_never_worse(array: pa.Array) -> None:
    assert refusal(array)


def test_nested_times_and_numbers_are_exact() -> None:
    value = {
        "d": date(2026, 1, 2),
        "t": time(1, 2, 3, 4),
        "n": 2**63 - 1,
        "at": datetime(2026, 1, 2, 3, 4, 5, 6),
    }
    told = (
        '{"d":"2026-01-02","t":"01:02:03.000004","n":9223372036854775807,"at":"2026-01-02 03:04:05.000006"}'
    )
    assert texts(pa.array([value])) == [told]


def test_a_column_twice_is_refused_and_an_alias_renames_one() -> None:
    out = io.BytesIO()
    pq.write_table(pa.Table.from_arrays([pa.array([1]), pa.array([2])], ["a", "a"]), out)
    with pytest.raises(SourceError, match="x: columns 1 and 2 have the same name"):
        list(parquet_frames(out, name="x"))
    [frame] = parquet_frames(io.BytesIO(parquet(pa.array([1]))), name="x", form=Form(aliases={"v": "w"}))
    assert frame.to_dict(as_series=False) == {"w": [1]}
