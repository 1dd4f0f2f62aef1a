"""The envelopes: records that already have the Bronze columns, as JSON, CSV or Parquet.

Belongs here: mapping an envelope's fields, and keeping what it has besides. Does not: other shapes.

A payload given as text is kept byte for byte, one given as JSON is written compactly. Fields that the
envelope does not know are kept inside the payload, so that nothing is lost:
without any payload field they are the payload; a payload object gets them under `_extra`; any other
payload has them appended, after a blank, and stays as unreadable as it was. Beside a payload they are
reported too, as columns that nobody expected.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from operator import itemgetter
from typing import Any

import polars as pl

from lakehouse.landing import LandedFile
from lakehouse.landing.columns import as_text, json_object
from lakehouse.landing.json_text import dumps, text_of

Row = tuple[str | None, ...]

_TEXT = frozenset((str, type(None)))


@dataclass(frozen=True)
class Envelope:
    """One envelope: its fields in Bronze's order, those that show a record to be one, and its payload."""

    fields: tuple[str, ...]
    signs: frozenset[str]
    payload: str

    def rows(self, record: Any, file: LandedFile) -> Sequence[Row] | None:
        """Return the one row of a record, or None for a record without any of `signs`."""
        if type(record) is not dict or self.signs.isdisjoint(record):
            return None
        try:  # the common case first: all fields are there
            row = self._pick(record)
        except KeyError:
            row = tuple(map(record.get, self.fields))
        if not _TEXT.issuperset(map(type, row)):
            row = tuple(map(text_of, row))
        if len(record) <= len(self.fields) and self._known.issuperset(record):
            return (row,)
        if self.payload in record:
            file.unexpected.met(record.keys() - self._known)
        place = self.fields.index(self.payload)
        return ((*row[:place], _with_extras(record, self.fields, self.payload), *row[place + 1 :]),)

    @cached_property
    def _known(self) -> frozenset[str]:
        return frozenset(self.fields)

    @cached_property
    def _pick(self) -> Callable[[dict[str, Any]], Row]:
        return itemgetter(*self.fields)

    def columns(self, frame: pl.DataFrame, file: LandedFile) -> pl.DataFrame | None:
        """Map a CSV or Parquet frame, column by column; None where it has none of `signs`."""
        named = {c: c.strip().lower() for c in frame.columns}
        if len(set(named.values())) == len(named):
            frame = frame.rename(named)
        if self.signs.isdisjoint(frame.columns):
            return None
        frame = as_text(frame)
        extras = [c for c in frame.columns if c not in self.fields]
        if extras:
            given = self.payload if self.payload in frame.columns else None
            if given:
                file.unexpected.met(extras, frame.height)
            frame = frame.with_columns(_payload_with(extras, given).alias(self.payload))
        absent = [pl.lit(None, pl.String).alias(c) for c in self.fields if c not in frame.columns]
        return frame.with_columns(absent).select(self.fields)


EVENT = Envelope(
    ("pipeline_id", "event_type", "workspace_id", "timestamp", "raw_data"),
    frozenset({"pipeline_id", "event_type", "raw_data"}),
    "raw_data",
)
RESULT = Envelope(
    ("crawl_id", "method_id", "username", "raw_json", "timestamp"),
    frozenset({"crawl_id", "username", "raw_json"}),
    "raw_json",
)


def _with_extras(record: dict[str, Any], fields: tuple[str, ...], payload: str) -> str | None:
    extras = {k: v for k, v in record.items() if k not in fields}
    if payload not in record:
        return dumps(extras)
    given = record[payload]
    if isinstance(given, dict):
        return dumps({**given, _free("_extra", given): extras})
    return _joined(text_of(given), dumps(extras))


def _free(name: str, taken: dict[str, Any]) -> str:
    while name in taken:
        name = f"_{name}"
    return name


def _joined(text: str | None, extras: str) -> str:
    """Put the extras into the text of an object, else behind the text."""
    whole = (text or "null").strip()
    if not (whole.startswith("{") and whole.endswith("}")):
        return f"{text or 'null'} {extras}"
    comma = "" if not whole[1:-1].strip() else ","
    return f'{whole[:-1]}{comma}"_extra":{extras}}}'


def _payload_with(extras: list[str], payload: str | None) -> pl.Expr:
    """The columnar twin of `_with_extras`, where a payload is always text."""
    packed = json_object(extras)
    if payload is None:
        return packed
    text = pl.when(pl.col(payload) != "").then(pl.col(payload)).fill_null("null")
    whole = text.str.strip_chars()
    is_object = whole.str.starts_with("{") & whole.str.ends_with("}")
    inner = whole.str.head(-1)
    comma = pl.when(inner.str.slice(1).str.strip_chars() == "").then(pl.lit("")).otherwise(pl.lit(","))
    inside = pl.concat_str(inner, comma, pl.lit('"_extra":'), packed, pl.lit("}"))
    return pl.when(is_object).then(inside).otherwise(pl.concat_str(text, pl.lit(" "), packed))
