"""CSV and Parquet files whose columns are the table's own: a Bronze source in one call.

    SOURCES = (tabular(folder="shop_orders", table=RAW_ORDERS, description="Orders of the tills"),)

Belongs here: matching a file's columns to a Bronze contract by name. Does not: any actual source, or JSON.
Bronze keeps what came, so every value stays text; what it means is Silver's business. A file that lacks a
column is refused whole and stays in landing. One that has more lands, and the columns are reported: name a
column of the table by `rest` to keep their values there.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence

import polars as pl

from lakehouse.contracts.model import Contract
from lakehouse.errors import ContractError, UnknownShape
from lakehouse.landing.columns import as_text, csv_frames, json_object, parquet_frames
from lakehouse.landing.files import LandedFile
from lakehouse.landing.readers import Format, format_of, unpacked
from lakehouse.landing.source import Source, payload_schema

_NO_LETTER = re.compile(r"[^a-z0-9]+")


def tabular(
    *, folder: str, table: Contract, description: str, without: Sequence[str] = (), rest: str | None = None
) -> Source:
    """Return a source for CSV and Parquet files, perhaps gzipped, that carry the columns of `table` by name.

    Names are compared as `column_name` writes them, in any order. `rest` is a column of the table for the
    files' other columns, as one JSON object under their headings; without it they are counted and left in the
    file. `without` lists columns to leave out in silence.
    Raises ContractError when a column of the table that comes from the file is not text, or `rest` is none.
    """
    typed = [name for name, dtype in payload_schema(table).items() if dtype != pl.String]
    if typed:
        raise ContractError(
            f"source {folder!r}: {', '.join(typed)} of {table.path} must be text; give the type in Silver"
        )

    if rest is not None and rest not in payload_schema(table):
        raise ContractError(f"source {folder!r}: {table.path} has no column {rest!r} to keep the rest in")

    def read(file: LandedFile) -> Iterator[pl.DataFrame]:
        for frame in _frames(file):
            yield _matched(file, frame, table, set(without), rest)

    return Source(folder=folder, table=table, read=read, description=description)


def column_name(text: str) -> str:
    """Return a heading as a column name: `Price (EUR)` -> `price_eur`, `Größe` -> `grosse`."""
    plain = unicodedata.normalize("NFKD", text.casefold()).encode("ascii", "ignore").decode()
    return _NO_LETTER.sub("_", plain).strip("_")


def _frames(file: LandedFile) -> Iterator[pl.DataFrame]:
    with unpacked(file) as raw:
        fmt = format_of(file.name, raw)
        if fmt is Format.CSV:
            yield from csv_frames(raw, name=file.name)
        elif fmt is Format.PARQUET:
            yield from parquet_frames(raw, name=file.name)
        else:
            raise UnknownShape(f"{file.name}: {fmt}; this source knows CSV and Parquet")


def _matched(
    file: LandedFile, frame: pl.DataFrame, table: Contract, without: set[str], rest: str | None
) -> pl.DataFrame:
    """Return the table's columns of the frame, as text. Raises UnknownShape, SourceError.

    Headings are quoted only when all of the table's are among them: a file without a header line would
    otherwise put its first row of data into the message.
    """
    named = [column_name(heading) for heading in frame.columns]
    columns = list(payload_schema(table))
    wanted = [name for name in columns if name != rest]
    lacking = [name for name in wanted if name not in named]
    if lacking:
        raise UnknownShape(
            f"{file.name}: it has {len(named)} columns, but not {', '.join(lacking)}; "
            f"{table.path} needs {', '.join(wanted)}"
        )
    if twice := [name for name in wanted if named.count(name) > 1]:
        raise UnknownShape(f"{file.name}: it has {', '.join(twice)} more than once")
    headings = dict(zip(frame.columns, named, strict=True))
    left = [h for h, name in headings.items() if name not in wanted and not {h, name} & without]
    file.unexpected.met((headings[heading] for heading in left), frame.height)
    matched = pl.DataFrame([frame.to_series(named.index(name)).alias(name) for name in wanted])
    if rest is None:
        return as_text(matched)
    kept = pl.Series(rest, [None] * frame.height, pl.String)
    if left:
        kept = as_text(frame.select(left)).select(json_object(left).alias(rest)).to_series()
    return as_text(matched).with_columns(kept).select(columns)
