"""Values as text: of a CSV file, and of Postgres, whose COPY reads the same form.

Belongs here: the text of each type, and the form of a file. Does not: where the text goes.

    text          in quotes, as it is; a quote within is doubled. "" is the empty text
    null          nothing between two commas, without quotes
    boolean       "true", "false"
    number        without quotes; a decimal has all digits of its scale, a float the fewest that say which it
                  is, NaN, inf and -inf are written so
    date, time    "2026-01-15", "2026-01-15T12:00:00.000000Z": ISO 8601, UTC, microseconds
    bytes         base 64 in a file, hexadecimal for Postgres
    list, struct  JSON in quotes: decimals, bytes, dates and times are texts in it, and so are the floats that
                  JSON has no number for

UTF-8 without a mark, commas, a line feed after each row, one line of names first.
"""

from __future__ import annotations

import io
import math
from base64 import b64encode
from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from functools import partial
from typing import Any

import orjson
import polars as pl

from lakehouse.contracts import Column, ColumnType, Type
from lakehouse.contracts.types import is_nested

NUL = "\0"
SHOWN_NUL = "\u2400"
"""What stands in Postgres for NUL, which no text of it can hold: the symbol for it."""

_ROWS_AT_ONCE = 50_000
_FORMULA = r"^[=+\-@\t\r]"


def csv_chunks(rows: pl.DataFrame, columns: Sequence[Column]) -> Iterator[bytes]:
    """Yield a CSV file in pieces."""
    yield from _chunks(rows, [_text(c.name, c.type) for c in columns], header=True)


def copy_chunks(rows: pl.DataFrame, columns: Sequence[Column]) -> Iterator[bytes]:
    """Yield what `COPY … (FORMAT csv)` of Postgres reads, in pieces. NUL is `SHOWN_NUL` in it."""
    yield from _chunks(rows, [_postgres_text(c.name, c.type) for c in columns], header=False)


def _chunks(rows: pl.DataFrame, texts: list[pl.Expr], *, header: bool) -> Iterator[bytes]:
    for number, part in enumerate(rows.iter_slices(_ROWS_AT_ONCE) if rows.height else [rows]):
        piece = io.BytesIO()
        part.select(texts).write_csv(piece, include_header=header and not number, quote_style="non_numeric")
        yield piece.getvalue()


def with_nul(rows: pl.DataFrame, columns: Sequence[Column]) -> dict[str, int]:
    """Return in how many rows each column holds a NUL within a text; {} where none does."""
    texts = [c for c in columns if c.type is Type.STRING]
    found = _counted(rows, {c.name: pl.col(c.name).str.contains(NUL, literal=True).sum() for c in texts})
    for column in columns:
        if is_nested(column.type):
            values = rows[column.name].to_list()
            if count := sum(json_text(value) != json_text(value, nul=SHOWN_NUL) for value in values):
                found[column.name] = count
    return found


def like_formulas(rows: pl.DataFrame, columns: Sequence[Column]) -> dict[str, int]:
    """Return in how many rows each text begins as a formula of a spreadsheet does; {} where none does."""
    return _counted(
        rows, {c.name: pl.col(c.name).str.contains(_FORMULA).sum() for c in columns if c.type is Type.STRING}
    )


def _counted(rows: pl.DataFrame, asked: dict[str, pl.Expr]) -> dict[str, int]:
    if not asked or rows.is_empty():
        return {}
    counted = rows.select(expression.alias(name) for name, expression in asked.items())
    return {name: int(count) for name, count in counted.row(0, named=True).items() if count}


def _text(name: str, type_: ColumnType) -> pl.Expr:
    column = pl.col(name)
    if is_nested(type_):
        return column.map_batches(_as_json, return_dtype=pl.String)
    match type_:
        case Type.BINARY:
            return column.bin.encode("base64")
        case Type.DATE:
            return column.dt.to_string("%Y-%m-%d")
        case Type.TIMESTAMP:
            return column.dt.to_string("%Y-%m-%dT%H:%M:%S%.6fZ")
        case _:
            return column


def _postgres_text(name: str, type_: ColumnType) -> pl.Expr:
    column = pl.col(name)
    if is_nested(type_):
        return column.map_batches(partial(_as_json, nul=SHOWN_NUL), return_dtype=pl.String)
    match type_:
        case Type.BINARY:
            return pl.concat_str(pl.lit("\\x"), column.bin.encode("hex"))
        case Type.STRING:
            return column.str.replace_all(NUL, SHOWN_NUL, literal=True)
        case _:
            return _text(name, type_)


def _as_json(values: pl.Series, *, nul: str = NUL) -> pl.Series:
    made = [None if value is None else json_text(value, nul=nul) for value in values.to_list()]
    return pl.Series(values.name, made, dtype=pl.String)


def json_text(value: Any, *, nul: str = NUL) -> str:
    """Return a list or struct as JSON that tells all its values apart, with `nul` in place of each NUL."""
    return orjson.dumps(json_value(value, nul)).decode()


def json_value(value: Any, nul: str = NUL) -> Any:
    """Return a Python value as one that JSON has, which tells it from all others of its column."""
    match value:
        case dict():
            return {name: json_value(inner, nul) for name, inner in value.items()}
        case list():
            return [json_value(inner, nul) for inner in value]
        case str():
            return value.replace(NUL, nul)
        case Decimal():
            return f"{value:f}"
        case bytes():
            return b64encode(value).decode()
        case datetime():
            return value.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
        case date():
            return value.isoformat()
        case float() if not math.isfinite(value):
            return "NaN" if math.isnan(value) else ("inf" if value > 0 else "-inf")
    return value
