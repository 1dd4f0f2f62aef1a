"""The row rules that most tables need, each built for a column.

Belongs here: rules that any domain could ask. Does not: what one domain alone means by its values
(domains/<domain>), evaluating rules (pipeline/rules.py), or what the contract's columns ask by themselves: no
null where none is allowed, dates within the calendar.

A rule is about values that are given: a null keeps it, unless it is `required`. `not_blank` and what is
`required` ask for a value besides. A NaN keeps no rule about numbers: it is neither between two of them nor
at least zero, in every engine.

    not_blank("id")  between("age", 0, 130)  matches("id", "[a-z]+", required=True)  ordered("start", "end")

`name`, `description` and `values` (the columns shown with the reason) may be given where a domain says it
better. A rule's source and its arguments are part of what a table is made by (pipeline/source.py).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection
from datetime import date, datetime
from decimal import Decimal
from typing import Literal, TypedDict, Unpack

import narwhals.stable.v2 as nw

from lakehouse.contracts.model import RowRule
from lakehouse.errors import ContractError

Bound = int | float | Decimal | str | date | datetime


class Said(TypedDict, total=False):
    """What may be said of a rule in other words than its own."""

    name: str
    description: str
    values: tuple[str, ...]
    severity: Literal["error", "warn"]


def not_blank(column: str, **said: Unpack[Said]) -> RowRule:
    """The text is given and has more than white space."""
    return _rule(
        f"{column}_not_blank",
        f"{column} is given and not blank",
        (column,),
        lambda: (nw.col(column).str.strip_chars() != "").fill_null(False),
        said,
    )


def between(
    column: str, low: Bound | None, high: Bound | None, *, required: bool = False, **said: Unpack[Said]
) -> RowRule:
    """The value is neither less than `low` nor more than `high`; None is no bound.

    Raises ContractError for bounds that nothing lies between.
    """
    if (low is None and high is None) or (low is not None and high is not None and low > high):  # type: ignore[operator]
        raise ContractError(f"the rule on {column} lets through everything or nothing: {low!r} to {high!r}")
    ends = " and ".join([f"at least {low}"] * (low is not None) + [f"at most {high}"] * (high is not None))

    def passes() -> nw.Expr:
        value = nw.col(column)
        parts = [value >= low] if low is not None else []
        parts += [value <= high] if high is not None else []
        parts += [_is_number(value)] if high is None and isinstance(low, int | float | Decimal) else []
        return nw.all_horizontal(*parts, ignore_nulls=False).fill_null(not required)

    return _rule(f"{column}_between", f"{column}{_where(required)} is {ends}", (column,), passes, said)


def _is_number(value: nw.Expr) -> nw.Expr:
    """NaN is more than any number, infinity too. It is looked at as a double: a decimal has no infinity."""
    is_number: nw.Expr = value.cast(nw.Float64) <= math.inf
    return is_number


def one_of(
    column: str, allowed: Collection[str | int | bool], *, required: bool = False, **said: Unpack[Said]
) -> RowRule:
    """The value is one of `allowed`."""
    if not allowed:
        raise ContractError(f"the rule on {column} allows no value at all")
    words = tuple(allowed)
    return _rule(
        f"{column}_one_of",
        f"{column}{_where(required)} is one of {', '.join(map(str, words))}",
        (column,),
        lambda: nw.when(~nw.col(column).is_null()).then(nw.col(column).is_in(words)).fill_null(not required),
        said,
    )


def matches(column: str, pattern: str, *, required: bool = False, **said: Unpack[Said]) -> RowRule:
    """The whole text matches `pattern`, a regular expression that Rust's regex and RE2 both read."""
    whole = f"^(?:{pattern})$"
    return _rule(
        f"{column}_matches",
        f"{column}{_where(required)} matches {pattern}",
        (column,),
        lambda: nw.col(column).str.contains(whole).fill_null(not required),
        said,
    )


def non_negative(column: str, *, required: bool = False, **said: Unpack[Said]) -> RowRule:
    """The number is zero or more."""
    return _rule(
        f"{column}_not_negative",
        f"{column}{_where(required)} is not negative",
        (column,),
        lambda: ((nw.col(column) >= 0) & _is_number(nw.col(column))).fill_null(not required),
        said,
    )


def parsable(column: str, text: str, *, required: bool = False, **said: Unpack[Said]) -> RowRule:
    """The value was read from its `text`, another column: where there is text, there is a value."""
    return _rule(
        f"{column}_readable",
        f"{column}{_where(required)} can be read",
        (text,),
        lambda: ~nw.col(column).is_null() if required else ~nw.col(column).is_null() | nw.col(text).is_null(),
        said,
    )


def ordered(first: str, second: str, *, required: bool = False, **said: Unpack[Said]) -> RowRule:
    """The value of `second` is not less than that of `first`."""
    return _rule(
        f"{second}_after_{first}",
        f"{second}{_where(required)} is not before {first}",
        (first, second),
        lambda: (nw.col(second) >= nw.col(first)).fill_null(not required),
        said,
    )


def _where(required: bool) -> str:
    return " is given and" if required else ", where given,"


def _rule(
    name: str, description: str, values: tuple[str, ...], passes: Callable[[], nw.Expr], said: Said
) -> RowRule:
    return RowRule(
        name=said.get("name", name),
        description=said.get("description", description),
        passes=passes,
        values=said.get("values", values),
        severity=said.get("severity", "error"),
    )
