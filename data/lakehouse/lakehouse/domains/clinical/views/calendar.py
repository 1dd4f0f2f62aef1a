"""A date or time and a duration.

Belongs here: https://hl7.org/fhirpath/N1/#datetime-arithmetic. Does not: order (values.py).
"""

from __future__ import annotations

from calendar import monthrange
from datetime import date
from decimal import Decimal
from typing import Any

from lakehouse.domains.clinical.views.values import Temporal
from lakehouse.errors import ViewError

_SECONDS = {
    "week": 604_800, "wk": 604_800, "day": 86_400, "d": 86_400, "hour": 3600, "h": 3600, "minute": 60,
    "min": 60,
    "second": 1, "s": 1,
}  # fmt: skip
_MONTHS = {"year": 12, "month": 1}
_MILLI = Decimal("0.001")


def later(moment: Temporal, amount: Decimal, unit: str) -> Temporal | None:
    """Return the moment so much later, as precise as it was stated; None outside of the years 1 to 9999.

    Raises ViewError for a unit that is no time, or a calendar unit on a time of day.
    """
    if unit in _MONTHS and moment.kind != "time":
        parts = _months(moment.parts, int(amount) * _MONTHS[unit])
    elif unit in _SECONDS or unit in ("millisecond", "ms"):
        seconds = amount * _MILLI if unit in ("millisecond", "ms") else int(amount) * _SECONDS[unit]
        if unit in ("second", "s"):
            seconds = amount
        parts = _time(moment.parts, seconds) if moment.kind == "time" else _seconds(moment.parts, seconds)
    else:
        raise ViewError(f"a duration in {unit!r} cannot be added to a {moment.kind}")
    return None if parts is None else _written(moment, parts)


def _months(parts: tuple[Any, ...], months: int) -> tuple[Any, ...] | None:
    if len(parts) == 1:
        year = parts[0] + (abs(months) // 12) * (1 if months >= 0 else -1)
        return (year,) if 1 <= year <= 9999 else None
    total = parts[0] * 12 + parts[1] - 1 + months
    year, month = total // 12, total % 12 + 1
    if not 1 <= year <= 9999:
        return None
    if len(parts) == 2:
        return year, month
    return (year, month, min(parts[2], monthrange(year, month)[1]), *parts[3:])


def _seconds(parts: tuple[Any, ...], seconds: Any) -> tuple[Any, ...] | None:
    """A duration finer than the precision counts by whole steps of that: months of 30 days, years of 365."""
    if len(parts) < 3:
        days = int(Decimal(seconds) / 86_400)
        step = 365 if len(parts) == 1 else 30
        return _months(parts, int(Decimal(days) / step) * (12 if len(parts) == 1 else 1))
    step = (86_400, 3600, 60, 1)[min(len(parts), 6) - 3]
    if step > 1:
        seconds = int(Decimal(seconds) / step) * step
    clock = (*parts[3:], 0, 0, 0)[:3]
    total = (
        date(*parts[:3]).toordinal() * 86_400
        + clock[0] * 3600
        + clock[1] * 60
        + Decimal(clock[2])
        + Decimal(seconds)
    )
    days, rest = int(total // 86_400), total % 86_400
    if not 1 <= days <= date.max.toordinal():
        return None
    day = date.fromordinal(days)
    return (day.year, day.month, day.day, *_clock(rest))[: len(parts)]


def _time(parts: tuple[Any, ...], seconds: Any) -> tuple[Any, ...]:
    clock = (*parts, 0, 0)[:3]
    total = clock[0] * 3600 + clock[1] * 60 + Decimal(clock[2]) + Decimal(seconds)
    return _clock(total % 86_400)[: len(parts)]


def _clock(seconds: Decimal) -> tuple[int, int, Decimal]:
    minutes, rest = divmod(seconds, 60)
    return int(minutes) // 60, int(minutes) % 60, rest


def _written(moment: Temporal, parts: tuple[Any, ...]) -> Temporal:
    return Temporal(moment.kind, parts, moment.zone, written(moment.kind, parts, moment.zone))


def written(kind: str, parts: tuple[Any, ...], zone: int | None) -> str:
    """Return the text of a date or time, as precise as its parts."""
    days, clock = ((), parts) if kind == "time" else (parts[:3], parts[3:])
    text = "-".join(f"{part:0{width}d}" for part, width in zip(days, (4, 2, 2), strict=False))
    if clock:
        told = [f"{part:02d}" for part in clock[:2]]
        if len(clock) > 2:
            whole, _, fraction = format(clock[2], "f").partition(".")
            told.append(whole.zfill(2) + (f".{fraction}" if fraction else ""))
        text += ("T" if days else "") + ":".join(told)
    if zone is not None and clock:
        text += "Z" if zone == 0 else f"{'-' if zone < 0 else '+'}{abs(zone) // 60:02d}:{abs(zone) % 60:02d}"
    return text
