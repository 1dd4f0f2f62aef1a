"""From a tree to functions: an expression is compiled once, and called for each element.

Belongs here: paths, operators, constants. Does not: functions (functions.py), text (tree.py).

A compiled expression takes the elements that `$this` stands for and the surroundings (`Env`), and returns a
list: FHIRPath knows collections alone. Values are those of JSON, and of values.py.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from lakehouse.domains.clinical.views import operators, tree, values
from lakehouse.domains.clinical.views.elements import is_resource, members
from lakehouse.domains.clinical.views.operators import single
from lakehouse.domains.clinical.views.tree import Node
from lakehouse.errors import ViewError

Compiled = Callable[[list[Any], "Env"], list[Any]]
ROW_INDEX = "rowIndex"


@dataclass(slots=True)
class Env:
    """What surrounds an expression: the resource, the place in the innermost iteration, and its references.

    `links` and `types_of` are what a lake knows of references: what `urn:` means, and which types an id has.
    """

    resource: Any = None
    row_index: int = 0
    index: int = 0
    links: Mapping[str, str] = field(default_factory=dict)
    types_of: Callable[[str], Iterable[str]] = lambda _: ()


@dataclass(frozen=True)
class Scope:
    """What an expression may refer to, and what type its column says it has."""

    constants: Mapping[str, tuple[Any, str]]
    declared: str | None = None


def compiled(node: Node, scope: Scope) -> Compiled:
    """Return the function of a tree.

    Raises ViewError for an invalid one, Unsupported for what is not known.
    """
    return _BY_NODE[type(node)](node, scope)


def _literal(node: tree.Literal, _: Scope) -> Compiled:
    found = list(node.values)
    return lambda this, env: found


def _this(_: Node, __: Scope) -> Compiled:
    return lambda this, env: this


def _iteration_index(_: Node, __: Scope) -> Compiled:
    return lambda this, env: [env.index]


_URIS = {"ucum": "http://unitsofmeasure.org", "sct": "http://snomed.info/sct", "loinc": "http://loinc.org"}


def _variable(node: tree.Variable, scope: Scope) -> Compiled:
    name = node.name
    if name in scope.constants:
        value = [scope.constants[name][0]]
        return lambda this, env: value
    if name == ROW_INDEX:
        return lambda this, env: [env.row_index]
    if name in ("resource", "rootResource", "context"):
        return lambda this, env: [env.resource]
    if name in _URIS:
        uri = [_URIS[name]]
        return lambda this, env: uri
    raise ViewError(f"%{name} is no constant of the view; it has {', '.join(scope.constants) or 'none'}")


def _member(node: tree.Member, scope: Scope) -> Compiled:
    """Steps that follow each other are one function: paths are most of what a view does."""
    names = [node.name]
    of = node.of
    while isinstance(of, tree.Member):
        names.insert(0, of.name)
        of = of.of
    if of is None:
        if names[0][:1].isupper():
            root, *rest = names
            return lambda this, env: _followed(_rooted(this, root), rest)
        return lambda this, env: _followed(this, names)
    start = compiled(of, scope)
    return lambda this, env: _followed(start(this, env), names)


def _followed(elements: list[Any], names: list[str]) -> list[Any]:
    for name in names:
        if not elements:
            return elements
        elements = members(elements, name)
    return elements


def _rooted(this: list[Any], name: str) -> list[Any]:
    """`Patient.name` begins with the type of the resource; any other capital is an element's name."""
    return [
        one
        for each in this
        for one in ([each] if type(each) is dict and is_resource(each, name) else members([each], name))
    ]


def _index(node: tree.Index, scope: Scope) -> Compiled:
    of, at = compiled(node.of, scope), compiled(node.at, scope)

    def run(this: list[Any], env: Env) -> list[Any]:
        place = single(at(this, env), "an index")
        if place is None:
            return []
        if type(place) is not int:
            raise ViewError("an index is a whole number")
        found = of(this, env)
        return [found[place]] if 0 <= place < len(found) else []

    return run


def _sign(node: tree.Sign, scope: Scope) -> Compiled:
    of = compiled(node.of, scope)

    def run(this: list[Any], env: Env) -> list[Any]:
        value = single(of(this, env), "-")
        if type(value) is values.Quantity:
            return [values.Quantity(-value.value, value.unit)]
        return [] if value is None else [values.reckon("*", value, -1)]

    return run


def _binary(node: tree.Binary, scope: Scope) -> Compiled:
    left, right = compiled(node.left, scope), compiled(node.right, scope)
    as_text = any(isinstance(one, tree.Literal) and type((*one.values, None)[0]) is str
                  for one in (node.left, node.right))  # fmt: skip
    if (decide := operators.logic(node.operator)) is not None:
        return lambda this, env: decide(left(this, env), lambda: right(this, env))
    apply = operators.operator(node.operator, as_text=as_text)
    return lambda this, env: apply(left(this, env), right(this, env))


def _type_test(node: tree.TypeTest, scope: Scope) -> Compiled:
    from lakehouse.domains.clinical.views.narrowing import of_type

    found = of_type(node.of, node.type, scope)
    if node.operator == "as":
        return found
    there = compiled(node.of, scope)
    return lambda this, env: [bool(found(this, env))] if there(this, env) else []


def _call(node: tree.Call, scope: Scope) -> Compiled:
    from lakehouse.domains.clinical.views.functions import function

    return function(node, scope)


_BY_NODE: dict[type[Node], Callable[[Any, Scope], Compiled]] = {
    tree.Literal: _literal, tree.This: _this, tree.IterationIndex: _iteration_index,
    tree.Variable: _variable, tree.Member: _member, tree.Call: _call, tree.Index: _index,
    tree.Sign: _sign, tree.Binary: _binary, tree.TypeTest: _type_test,
}  # fmt: skip
