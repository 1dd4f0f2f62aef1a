"""What differs from engine to engine, on Polars: the reference that the other engines must equal.

Belongs here: one function per operation of xp. Does not: what narwhals says for every engine (xp.py).
A table's code counts these functions as they stand here (pipeline/source.py): a changed statement marks the
rows of every table that uses it as of an older version.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from decimal import Decimal
from functools import partial
from typing import Literal
from urllib.parse import unquote

import narwhals.stable.v2 as nw
import orjson
import polars as pl

from lakehouse.contracts import DecimalType, Type, polars_type
from lakehouse.contracts.calendar import in_calendar
from lakehouse.engine.protocol import Frame
from lakehouse.errors import Unsupported


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

    Each path parses the text anew, so only a text with the path's last name in it is parsed, or one with an
    escape that could spell it.
    """
    text = pl.col(column)
    escaped = text.str.contains("\\u", literal=True)
    native = _polars(frame).with_columns(
        pl.when(text.str.contains(path.rsplit(".", 1)[-1], literal=True) | escaped)
        .then(text)
        .str.json_path_match(path)
        .alias(name)
        for name, path in fields.items()
    )
    if is_object is not None:
        opens = text.str.strip_chars_start().str.starts_with("{")
        # A text in which something was found is well-formed, where it opens as an object.
        found = pl.any_horizontal(pl.lit(False), *(pl.col(name).is_not_null() for name in fields))
        # json_path_match('$') is null exactly where serde_json refuses the text.
        readable = found | pl.when(opens & ~found).then(text).str.json_path_match("$").is_not_null()
        native = native.with_columns((opens & readable).fill_null(False).alias(is_object))
    return nw.from_native(native)


def by_value(frame: Frame, column: str, made: Mapping[str, nw.Expr]) -> Frame:
    """Add columns that the text of one column decides alone; each is computed once for equal texts."""
    none = nw.from_native(pl.LazyFrame(schema={column: pl.String}))
    kinds = nw.to_native(none.select(**made)).collect_schema()
    computed = pl.col(column).map_batches(
        partial(_by_value, made), return_dtype=pl.Struct(dict(kinds)), is_elementwise=True
    )
    return nw.from_native(_polars(frame).with_columns(computed.struct.field(*made)))


_LOOK = 1_000  # rows by which it is told whether equal texts are many


def _by_value(made: Mapping[str, nw.Expr], texts: pl.Series) -> pl.Series:
    name, first = texts.name, texts.head(_LOOK)
    given = texts.to_frame()
    values = given.unique() if first.n_unique() * 2 <= first.len() else given
    rows = nw.to_native(nw.from_native(values).with_columns(**made))
    if values is not given:
        rows = given.join(rows, on=name, how="left", nulls_equal=True, maintain_order="left")
    return rows.select(*made).to_struct(name)


def timestamp(frame: Frame, column: str, *, to: str) -> Frame:
    """Add `to`: the ISO 8601 or epoch text of `column` as a UTC microsecond timestamp, null if unreadable.

    Accepted: RFC 3339 with `Z` or an offset, `T` or a blank between date and time, up to nanoseconds
    (cut to microseconds), no offset (taken as UTC), a bare date (midnight), and whole or fractional
    epoch seconds or milliseconds (10 or 13 digits before the point). A year has four digits, a month, day,
    hour and minute two: nothing else tells them apart. What lies outside the years 1 to 9999 in UTC is
    unreadable: the offset counts.
    """
    instants = pl.col(column).map_batches(
        _instants, return_dtype=pl.Datetime("us", "UTC"), is_elementwise=True
    )
    return nw.from_native(_polars(frame).with_columns(instants.alias(to)))


# The parser takes "26" for the year 26, and one digit for two: years and days would be swapped in silence.
_ISO = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}"
_PLAIN = rf"{_ISO}(\.[0-9]+)?Z?$"


def _instants(texts: pl.Series) -> pl.Series:
    """Read the common form (`2026-01-10T10:00:00.123Z`) at once; only what is left is looked at closely."""
    name, text = texts.name, pl.col(texts.name)
    second = text.str.slice(0, 19).str.to_datetime(
        "%Y-%m-%dT%H:%M:%S", time_unit="us", strict=False, cache=False
    )
    micros = text.str.slice(20, 6).str.strip_suffix("Z").str.pad_end(6, "0").cast(pl.Int64, strict=False)
    plain = pl.when(text.str.contains(_PLAIN)).then(second + pl.duration(microseconds=micros))
    found = texts.to_frame().select(plain.dt.replace_time_zone("UTC")).to_series()
    left = found.is_null() & texts.is_not_null()
    if left.any():
        rest = texts.filter(left).to_frame("text").select(_any_instant(pl.col("text"))).to_series()
        found = found.scatter(left.arg_true(), rest)
    return (
        found.to_frame(name).select(pl.when(in_calendar(pl.col(name), Type.TIMESTAMP)).then(name)).to_series()
    )


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
        pl.when(has_offset & normal.str.contains(_ISO))
        .then(normal)
        .when(normal.str.contains(_ISO))
        .then(normal + "+00:00")
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


