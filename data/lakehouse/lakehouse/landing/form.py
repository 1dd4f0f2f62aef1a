"""The format of a source's files, where it cannot be detected from the files themselves.

    Source(..., form=Form(delimiter="^", encoding="cp1252", decimal_comma=("price",),
                          dates={"sold_on": "%d.%m.%Y"}, aliases={"2nd price": "price", "価格": "price"}))

Belongs here: the declaration, its effect on headings and values, and the hint that proposes one.
Does not: finding rows in a file (csv_text.py, parquet.py).

A declaration is strict: a value that does not match it rejects the file, with its row.
"""

from __future__ import annotations

import codecs
import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import polars as pl

from lakehouse.errors import ContractError, SourceError

_NO_LETTER = re.compile(r"[^a-z0-9]+")
_COMMA_NUMBER = r"^[+-]?(\d+|\d{1,3}(\.\d{3})+)(,\d+)?([eE][+-]?\d+)?$"
_TIMES = ("%H", "%I", "%T", "%R", "%X", "%s")


@dataclass(frozen=True, kw_only=True)
class Form:
    """The format of text files. Encoding applies to all of them, the rest to CSV, aliases also to Parquet.

    delimiter      the field separator; None: the most frequent of `,` `;` tab `|` in the header
    escape         the escape character, such as a backslash; None: only quotes, doubled within a field
                   (RFC 4180)
    encoding       of the text, by Python's name for it
    decimal_comma  columns with numbers such as `1.234,50`, which become `1234.50`
    dates          column to its format (`%d.%m.%Y %H:%M`), which becomes ISO 8601, in UTC where it has `%z`
    aliases        heading to column, for headings from which no column name follows
    preamble       what a line above the header says, as a regular expression for the whole line
    divider        the same of a line between rows
    divided        column to what it says in each row below the divider, as a regular expression for its
                   beginning: the line itself becomes no row, so a row that says otherwise rejects the file (a
                   blank says nothing)
    footer         the same of a line below the table; no row may follow one

    Raises ContractError for an invalid declaration.
    """

    delimiter: str | None = None
    escape: str | None = None
    encoding: str = "utf-8"
    decimal_comma: Sequence[str] = field(default=(), hash=False)
    dates: Mapping[str, str] = field(default_factory=dict, hash=False)
    aliases: Mapping[str, str] = field(default_factory=dict, hash=False)
    preamble: str | None = None
    divider: str | None = None
    divided: Mapping[str, str] = field(default_factory=dict, hash=False)
    footer: str | None = None

    def __post_init__(self) -> None:
        for what, mark in (("delimiter", self.delimiter), ("escape", self.escape)):
            if mark is not None and (len(mark) != 1 or mark in '"\r\n'):
                raise ContractError(f"{what} {mark!r}: give one character, no quote and no line end")
        if self.delimiter is not None and self.delimiter == self.escape:
            raise ContractError(f"delimiter and escape are both {self.escape!r}")
        try:
            codecs.lookup(self.encoding)
        except LookupError:
            raise ContractError(f"encoding {self.encoding!r} is unknown to Python") from None
        for column, fmt in self.dates.items():
            if "%y" in fmt or "%D" in fmt:
                raise ContractError(f"dates of {column}: {fmt!r} has a year without its century")
        for what, pattern in (*self.beside.items(), *self.divided.items()):
            _refuse_pattern(what, pattern)

    @property
    def beside(self) -> dict[str, str]:
        """Return the declared lines beside the rows: `preamble`, `divider`, `footer` -> pattern."""
        stated = {"preamble": self.preamble, "divider": self.divider, "footer": self.footer}
        return {what: pattern for what, pattern in stated.items() if pattern is not None}

    @property
    def is_utf8(self) -> bool:
        """Return whether the text needs no decoding."""
        return codecs.lookup(self.encoding).name in ("utf-8", "utf-8-sig")

    def column_of(self, heading: str) -> str:
        """Return the column of a heading: by its alias, else by `column_name`."""
        return self.aliases.get(heading) or self.aliases.get(heading.strip()) or column_name(heading)

    def renamed(self, headings: Sequence[str]) -> list[str]:
        """Return the headings, with each alias replaced by its column."""
        return [self.aliases.get(h) or self.aliases.get(h.strip()) or h for h in headings]

    def applied(self, frame: pl.DataFrame, *, first: int) -> pl.DataFrame:
        """Return the text frame with declared numbers and dates in the form that Silver reads.

        `first` is the number of the frame's first row in its file, from 1. Raises SourceError with the row
        of the first value that does not match.
        """
        for heading in frame.columns:
            column = self.column_of(heading)
            if column in self.decimal_comma:
                converted, what = _point(pl.col(heading)), "number with a decimal comma"
            elif column in self.dates:
                converted, what = _iso(pl.col(heading), self.dates[column]), f"date as {self.dates[column]!r}"
            else:
                continue
            text = pl.col(heading)
            found = frame.select(
                converted.alias("value"), (text.is_not_null() & converted.is_null()).alias("invalid")
            )
            if len(rows := found["invalid"].arg_true()):
                raise SourceError(f"row {first + rows[0]}: {column} is no {what}, as its source declares")
            frame = frame.with_columns(found["value"].alias(heading))
        return frame


def _refuse_pattern(what: str, pattern: str) -> None:
    try:
        takes_all = re.compile(pattern).fullmatch("") is not None
    except re.error as exc:
        raise ContractError(f"{what} {pattern!r} is no regular expression: {exc}") from None
    if takes_all:
        raise ContractError(f"{what} {pattern!r} matches a blank line; say what the line says")


def column_name(text: str) -> str:
    """Return a heading as a column name: `Price (EUR)` -> `price_eur`, `Größe` -> `grosse`."""
    plain = unicodedata.normalize("NFKD", text.casefold()).encode("ascii", "ignore").decode()
    return _NO_LETTER.sub("_", plain).strip("_")


def proposed(**declared: object) -> str:
    """Return the hint that proposes a declaration, for the error of a rejected file."""
    inside = ", ".join(f"{name}={value!r}" for name, value in declared.items())
    return f"declare form=Form({inside}) on its source"


def _point(text: pl.Expr) -> pl.Expr:
    trimmed = text.str.strip_chars()
    pointed = trimmed.str.replace_all(".", "", literal=True).str.replace(",", ".", literal=True)
    return pl.when(trimmed.str.contains(_COMMA_NUMBER)).then(pointed)


def _iso(text: pl.Expr, fmt: str) -> pl.Expr:
    trimmed = text.str.strip_chars()
    if "%z" in fmt or "%Z" in fmt:
        at = trimmed.str.to_datetime(fmt, time_unit="us", time_zone="UTC", strict=False, exact=True)
        return at.dt.strftime("%Y-%m-%dT%H:%M:%S%.fZ")
    if any(part in fmt for part in _TIMES):
        at = trimmed.str.to_datetime(fmt, time_unit="us", strict=False, exact=True)
        return at.dt.strftime("%Y-%m-%dT%H:%M:%S%.f")
    return trimmed.str.to_date(fmt, strict=False, exact=True).dt.strftime("%Y-%m-%d")
