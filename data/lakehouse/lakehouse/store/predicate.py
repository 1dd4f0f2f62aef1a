"""Which rows: conditions on columns, as typed values. No text of a user ever becomes part of a query.

Belongs here: the vocabulary, its check against a contract, and its three spellings (Polars, Delta, DuckDB).
Does not: running any of them.

    Where(Term("workspace_id", "=", "w1"), Term("occurred_at", ">=", noon))     all terms must hold
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import date, datetime
from decimal import Decimal
from typing import Any, Literal

import polars as pl

from lakehouse.contracts import POLARS_TYPES, ColumnType, Contract, DecimalType, Type
from lakehouse.contracts.sql import quoted
from lakehouse.contracts.types import MOST_DIGITS, is_nested
from lakehouse.errors import Unsupported
from lakehouse.store.values import exact, literal, misfit, physical, scale_of, typed

__all__ = ["Operator", "Term", "Where", "literal"]

Operator = Literal["=", "!=", "<", "<=", ">", ">=", "in", "is null", "is not null"]

_PYTHON: dict[Type, tuple[type, ...]] = {
    Type.STRING: (str,),
    Type.BOOL: (bool,),
    Type.INT32: (int,),
    Type.INT64: (int,),
    Type.FLOAT64: (float, int),
    Type.DATE: (date,),
    Type.TIMESTAMP: (datetime,),
    Type.BINARY: (bytes,),
}
_NUMBER = (Decimal, int)
_UNARY = ("is null", "is not null")
# By these, Polars leaves out files of whose least and largest value the log says that no row is meant. It
# does not where nulls are filled in: some logs cut times to milliseconds, all have decimals as floats.
_BOUNDED = (str, int, date)
_COMPARE = {"=": "__eq__", "!=": "__ne__", "<": "__lt__", "<=": "__le__", ">": "__gt__", ">=": "__ge__"}


@dataclass(frozen=True)
class Term:
    """One condition. `in` takes a tuple of values; the two null tests take none.

    A null in a row never compares, and neither does a NaN: no comparison holds for it, not even `!=`. Files
    are left out by their least and largest value, which a NaN is not among.
    """

    column: str
    operator: Operator
    value: Any = None


_INT32 = range(-(2**31), 2**31)
_NEVER = Term("", "<", -(2**31))  # of a 32-bit column


class Where(tuple[Term, ...]):
    """Terms that must all hold; none at all means every row."""

    __slots__ = ()

    def __new__(cls, *terms: Term) -> Where:
        return super().__new__(cls, terms)

    def check(self, table: Contract) -> Where:
        """Return the terms with values as the columns have them, by which they are then run.

        Raise Unsupported when a term names no column of `table` or a value of another type.
        """
        return Where(*(_checked(table, term) for term in self))

    def polars(self) -> pl.Expr:
        """Return the condition as a Polars expression to filter by: it may be null where it does not hold."""
        made = [_polars(term) for term in self]
        return pl.all_horizontal(made) if made else pl.lit(True)

    def sql(self) -> str:
        """Return the condition as Delta SQL: quoted names, literals made from typed values."""
        return " AND ".join(_sql(term) for term in self) or "true"

    def duckdb(self) -> tuple[str, list[Any]]:
        """Return the condition as DuckDB SQL with one `?` per value, and the values."""
        texts, values = [], []
        for term in self:
            text, given = _duckdb(term)
            texts.append(text)
            values += given
        return " AND ".join(texts) or "true", values


def _checked(table: Contract, term: Term) -> Term:
    column = table.by_name.get(term.column)
    if column is None:
        raise Unsupported(f"{table} has no column {term.column!r}; it has {', '.join(table.by_name)}")
    if is_nested(column.type):
        raise Unsupported(f"{table}: {term.column} is a {column.type}, which no condition can name")
    if term.operator in _UNARY:
        return term
    values = term.value if term.operator == "in" else (term.value,)
    if not isinstance(values, tuple) or not values:
        raise Unsupported(f"{table}: `in` on {term.column} needs a tuple of at least one value")
    for value in values:
        _check_value(table, term.column, column.type, value)
    if column.type is Type.FLOAT64:
        values = tuple(float(value) for value in values)
    if isinstance(column.type, DecimalType):
        values = tuple(exact(value, column.type) for value in values)
    term = replace(term, value=values if term.operator == "in" else values[0])
    return _narrowed(term) if column.type is Type.INT32 else term


def _narrowed(term: Term) -> Term:
    """Return a term of a 32-bit column with values of 32 bits, which is all that Delta compares it with."""
    if term.operator == "in":
        inside = tuple(value for value in term.value if value in _INT32)
        return replace(term, value=inside) if inside else replace(_NEVER, column=term.column)
    if term.value in _INT32:
        return term
    below = ("<", "<=", "!=") if term.value > 0 else (">", ">=", "!=")
    always = Term(term.column, "is not null")
    return always if term.operator in below else replace(_NEVER, column=term.column)


def _check_value(table: Contract, name: str, type_: ColumnType, value: object) -> None:
    wanted_types = _PYTHON[type_] if isinstance(type_, Type) else _NUMBER
    fits = isinstance(value, wanted_types) and isinstance(value, bool) == (type_ is Type.BOOL)
    if type_ is Type.DATE and isinstance(value, datetime):
        fits = False
    if type_ is Type.TIMESTAMP and isinstance(value, datetime) and value.tzinfo is None:
        fits = False
    if not fits:
        wanted = "a datetime with a time zone" if type_ is Type.TIMESTAMP else f"a value of type {type_}"
        raise Unsupported(f"{table}: {name} is compared with a {type(value).__name__}, not {wanted}")
    if why := misfit(type_, value):
        raise Unsupported(f"{table}: {name}, of type {type_}, is compared with {why}")


def _dtype(value: Any) -> pl.DataType:
    """Return the type of a checked value's literal."""
    if isinstance(value, Decimal):
        return pl.Decimal(MOST_DIGITS, scale_of(value))
    for python, type_ in (
        (bool, Type.BOOL), (int, Type.INT64), (float, Type.FLOAT64), (datetime, Type.TIMESTAMP),
        (date, Type.DATE), (bytes, Type.BINARY),
    ):  # fmt: skip
        if isinstance(value, python):
            return POLARS_TYPES[type_]
    return POLARS_TYPES[Type.STRING]


