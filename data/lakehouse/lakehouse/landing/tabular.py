"""CSV and Parquet files whose columns are the table's own: a Bronze source in one call.

    SOURCES = (tabular(folder="shop_orders", table=RAW_ORDERS, description="Orders of the tills"),)

Belongs here: matching a file's columns to a Bronze contract by name. Does not: any concrete source, or JSON.
Bronze keeps raw values, so every value stays text; Silver gives the types. A file that lacks a column is
rejected as a whole and stays in landing. A file with more columns is ingested, and the columns are reported:
`rest` names a column of the table that keeps their values.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

import polars as pl

from lakehouse.contracts.model import Contract
from lakehouse.errors import ContractError, UnknownShape
from lakehouse.landing.columns import as_text, csv_frames, json_object, parquet_frames
from lakehouse.landing.files import LandedFile
from lakehouse.landing.form import Form, column_name, proposed
from lakehouse.landing.readers import Format, format_of, unpacked
from lakehouse.landing.source import Source, payload_schema

__all__ = ["column_name", "tabular"]


def tabular(
    *,
    folder: str,
    table: Contract,
    description: str,
    without: Sequence[str] = (),
    rest: str | None = None,
    expected: Sequence[str] = (),
    form: Form | None = None,
) -> Source:
    """Return a source for CSV and Parquet files, optionally gzipped, with the columns of `table` by name.

    Names are compared in the form of `column_name`, in any order. `rest` is a column of the table for the
    files' other columns, as one JSON object by heading; without it they are counted and not kept. `expected`
    lists columns that files may have besides: kept in `rest`, and not counted as unexpected. `without` lists
    columns to ignore without counting. `form` declares what cannot be detected from the files:
    separator, encoding, decimal comma, dates, headings.
    Raises ContractError when a column of the table that comes from the file is not text, `rest` is not one of
    its columns, or columns are expected and nothing keeps them.
    """
    typed = [name for name, dtype in payload_schema(table).items() if dtype != pl.String]
    if typed:
        raise ContractError(
            f"source {folder!r}: {', '.join(typed)} of {table.path} must be text; give the type in Silver"
        )

    if rest is not None and rest not in payload_schema(table):
        raise ContractError(f"source {folder!r}: {table.path} has no column {rest!r} to keep the rest in")

    if expected and rest is None:
        raise ContractError(f"source {folder!r}: name the column that keeps what is expected: rest=…")

    def read(file: LandedFile) -> Iterator[pl.DataFrame]:
        for frame in _frames(file, payload_schema(table)):
            yield _matched(file, frame, table, set(without), rest, set(expected))

    return Source(folder=folder, table=table, read=read, description=description, form=form or Form())


def _frames(file: LandedFile, known: Collection[str]) -> Iterator[pl.DataFrame]:
    with unpacked(file) as raw:
        fmt = format_of(file.name, raw)
        if fmt is Format.CSV:
            yield from csv_frames(
                raw, name=file.name, form=file.form, known=known, unexpected=file.unexpected
            )
        elif fmt is Format.PARQUET:
            yield from parquet_frames(raw, name=file.name, form=file.form)
        else:
            raise UnknownShape(f"{file.name}: {fmt}; this source knows CSV and Parquet")


def _matched(
    file: LandedFile,
    frame: pl.DataFrame,
    table: Contract,
    without: set[str],
    rest: str | None,
    expected: set[str],
) -> pl.DataFrame:
    """Return the table's columns of the frame, as text. Raises UnknownShape, SourceError.

    Headings are quoted only when all of the table's are among them: a file without a header line would
    otherwise put its first row of data into the message.
    """
    named = [file.form.column_of(heading) for heading in frame.columns]
    columns = list(payload_schema(table))
    wanted = [name for name in columns if name != rest]
    missing = [name for name in wanted if name not in named]
    if missing:
        raise UnknownShape(
            f"{file.name}: it has {len(named)} columns, but not {', '.join(missing)}; "
            f"{table.path} needs {', '.join(wanted)}{_by_alias(frame.columns, named, wanted, missing[0])}"
        )
    if twice := [name for name in wanted if named.count(name) > 1]:
        raise UnknownShape(f"{file.name}: it has {', '.join(twice)} more than once")
    headings = dict(zip(frame.columns, named, strict=True))
    left = [h for h, name in headings.items() if name not in wanted and not {h, name} & without]
    file.unexpected.met(
        (headings[heading] for heading in left if headings[heading] not in expected), frame.height
    )
    matched = pl.DataFrame([frame.to_series(named.index(name)).alias(name) for name in wanted])
    if rest is None:
        return as_text(matched)
    kept = pl.Series(rest, [None] * frame.height, pl.String)
    if left:
        kept = as_text(frame.select(left)).select(json_object(left).alias(rest)).to_series()
    return as_text(matched).with_columns(kept).select(columns)


def _by_alias(headings: Sequence[str], named: Sequence[str], wanted: Sequence[str], missing: str) -> str:
    """Return a hint to declare an alias, where the line is a header with a heading that matches no column."""
    left = [heading for heading, name in zip(headings, named, strict=True) if name not in wanted]
    if left and len(left) < len(named):
        return f"; if it is under another heading, {proposed(aliases={left[0]: missing})}"
    if any(
        not name and any(map(str.isalpha, heading)) for heading, name in zip(headings, named, strict=True)
    ):
        return f"; for headings without Latin letters, {proposed(aliases={'<heading>': missing})}"
    return ""
