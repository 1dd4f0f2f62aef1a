"""Operators on collections.

Belongs here: what each gives for what stands left and right of it, and what empty collections mean. Does not:
single values (values.py), priority (syntax.py).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from lakehouse.domains.clinical.views import values
from lakehouse.errors import ViewError

Late = Callable[[], list[Any]]


def single(found: list[Any], what: str) -> Any:
    """Return the one value, None for an empty collection. Raises ViewError for several."""
    if not found:
        return None
    if len(found) > 1:
        raise ViewError(f"{what} takes one value, and here are several")
    return found[0]


def truth(found: list[Any], what: str) -> bool | None:
    """Return what a collection says as a condition: one value that is no boolean is there, which is true."""
    value = single(found, what)
    return value if value is None or type(value) is bool else True


def _and(left: list[Any], right: Late) -> bool | None:
    a = truth(left, "and")
    if a is False:
        return False
    b = truth(right(), "and")
    return False if b is False else None if a is None or b is None else True


def _or(left: list[Any], right: Late) -> bool | None:
    a = truth(left, "or")
    if a:
        return True
    b = truth(right(), "or")
    return True if b else None if a is None or b is None else False


def _xor(left: list[Any], right: Late) -> bool | None:
    a, b = truth(left, "xor"), truth(right(), "xor")
    return None if a is None or b is None else a is not b


def _implies(left: list[Any], right: Late) -> bool | None:
    a = truth(left, "implies")
    if a is False:
        return True
    b = truth(right(), "implies")
    return True if b else None if a is None or b is None else False


_LOGIC: dict[str, Callable[[list[Any], Late], bool | None]] = {
    "and": _and, "or": _or, "xor": _xor, "implies": _implies,
}  # fmt: skip
_ORDERS: dict[str, Callable[[int], bool]] = {
    "<": lambda order: order < 0, "<=": lambda order: order <= 0,
    ">": lambda order: order > 0, ">=": lambda order: order >= 0,
}  # fmt: skip


def _equality(left: list[Any], right: list[Any], as_text: bool, negated: bool) -> list[Any]:
    if not left or not right:
        return []
    if len(left) != len(right):
        return [negated]
    open_ = False
    for a, b in zip(left, right, strict=True):
        same = values.equal(a, b, as_text=as_text)
        if same is False:
            return [negated]
        open_ = open_ or same is None
    return [] if open_ else [not negated]


def _equivalence(left: list[Any], right: list[Any]) -> bool:
    if len(left) != len(right):
        return False
    rest = list(right)
    for one in left:
        place = next((i for i, other in enumerate(rest) if values.equivalent(one, other)), None)
        if place is None:
            return False
        del rest[place]
    return True


def _comparison(left: list[Any], right: list[Any], as_text: bool, holds: Callable[[int], bool]) -> list[Any]:
    a, b = single(left, "a comparison"), single(right, "a comparison")
    if a is None or b is None:
        return []
    order = values.order(a, b, as_text=as_text)
    return [] if order is None else [holds(order)]


def distinct(found: list[Any]) -> list[Any]:
    """Return each value once, in the order they came."""
    kept: list[Any] = []
    for one in found:
        if not any(values.equal(one, other) for other in kept):
            kept.append(one)
    return kept


def _joined(found: list[Any]) -> str:
    value = single(found, "&")
    if value is None:
        return ""
    if isinstance(value, dict):
        raise ViewError("& joins texts, and this is an element with parts")
    return values.shown(value)


def _among(one: list[Any], many: list[Any]) -> list[Any]:
    value = single(one, "in")
    return [] if value is None else [any(values.equal(value, other) for other in many)]


def _reckoned(operator: str, left: list[Any], right: list[Any]) -> list[Any]:
    a, b = single(left, operator), single(right, operator)
    if a is None or b is None:
        return []
    made = values.reckon(operator, a, b)
    return [] if made is None else [made]


def logic(name: str) -> Callable[[list[Any], Late], list[Any]] | None:
    """Return what a logical operator gives; its right side is looked at where the left does not decide."""
    if name not in _LOGIC:
        return None
    decide = _LOGIC[name]

    def apply(left: list[Any], right: Late) -> list[Any]:
        decided = decide(left, right)
        return [] if decided is None else [decided]

    return apply


def operator(name: str, *, as_text: bool) -> Callable[[list[Any], list[Any]], list[Any]]:
    """Return what an operator that is not a logical one gives for its two sides.

    `as_text`: one side is a text literal, which is never taken for a date.
    """
    if name in ("=", "!="):
        return lambda left, right: _equality(left, right, as_text, name == "!=")
    if name in ("~", "!~"):
        return lambda left, right: [_equivalence(left, right) is (name == "~")]
    if name in _ORDERS:
        return lambda left, right: _comparison(left, right, as_text, _ORDERS[name])
    if name in _OTHERS:
        return _OTHERS[name]
    return lambda left, right: _reckoned(name, left, right)


_OTHERS: dict[str, Callable[[list[Any], list[Any]], list[Any]]] = {
    "|": lambda left, right: distinct(left + right),
    "&": lambda left, right: [_joined(left) + _joined(right)],
    "in": lambda left, right: _among(left, right),
    "contains": lambda left, right: _among(right, left),
}
