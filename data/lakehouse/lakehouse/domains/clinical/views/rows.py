"""Running a view: resources in, rows out, as a frame.

Belongs here: the processing model of SQL on FHIR (https://sql-on-fhir.org/ig/2.0/processing_model.html).
Does not: what a valid view is (definition.py), expressions (compiling.py), types (types.py).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import polars as pl

from lakehouse.contracts.model import POLARS_TYPES, Type
from lakehouse.contracts.types import ColumnType, ListType
from lakehouse.domains.clinical.views.compiling import Env
from lakehouse.domains.clinical.views.definition import Select, View, ViewColumn
from lakehouse.domains.clinical.views.types import (
    ansi,
    column_type,
    converter,
    inferred,
    is_plain_text,
)
from lakehouse.errors import ViewError

Row = tuple[Any, ...]
Produce = Callable[[Any, Env], list[Row]]
_DEEPEST = 500


def rows_of(view: View) -> Callable[[Any, Env], list[Row]]:
    """Return what gives the rows of one resource: none where it is of another type, or `where` leaves it out.

    It raises ViewError where `where` is no condition, or a column has several values and no `collection`.
    """
    produce = _produce(view.root)

    def run(resource: Any, env: Env) -> list[Row]:
        if type(resource) is not dict:
            raise ViewError("a resource is no JSON object")
        if resource.get("resourceType") != view.resource:
            return []
        env.resource, env.row_index = resource, 0
        for text, condition in view.where:
            if not _holds(text, condition([resource], env)):
                return []
        return produce(resource, env)

    return run


def _holds(text: str, found: list[Any]) -> bool:
    if not found:
        return False
    if len(found) > 1 or type(found[0]) is not bool:
        raise ViewError(f"where: {text!r} gives no boolean")
    return found[0]


def _produce(select: Select) -> Produce:
    """Return what gives the partial rows of a selection structure at one element."""
    here = _at_one(select)
    if select.iteration is None:
        return here
    foci = _repeated(select) if select.iteration == "repeat" else _found(select)
    nothing = _null_row(select.all_columns) if select.iteration == "forEachOrNull" else None

    def run(element: Any, env: Env) -> list[Row]:
        before, rows = env.row_index, []
        elements = foci(element, env)
        try:
            for env.row_index, focus in enumerate(elements):
                rows += here(focus, env)
            if nothing is not None and not elements:
                env.row_index = 0
                rows.append(nothing(env))
        finally:
            env.row_index = before
        return rows

    return run


def _at_one(select: Select) -> Produce:
    taking = tuple(_taker(column) for column in select.columns)
    below = [_produce(one) for one in select.selects]
    union = [_produce(one) for one in select.union]

    def run(element: Any, env: Env) -> list[Row]:
        this = [element]
        rows = [tuple([take(this, env) for take in taking])]
        for produce in below:
            rows = _crossed(rows, produce(element, env))
        if union:
            rows = _crossed(rows, [row for produce in union for row in produce(element, env)])
        return rows

    return run


def _crossed(left: list[Row], right: list[Row]) -> list[Row]:
    return [a + b for a in left for b in right]


def _taker(column: ViewColumn) -> Callable[[list[Any], Env], Any]:
    value, name = column.value, column.name
    if column.collection:
        many = _named(name, value)
        return lambda this, env: list(many(this, env))

    def take(this: list[Any], env: Env) -> Any:
        try:
            found = value(this, env)
        except ViewError as exc:
            raise ViewError(f"column {name}: {exc}") from None
        if not found:
            return None
        if len(found) > 1:
            raise ViewError(
                f"column {name} has several values of one row; say `collection`, or take one: first()"
            )
        return found[0]

    return take


def _named(name: str, value: Callable[[list[Any], Env], list[Any]]) -> Callable[[list[Any], Env], list[Any]]:
    def run(this: list[Any], env: Env) -> list[Any]:
        try:
            return value(this, env)
        except ViewError as exc:
            raise ViewError(f"column {name}: {exc}") from None

    return run


def _null_row(columns: tuple[ViewColumn, ...]) -> Callable[[Env], Row]:
    """The row of an iteration that found nothing: null but for %rowIndex, which is 0 there."""
    taking = [_taker(column) if column.of_row else None for column in columns]
    return lambda env: tuple(None if take is None else take([], env) for take in taking)


def _found(select: Select) -> Callable[[Any, Env], list[Any]]:
    [path] = select.foci
    return lambda element, env: path([element], env)


def _repeated(select: Select) -> Callable[[Any, Env], list[Any]]:
    """Each element that the paths lead to, and all that they lead to from there, in the order of a reader."""

    def walk(element: Any, env: Env, above: tuple[int, ...]) -> Iterator[Any]:
        if len(above) > _DEEPEST:
            raise ViewError(f"repeat goes deeper than {_DEEPEST} elements")
        for path in select.foci:
            for child in path([element], env):
                if type(child) is dict and id(child) in above:
                    raise ViewError("repeat comes back to where it was")
                yield child
                yield from walk(child, env, (*above, id(child)))

    return lambda element, env: list(walk(element, env, (id(element),)))


def frame(view: View, rows: list[Row], *, as_table: bool = False) -> pl.DataFrame:
    """Return rows as a frame, the columns of the view in their order.

    `as_table` gives what a contract holds: a column whose type nothing states is text.
    Raises ViewError where a value is none of its column's type.
    """
    values = zip(*rows, strict=True) if rows else [()] * len(view.columns)
    return pl.DataFrame(
        [_series(column, list(found), as_table) for column, found in zip(view.columns, values, strict=True)]
    )


def type_in_table(column: ViewColumn) -> ColumnType:
    """Return the type that a column has in a table."""
    one = ansi(column.tags["ansi/type"])[0] if "ansi/type" in column.tags else column_type(column.type)
    return ListType(one) if column.collection else one


def _series(column: ViewColumn, found: list[Any], as_table: bool) -> pl.Series:
    try:
        flat = [one for many in found for one in many or ()] if column.collection else found
        fhir = column.type
        if fhir is None and not as_table:
            fhir = inferred(flat)
        target, bits = column_type(fhir), 64
        if "ansi/type" in column.tags:
            target, bits = ansi(column.tags["ansi/type"])
        convert = converter(fhir, target, bits)
        if not column.collection and target is Type.STRING and is_plain_text(fhir, set(map(type, found))):
            return pl.Series(column.name, found, pl.String)
        if not column.collection:
            made = [None if one is None else convert(one) for one in found]
            return pl.Series(column.name, made, POLARS_TYPES[target])
        lists = [None if many is None else [convert(one) for one in many] for many in found]
        return pl.Series(column.name, lists, pl.List(POLARS_TYPES[target]))
    except ViewError as exc:
        raise ViewError(f"column {column.name}: {exc}") from None
