"""Frames at the edge: whatever kind an asset asks for and gives back, the same rows reach the store."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import narwhals.stable.v2 as nw
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from lakehouse.contracts import (
    Column,
    Contract,
    DecimalType,
    ListType,
    Materialization,
    StructField,
    StructType,
    Type,
)
from lakehouse.engine.frames import adapt, kinds, take
from lakehouse.errors import SchemaViolation

WHO = StructType((
    StructField(name="a", type=Type.INT64, description="a"),
    StructField(name="costs", type=ListType(DecimalType(9, 3)), description="costs"),
))  # fmt: skip
T = Contract(
    layer="gold", name="t", domain="t", description="One.", materialization=Materialization.FULL,
    columns=tuple(
        Column(name=n, type=t, description=n)
        for n, t in {"s": Type.STRING, "i": Type.INT64, "j": Type.INT32, "f": Type.FLOAT64, "b": Type.BOOL,
                     "d": Type.DATE, "at": Type.TIMESTAMP, "m": DecimalType(18, 2), "raw": Type.BINARY,
                     "tags": ListType(Type.STRING), "who": WHO}.items()
    ),
)  # fmt: skip
ROWS = pl.DataFrame(
    {
        "s": ["a", None, "ü|'\""],
        "i": [2**53 + 1, None, -1],
        "j": [1, None, 3],
        "f": [0.1, None, float("inf")],
        "b": [True, None, False],
        "d": [date(2024, 2, 29), None, date(1, 1, 1)],
        "at": [datetime(2024, 1, 1, 12, 0, 0, 123456, tzinfo=UTC), None, datetime(1970, 1, 1, tzinfo=UTC)],
        "m": [Decimal("9999999999999999.99"), None, Decimal("-0.10")],
        "raw": [b"", None, b"\x00\xff"],
        "tags": [[], None, ["a", None]],
        "who": [{"a": None, "costs": None}, None, {"a": 2**53 + 1, "costs": [Decimal("1.500"), None]}],
    },
    schema=T.polars_schema(),
)


def as_pandas(x: pd.DataFrame) -> pd.DataFrame:
    return x


def as_polars(x: pl.DataFrame) -> pl.DataFrame:
    return x


def as_lazy(x: pl.LazyFrame) -> pl.LazyFrame:
    return x


def as_arrow(x: pa.Table) -> pa.Table:
    return x


def as_narwhals(x: nw.LazyFrame) -> nw.LazyFrame:
    return x


def unannotated(x):  # type: ignore[no-untyped-def]
    assert isinstance(x, nw.LazyFrame)
    return x


@pytest.mark.parametrize("function", [as_pandas, as_polars, as_lazy, as_arrow, as_narwhals, unannotated])
def test_rows_survive_the_way_there_and_back(function) -> None:  # type: ignore[no-untyped-def]
    made = adapt(function, T)(nw.from_native(ROWS.lazy())).to_native().collect()
    assert made.schema == T.polars_schema()
    assert made.equals(ROWS, null_equal=True)


def test_classic_pandas_types_come_back_as_the_contract_has_them_when_nothing_is_lost() -> None:
    frame = pd.DataFrame({"i": [1, None], "at": pd.to_datetime(["2024-01-01", None], utc=True)})
    taken = take(frame, T)
    assert taken.schema["i"] == pl.Int64
    assert taken["i"].to_list() == [1, None]
    assert taken.schema["at"] == pl.Datetime("us", "UTC")


def test_a_lossy_type_is_left_for_the_store_to_refuse() -> None:
    assert take(pd.DataFrame({"i": [1.5]}), T).schema["i"] == pl.Float64


def test_a_named_index_is_refused_rather_than_lost() -> None:
    with pytest.raises(SchemaViolation, match=r"named index.*reset_index"):
        take(pd.DataFrame({"s": ["a"]}).set_index("s"), T)


def test_what_is_no_frame_is_refused() -> None:
    with pytest.raises(SchemaViolation, match="returned dict"):
        take({"s": ["a"]}, T)

    def wrong(x: int) -> int:
        return x

    with pytest.raises(TypeError, match=r"not a frame\. Use one of narwhals\.LazyFrame"):
        kinds(wrong)


@pytest.mark.parametrize(
    "frame",
    [
        pd.DataFrame({"m": [Decimal("1.5"), None, Decimal("2")]}),
        pd.DataFrame({"m": pd.array([Decimal("1.5"), None, Decimal(2)], pd.ArrowDtype(pa.decimal128(5, 1)))}),
        pa.table({"m": pa.array([Decimal("1.5"), None, Decimal(2)], pa.decimal128(38, 1))}),
        pa.table({"m": pa.array([Decimal("1.5"), None, Decimal(2)], pa.decimal64(9, 3))}),
    ],
)
def test_decimals_of_other_digits_become_the_contracts_when_nothing_is_lost(frame: Any) -> None:
    taken = take(frame, T)
    assert taken.schema["m"] == pl.Decimal(18, 2)
    assert taken["m"].to_list() == [Decimal("1.50"), None, Decimal("2.00")]


@pytest.mark.parametrize(
    ("values", "found"),
    [
        ([Decimal("1.239")], pl.Decimal(4, 3)),
        ([Decimal(10**16)], pl.Decimal(17, 0)),
        ([1.5], pl.Float64()),
        ([0.1, None], pl.Float64()),
    ],
)
def test_a_number_that_would_be_rounded_is_left_for_the_store_to_refuse(
    values: list[Any], found: pl.DataType
) -> None:
    assert take(pd.DataFrame({"m": values}), T).schema["m"] == found


def test_floats_within_a_struct_are_no_decimals_and_its_fields_keep_their_order() -> None:
    floats = take(pd.DataFrame({"who": [{"a": 1, "costs": [1.5]}, None]}), T)
    assert floats.schema["who"] == pl.Struct({"a": pl.Int64(), "costs": pl.List(pl.Float64())})
    turned = take(pa.table({"who": [{"costs": [Decimal("1.500")], "a": 1}]}), T)
    assert [field.name for field in turned.schema["who"].fields] == ["costs", "a"]  # type: ignore[attr-defined]


def test_arrow_lists_and_bytes_of_any_kind_are_lists_and_bytes() -> None:
    made = pa.table({
        "tags": pa.array([["a", "b"], None], pa.large_list(pa.large_string())),
        "raw": pa.array([b"ab", None], pa.binary(2)),
        "who": pa.array([{"a": 1, "costs": [Decimal("1.5")]}, None],
                        pa.struct([("a", pa.int32()), ("costs", pa.list_(pa.decimal128(2, 1)))])),
    })  # fmt: skip
    taken = take(made, T)
    assert taken.schema == {name: T.polars_schema()[name] for name in ("tags", "raw", "who")}
    assert taken.row(0) == (["a", "b"], b"ab", {"a": 1, "costs": [Decimal("1.500")]})
    with pytest.raises(SchemaViolation, match=r"gold/t .* a type that Polars has not \(m: decimal256"):
        take(pa.table({"m": pa.array([Decimal("1.5")], pa.decimal256(40, 2))}), T)
