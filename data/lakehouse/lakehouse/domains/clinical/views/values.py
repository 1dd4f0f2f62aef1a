"""Values that JSON has not: dates and times with their precision, quantities. Comparing and reckoning.

Belongs here: equality, order and arithmetic of single values, as FHIRPath says. Does not: collections
(compiling.py), boundaries (boundaries.py).

A resource is JSON, so that a date of it is a text. It is taken for a date where it stands against one, or
against another text of that form; a text literal stays a text.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from math import isfinite
from typing import Any

from lakehouse.errors import ViewError

_DATE = re.compile(
    r"(\d{4})(?:-(\d\d)(?:-(\d\d))?)?(T(?:(\d\d)(?::(\d\d)(?::(\d\d(?:\.\d+)?))?)?)?(Z|[+-]\d\d:\d\d)?)?"
)
_TIME = re.compile(r"T?(\d\d)(?::(\d\d)(?::(\d\d(?:\.\d+)?))?)?")
_DAY_MINUTES = 24 * 60
_WIDEST_ZONE = 14 * 60


@dataclass(frozen=True, slots=True)
class Temporal:
    """A date, dateTime or time. `parts` go as far as it was stated; seconds are a Decimal. `zone` is minutes.

    `text` is what it was written as.
    """

    kind: str
    parts: tuple[Any, ...]
    zone: int | None
    text: str


@dataclass(frozen=True, slots=True)
class Quantity:
    """A number with a unit: UCUM's code, or a calendar unit in the singular."""

    value: Decimal
    unit: str


def temporal(text: str, kind: str | None = None, *, literal: bool = False) -> Temporal | None:
    """Return a FHIR date, dateTime, instant or time; None for a text that is none.

    A time in a literal begins with `T`, in a resource it does not.
    """
    if (found := _DATE.fullmatch(text)) is not None:
        year, month, day, rest, hour, minute, second, zone = found.groups()
        stated = [int(p) for p in (year, month, day, hour, minute) if p is not None]
        parts = (*stated, Decimal(second)) if second is not None else tuple(stated)
        if rest is not None and rest != "T" and day is None:
            return None
        if not _is_moment(parts):
            return None
        is_date = rest is None and kind in (None, "date")
        return Temporal("date" if is_date else "dateTime", parts, _zone(zone), text)
    if (found := _TIME.fullmatch(text)) is None or (literal != text.startswith("T")):
        return None
    hour, minute, second = found.groups()
    stated = [int(p) for p in (hour, minute) if p is not None]
    parts = (*stated, Decimal(second)) if second is not None else tuple(stated)
    return Temporal("time", parts, None, text.removeprefix("T")) if _is_time(parts) else None


def _is_moment(parts: tuple[Any, ...]) -> bool:
    try:
        date(parts[0], parts[1] if len(parts) > 1 else 1, parts[2] if len(parts) > 2 else 1)
    except ValueError:
        return False
    return _is_time(parts[3:])


def _is_time(parts: tuple[Any, ...]) -> bool:
    return all(0 <= part < limit for part, limit in zip(parts, (24, 60, 60), strict=False))


def _zone(text: str | None) -> int | None:
    if text is None or text == "Z":
        return None if text is None else 0
    minutes = int(text[1:3]) * 60 + int(text[4:])
    return -minutes if text[0] == "-" else minutes


def looks_temporal(text: str) -> bool:
    """Return whether a text of a resource has the form of a date with a month, a dateTime or a time.

    A bare year is none: it could be any number, and compares the same as text.
    """
    return len(text) > 4 and text[0].isdigit() and temporal(text) is not None


def kind_of(value: Any) -> str:
    """Return what a value is, in words for an error: never the value."""
    match value:
        case bool():
            return "boolean"
        case int():
            return "integer"
        case float() | Decimal():
            return "decimal"
        case str():
            return "string"
        case Temporal():
            return value.kind
        case Quantity():
            return "Quantity"
    return "an element with parts"


def number(value: Any) -> int | Decimal | None:
    """Return a number as one that is exact; None for what is none, as infinity."""
    if type(value) is int or type(value) is Decimal:
        return value
    return Decimal(repr(value)) if type(value) is float and isfinite(value) else None


def quantity(value: Any) -> Quantity | None:
    """Return a literal, a Quantity of a resource, or None. A comparator makes it none: it is not exact."""
    if type(value) is Quantity:
        return value
    if type(value) is dict and "value" in value and "comparator" not in value:
        stated = number(value["value"])
        unit = value.get("code") or value.get("unit") or "1"
        if stated is not None and isinstance(unit, str):
            return Quantity(Decimal(stated), unit)
    return None


def equal(left: Any, right: Any, *, as_text: bool = False) -> bool | None:
    """Return whether two values are equal; None where precision or unit leaves it open."""
    if type(left) is str and type(right) is str:
        if left == right or as_text or not (looks_temporal(left) and looks_temporal(right)):
            return left == right
        left, right = temporal(left), temporal(right)
    if type(left) is bool or type(right) is bool:
        return left is right
    if type(left) is Temporal or type(right) is Temporal:
        return _same_moment(left, right)
    if type(left) is Quantity or type(right) is Quantity:
        return _same_quantity(quantity(left), quantity(right))
    if (a := number(left)) is not None and (b := number(right)) is not None:
        return a == b
    return _same_parts(left, right)


def _same_quantity(left: Quantity | None, right: Quantity | None) -> bool | None:
    if left is None or right is None:
        return False
    return left.value == right.value if _unit(left.unit) == _unit(right.unit) else None


