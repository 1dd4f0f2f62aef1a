"""CSV and Parquet files whose columns are the table's own: a Bronze source in one call.

    SOURCES = (tabular(folder="shop_orders", table=RAW_ORDERS, description="Orders of the tills"),)

Belongs here: matching a file's columns to a Bronze contract by name. Does not: any actual source, or JSON.
Bronze keeps what came, so every value stays text; what it means is Silver's business. A file with a column
too few or too many is refused whole and stays in landing: nothing is left out unless `without` says so.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence

import polars as pl

from lakehouse.contracts.model import Contract
from lakehouse.errors import ContractError, UnknownShape
from lakehouse.landing.columns import as_text, csv_frames, parquet_frames
from lakehouse.landing.files import LandedFile
from lakehouse.landing.readers import Format, format_of, unpacked
from lakehouse.landing.source import Source, payload_schema

_NO_LETTER = re.compile(r"[^a-z0-9]+")


def tabular(*, folder: str, table: Contract, description: str, without: Sequence[str] = ()) -> Source:
    """Return a source for CSV and Parquet files, perhaps gzipped, that carry the columns of `table` by name.

    Names are compared as `column_name` writes them, in any order. `without` lists columns of the files to
    leave out.
    Raises ContractError when a column of the table that comes from the file is not text.
    """
    typed = [name for name, dtype in payload_schema(table).items() if dtype != pl.String]
    if typed:
        raise ContractError(
            f"source {folder!r}: {', '.join(typed)} of {table.path} must be text; give the type in Silver"
        )

    def read(file: LandedFile) -> Iterator[pl.DataFrame]:
        for frame in _frames(file):
            yield _matched(file, frame, table, set(without))

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


def _matched(file: LandedFile, frame: pl.DataFrame, table: Contract, without: set[str]) -> pl.DataFrame:
    """Return the table's columns of the frame, as text. Raises UnknownShape, SourceError.

    Headings are quoted only when all of the table's are among them: a file without a header line would
    otherwise put its first row of data into the message.
    """
    named = [column_name(heading) for heading in frame.columns]
    wanted = list(payload_schema(table))
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
    if left:
        unknown = ", ".join(heading or "the one without a name" for heading in left)
        raise UnknownShape(
            f"{file.name}: {table.path} has no column for {unknown}; add it to the contract, "
            "or leave it out by `without`"
        )
    return as_text(pl.DataFrame([frame.to_series(named.index(name)).alias(name) for name in wanted]))
