"""Which dates and times a table may hold: those that everybody who reads it has.

Belongs here: the bounds, and the condition. Does not: what becomes of a value beyond (pipeline/rules.py,
store/validation.py).

SQL, Python and the readers of Delta tables know the years 1 to 9999. Delta's own statistics compare what lies
beyond as text, so that a delete does not find it. Polars counts days and microseconds, and has thousands of
years more: the least instant with an offset of one hour is one of the year 0 in UTC.
"""

from __future__ import annotations

from datetime import date

import polars as pl

from lakehouse.contracts.types import Type

CALENDAR = "the years 1 to 9999 in UTC"

_1970 = date(1970, 1, 1).toordinal()
FIRST_DAY, LAST_DAY = date.min.toordinal() - _1970, date.max.toordinal() - _1970
_TICKS_A_DAY = 86_400_000_000
FIRST_TICK, LAST_TICK = FIRST_DAY * _TICKS_A_DAY, (LAST_DAY + 1) * _TICKS_A_DAY - 1
RANGES: dict[Type, tuple[int, int]] = {
    Type.DATE: (FIRST_DAY, LAST_DAY),
    Type.TIMESTAMP: (FIRST_TICK, LAST_TICK),
}
"""First and last value, as the number that is stored: days, or microseconds, since 1970."""


def in_calendar(value: pl.Expr, type_: Type) -> pl.Expr:
    """Return the condition that a date or a time in microseconds lies in the calendar; null for null."""
    low, high = RANGES[type_]
    return value.to_physical().is_between(low, high)
