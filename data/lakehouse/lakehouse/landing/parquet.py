"""Parquet as frames, a bounded number of rows at a time.

Belongs here: opening Parquet, within limits, and its times. Does not: CSV, or values as text (columns.py).
pyarrow reads it: it streams, verifies page checksums, and raises where Polars panics or misreads
(apache/parquet-testing bad_data).

INT96 is a day and the nanoseconds of that day. pyarrow converts it to nanoseconds in 64 bit, which wrap
before 1677 and after 2262. Seconds do not wrap, so both together give the exact time.

UUID and JSON are logical types of bytes: a UUID is told in hexadecimal with dashes, JSON is the text it is.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, BinaryIO

import polars as pl

from lakehouse.errors import SourceError
from lakehouse.landing import readers
from lakehouse.landing.form import Form
from lakehouse.landing.source import CHUNK_ROWS

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

_SECOND = 10**9  # nanoseconds
_FIRST_SECOND, _LAST_SECOND = -62_135_596_800, 253_402_300_799  # the years 1 to 9999
_NANO_RANGE = (1 << 63) // _SECOND - 1  # seconds around 1970 that 64 bit hold as nanoseconds


def parquet_frames(
    raw: BinaryIO, *, name: str, rows: int = CHUNK_ROWS, form: Form | None = None
) -> Iterator[pl.DataFrame]:
    """Yield the rows of a Parquet file with its own types. At least one frame, perhaps without rows.

    Only the aliases of `form` apply. Raises SourceError.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    raw.seek(0)
    try:
        whole = pq.ParquetFile(raw, page_checksum_verification=True)
        _bounded(whole.metadata, name)
        names = _distinct((form or Form()).renamed(whole.schema_arrow.names))
        yield from _slices(
            _polars(pa.Table.from_batches([], schema=whole.schema_arrow).rename_columns(names)),
            (_polars(table.rename_columns(names)) for table in _tables(raw, whole, rows)),
            rows,
        )
    except SourceError as exc:
        raise SourceError(str(exc) if str(exc).startswith(name) else f"{name}: {exc}") from None
    except (pa.ArrowException, OSError, ValueError, pl.exceptions.PolarsError) as exc:
        raise SourceError(f"{name}: not readable as Parquet ({type(exc).__name__}); write it again") from None


def _distinct(names: list[str]) -> list[str]:
    if len(set(names)) < len(names):
        twice = [str(i) for i, one in enumerate(names, start=1) if names.count(one) > 1]
        raise SourceError(f"columns {' and '.join(twice)} have the same name")
    return names