def decimal(frame: Frame, column: str, *, to: str, type_: DecimalType) -> Frame:
    """Add `to`: the text of `column` as a decimal; null where it is no plain number, or has other digits.

    Nothing is rounded: of `decimal(5, 2)`, 1.239 and 1234.5 are unreadable, and 001.2300 is 1.23. A sign, and
    white space around it, may be there; an exponent may not. A cast would round in silence.
    """
    whole, part = type_.precision - type_.scale, type_.scale
    text = pl.col(column).str.strip_chars()
    is_number = text.str.contains(r"^[+-]?[0-9]+(\.[0-9]+)?$")
    fits = text.str.contains(rf"^[+-]?0*[0-9]{{0,{whole}}}(\.[0-9]{{0,{part}}}0*)?$")
    digits = (
        text.str.replace(r"^\+", "")
        .str.replace(r"^(-?)0+([0-9])", "${1}${2}")
        .str.replace(rf"(\.[0-9]{{{part}}})0+$", "${1}")
        .str.replace(r"\.$", "")
    )
    exact = pl.when(is_number & fits).then(digits).cast(polars_type(type_), strict=False)
    return nw.from_native(_polars(frame).with_columns(exact.alias(to)))


def rounded_decimals(frame: Frame, columns: Mapping[str, str], *, type_: DecimalType) -> Frame:
    """Add for each new column the text of another one as a decimal, rounded half up (away from zero).

    Exact, whatever the number of digits: of `decimal(5, 2)`, 1.235 is 1.24, -0.005 is -0.01, 1000.5 is null.
    A sign, an exponent of at most three digits, and white space around it may be there. Null where the text
    is no number, NaN and infinity included, or has too many digits before the point.
    """
    dtype = polars_type(type_)
    added = [
        pl.col(text)
        .map_batches(partial(_rounded, type_), return_dtype=dtype, is_elementwise=True)
        .alias(name)
        for name, text in columns.items()
    ]
    return nw.from_native(_polars(frame).with_columns(added))


def _rounded(type_: DecimalType, texts: pl.Series) -> pl.Series:
    """Cut the digits that the type does not keep; a first one of 5 or more adds one to the last that is."""
    dtype, whole, part = polars_type(type_), type_.precision - type_.scale, type_.scale
    text, size, is_up = pl.col("text"), pl.col("size"), pl.col("is_up")
    fits = text.str.contains(r"^[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)$")
    fits &= size.str.contains(rf"^[0-9]{{1,{max(whole, 1)}}}(\.|$)")
    carries_over = size.str.contains(rf"^{'9' * whole or '0'}\.9{{{part}}}[5-9]")
    kept = size.str.extract(rf"^([0-9]+(?:\.[0-9]{{0,{part}}})?)", 1).str.strip_suffix(".")
    unit, none = (pl.lit(Decimal(n).scaleb(-part), dtype) for n in (1, 0))
    return (
        pl.DataFrame({"text": _without_exponents(texts.str.strip_chars())})
        .with_columns(
            size=text.str.replace(r"^[+-]", "").str.replace(r"^0*([0-9])", "${1}").str.replace(r"^\.", "0.")
        )
        .with_columns(
            kept=pl.when(fits & ~carries_over).then(kept).cast(dtype, strict=False),
            is_up=size.str.contains(rf"\.[0-9]{{{part}}}[5-9]"),
        )
        .with_columns(made=pl.col("kept") + pl.when(is_up).then(unit).otherwise(none))
        .select(
            pl.when(text.str.starts_with("-"))
            .then(-pl.col("made"))
            .otherwise(pl.col("made"))
            .cast(dtype, strict=False)
        )
        .to_series()
        .alias(texts.name)
    )


