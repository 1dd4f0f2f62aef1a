"""Which files of a version a client needs, as far as predicates on partition columns and a limit tell.

Belongs here: leaving out files that cannot hold a wanted row. Does not: filtering
rows, which is the client's.

Hints are best effort: what cannot be understood keeps every file. A predicate is true, false or None (not
known); only a false one leaves a file out.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import date
from typing import Any

import orjson

from lakehouse.contracts import Contract, Type
from lakehouse.store import DataFile

_DEEPEST = 50
_COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    "equal": lambda a, b: a == b,
    "lessThan": lambda a, b: a < b,
    "lessThanOrEqual": lambda a, b: a <= b,
    "greaterThan": lambda a, b: a > b,
    "greaterThanOrEqual": lambda a, b: a >= b,
}
_OPERATORS = {"=": "equal", "<": "lessThan", "<=": "lessThanOrEqual", ">": "greaterThan",
              ">=": "greaterThanOrEqual"}  # fmt: skip
_MIRRORED = {"<": ">", "<=": ">=", ">": "<", ">=": "<="}
_COLUMN, _LITERAL = r"`?(?P<column>\w+)`?", r"(?P<literal>'[^'\\]*'|-?\d{1,18}|true|false)"
_SQL = [
    (re.compile(rf"\s*{_COLUMN}\s*(?P<op>=|<>|<=|>=|<|>)\s*{_LITERAL}\s*", re.IGNORECASE), False),
    (re.compile(rf"\s*{_LITERAL}\s*(?P<op>=|<>|<=|>=|<|>)\s*{_COLUMN}\s*", re.IGNORECASE), True),
]
_NULL = re.compile(rf"\s*{_COLUMN}\s+IS\s+(?P<negated>NOT\s+)?NULL\s*", re.IGNORECASE)
_BOOL = {"true": True, "false": False}


def needed(
    table: Contract,
    files: Sequence[DataFile],
    *,
    predicates: Sequence[str] = (),
    json_predicate: str | None = None,
    limit: int | None = None,
) -> list[DataFile]:
    """Return the files that may hold rows with all of the predicates; of these, enough for `limit` rows."""
    trees = [tree for text in predicates if (tree := _parsed(table, text)) is not None]
    if json_predicate is not None:
        with suppress(ValueError):
            trees.append(orjson.loads(json_predicate))
    left = [f for f in files if all(_holds(tree, f.partition, _DEEPEST) is not False for tree in trees)]
    if limit is None:
        return left
    taken: list[DataFile] = []
    rows = 0
    for file in left:
        if rows >= limit:
            break
        taken.append(file)
        rows += file.rows or 0
    return taken


def _holds(tree: Any, values: Mapping[str, str | None], depth: int) -> bool | None:
    """Return whether a predicate of the protocol's JSON holds for partition values."""
    match tree:
        case {"op": str(op), "children": list(children)} if depth:
            pass
        case _:
            return None
    match op, children:
        case "and", _:
            found = [_holds(child, values, depth - 1) for child in children]
            return False if False in found else (None if None in found else True)
        case "or", [_, *_]:
            found = [_holds(child, values, depth - 1) for child in children]
            return True if True in found else (None if None in found else False)
        case "not", [child]:
            inner = _holds(child, values, depth - 1)
            return None if inner is None else not inner
        case "isNull", [{"op": "column", "name": str(name)}]:
            return values[name] is None if name in values else None
        case _, [left, right] if op in _COMPARE:
            pair = _value(left, values), _value(right, values)
            if None in pair or type(pair[0]) is not type(pair[1]):
                return None
            return _COMPARE[op](*pair)
    return None


def _value(leaf: Any, values: Mapping[str, str | None]) -> Any:
    """Return a leaf's value in the type that it says; None where that cannot be told."""
    match leaf:
        case {"op": "column", "name": str(name), "valueType": str(kind)}:
            text = values.get(name)
        case {"op": "literal", "value": str(text), "valueType": str(kind)}:
            pass
        case _:
            return None
    if text is None:
        return None
    try:
        match kind:
            case "string":
                return text
            case "int" | "long":
                return int(text) if len(text) < 40 else None
            case "date":
                return date.fromisoformat(text)
            case "bool":
                return _BOOL.get(text.lower())
    except ValueError:
        return None
    return None


def _parsed(table: Contract, text: str) -> dict[str, Any] | None:
    """Return an SQL predicate on a partition column as the protocol's JSON; None for one of another form."""
    if found := _NULL.fullmatch(text):
        tree: dict[str, Any] = {"op": "isNull", "children": [{"op": "column", "name": found["column"]}]}
        return {"op": "not", "children": [tree]} if found["negated"] else tree
    for pattern, is_mirrored in _SQL:
        if (found := pattern.fullmatch(text)) and (kind := _kind(table, found["column"], found["literal"])):
            op = _MIRRORED.get(found["op"], found["op"]) if is_mirrored else found["op"]
            pair = [
                {"op": "column", "name": found["column"], "valueType": kind},
                {"op": "literal", "value": found["literal"].strip("'"), "valueType": kind},
            ]
            if op == "<>":
                return {"op": "not", "children": [{"op": "equal", "children": pair}]}
            return {"op": _OPERATORS[op], "children": pair}
    return None


def _kind(table: Contract, column: str, literal: str) -> str | None:
    """Return the type to compare in, where the literal is of the column's own: others are cast, each engine
    in its way.
    """
    if column not in table.partition_by:
        return None
    is_text, is_bool = literal.startswith("'"), literal.lower() in _BOOL
    match table.by_name[column].type:
        case Type.STRING if is_text:
            return "string"
        case Type.DATE if is_text:
            return "date"
        case Type.BOOL if is_bool:
            return "bool"
        case Type.INT32 | Type.INT64 if not is_text and not is_bool:
            return "long"
    return None
