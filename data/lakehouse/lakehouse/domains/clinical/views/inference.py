"""The type of a column whose view does not state it, where its path tells.

Belongs here: types of expressions, without any resource. Does not: checking values (types.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from lakehouse.domains.clinical.views import tree
from lakehouse.domains.clinical.views.compiling import ROW_INDEX
from lakehouse.domains.clinical.views.tree import Node
from lakehouse.domains.clinical.views.types import PRIMITIVES
from lakehouse.domains.clinical.views.values import Temporal

_CONDITIONS = {"and", "or", "xor", "implies", "=", "!=", "~", "!~", "<", "<=", ">", ">=", "in", "contains"}
_RETURNS = {
    **dict.fromkeys(("exists", "empty", "not", "all", "allTrue", "anyTrue", "allFalse", "anyFalse", "is",
    "hasValue",
                     "isDistinct", "startsWith", "endsWith", "contains", "matches"), "boolean"),
    **dict.fromkeys(("count", "length", "indexOf", "toInteger", "floor", "ceiling", "truncate"), "integer"),
    **dict.fromkeys(("join", "substring", "upper", "lower", "trim", "replace", "toString", "getResourceKey",
                     "getReferenceKey"), "string"),
    "toDecimal": "decimal",
}  # fmt: skip
_SAME = {"first", "last", "tail", "single", "skip", "take", "where", "distinct"}


def type_of(node: Node, constants: Mapping[str, tuple[Any, str]]) -> str | None:
    """Return the FHIR type of what an expression gives; None where the resource alone tells."""
    if isinstance(node, tree.Literal):
        return _of_literal(node)
    if isinstance(node, tree.Variable):
        return (
            "integer"
            if node.name == ROW_INDEX
            else constants[node.name][1]
            if node.name in constants
            else None
        )
    if isinstance(node, tree.Binary):
        return "boolean" if node.operator in _CONDITIONS else "string" if node.operator == "&" else None
    if isinstance(node, tree.TypeTest):
        return "boolean" if node.operator == "is" else _fhir(node.type)
    if isinstance(node, tree.Index):
        return type_of(node.of, constants)
    if isinstance(node, tree.Call):
        if node.name in _SAME:
            return type_of(node.of, constants)
        if node.name in ("ofType", "as") and isinstance(node.arguments[0], tree.Member):
            return _fhir(node.arguments[0].name)
        return _RETURNS.get(node.name)
    return None


def _fhir(name: str) -> str:
    """System.String is string."""
    lowered = name[:1].lower() + name[1:]
    return lowered if lowered in PRIMITIVES else name


def _of_literal(node: tree.Literal) -> str | None:
    match node.values:
        case (bool(),):
            return "boolean"
        case (int(),):
            return "integer"
        case (Decimal(),):
            return "decimal"
        case (str(),):
            return "string"
        case (Temporal() as moment,):
            return moment.kind
    return None