def _without_exponents(texts: pl.Series) -> pl.Series:
    """Write out the numbers that have an exponent; they are the exception."""
    hit = texts.str.contains(r"^[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)[eE][+-]?[0-9]{1,3}$").fill_null(False)
    if not hit.any():
        return texts
    written = [format(Decimal(text), "f") for text in texts.filter(hit)]
    return texts.scatter(hit.arg_true(), pl.Series(written, dtype=pl.String))


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
        nw.col(column)
        .str.replace_all(r"([\p{Ll}\p{N}])(\p{Lu})", "${1}_${2}")
        .str.replace_all(r"(\p{Lu})(\p{Lu}\p{Ll})", "${1}_${2}")
        .str.replace_all(r"[^\p{L}\p{N}]+", "_")
        .str.strip_chars("_")
        .str.to_lowercase()
    )
    return by_value(frame, column, {to: words})


def durations(
    frame: Frame,
    *,
    by: Sequence[str],
    of: str,
    per: int,
    mean: str,
    percentiles: Mapping[str, int],
    counts: Mapping[str, str | None],
) -> Frame:
    """Return one row per group: how many rows, and mean and percentiles of the whole numbers in `of`.

    `counts` names new columns: the number of rows for None, else the sum of a column of zeros and ones.
    Figures are in units of `per`; nulls are ignored, and without any value they are null.

    Each figure is one division of whole numbers that are exact up to 128 bits, so it is the double
    nearest to the exact value as long as both fit 53 bits, and in any case the same in any order.
    Percentile p of n sorted values: at position (n-1)·p/100, between two values in proportion (type 7 of
    Hyndman and Fan).
    """
    column = pl.col(of)
    ordered, last = column.drop_nulls().sort(), column.count().cast(pl.Int64) - 1
    asked = [
        (pl.len() if part is None else pl.col(part).sum()).cast(pl.Int64).alias(name)
        for name, part in counts.items()
    ]
    asked += [column.cast(pl.Int128).sum().alias("__sum"), last.alias("__last")]
    for name, percent in percentiles.items():
        below = last * percent // 100
        asked += [
            ordered.get(below, null_on_oob=True).alias(f"__{name}_below"),
            ordered.get(pl.min_horizontal(below + 1, last), null_on_oob=True).alias(f"__{name}_above"),
        ]
    grouped = _polars(frame).group_by(by).agg(asked)
    some = pl.col("__last") >= 0
    figures = [pl.when(some).then(_quotient(pl.col("__sum"), (pl.col("__last") + 1) * per)).alias(mean)]
    for name, percent in percentiles.items():
        above = pl.col("__last") * percent % 100
        sides = (pl.col(f"__{name}_{side}").cast(pl.Int128) for side in ("below", "above"))
        parts = [
            side * weight.cast(pl.Int128) for side, weight in zip(sides, (100 - above, above), strict=True)
        ]
        hundred = pl.col("__last") * 0 + 100 * per  # a column: see `divided`
        figures.append(pl.when(some).then(_quotient(parts[0] + parts[1], hundred)).alias(name))
    return nw.from_native(grouped.select(*by, *counts, *figures))


def _quotient(numerator: pl.Expr, denominator: pl.Expr) -> pl.Expr:
    return numerator.cast(pl.Float64) / denominator.cast(pl.Float64)


def span_start(frame: Frame, column: str, length: timedelta, *, to: str) -> Frame:
    """Add `to`: when the aligned span of this length begins that a date or time lies in."""
    return nw.from_native(_polars(frame).with_columns(pl.col(column).dt.truncate(length).alias(to)))


def date_after(frame: Frame, column: str, number: str, unit: Literal["mo", "d"], *, to: str) -> Frame:
    """Add `to`: the date of `column`, and so many months (`mo`) or days (`d`) after it as `number` says.

    The number is rounded, halves to even. A month that has no such day gives its last.
    """
    after = pl.col(number).round().cast(pl.Int64).cast(pl.String) + unit
    return nw.from_native(_polars(frame).with_columns(pl.col(column).dt.offset_by(after).alias(to)))


def extracted(frame: Frame, column: str, pattern: str, group: int, *, to: str) -> Frame:
    """Add `to`: a group of the pattern's first match in a text; null where nothing matches."""
    return nw.from_native(_polars(frame).with_columns(pl.col(column).str.extract(pattern, group).alias(to)))


def percent_decoded(frame: Frame, column: str, *, to: str) -> Frame:
    """Add `to`: the text without the escapes of a URL (`%20`). What is no UTF-8 then becomes U+FFFD."""
    text = pl.col(column)
    plain = text.map_elements(unquote, return_dtype=pl.String)
    decoded = pl.when(text.str.contains("%", literal=True)).then(plain).otherwise(text)
    return nw.from_native(_polars(frame).with_columns(decoded.alias(to)))


def computed(frame: Frame) -> Frame:
    """Return the same rows, computed now: a plan that has a frame several times takes long to make."""
    return nw.from_native(_polars(frame).collect(engine="streaming").lazy())
