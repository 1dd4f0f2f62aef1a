"""Which rows: conditions on columns, as typed values. No text of a user ever becomes part of a query.

Belongs here: the vocabulary, its check against a contract, and its three spellings (Polars, Delta, DuckDB).
Does not: running any of them.

    Where(Term("workspace_id", "=", "w1"), Term("occurred_at", ">=", noon))     all terms must hold
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any, Literal

import polars as pl

from lakehouse.contracts import Contract, Type
from lakehouse.errors import Unsupported

Operator = Literal["=", "!=", "<", "<=", ">", ">=", "in", "is null", "is not null"]

_PYTHON: dict[Type, tuple[type, ...]] = {
    Type.STRING: (str,),
    Type.BOOL: (bool,),
    Type.INT32: (int,),
    Type.INT64: (int,),
    Type.FLOAT64: (float, int),
    Type.DATE: (date,),
    Type.TIMESTAMP: (datetime,),
}
_UNARY = ("is null", "is not null")


@dataclass(frozen=True)
class Term:
    """One condition. `in` takes a tuple of values; the two null tests take none. A null never compares."""

    column: str
    operator: Operator
    value: Any = None


class Where(tuple[Term, ...]):
    """Terms that must all hold; none at all means every row."""

    __slots__ = ()

    def __new__(cls, *terms: Term) -> Where:
        return super().__new__(cls, terms)

    def check(self, table: Contract) -> None:
        """Raise Unsupported when a term names no column of `table` or a value of another type."""
        for term in self:
            column = table.by_name.get(term.column)
            if column is None:
                raise Unsupported(f"{table} has no column {term.column!r}; it has {', '.join(table.by_name)}")
            if term.operator in _UNARY:
                continue
            values = term.value if term.operator == "in" else (term.value,)
            if not isinstance(values, tuple) or not values:
                raise Unsupported(f"{table}: `in` on {term.column} needs a tuple of at least one value")
            for value in values:
                _check_value(table, term.column, column.type, value)

    def polars(self) -> pl.Expr:
        """Return the condition as a Polars expression."""
        made = [_polars(term) for term in self]
        return pl.all_horizontal(made) if made else pl.lit(True)

    def sql(self) -> str:
        """Return the condition as Delta SQL: quoted names, literals made from typed values."""
        return " AND ".join(_sql(term) for term in self) or "true"

    def duckdb(self) -> tuple[str, list[Any]]:
        """Return the condition as DuckDB SQL with one `?` per value, and the values."""
        texts, values = [], []
        for term in self:
            name = quoted(term.column)
            if term.operator in _UNARY:
                texts.append(f"{name} {term.operator.upper()}")
                continue
            given = list(term.value) if term.operator == "in" else [term.value]
            holes = ", ".join("?" for _ in given)
            texts.append(
                f"{name} IN ({holes})" if term.operator == "in" else f"{name} {term.operator} {holes}"
            )
            values += given
        return " AND ".join(texts) or "true", values


def quoted(name: str) -> str:
    """Return a column name as an SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def literal(value: object) -> str:
    """Return a typed value as a Delta SQL literal."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, datetime):
        text = value.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")
        return f"arrow_cast('{text}Z', 'Timestamp(Microsecond, Some(\"UTC\"))')"
    if isinstance(value, date):
        return f"date '{value.isoformat()}'"
    return "'" + str(value).replace("'", "''") + "'"


def _check_value(table: Contract, name: str, type_: Type, value: object) -> None:
    fits = isinstance(value, _PYTHON[type_]) and isinstance(value, bool) == (type_ is Type.BOOL)
    if type_ is Type.DATE and isinstance(value, datetime):
        fits = False
    if type_ is Type.TIMESTAMP and isinstance(value, datetime) and value.tzinfo is None:
        fits = False
    if isinstance(value, float) and value != value:
        fits = False
    if not fits:
        wanted = "a datetime with a time zone" if type_ is Type.TIMESTAMP else f"a value of type {type_}"
        raise Unsupported(f"{table}: {name} is compared with a {type(value).__name__}, not {wanted}")


def _polars(term: Term) -> pl.Expr:
    column = pl.col(term.column)
    made: pl.Expr
    match term.operator:
        case "=":
            made = column == term.value
        case "!=":
            made = column != term.value
        case "<":
            made = column < term.value
        case "<=":
            made = column <= term.value
        case ">":
            made = column > term.value
        case ">=":
            made = column >= term.value
        case "in":
            made = column.is_in(list(term.value))
        case "is null":
            return column.is_null()
        case "is not null":
            return column.is_not_null()
    return made.fill_null(False)


def _sql(term: Term) -> str:
    name = quoted(term.column)
    if term.operator in _UNARY:
        return f"{name} {term.operator.upper()}"
    if term.operator == "in":
        # As IN, Delta's delete cannot compare 64-bit literals with a 32-bit column.
        return f"({' OR '.join(f'{name} = {literal(v)}' for v in term.value)})"
    return f"{name} {term.operator} {literal(term.value)}"
