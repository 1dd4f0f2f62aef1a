"""Columns as text, and the readers of CSV and Parquet frames.

Belongs here: the text form of each type. Does not: reading a format (csv_text.py, parquet.py), or which
columns a source expects.

A value without an exact text form rejects its file, by column: bytes, NaN and infinity within nested values
(JSON has neither NaN nor infinity, and null means something else), and times beyond the calendar. A column of
bytes is text where they are UTF-8 without NUL, because older writers do not declare text; an interval or a
number would pass for text else.
"""

from __future__ import annotations

import polars as pl

from lakehouse.errors import SourceError
from lakehouse.landing.csv_text import csv_frames
from lakehouse.landing.parquet import parquet_frames

__all__ = ["as_text", "csv_frames", "json_object", "json_value", "parquet_frames"]

_DIGITS = {"ms": "%.3f", "us": "%.6f", "ns": "%.9f"}
_SECONDS = {"ms": 10**3, "us": 10**6, "ns": 10**9}
_MOST_SECONDS = 8 * 10**12  # around 1970: about 250 000 years, beyond which there is no date
_DAY = 86_400


def as_text(frame: pl.DataFrame) -> pl.DataFrame:
    """Return the frame with every column as text: times in ISO 8601 UTC, nested values as compact JSON.

    Raise SourceError, which names the column, where one has no exact text form.
    """
    return pl.DataFrame({series.name: _column(series) for series in frame})


def json_object(columns: list[str]) -> pl.Expr:
    """Return the named columns of each row as one compact JSON object."""
    return pl.struct(columns).struct.json_encode()


def json_value(value: pl.Expr) -> pl.Expr:
    """Return each value as JSON text, by way of a struct: Polars encodes only structs."""
    return pl.struct(value.alias("v")).struct.json_encode().str.slice(5).str.head(-1)  # of {"v":...}


def _column(series: pl.Series) -> pl.Series:
    if series.dtype == pl.String:
        return series
    try:
        if fault := _fault(series, nested=False):
            raise SourceError(f"column {series.name} holds {fault}, which has no exact text")
        return series.to_frame().select(_text(series.dtype, series.name)).to_series()
    except (pl.exceptions.PanicException, pl.exceptions.PolarsError) as exc:
        raise SourceError(f"column {series.name} has no text form ({type(exc).__name__})") from None


def _text(dtype: pl.DataType, name: str) -> pl.Expr:
    column = pl.col(name)
    if isinstance(dtype, pl.Datetime):
        zoned = column.dt.convert_time_zone("UTC") if dtype.time_zone else column.dt.replace_time_zone("UTC")
        return zoned.dt.strftime(f"%Y-%m-%dT%H:%M:%S{_DIGITS[dtype.time_unit]}Z").alias(name)
    if dtype == pl.Time:
        return column.dt.strftime("%H:%M:%S%.f")
    if dtype.is_nested():
        return pl.when(column.is_not_null()).then(json_value(column)).alias(name)
    return column.cast(pl.String)


def _fault(series: pl.Series, *, nested: bool) -> str | None:
    """Return which value of a column has no exact text form; None where there is none."""
    dtype = series.dtype
    if isinstance(dtype, pl.Struct):
        inner = series.struct.unnest() if dtype.fields else pl.DataFrame()
        return next((fault for one in inner if (fault := _fault(one, nested=True))), None)
    if isinstance(dtype, pl.List):
        return _fault(series.list.explode(), nested=True)
    if isinstance(dtype, pl.Array):
        return _fault(series.arr.explode(), nested=True)
    if isinstance(dtype, pl.Map):
        return _fault(series.map.values(), nested=True)
    if isinstance(dtype, pl.Datetime):
        return _beyond(series.to_physical(), _MOST_SECONDS * _SECONDS[dtype.time_unit])
    if dtype == pl.Date:
        return _beyond(series.to_physical(), _MOST_SECONDS // _DAY)
    if dtype == pl.Binary:
        if nested:
            return "bytes within nested values"
        return "bytes that are no text" if series.bin.contains(b"\0").any() else None
    if nested and dtype.is_float() and not series.is_finite().all():
        return "NaN or infinity within nested values"
    return None


def _beyond(numbers: pl.Series, most: int) -> str | None:
    if most >= 1 << 63:
        return None
    return "a time that no calendar holds" if ((numbers > most) | (numbers < -most)).any() else None
