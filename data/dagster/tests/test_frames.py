"""Frames at the edge: whatever kind an asset asks for and gives back, the same rows reach the store."""

from __future__ import annotations

from datetime import UTC, date, datetime

import narwhals.stable.v2 as nw
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from lakehouse.contracts import Column, Contract, Type, Write
from orchestration.frames import adapt, kinds, take

T = Contract(
    layer="gold", name="t", domain="t", row="One.", write=Write.OVERWRITE,
    columns=tuple(
        Column(name=n, type=t, description=n)
        for n, t in {"s": Type.STRING, "i": Type.INT64, "j": Type.INT32, "f": Type.FLOAT64, "b": Type.BOOL,
                     "d": Type.DATE, "at": Type.TIMESTAMP}.items()
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
    with pytest.raises(TypeError, match=r"named index.*reset_index"):
        take(pd.DataFrame({"s": ["a"]}).set_index("s"), T)


def test_what_is_no_frame_is_refused() -> None:
    with pytest.raises(TypeError, match="returned dict"):
        take({"s": ["a"]}, T)

    def wrong(x: int) -> int:
        return x

    with pytest.raises(TypeError, match=r"not a frame\. Use one of narwhals\.LazyFrame"):
        kinds(wrong)