def _polars(term: Term) -> pl.Expr:
    column = pl.col(term.column)
    if term.operator in _UNARY:
        return column.is_null() if term.operator == "is null" else column.is_not_null()
    values = term.value if term.operator == "in" else (term.value,)
    compare = "__eq__" if term.operator == "in" else _COMPARE[term.operator]
    made = pl.any_horizontal(getattr(column, compare)(_typed(value)) for value in values)
    if isinstance(values[0], float):
        made &= column.is_not_nan()
    if isinstance(values[0], datetime):
        return _within_milliseconds(term.operator, column, values) & made.fill_null(False)
    return made if isinstance(values[0], _BOUNDED) else made.fill_null(False)


def _within_milliseconds(operator: Operator, column: pl.Expr, values: tuple[datetime, ...]) -> pl.Expr:
    """Return a wider condition, which also holds by bounds that were cut to milliseconds."""
    made = pl.lit(True)
    if operator in (">", ">=", "=", "in"):
        least = min(values)
        made &= column >= _typed(least.replace(microsecond=least.microsecond // 1000 * 1000))
    if operator in ("<", "<=", "=", "in"):
        made &= column <= _typed(max(values))
    return made


def _typed(value: Any) -> pl.Expr:
    return typed(value, _dtype(value))


def _sql(term: Term) -> str:
    name = quoted(term.column)
    if term.operator in _UNARY:
        return f"{name} {term.operator.upper()}"
    # As IN, Delta's delete cannot compare 64-bit literals with a 32-bit column.
    operator, values = ("=", term.value) if term.operator == "in" else (term.operator, (term.value,))
    if isinstance(values[0], float):
        # What stays is read by the opposite condition, and by the files' statistics, which know of no NaN: a
        # NaN beside the column itself would go. None of them is asked about a function's value.
        name = f"nanvl({name}, arrow_cast(NULL, 'Float64'))"
    return f"({' OR '.join(f'{name} {operator} {literal(value)}' for value in values)})"


def _duckdb(term: Term) -> tuple[str, list[Any]]:
    name = quoted(term.column)
    if term.operator in _UNARY:
        return f"{name} {term.operator.upper()}", []
    values = list(term.value) if term.operator == "in" else [term.value]
    hole = "make_timestamptz(?)" if isinstance(values[0], datetime) else "?"
    if isinstance(values[0], datetime):
        values = [physical(value) for value in values]
    holes = ", ".join(hole for _ in values)
    made = f"{name} IN ({holes})" if term.operator == "in" else f"{name} {term.operator} {holes}"
    return (f"({made} AND NOT isnan({name}))" if isinstance(values[0], float) else made), values
