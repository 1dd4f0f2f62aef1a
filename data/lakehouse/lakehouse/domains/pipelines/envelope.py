"""The envelopes: records that already have the Bronze columns, as JSON, CSV or Parquet.

Belongs here: mapping an envelope's fields, and keeping what it has besides. Does not: other shapes.

A payload given as text is kept byte for byte, one given as JSON is written compactly. Fields that the
envelope does not know are kept inside the payload, so that nothing is lost:
without any payload field they are the payload; a payload object gets them under `_extra`; any other
payload has them appended, after a blank, and stays as unreadable as it was.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import polars as pl

from lakehouse.landing import LandedFile
from lakehouse.landing.columns import as_text, json_object
from lakehouse.landing.json_text import dumps, text_of

Row = tuple[str | None, ...]

EVENT = ("pipeline_id", "event_type", "workspace_id", "timestamp", "raw_data")
EVENT_SIGNS = frozenset({"pipeline_id", "event_type", "raw_data"})
RESULT = ("crawl_id", "method_id", "username", "raw_json", "timestamp")
RESULT_SIGNS = frozenset({"crawl_id", "username", "raw_json"})


def _rows(
    record: Any, _: LandedFile, *, fields: tuple[str, ...], signs: frozenset[str], payload: str
) -> Sequence[Row] | None:
    """Return the one row of an envelope record, or None for a record without any of `signs`."""
    if type(record) is not dict or signs.isdisjoint(record):
        return None
    get = record.get
    row = [v if (v := get(f)) is None or type(v) is str else text_of(v) for f in fields]
    if len(record) > len(fields) or not record.keys() <= set(fields):
        row[fields.index(payload)] = _with_extras(record, fields, payload)
    return (tuple(row),)


event_rows = partial(_rows, fields=EVENT, signs=EVENT_SIGNS, payload="raw_data")
result_rows = partial(_rows, fields=RESULT, signs=RESULT_SIGNS, payload="raw_json")


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


def _columns(
    frame: pl.DataFrame, *, fields: tuple[str, ...], signs: frozenset[str], payload: str
) -> pl.DataFrame | None:
    """Map a CSV or Parquet frame, column by column; None where it has none of `signs`."""
    named = {c: c.strip().lower() for c in frame.columns}
    if len(set(named.values())) == len(named):
        frame = frame.rename(named)
    if signs.isdisjoint(frame.columns):
        return None
    frame = as_text(frame)
    extras = [c for c in frame.columns if c not in fields]
    if extras:
        frame = frame.with_columns(
            _payload_with(extras, payload if payload in frame.columns else None).alias(payload)
        )
    return frame.select(pl.col(c) if c in frame.columns else pl.lit(None, pl.String).alias(c) for c in fields)


event_columns = partial(_columns, fields=EVENT, signs=EVENT_SIGNS, payload="raw_data")
result_columns = partial(_columns, fields=RESULT, signs=RESULT_SIGNS, payload="raw_json")


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
