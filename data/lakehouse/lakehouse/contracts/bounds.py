"""Which values a column may hold beyond its type: dates and times of the calendar, decimals in their digits.

Belongs here: the condition on a value of any type, nested ones included. Does not: what becomes of a value
beyond (pipeline/rules.py, store/validation.py), or the calendar itself (calendar.py).

Arrow and Polars keep a decimal as a whole number of 128 bits, and look at its precision only when they cast:
a column of five digits can carry nine from elsewhere, which a Parquet file then cuts, or refuses.
"""

from __future__ import annotations

import polars as pl

from lakehouse.contracts.calendar import RANGES, in_calendar
from lakehouse.contracts.types import ColumnType, DecimalType, ListType, StructType


def in_bounds(value: pl.Expr, type_: ColumnType) -> pl.Expr | None:
    """Return the condition that a value can be kept, null for null; None for a type that all values fit."""
    match type_:
        case DecimalType():
            most = 10**type_.precision - 1
            return value.to_physical().is_between(pl.lit(-most, pl.Int128), pl.lit(most, pl.Int128))
        case ListType():
            element = in_bounds(pl.element(), type_.element)
            return None if element is None else value.list.eval(element.fill_null(True)).list.all()
        case StructType():
            found = [in_bounds(value.struct.field(field.name), field.type) for field in type_.fields]
            asked = [one.fill_null(True) for one in found if one is not None]
            return pl.all_horizontal(asked) if asked else None
        case _:
            return in_calendar(value, type_) if type_ in RANGES else None
