"""CSV and Parquet as frames, a bounded number of rows at a time.

Belongs here: columnar reading, and columns as text. Does not: which columns a source expects.
Parquet goes through pyarrow: it streams, verifies page checksums, and fails by exception where Polars
panics or misreads (apache/parquet-testing bad_data). CSV goes through Polars, every column as text.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from typing import TYPE_CHECKING, BinaryIO

import polars as pl

from lakehouse.errors import SourceError
from lakehouse.landing import readers
from lakehouse.landing.source import CHUNK_ROWS

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

SEPARATORS = (",", ";", "\t", "|")


def csv_frames(raw: BinaryIO, *, name: str, rows: int = CHUNK_ROWS) -> Iterator[pl.DataFrame]:
    """Yield the rows of a CSV file with a header line, all columns String, blank fields null.

    The separator is the one of `,` `;` tab `|` that the header has most of. A line may be short (the
    rest is null), but not longer than the header. At least one frame is given, perhaps without rows.
    """
    header = _header(raw)
    scan = pl.scan_csv(raw, infer_schema=False, separator=max(SEPARATORS, key=header.count))
    try:
        empty = pl.DataFrame(schema=scan.collect_schema())
        yield from _at_least(empty, scan.collect_batches(chunk_size=rows, lazy=True), rows)
    except pl.exceptions.PolarsError as exc:
        fault = _csv_fault(raw, max(SEPARATORS, key=header.count))
        raise SourceError(f"{name}: not readable as CSV ({type(exc).__name__}){fault}") from None


def parquet_frames(raw: BinaryIO, *, name: str, rows: int = CHUNK_ROWS) -> Iterator[pl.DataFrame]:
    """Yield the rows of a Parquet file with its own types. At least one frame, perhaps without rows."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    raw.seek(0)
    try:
        whole = pq.ParquetFile(raw, page_checksum_verification=True)
        _bounded(whole.metadata, name)
        _ = whole.schema_arrow.names  # ValueError for a name that is not UTF-8, where Polars would panic
        empty = _polars(pa.Table.from_batches([], schema=whole.schema_arrow))
        batches = (_polars(pa.Table.from_batches([b])) for b in whole.iter_batches(batch_size=rows))
        yield from _at_least(empty, batches, rows)
    except SourceError:
        raise
    except (pa.ArrowException, OSError, ValueError, pl.exceptions.PolarsError) as exc:
        raise SourceError(f"{name}: not readable as Parquet ({type(exc).__name__}); write it again") from None


def as_text(frame: pl.DataFrame) -> pl.DataFrame:
    """Return the frame with every column as text: times in ISO 8601 UTC, nested values as compact JSON.

    Raise SourceError where a column is neither (bytes that are not UTF-8, or a type without a text form).
    """
    try:
        return frame.select(_text(frame.schema[c], c) for c in frame.columns)
    except pl.exceptions.PolarsError as exc:
        raise SourceError(f"a column has no text form ({type(exc).__name__})") from None


def json_object(columns: list[str]) -> pl.Expr:
    """The named columns of each row as one compact JSON object."""
    return pl.struct(columns).struct.json_encode()


def _text(dtype: pl.DataType, name: str) -> pl.Expr:
    column = pl.col(name)
    if isinstance(dtype, pl.Datetime):
        zoned = column.dt.convert_time_zone("UTC") if dtype.time_zone else column.dt.replace_time_zone("UTC")
        digits = {"ms": "%.3f", "us": "%.6f", "ns": "%.9f"}[dtype.time_unit]
        return zoned.dt.strftime(f"%Y-%m-%dT%H:%M:%S{digits}Z").alias(name)
    if dtype.is_nested():
        encoded = pl.struct(column.alias("v")).struct.json_encode()  # {"v":...}
        return pl.when(column.is_not_null()).then(encoded.str.slice(5).str.head(-1)).alias(name)
    return column.cast(pl.String)


def _bounded(metadata: pq.FileMetaData, name: str) -> None:
    """Refuse a file of a few bytes that unfolds into more than memory holds."""
    largest = max((metadata.row_group(i).total_byte_size for i in range(metadata.num_row_groups)), default=0)
    if largest > readers.MAX_ROW_GROUP:
        limit = readers.MAX_ROW_GROUP
        raise SourceError(f"{name}: a row group of {largest} bytes, the limit is {limit}; write smaller ones")


def _polars(table: pa.Table) -> pl.DataFrame:
    """Turn an Arrow table into a frame; whatever Polars makes of a strange one becomes SourceError.

    Zoned times are put in UTC first: Polars panics on a zone it does not know, such as `-02:15`.
    """
    import pyarrow as pa

    table.validate(full=True)  # ArrowInvalid for text that is not UTF-8, which Polars would take as it is
    for i, field in enumerate(table.schema):
        if pa.types.is_timestamp(field.type) and field.type.tz not in (None, "UTC"):
            utc = table.column(i).cast(pa.timestamp(field.type.unit, "UTC"))
            table = table.set_column(i, field.name, utc)
    try:
        frame = pl.from_arrow(table)
    except (pl.exceptions.PanicException, TypeError, NotImplementedError) as exc:
        raise SourceError(f"a Parquet column has a type that cannot be read ({type(exc).__name__})") from None
    return frame if isinstance(frame, pl.DataFrame) else frame.to_frame()


def _at_least(empty: pl.DataFrame, frames: Iterator[pl.DataFrame], rows: int) -> Iterator[pl.DataFrame]:
    """Pass the frames on, none longer than `rows`; the empty one where there is none."""
    given = False
    for frame in frames:
        for part in frame.iter_slices(rows):
            given = True
            yield part
    if not given:
        yield empty


def _header(raw: BinaryIO) -> str:
    readers.skip_bom(raw)
    line = raw.readline(readers.MAX_LINE)
    raw.seek(0)
    return line.decode(errors="replace")


def _csv_fault(raw: BinaryIO, separator: str) -> str:
    """Name the first line whose fields do not match the header; content is not quoted."""
    readers.skip_bom(raw)
    text = io.TextIOWrapper(raw, encoding="utf-8", newline="")
    try:
        lines = csv.reader(text, delimiter=separator)
        wanted = len(next(lines, []))
        for fields in lines:
            if len(fields) > wanted:
                return f": line {lines.line_num} has {len(fields)} fields, the header {wanted}"
    except csv.Error:
        return f": broken quoting or a field of over {csv.field_size_limit()} characters"
    finally:
        text.detach()
    return ": broken quoting; put quotes inside a field twice"