def _same_moment(left: Any, right: Any) -> bool | None:
    a, b = _as_temporal(left, right), _as_temporal(right, left)
    if a is None or b is None or (a.kind == "time") != (b.kind == "time"):
        return False
    order = _order(a, b)
    return None if order is None else order == 0


def _same_parts(left: Any, right: Any) -> bool:
    if type(left) is dict and type(right) is dict:
        return left.keys() == right.keys() and all(_same_parts(v, right[k]) for k, v in left.items())
    if type(left) is list and type(right) is list:
        return len(left) == len(right) and all(map(_same_parts, left, right))
    if (a := number(left)) is not None and (b := number(right)) is not None:
        return a == b
    return type(left) is type(right) and bool(left == right)


def equivalent(left: Any, right: Any) -> bool:
    """Return whether two values are equivalent: texts without case and spacing, moments of one precision."""
    if type(left) is str and type(right) is str:
        return " ".join(left.casefold().split()) == " ".join(right.casefold().split())
    return bool(equal(left, right))


def order(left: Any, right: Any, *, as_text: bool = False) -> int | None:
    """Return -1, 0 or 1; None where precision or unit leaves it open.

    Raises ViewError for values that have no order.
    """
    if type(left) is str and type(right) is str:
        if as_text or not (looks_temporal(left) and looks_temporal(right)):
            return (left > right) - (left < right)
        left, right = temporal(left), temporal(right)
    if type(left) is Temporal or type(right) is Temporal:
        a, b = _as_temporal(left, right), _as_temporal(right, left)
        if a is not None and b is not None and (a.kind == "time") == (b.kind == "time"):
            return _order(a, b)
    elif type(left) is not bool and type(right) is not bool:
        x, y = number(left), number(right)
        if x is not None and y is not None:
            return (x > y) - (x < y)
        p, q = quantity(left), quantity(right)
        if p is not None and q is not None:
            return ((p.value > q.value) - (p.value < q.value)) if _unit(p.unit) == _unit(q.unit) else None
        if _has_comparator(left) or _has_comparator(right):
            return None
    raise ViewError(f"{kind_of(left)} and {kind_of(right)} have no order")


def _has_comparator(value: Any) -> bool:
    return type(value) is dict and "comparator" in value and "value" in value


_DEFINITE = {"second": "s", "millisecond": "ms", "minute": "min", "hour": "h", "day": "d", "week": "wk"}


def _unit(unit: str) -> str:
    return _DEFINITE.get(unit, unit)


def _as_temporal(value: Any, beside: Any) -> Temporal | None:
    if type(value) is str:
        return temporal(value, beside.kind if type(beside) is Temporal and beside.kind == "time" else None)
    return value if type(value) is Temporal else None


def _order(a: Temporal, b: Temporal) -> int | None:
    first, second = a.parts, b.parts
    if a.kind != "time" and len(first) > 3 and len(second) > 3 and (a.zone is not None or b.zone is not None):
        if a.zone is None or b.zone is None:
            return _far_apart(a, b)
        if len(first) > 4 and len(second) > 4:
            first = (_minutes(a) - a.zone, *first[5:])
            second = (_minutes(b) - b.zone, *second[5:])
    for x, y in zip(first, second, strict=False):
        if x != y:
            return 1 if x > y else -1
    return 0 if len(first) == len(second) else None


def _far_apart(a: Temporal, b: Temporal) -> int | None:
    """One of them has no zone: they are told apart where no zone could make them equal."""
    apart = (_minutes(a) - (a.zone or 0)) - (_minutes(b) - (b.zone or 0))
    return (1 if apart > 0 else -1) if abs(apart) > _WIDEST_ZONE + 60 else None


def _minutes(moment: Temporal) -> int:
    year, month, day, hour, minute = (*moment.parts[:5], 0, 0)[:5]
    return date(year, month, day).toordinal() * _DAY_MINUTES + int(hour) * 60 + int(minute)


def reckon(operator: str, left: Any, right: Any) -> Any:
    """Return `left operator right` for one of + - * / div mod; None for a division by zero.

    Raises ViewError for values that cannot be reckoned with.
    """
    if operator == "+" and type(left) is str and type(right) is str:
        return left + right
    x, y = number(left), number(right)
    if x is not None and y is not None:
        try:
            return _number(operator, x, y)
        except ArithmeticError:
            return None
    if operator in "+-" and type(right) is Quantity:
        from lakehouse.domains.clinical.views.calendar import later

        moment = temporal(left) if type(left) is str else left
        if type(moment) is Temporal:
            return later(moment, right.value if operator == "+" else -right.value, right.unit)
    raise ViewError(f"{kind_of(left)} {operator} {kind_of(right)} is not defined")


def _number(operator: str, x: int | Decimal, y: int | Decimal) -> int | Decimal | None:
    match operator:
        case "+":
            return x + y
        case "-":
            return x - y
        case "*":
            return x * y
    if y == 0:
        return None
    if operator == "/":
        return Decimal(x) / Decimal(y)
    whole = int(Decimal(x) / Decimal(y))
    return whole if operator == "div" else x - y * whole


def shown(value: Any) -> str:
    """Return the text of a value that has no parts."""
    match value:
        case bool():
            return "true" if value else "false"
        case Temporal():
            return value.text
        case Quantity():
            return f"{value.value} '{value.unit}'"
        case Decimal() | float():
            return format(Decimal(str(value)), "f")
    return str(value)
