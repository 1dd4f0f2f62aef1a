"""The least and the greatest value that a stated one may mean.

Belongs here: lowBoundary and highBoundary of FHIRPath
(https://build.fhir.org/ig/HL7/FHIRPath/#lowboundaryprecision-integer-decimal--date--datetime--time), also of
Quantity and Period. Does not: how they are called (functions.py).
"""

from __future__ import annotations

from calendar import monthrange
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal, DecimalException
from typing import Any

from lakehouse.domains.clinical.views.calendar import written
from lakehouse.domains.clinical.views.values import Quantity, Temporal, number, temporal
from lakehouse.errors import ViewError

_DECIMALS = 28
_LOW_ZONE, _HIGH_ZONE = 14 * 60, -12 * 60
_LAST_SECOND = "59.999"
# Digits of YYYYMMDDHHMMSSsss and of HHMMSSsss that each number of parts has; the last has milliseconds.
_DATE_DIGITS = {4: 1, 6: 2, 8: 3}
_DATETIME_DIGITS = {4: 1, 6: 2, 8: 3, 10: 4, 12: 5, 14: 6, 17: 7}
_TIME_DIGITS = {2: 1, 4: 2, 6: 3, 9: 4}


def boundary(value: Any, precision: int | None, kind: str | None, *, high: bool) -> Any:
    """Return the boundary of one value; None where the precision asked for is none of its type.

    `kind` says what a text is where its path tells, date or dateTime; else it is a dateTime. Raises
    ViewError for a value that has no boundaries.
    """
    if type(value) is not bool and (stated := number(value)) is not None:
        return _decimal(Decimal(stated), precision, high=high)
    if type(value) is str:
        value = temporal(value, kind or "dateTime") or value
    if type(value) is Temporal:
        return _moment(value, precision, high=high)
    if type(value) is Quantity:
        made = _decimal(value.value, precision, high=high)
        return None if made is None else Quantity(made, value.unit)
    if type(value) is dict:
        return _of_parts(value, precision, high=high)
    raise ViewError("only a number, a date, a time, a Quantity or a Period has boundaries")


def _of_parts(value: dict[str, Any], precision: int | None, *, high: bool) -> Any:
    if "start" in value or "end" in value:
        end = value.get("end" if high else "start")
        return None if end is None else boundary(end, precision, "dateTime", high=high)
    if "value" in value:
        made = boundary(value["value"], precision, None, high=high)
        return None if made is None else {**value, "value": made}
    raise ViewError("only a number, a date, a time, a Quantity or a Period has boundaries")


def _decimal(value: Decimal, precision: int | None, *, high: bool) -> Decimal | None:
    if not value.is_finite() or (precision is not None and not 0 <= precision <= _DECIMALS):
        return None
    digits = max(-int(value.as_tuple().exponent), 0)
    half = Decimal(5).scaleb(-(digits + 1))
    try:
        made = value + half if high else value - half
        if precision is not None:
            step = Decimal(1).scaleb(-precision)
            made = made.quantize(step, rounding=ROUND_CEILING if high else ROUND_FLOOR)
    except DecimalException:
        return None
    return made


def _moment(value: Temporal, precision: int | None, *, high: bool) -> Temporal | None:
    if value.kind == "time":
        parts = _filled_clock(value.parts, high=high)
        return _cut("time", parts, None, _TIME_DIGITS, 9 if precision is None else precision)
    digits = _DATE_DIGITS if value.kind == "date" else _DATETIME_DIGITS
    year, month = value.parts[0], value.parts[1] if len(value.parts) > 1 else (12 if high else 1)
    day = value.parts[2] if len(value.parts) > 2 else (monthrange(year, month)[1] if high else 1)
    if value.kind == "date":
        return _cut("date", (year, month, day), None, digits, 8 if precision is None else precision)
    zone = value.zone
    if zone is None:
        zone = _HIGH_ZONE if high else _LOW_ZONE
    parts = (year, month, day, *_filled_clock(value.parts[3:], high=high))
    return _cut("dateTime", parts, zone, digits, 17 if precision is None else precision)


def _filled_clock(parts: tuple[Any, ...], *, high: bool) -> tuple[Any, ...]:
    stated = list(parts[:2])
    hour, minute = stated + [23, 59][len(stated) :] if high else stated + [0, 0][len(stated) :]
    if len(parts) < 3:
        return hour, minute, Decimal(_LAST_SECOND if high else "0.000")
    whole, _, fraction = format(parts[2], "f").partition(".")
    if len(fraction) >= 3:
        return hour, minute, parts[2]
    return hour, minute, Decimal(f"{whole}.{fraction.ljust(3, '9' if high else '0')}")


def _cut(
    kind: str, parts: tuple[Any, ...], zone: int | None, digits: dict[int, int], precision: int
) -> Temporal | None:
    if precision not in digits:
        return None
    kept = parts[: digits[precision]]
    if precision in (14, 6) and len(kept) == len(parts) and kind != "date":  # whole seconds
        kept = (*kept[:-1], Decimal(int(kept[-1])))
    zone = zone if len(kept) > 3 else None
    return Temporal(kind, kept, zone, written(kind, kept, zone))
