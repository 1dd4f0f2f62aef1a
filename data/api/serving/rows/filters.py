"""Conditions, order and columns from a query string, as typed values of a table's contract.

Belongs here: reading them, and refusing what a caller may not see. Does not: running them.

    status=failed                equal; `.ne`, `.lt`, `.lte`, `.gt`, `.gte` compare
    status.in=failed,cancelled   one of several
    ended_at.null=true           null, or with `false` not null
    order=-started_at,run_id     descending with a minus
"""

from __future__ import annotations

import re
from base64 import b64decode
from binascii import Error as NotBase64
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal, InvalidOperation
from typing import Any

from lakehouse.contracts import ColumnType, Contract, DecimalType, Type
from lakehouse.contracts.types import is_nested
from lakehouse.errors import Unsupported, plain
from lakehouse.store import Term, Where
from lakehouse.store.predicate import Operator
from serving.problems import Problem

OPERATORS: dict[str, Operator] = {
    "eq": "=", "ne": "!=", "lt": "<", "lte": "<=", "gt": ">", "gte": ">=", "in": "in", "null": "is null",
}  # fmt: skip
_WHOLE = re.compile(r"[+-]?[0-9]{1,20}")
_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]{1,3})?")
_FINER = re.compile(r"[.,][0-9]{6}[0-9]*[1-9]")  # Python leaves out what is finer than a microsecond
_MOST_VALUES = 1000
_BOOLS = {"true": True, "false": False}


@dataclass(frozen=True, kw_only=True)
class Order:
    """One column to sort by."""

    column: str
    descending: bool = False


def may_quote(table: Contract) -> bool:
    """Return whether a table may quote what was refused or found in data, in columns that are not marked."""
    return table.layer in ("quarantine", "system")


def visible(table: Contract, *, pii: bool) -> list[str]:
    """Return the columns that a caller may see."""
    return [c.name for c in table.columns if pii or not c.pii]


def chosen(table: Contract, asked: str | None, *, pii: bool) -> list[str]:
    """Return the columns of an answer. Raises Problem 422 (no such column), 403 (personal data)."""
    if asked is None:
        return visible(table, pii=pii)
    names = list(dict.fromkeys(name.strip() for name in asked.split(",")))
    _refuse_others(table, names, pii=pii)
    return names


def ordered(table: Contract, asked: str | None, *, pii: bool) -> list[Order]:
    """Return the order that a caller asks for. Raises Problem 422, 403."""
    if not asked:
        return []
    parts = [part.strip() for part in asked.split(",")]
    found = [Order(column=part.removeprefix("-"), descending=part.startswith("-")) for part in parts]
    _refuse_others(table, [one.column for one in found], pii=pii)
    if nested := [one.column for one in found if is_nested(table.by_name[one.column].type)]:
        raise Problem(422, f"{nested[0]} is nested, so that it has no order")
    return found


def where(
    table: Contract, query: Iterable[tuple[str, str]], reserved: Collection[str], *, pii: bool
) -> Where:
    """Return the conditions of a query string; parameters named in `reserved` are none.

    Raises Problem 422 for a column, an operator or a value that the contract does not know, 403 for personal
    data: who may not see a column may not guess it by asking either.
    """
    terms = []
    for name, text in query:
        if name in reserved:
            continue
        column, _, suffix = name.partition(".")
        _refuse_others(table, [column], pii=pii)
        operator = OPERATORS.get(suffix or "eq")
        if operator is None:
            raise Problem(422, f"{column}: there is no such comparison; there are {', '.join(OPERATORS)}")
        terms.append(_term(table, column, operator, text))
    try:
        return Where(*terms).check(table)
    except Unsupported as exc:
        raise Problem(422, plain(exc)) from None


def _term(table: Contract, column: str, operator: Operator, text: str) -> Term:
    if is_nested(table.by_name[column].type):
        raise Problem(422, f"{column} is nested: nothing can be asked of it")
    if operator == "is null":
        if text not in _BOOLS:
            raise Problem(422, f"{column}.null is true or false")
        return Term(column, "is null" if _BOOLS[text] else "is not null")
    if operator == "in":
        parts = text.split(",")
        if len(parts) > _MOST_VALUES:
            raise Problem(422, f"{column}.in takes at most {_MOST_VALUES} values")
        return Term(column, "in", tuple(_value(table, column, part) for part in parts))
    return Term(column, operator, _value(table, column, text))


def _value(table: Contract, column: str, text: str) -> Any:
    kind = table.by_name[column].type
    try:
        value = _read(kind, text)
    except (ValueError, KeyError, InvalidOperation, NotBase64):
        value = None
    if value is None:
        raise Problem(422, f"{column} is compared with a text that is no {kind}")
    if isinstance(value, datetime) and _FINER.search(text):
        raise Problem(422, f"{column} has microseconds, and is compared with a finer time")
    if isinstance(value, datetime) and value.tzinfo is None:
        raise Problem(422, f"{column} needs a time with an offset, as 2026-01-15T12:00:00Z")
    return value


def _read(kind: ColumnType, text: str) -> Any:
    """Return the value that a text is of a type; None, or any error of reading, where it is none."""
    if isinstance(kind, DecimalType):
        return Decimal(text) if _NUMBER.fullmatch(text) else None
    match kind:
        case Type.BOOL:
            return _BOOLS[text]
        case Type.INT32 | Type.INT64:
            return int(text) if _WHOLE.fullmatch(text) else None
        case Type.FLOAT64:
            is_number = _NUMBER.fullmatch(text) or text.lstrip("+-") in ("inf", "Infinity")
            return float(text) if is_number else None
        case Type.DATE:
            return date.fromisoformat(text)
        case Type.TIMESTAMP:
            return moment(text)
        case Type.BINARY:
            return b64decode(text, validate=True)
    return text


def moment(text: str) -> datetime:
    """Return a time of a query string, where a plus that was not encoded has become a space.

    Raises ValueError for a text that is none.
    """
    return datetime.fromisoformat(re.sub(r" (?=[0-9]{2}:?[0-9]{2}$)", "+", text))


def _refuse_others(table: Contract, names: Sequence[str], *, pii: bool) -> None:
    if any(name not in table.by_name for name in names):
        raise Problem(422, f"{table} has no such column; it has {', '.join(table.by_name)}")
    if hidden := [name for name in names if table.by_name[name].pii and not pii]:
        raise Problem(403, f"{', '.join(hidden)}: personal data, for keys with the scope pii")
