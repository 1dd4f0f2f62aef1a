"""Rows in the format that a caller accepts, whole or as a stream.

Belongs here: choosing it, and the bytes. Does not: which rows.

JSON and NDJSON tell values as the CSV of the exports does: decimals, dates and times are texts, bytes are
base 64, and floats that JSON has no number for are "NaN", "inf" and "-inf".
"""

from __future__ import annotations

import io
import math
import re
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import BinaryIO, cast

import orjson
import polars as pl

from lakehouse.contracts import Column, DecimalType, Type
from lakehouse.contracts.types import is_nested
from lakehouse.outputs.values import csv_chunks, json_value
from serving.problems import Problem

_ROWS_AT_ONCE = 8192  # of a stream: what is in memory of it, some times over
_BATCH_ROWS = 256  # of a page
_QUALITY = re.compile(r"0(\.[0-9]*)?|1(\.0*)?")
_END_OF_STREAM = b"\xff\xff\xff\xff\0\0\0\0"  # Arrow columnar format, IPC streaming format


Piece = bytes | memoryview  # of an answer


@dataclass(frozen=True, kw_only=True)
class Format:
    """One format. `paged` ones answer a page; the others all rows that were asked for."""

    name: str
    media_type: str
    paged: bool = False


FORMATS = {
    one.name: one
    for one in (
        Format(name="json", media_type="application/json", paged=True),
        Format(name="ndjson", media_type="application/x-ndjson"),
        Format(name="csv", media_type="text/csv; charset=utf-8"),
        Format(name="arrow", media_type="application/vnd.apache.arrow.stream"),
        Format(name="parquet", media_type="application/vnd.apache.parquet"),
    )
}
_MEDIA = {one.media_type.partition(";")[0]: one for one in FORMATS.values()} | {
    "application/jsonl": FORMATS["ndjson"],
    "application/ndjson": FORMATS["ndjson"],
}


def chosen(accept: Sequence[str], asked: str | None) -> Format:
    """Return the format of an answer: of `format`, else the best of the headers. Raises Problem 422, 406.

    Of the ranges that a media type is in, the narrowest has its weight (RFC 9110, 12.5.1); of formats of one
    weight the range that comes first wins, then the order of FORMATS.
    """
    if asked is not None:
        if asked not in FORMATS:
            raise Problem(422, f"there is no such format; there are {', '.join(FORMATS)}")
        return FORMATS[asked]
    ranges = _ranges(",".join(accept))
    weighed = [(*_weight(media, ranges), form) for media, form in _MEDIA.items()]
    weight, _, best = max(weighed, key=lambda one: one[:2])
    if weight == 0:
        raise Problem(
            406, f"rows come as {', '.join(f.media_type.partition(';')[0] for f in FORMATS.values())}"
        )
    return best


def _ranges(accept: str) -> dict[str, tuple[float, int]]:
    """Return weight and place, counted down, of each media range; of one that is named twice, the first."""
    found: dict[str, tuple[float, int]] = {}
    for place, part in enumerate(accept.split(",") if accept.strip() else ["*/*"]):
        media, *parameters = (text.strip().lower() for text in part.split(";"))
        found.setdefault(media, (_quality(parameters), -place))
    return found


def _weight(media: str, ranges: Mapping[str, tuple[float, int]]) -> tuple[float, int]:
    for one in (media, f"{media.partition('/')[0]}/*", "*/*"):
        if one in ranges:
            return ranges[one]
    return 0.0, 0


def _quality(parameters: Sequence[str]) -> float:
    """Return the weight of a range; what is no weight between 0 and 1 is none."""
    text = next((one[2:].strip() for one in parameters if one.startswith("q=")), "1")
    return float(text) if _QUALITY.fullmatch(text) else 0.0


def records(frame: pl.DataFrame, columns: Sequence[Column]) -> bytes:
    """Return rows as NDJSON."""
    if any(is_nested(c.type) for c in columns) or _not_finite(frame, columns):
        lines = (orjson.dumps(json_value(row)) for row in frame.iter_rows(named=True))
        return b"".join(line + b"\n" for line in lines)
    return frame.select(_plain(c) for c in columns).write_ndjson().encode()


