"""ofType, as and is: keeping the values of a type.

Belongs here: how JSON, which has no types, tells one. Does not: other functions (functions.py).
"""

from __future__ import annotations

from typing import Any

from lakehouse.domains.clinical.views import tree
from lakehouse.domains.clinical.views.compiling import Compiled, Env, Scope, compiled
from lakehouse.domains.clinical.views.elements import CHOICES, JSON_TYPES, is_resource, may_be, members
from lakehouse.domains.clinical.views.tree import Node
from lakehouse.domains.clinical.views.types import PRIMITIVES
from lakehouse.errors import Unsupported, ViewError


def of_type(node: Node, name: str, scope: Scope) -> Compiled:
    """Return what keeps the values of a type. Of an element of several types the JSON name tells which.

    Raises Unsupported where nothing tells (JSON has no types, and a guess could be wrong), ViewError for a
    name that is no type.
    """
    if name[:1].islower() and name not in PRIMITIVES:
        raise ViewError(f"{name} is no FHIR type; those in small letters are {', '.join(sorted(PRIMITIVES))}")
    if isinstance(node, tree.Member):
        return _of_choice(node, name, scope)
    if isinstance(node, tree.Call) and node.name == "where":  # filters may change places
        inner = tree.Call(_retyped(node.of, name), node.name, node.arguments)
        return compiled(inner, scope)
    of = compiled(node, scope)
    if name[:1].isupper() and name not in CHOICES:
        return lambda this, env: [one for one in of(this, env) if is_resource(one, name)]
    lowered = name[:1].lower() + name[1:]
    told = JSON_TYPES.get(name) or JSON_TYPES.get(lowered)
    if told is None or not isinstance(node, tree.Literal | tree.Variable | tree.Binary | tree.Sign):
        if isinstance(node, tree.This) and name not in CHOICES:
            return lambda this, env: [one for one in of(this, env) if _is_json(one, lowered)]
        raise Unsupported(
            f"ofType({name}) is known right behind an element's name, as in value.ofType({name})"
        )
    return lambda this, env: [one for one in of(this, env) if told(one)]


def _is_json(one: Any, name: str) -> bool:
    told = JSON_TYPES.get(name)
    return told(one) if told is not None else name == "string" and type(one) is str


def _retyped(node: Node, name: str) -> Node:
    return tree.Call(node, "ofType", (tree.Member(None, name),))


def _of_choice(node: tree.Member, name: str, scope: Scope) -> Compiled:
    of = compiled(node.of or tree.This(), scope)
    plain, key = node.name, node.name + name[:1].upper() + name[1:]

    def run(this: list[Any], env: Env) -> list[Any]:
        found: list[Any] = []
        for element in of(this, env):
            if type(element) is not dict:
                continue
            value = element.get(key)
            if value is not None:
                found.extend(value if type(value) is list else [value])
            elif plain in element:
                found.extend(one for one in members([element], plain) if may_be(one, name))
        return found

    return run