def _tables(raw: BinaryIO, whole: pq.ParquetFile, rows: int) -> Iterator[pa.Table]:
    """Yield the rows of the file, with exact INT96 times."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    old = _int96(whole)
    if not old:
        for batch in whole.iter_batches(batch_size=rows):
            yield pa.Table.from_batches([batch])
        return
    # Two readers of one file object: one at a time moves it, and each seeks before it reads.
    seconds = pq.ParquetFile(raw, page_checksum_verification=True, coerce_int96_timestamp_unit="s")
    both = zip(
        whole.iter_batches(batch_size=rows), seconds.iter_batches(batch_size=rows, columns=old), strict=True
    )
    for batch, full in both:
        table, coarse = pa.Table.from_batches([batch]), pa.Table.from_batches([full])
        for column in old:
            exact = _exact(table.column(column), coarse.column(column), column)
            table = table.set_column(table.schema.get_field_index(column), column, exact)
        yield table


def _int96(whole: pq.ParquetFile) -> list[str]:
    """Return the INT96 columns. Raises SourceError where one lies within a nested column."""
    stored = (whole.schema.column(i) for i in range(len(whole.schema)))
    paths = [column.path for column in stored if column.physical_type == "INT96"]
    if nested := [path for path in paths if path not in whole.schema_arrow.names]:
        raise SourceError(
            f"{len(nested)} INT96 times lie within nested values; write them as INT64 timestamps"
        )
    return paths


def _exact(nanos: pa.ChunkedArray, seconds: pa.ChunkedArray, column: str) -> pa.Array:
    """Return exact INT96 times: in microseconds where they suffice, else in nanoseconds."""
    import numpy as np
    import pyarrow as pa

    missing = seconds.is_null().combine_chunks().to_numpy(zero_copy_only=False)
    whole = seconds.cast(pa.int64()).fill_null(0).combine_chunks().to_numpy(zero_copy_only=False)
    wrapped = nanos.cast(pa.int64()).fill_null(0).combine_chunks().to_numpy(zero_copy_only=False)
    # Modulo 2^64 on both sides, so what wrapped falls out.
    rest = (wrapped.view(np.uint64) - whole.view(np.uint64) * np.uint64(_SECOND)).view(np.int64)
    rest[missing] = 0
    whole = np.where(missing, 0, whole)
    if ((whole < _FIRST_SECOND) | (whole > _LAST_SECOND) | (rest < 0) | (rest >= _SECOND)).any():
        raise SourceError(f"an INT96 time of {column} is outside of the years 1 to 9999")
    if not (rest % 1000).any():
        return pa.array(whole * 10**6 + rest // 1000, pa.timestamp("us"), mask=missing)
    if (abs(whole) >= _NANO_RANGE).any():
        raise SourceError(f"the INT96 times of {column} need nanoseconds and years that 64 bit do not hold")
    return pa.array(whole * _SECOND + rest, pa.timestamp("ns"), mask=missing)


def _bounded(metadata: pq.FileMetaData, name: str) -> None:
    """Reject a small file that decompresses to more than memory holds."""
    largest = max((metadata.row_group(i).total_byte_size for i in range(metadata.num_row_groups)), default=0)
    if largest > readers.MAX_ROW_GROUP:
        limit = readers.MAX_ROW_GROUP
        raise SourceError(f"{name}: a row group of {largest} bytes, the limit is {limit}; write smaller ones")


def _polars(table: pa.Table) -> pl.DataFrame:
    """Convert an Arrow table to a frame; failures of Polars become SourceError.

    Zoned times are converted to UTC first: Polars panics on a zone it does not know, such as `-02:15`.
    """
    import pyarrow as pa

    table.validate(full=True)  # ArrowInvalid for text that is not UTF-8, which Polars would take as it is
    for i, field in enumerate(table.schema):
        if pa.types.is_timestamp(field.type) and field.type.tz not in (None, "UTC"):
            utc = table.column(i).cast(pa.timestamp(field.type.unit, "UTC"))
            table = table.set_column(i, field.name, utc)
        if isinstance(field.type, pa.BaseExtensionType):
            table = table.set_column(i, field.name, _stored(table.column(i)))
    try:
        frame = pl.from_arrow(table)
    except (pl.exceptions.PanicException, TypeError, NotImplementedError) as exc:
        raise SourceError(f"a Parquet column has a type that cannot be read ({type(exc).__name__})") from None
    return frame if isinstance(frame, pl.DataFrame) else frame.to_frame()


def _stored(column: pa.ChunkedArray) -> pa.Array:
    """Return a column of a logical type as it is stored; a UUID as text."""
    import pyarrow as pa

    stored = pa.chunked_array([chunk.storage for chunk in column.chunks], column.type.storage_type)
    if column.type.extension_name != "arrow.uuid":
        return stored
    digits = pl.Series(stored.cast(pa.binary()), dtype=pl.Binary).bin.encode("hex")
    parts = r"^(.{8})(.{4})(.{4})(.{4})(.{12})$"
    return digits.str.replace(parts, "${1}-${2}-${3}-${4}-${5}").to_arrow()


def _slices(empty: pl.DataFrame, frames: Iterator[pl.DataFrame], rows: int) -> Iterator[pl.DataFrame]:
    """Yield the frames in slices of at most `rows`; the empty frame where there is none."""
    has_rows = False
    for frame in frames:
        for part in frame.iter_slices(rows):
            has_rows = True
            yield part
    if not has_rows:
        yield empty