def array(frame: pl.DataFrame, columns: Sequence[Column]) -> bytes:
    """Return rows as a JSON array."""
    return _as_array(records(frame, columns)) if columns else b"[]"


def page(
    rows: pl.LazyFrame, columns: Sequence[Column], limit: int, most_bytes: int
) -> tuple[bytes, int, bool]:
    """Return the first rows as a JSON array, how many they are, and whether there are more.

    They are at most `limit`, and fewer where they have `most_bytes` before: one batch more is the most.
    `rows` are one more than `limit`, where there are more.
    """
    if limit <= _BATCH_ROWS or not columns:
        frame = rows.collect()
        return array(frame.head(limit), columns), min(frame.height, limit), frame.height > limit > 0
    found: list[bytes] = []
    taken, size, more = 0, 0, False
    for frame in batches(rows, _BATCH_ROWS):
        part = frame.head(limit - taken if size < most_bytes else 0)
        found.append(records(part, columns))
        taken, size = taken + part.height, size + len(found[-1])
        if more := part.height < frame.height:
            break
    return _as_array(b"".join(found)), taken, more


def _as_array(lines: bytes) -> bytes:
    return b"[" + lines.removesuffix(b"\n").replace(b"\n", b",") + b"]"


def _plain(column: Column) -> pl.Expr:
    value = pl.col(column.name)
    if isinstance(column.type, DecimalType):
        return value.cast(pl.String)
    match column.type:
        case Type.BINARY:
            return value.bin.encode("base64")
        case Type.DATE:
            return value.dt.to_string("%Y-%m-%d")
        case Type.TIMESTAMP:
            return value.dt.to_string("%Y-%m-%dT%H:%M:%S%.6fZ")
    return value


def _not_finite(frame: pl.DataFrame, columns: Sequence[Column]) -> bool:
    # A sum is finite only where all that it adds is. Where finite values add up to infinity, rows are written
    # the slow way, which says the same of them.
    return any(c.type is Type.FLOAT64 and not math.isfinite(frame[c.name].sum()) for c in columns)


def stream(rows: pl.LazyFrame, columns: Sequence[Column], form: Format) -> Iterator[Piece]:
    """Yield rows as bytes of a format, in bounded memory."""
    match form.name:
        case "arrow":
            yield from _arrow(rows)
        case "parquet":
            yield from _parquet(rows)
        case "csv":
            is_first = True
            for frame in batches(rows):
                for piece in csv_chunks(frame, columns):
                    yield piece if is_first else piece.split(b"\n", 1)[1]
                    is_first = False
        case _:
            for frame in batches(rows):
                if frame.height:
                    yield records(frame, columns)


def batches(rows: pl.LazyFrame, at_once: int = _ROWS_AT_ONCE) -> Iterator[pl.DataFrame]:
    """Yield rows in frames; one without rows where there are none."""
    is_empty = True
    for frame in rows.collect_batches(chunk_size=at_once, engine="streaming"):
        if frame.height:
            is_empty = False
            yield frame
    if is_empty:
        yield pl.DataFrame(schema=rows.collect_schema())


def _arrow(rows: pl.LazyFrame) -> Iterator[Piece]:
    """Yield an Arrow stream: of each frame's stream the messages of its rows, of the first the schema too.

    Contracts have no type that Arrow would put into a dictionary, so that there are no other messages.
    """
    is_first = True
    for frame in batches(rows):
        whole = io.BytesIO()
        frame.write_ipc_stream(whole, compat_level=pl.CompatLevel.oldest())
        piece = whole.getbuffer()[: -len(_END_OF_STREAM)]
        yield piece if is_first else piece[_schema_bytes(piece) :]
        is_first = False
    yield _END_OF_STREAM


def _schema_bytes(stream: memoryview) -> int:
    """Return the length of a stream's first message: eight bytes, of which the last four tell the rest's."""
    return 8 + int.from_bytes(stream[4:8], "little")


def _parquet(rows: pl.LazyFrame) -> Iterator[bytes]:
    """Yield a Parquet file. Its writer wants to know where in it it is: it gets a file of its own."""
    with tempfile.TemporaryFile() as file:
        rows.sink_parquet(cast(BinaryIO, file), compression="zstd")
        file.seek(0)
        while piece := file.read(1 << 20):
            yield piece
