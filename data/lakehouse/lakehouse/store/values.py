"""Values as every engine of the store takes them: typed, exact, and never read as anything but a value.

Belongs here: the one number or text that a value is inside, its literals, and what no format can keep.
Does not: conditions (predicate.py), key ranges (key_ranges.py), whole frames (validation.py).

Polars takes a bare text for a column's name, Delta SQL has no word for infinity, and `strftime` writes year
999 with three digits on Linux. So dates and times are compared as the whole number that they are stored as
(days and microseconds since 1970), which knows neither an offset nor a last year.
"""

from __future__ import annotations

import math
from datetime import date, datetime, timedelta
from decimal import Decimal, localcontext
from typing import Any

import polars as pl

from lakehouse.contracts import POLARS_TYPES, ColumnType, Contract, DecimalType, Type, polars_type
from lakehouse.contracts.bounds import in_bounds
from lakehouse.contracts.encoding import json_ready
from lakehouse.contracts.sql import text
from lakehouse.contracts.types import MOST_DIGITS, is_nested

_EPOCH = datetime(1970, 1, 1)
_TICK = timedelta(microseconds=1)
_INT64 = 2**63
_INT32 = 2**31


def physical(value: Any) -> Any:
    """Return a date as days and a time with an offset as microseconds since 1970, exactly; others
    unchanged.
    """
    if isinstance(value, datetime):
        offset = value.utcoffset() or timedelta()
        return (value.replace(tzinfo=None) - _EPOCH) // _TICK - offset // _TICK
    if isinstance(value, date):
        return value.toordinal() - _EPOCH.toordinal()
    return value


def typed(value: Any, dtype: pl.DataType) -> pl.Expr:
    """Return a value (a date or time also as its number) as a Polars literal: never a column's name."""
    number = physical(value)
    if isinstance(dtype, pl.Datetime):
        return pl.lit(number, pl.Int64).cast(dtype)
    if dtype == pl.Date:
        return pl.lit(number, pl.Int32).cast(pl.Date)
    if dtype == pl.Int32 and not -_INT32 <= number < _INT32:
        return pl.lit(number, pl.Int64)
    return pl.lit(number, dtype)


def sql(value: Any, dtype: pl.DataType) -> str:
    """Return a value (a date or time also as its number) as a Delta SQL literal."""
    number = physical(value)
    if isinstance(dtype, pl.Datetime):
        return f"arrow_cast(arrow_cast({number}, 'Int64'), 'Timestamp(Microsecond, Some(\"UTC\"))')"
    if dtype == pl.Date:
        return f"arrow_cast(arrow_cast({number}, 'Int32'), 'Date32')"
    return literal(value)


def literal(value: object) -> str:
    """Return a typed value as a Delta SQL literal."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        # Written out, the smallest one would be the negative of a number that is none.
        return repr(int(value)) if value != -_INT64 else f"arrow_cast('{-_INT64}', 'Int64')"
    if isinstance(value, float):
        return repr(float(value)) if math.isfinite(value) else f"arrow_cast('{float(value)}', 'Float64')"
    if isinstance(value, datetime):
        return sql(value, POLARS_TYPES[Type.TIMESTAMP])
    if isinstance(value, date):
        return f"date '{value.isoformat()}'"
    if isinstance(value, Decimal):
        return f"arrow_cast('{value:f}', 'Decimal128({MOST_DIGITS}, {scale_of(value)})')"
    if isinstance(value, bytes):
        return f"X'{value.hex()}'"
    return text(str(value))


def exact(value: int | Decimal, type_: DecimalType) -> Decimal | None:
    """Return a number with the digits of a decimal column; None where it has more of them than fit."""
    if not Decimal(value).is_finite():
        return None
    with localcontext(prec=4 * MOST_DIGITS):
        scaled = Decimal(value).scaleb(type_.scale)
        if scaled.adjusted() >= type_.precision or scaled != scaled.to_integral_value():
            return None
        return scaled.to_integral_value().scaleb(-type_.scale) + 0  # of -0 it makes 0, as decimals are stored


def scale_of(value: Decimal) -> int:
    """Return how many digits a number has after the point."""
    return max(-int(value.as_tuple().exponent), 0)


def misfit(type_: ColumnType, value: Any) -> str | None:
    """Return why a value of the right Python type cannot be compared with a column; None where it can."""
    if isinstance(value, float) and math.isnan(value):
        return "not a number (NaN), which no value compares with"
    if type_ in (Type.INT32, Type.INT64) and not -_INT64 <= value < _INT64:
        return "a whole number of more than 64 bits"
    if type_ is Type.FLOAT64 and isinstance(value, int) and not _is_a_float(value):
        return "a whole number that no float is equal to"
    if type_ is Type.STRING and not _encodable(value):
        return "a text that is not Unicode (a lone surrogate)"
    if isinstance(type_, DecimalType) and exact(value, type_) is None:
        return "a number of other digits, which it would have to be rounded to"
    return None


def beyond(table: Contract, frame: pl.DataFrame) -> dict[str, int]:
    """Return in how many rows each column holds what it cannot keep: a time outside the calendar, a decimal
    of more digits; {} when none does.
    """
    asked = {
        c.name: condition
        for c in table.columns
        if (condition := in_bounds(pl.col(c.name), c.type)) is not None
        and frame.schema.get(c.name) == polars_type(c.type)
    }
    if not asked or frame.is_empty():
        return {}
    counted = frame.select((~condition).sum().alias(name) for name, condition in asked.items())
    return {name: int(count) for name, count in counted.row(0, named=True).items() if count}


def sayable(table: Contract, frame: pl.DataFrame) -> pl.DataFrame:
    """Return rows as Python can hold them: dates and times beyond the calendar, of an older lake, become
    text.
    """
    return frame.with_columns(_in_text(table, frame, name) for name in beyond(table, frame))


def _in_text(table: Contract, frame: pl.DataFrame, name: str) -> pl.Expr:
    type_, column = table.by_name[name].type, pl.col(name)
    if is_nested(type_):
        return pl.struct(json_ready(column, frame.schema[name]).alias(name)).struct.json_encode().alias(name)
    return column.cast(pl.String) if isinstance(type_, DecimalType) else column.dt.to_string("iso")


def _is_a_float(value: int) -> bool:
    try:
        return int(float(value)) == value
    except OverflowError:
        return False


def _encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
