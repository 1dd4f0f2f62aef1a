"""The few operations that differ from engine to engine, so that transforms need not know which one runs.

Belongs here: per-engine expressions behind one name. Does not: anything narwhals already offers.
Only Polars is served so far; a frame of another engine is refused by name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeAlias

import narwhals.stable.v2 as nw
import orjson
import polars as pl

from lakehouse.errors import Unsupported

Frame: TypeAlias = nw.LazyFrame


def _polars(frame: Frame) -> pl.LazyFrame:
    native = nw.to_native(frame)
    if not isinstance(native, pl.LazyFrame):
        raise Unsupported(
            f"xp serves Polars frames; got {type(native).__module__}. Collect it to Polars first."
        )
    return native


def by_rows(build: Callable[[pl.DataFrame], pl.DataFrame]) -> Callable[[Frame], Frame]:
    """Return a transform that computes whole frames: for what no expression can say.

    `build` gives one row for each row it gets.
    """

    def transform(frame: Frame) -> Frame:
        return nw.from_native(build(_polars(frame).collect(engine="streaming")).lazy())

    return transform


def in_polars(build: Callable[..., pl.LazyFrame]) -> Callable[..., Frame]:
    """Return a transform written in Polars, for what narwhals has no words for."""

    def transform(*frames: Frame) -> Frame:
        return nw.from_native(build(*map(_polars, frames)))

    return transform


def json_fields(
    frame: Frame, column: str, fields: Mapping[str, str], *, is_object: str | None = None
) -> Frame:
    """Add one string column per JSON path of `fields` (new column -> JSONPath such as `$.a.b`).

    A missing field, a JSON null and a text that is no JSON all give null. With `is_object`, also add a
    boolean column of that name: true where the text is a well-formed JSON object.
    """
    text = pl.col(column)
    added = [text.str.json_path_match(path).alias(name) for name, path in fields.items()]
    if is_object is not None:
        # json_path_match('$') is null exactly where serde_json refuses the text.
        opens = text.str.strip_chars_start().str.starts_with("{")
        readable = opens & text.str.json_path_match("$").is_not_null()
        added.append(readable.fill_null(False).alias(is_object))
    return nw.from_native(_polars(frame).with_columns(added))


def timestamp(frame: Frame, column: str, *, to: str) -> Frame:
    """Add `to`: the ISO 8601 or epoch text of `column` as a UTC microsecond timestamp, null if unreadable.

    Accepted: RFC 3339 with `Z` or an offset, `T` or a blank between date and time, up to nanoseconds
    (cut to microseconds), no offset (taken as UTC), a bare date (midnight), and whole or fractional
    epoch seconds or milliseconds (10 or 13 digits before the point).
    """
    instants = pl.col(column).map_batches(
        _instants, return_dtype=pl.Datetime("us", "UTC"), is_elementwise=True
    )
    return nw.from_native(_polars(frame).with_columns(instants.alias(to)))


def _instants(texts: pl.Series) -> pl.Series:
    """Read the common form (`2026-01-10T10:00:00.123Z`) at once; only what is left is looked at closely."""
    plain = texts.str.strip_suffix("Z").str.to_datetime("%Y-%m-%dT%H:%M:%S%.f", time_unit="us", strict=False)
    found = plain.dt.replace_time_zone("UTC")
    left = found.is_null() & texts.is_not_null()
    if not left.any():
        return found
    rest = texts.filter(left).to_frame("text").select(_any_instant(pl.col("text"))).to_series()
    return found.scatter(left.arg_true(), rest)


def _any_instant(column: pl.Expr) -> pl.Expr:
    text = column.str.strip_chars()
    normal = (
        text.str.replace(r"^(\d{4}-\d{2}-\d{2})$", "${1}T00:00:00Z")
        .str.replace(r"^(\d{4}-\d{2}-\d{2})[ tT](\d{2}:\d{2})([zZ]|[+-]\d{2}:?\d{2})?$", "${1}T${2}:00${3}")
        .str.replace(r"^(\d{4}-\d{2}-\d{2})[ t]", "${1}T")
        .str.replace(r"[zZ]$", "+00:00")
        .str.replace(r"(\.\d{6})\d+", "${1}")
        .str.replace(r"([+-]\d{2})(\d{2})$", "${1}:${2}")
    )
    has_offset = normal.str.contains(r"T.*[+-]\d{2}:\d{2}$")
    iso = (
        pl.when(has_offset)
        .then(normal)
        .otherwise(normal + "+00:00")
        .str.to_datetime("%Y-%m-%dT%H:%M:%S%.f%:z", time_unit="us", time_zone="UTC", strict=False)
    )
    is_epoch = text.str.contains(r"^\d{10}(\.\d+)?$|^\d{13}(\.\d+)?$")
    digits = pl.when(is_epoch).then(text)
    whole = digits.str.extract(r"^(\d+)").cast(pl.Int64, strict=False)
    part = digits.str.extract(r"\.(\d+)$").fill_null("0")
    seconds = text.str.contains(r"^\d{10}(\.|$)")
    micros = (
        pl.when(seconds)
        .then(whole * 1_000_000 + part.str.pad_end(6, "0").str.slice(0, 6).cast(pl.Int64, strict=False))
        .otherwise(whole * 1_000 + part.str.pad_end(3, "0").str.slice(0, 3).cast(pl.Int64, strict=False))
    )
    epoch = micros.cast(pl.Datetime("us")).dt.replace_time_zone("UTC")
    return pl.coalesce(iso, epoch)


def round_half_up(expr: nw.Expr, digits: int) -> nw.Expr:
    """Round non-negative numbers half up.

    Bare `round` differs per engine: half-even on Polars, half-up on DuckDB.
    """
    factor = 10**digits
    rounded: nw.Expr = ((expr * factor) + 0.5).floor() / factor
    return rounded


def json_length(frame: Frame, column: str, *, to: str) -> Frame:
    """Add `to`: how many elements the JSON array in `column` has; null where the text is no array.

    Only rows that hold an array are parsed one by one; they are the exception.
    """
    text = pl.col(column).str.strip_chars_start()
    arrays = pl.when(text.str.starts_with("[")).then(text)
    length = arrays.map_batches(_lengths, return_dtype=pl.Int64(), is_elementwise=True)
    return nw.from_native(_polars(frame).with_columns(length.alias(to)))


def _lengths(texts: pl.Series) -> pl.Series:
    if texts.null_count() == len(texts):
        return pl.Series(texts.name, [], pl.Int64).extend_constant(None, len(texts))
    return pl.Series(texts.name, [None if t is None else _length(t) for t in texts], pl.Int64)


def _length(text: str) -> int | None:
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError:
        return None
    return len(value) if isinstance(value, list) else None


def snake_case(frame: Frame, column: str, *, to: str) -> Frame:
    """Add `to`: the words of `column` in lower case, joined by `_`. Null and wordless text give null, "".

    A word begins at a capital after a small letter or digit, at the last of several capitals before a
    small letter (`HTTPError` -> `http_error`), and after anything that is no letter or digit.
    """
    words = (
        pl.col(column)
        .str.replace_all(r"([\p{Ll}\p{N}])(\p{Lu})", "${1}_${2}")
        .str.replace_all(r"(\p{Lu})(\p{Lu}\p{Ll})", "${1}_${2}")
        .str.replace_all(r"[^\p{L}\p{N}]+", "_")
        .str.strip_chars("_")
        .str.to_lowercase()
    )
    return nw.from_native(_polars(frame).with_columns(words.alias(to)))
