"""FHIRPath's functions, and the two that views add: getResourceKey and getReferenceKey.

Belongs here: what each function gives. Does not: operators and paths (compiling.py).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

from lakehouse.domains.clinical.views import tree, values
from lakehouse.domains.clinical.views.boundaries import boundary
from lakehouse.domains.clinical.views.compiling import Compiled, Env, Scope, compiled
from lakehouse.domains.clinical.views.elements import members
from lakehouse.domains.clinical.views.keys import reference_key, resource_keys
from lakehouse.domains.clinical.views.narrowing import of_type
from lakehouse.domains.clinical.views.operators import distinct, single, truth
from lakehouse.domains.clinical.views.scalars import SCALARS, Build, Function
from lakehouse.domains.clinical.views.tree import Node
from lakehouse.errors import Unsupported, ViewError


def function(node: tree.Call, scope: Scope) -> Compiled:
    """Return the function of a call. Raises ViewError for an unknown one or wrong arguments, Unsupported for
    one of FHIRPath that is not known here.
    """
    known = _FUNCTIONS.get(node.name)
    if known is None:
        if node.name in _NOT_KNOWN:
            raise Unsupported(f"FHIRPath's function {node.name}() is not supported")
        raise ViewError(f"there is no function {node.name}() in FHIRPath")
    build, least, most = known
    if not least <= len(node.arguments) <= most:
        wanted = str(least) if least == most else f"{least} to {most}"
        raise ViewError(f"{node.name}() takes {wanted} arguments, not {len(node.arguments)}")
    return build(node, scope)


def _each(take: Callable[[list[Any]], list[Any]]) -> Build:
    """A function of the collection alone."""

    def build(node: tree.Call, scope: Scope) -> Compiled:
        of = compiled(node.of, scope)
        return lambda this, env: take(of(this, env))

    return build


def _iterating(take: Callable[[list[Any], Callable[[Any, int], list[Any]]], list[Any]]) -> Build:
    """A function that evaluates its argument for each element, which is `$this` there."""

    def build(node: tree.Call, scope: Scope) -> Compiled:
        of, asked = compiled(node.of, scope), compiled(node.arguments[0], scope)

        def run(this: list[Any], env: Env) -> list[Any]:
            before = env.index

            def one(element: Any, place: int) -> list[Any]:
                env.index = place
                return asked([element], env)

            try:
                return take(of(this, env), one)
            finally:
                env.index = before

        return run

    return build


_EXISTS = _each(lambda found: [bool(found)])
_WHERE = _iterating(
    lambda found, one: [each for i, each in enumerate(found) if truth(one(each, i), "where()")]
)
_SELECT = _iterating(lambda found, one: [made for i, each in enumerate(found) for made in one(each, i)])
_ALL = _iterating(lambda found, one: [all(truth(one(each, i), "all()") for i, each in enumerate(found))])


def _exists(node: tree.Call, scope: Scope) -> Compiled:
    if not node.arguments:
        return _EXISTS(node, scope)
    return _EXISTS(tree.Call(tree.Call(node.of, "where", node.arguments), "exists", ()), scope)


_MOST_REPEATED = 10_000


def _repeated(found: list[Any], one: Callable[[Any, int], list[Any]]) -> list[Any]:
    made: dict[str, Any] = {}  # each value once, by what it looks like
    waiting = deque(found)
    while waiting:
        for new in one(waiting.popleft(), 0):
            if (key := repr(new)) not in made:
                made[key] = new
                waiting.append(new)
        if len(made) > _MOST_REPEATED:
            raise ViewError(f"repeat() finds more than {_MOST_REPEATED} values")
    return list(made.values())


def _not(found: list[Any]) -> list[Any]:
    value = truth(found, "not()")
    return [] if value is None else [not value]


def _single(found: list[Any]) -> list[Any]:
    single(found, "single()")
    return found


def _counted(take: Callable[[list[Any], int], list[Any]]) -> Build:
    def build(node: tree.Call, scope: Scope) -> Compiled:
        of, count = compiled(node.of, scope), compiled(node.arguments[0], scope)

        def run(this: list[Any], env: Env) -> list[Any]:
            number = single(count(this, env), f"{node.name}()")
            if type(number) is not int:
                raise ViewError(f"{node.name}() takes a whole number")
            return take(of(this, env), max(number, 0))

        return run

    return build


def _type_name(node: Node) -> str:
    """Return the type that an argument names: `Patient`, `FHIR.Patient` or `'Patient'`."""
    if isinstance(node, tree.Member):
        return node.name
    if isinstance(node, tree.Literal) and len(node.values) == 1 and isinstance(node.values[0], str):
        return node.values[0]
    raise ViewError("a type is named, as in ofType(Quantity)")


def _of_type(node: tree.Call, scope: Scope) -> Compiled:
    return of_type(node.of, _type_name(node.arguments[0]), scope)


def _is(node: tree.Call, scope: Scope) -> Compiled:
    return compiled(tree.TypeTest("is", node.of, _type_name(node.arguments[0])), scope)


def _join(node: tree.Call, scope: Scope) -> Compiled:
    of = compiled(node.of, scope)
    between = compiled(node.arguments[0], scope) if node.arguments else None

    def run(this: list[Any], env: Env) -> list[Any]:
        separator = single(between(this, env), "join()") if between else ""
        found = of(this, env)
        if not all(isinstance(one, str | values.Temporal) for one in found):
            raise ViewError("join() joins texts")
        if not isinstance(separator or "", str):
            raise ViewError("join() takes a text")
        return [(separator or "").join(map(values.shown, found))]

    return run


def _extension(node: tree.Call, scope: Scope) -> Compiled:
    """Extensions by URL. Those of a primitive lie beside it: birthDate's in _birthDate."""
    of, url = compiled(node.of, scope), compiled(node.arguments[0], scope)
    beside: Compiled | None = None
    if isinstance(node.of, tree.Member):
        beside = compiled(tree.Member(node.of.of, f"_{node.of.name}"), scope)

    def run(this: list[Any], env: Env) -> list[Any]:
        wanted = single(url(this, env), "extension()")
        elements = of(this, env)
        if beside is not None:
            elements = elements + beside(this, env)
        return [
            one for one in members(elements, "extension") if type(one) is dict and one.get("url") == wanted
        ]

    return run


# https://hl7.org/fhir/R4: elements of type date; all others that hold dates are dateTime or instant.
_DATES = {
    "birthDate", "approvalDate", "lastReviewDate", "expirationDate", "startDate", "statusDate", "dueDate",
    "servicedDate", "bornDate", "deceasedDate", "valueDate", "paymentDate", "manufactureDay",
}  # fmt: skip


def _stated_kind(node: Node, scope: Scope) -> str | None:
    """Return whether a path leads to a date or a dateTime, as far as names and types tell."""
    if isinstance(node, tree.Member):
        return "date" if node.name in _DATES else None
    if isinstance(node, tree.Call) and node.name in ("ofType", "as"):
        name = _type_name(node.arguments[0])
        return {"date": "date", "dateTime": "dateTime", "instant": "dateTime"}.get(name)
    if isinstance(node, tree.Call | tree.Index):
        return _stated_kind(node.of, scope)
    return "date" if scope.declared == "date" and isinstance(node, tree.This) else None


def _boundary(node: tree.Call, scope: Scope) -> Compiled:
    of = compiled(node.of, scope)
    asked = compiled(node.arguments[0], scope) if node.arguments else None
    high = node.name == "highBoundary"
    kind = _stated_kind(node.of, scope) or ("date" if scope.declared == "date" else None)

    def run(this: list[Any], env: Env) -> list[Any]:
        value = single(of(this, env), f"{node.name}()")
        precision = single(asked(this, env), f"{node.name}()") if asked else None
        if value is None or (asked and precision is None):
            return []
        if precision is not None and type(precision) is not int:
            raise ViewError(f"{node.name}() takes a whole number")
        made = boundary(value, precision, kind, high=high)
        return [] if made is None else [made]

    return run


def _reference_key(node: tree.Call, scope: Scope) -> Compiled:
    """The key of what a reference leads to; nothing where it leads to another type, or nowhere known."""
    of = compiled(node.of, scope)
    wanted = _type_name(node.arguments[0]) if node.arguments else None

    def run(this: list[Any], env: Env) -> list[Any]:
        keys = (reference_key(one, wanted, env) for one in of(this, env))
        return [key for key in keys if key is not None]

    return run


def _iif(node: tree.Call, scope: Scope) -> Compiled:
    of = compiled(node.of, scope)
    asked, *ways = [compiled(one, scope) for one in node.arguments]

    def run(this: list[Any], env: Env) -> list[Any]:
        here = of(this, env)
        if truth(asked(here, env), "iif()"):
            return ways[0](here, env)
        return ways[1](here, env) if len(ways) > 1 else []

    return run


def _combined(node: tree.Call, scope: Scope) -> Compiled:
    of, other = compiled(node.of, scope), compiled(node.arguments[0], scope)
    once = node.name == "union"

    def run(this: list[Any], env: Env) -> list[Any]:
        found = of(this, env) + other(this, env)
        return distinct(found) if once else found

    return run


_FUNCTIONS: dict[str, Function] = {
    **SCALARS,
    "where": (_WHERE, 1, 1),
    "select": (_SELECT, 1, 1),
    "all": (_ALL, 1, 1),
    "repeat": (_iterating(_repeated), 1, 1),
    "exists": (_exists, 0, 1),
    "empty": (_each(lambda found: [not found]), 0, 0),
    "not": (_each(_not), 0, 0),
    "count": (_each(lambda found: [len(found)]), 0, 0),
    "distinct": (_each(distinct), 0, 0),
    "isDistinct": (_each(lambda found: [len(distinct(found)) == len(found)]), 0, 0),
    "allTrue": (_each(lambda found: [all(one is True for one in found)]), 0, 0),
    "anyTrue": (_each(lambda found: [any(one is True for one in found)]), 0, 0),
    "allFalse": (_each(lambda found: [all(one is False for one in found)]), 0, 0),
    "anyFalse": (_each(lambda found: [any(one is False for one in found)]), 0, 0),
    "hasValue": (_each(lambda found: [len(found) == 1 and not isinstance(found[0], dict)]), 0, 0),
    "first": (_each(lambda found: found[:1]), 0, 0),
    "last": (_each(lambda found: found[-1:]), 0, 0),
    "tail": (_each(lambda found: found[1:]), 0, 0),
    "single": (_each(_single), 0, 0),
    "skip": (_counted(lambda found, count: found[count:]), 1, 1),
    "take": (_counted(lambda found, count: found[:count]), 1, 1),
    "union": (_combined, 1, 1),
    "combine": (_combined, 1, 1),
    "ofType": (_of_type, 1, 1),
    "as": (_of_type, 1, 1),
    "is": (_is, 1, 1),
    "iif": (_iif, 2, 3),
    "join": (_join, 0, 1),
    "extension": (_extension, 1, 1),
    "lowBoundary": (_boundary, 0, 1),
    "highBoundary": (_boundary, 0, 1),
    "getResourceKey": (_each(resource_keys), 0, 0),
    "getReferenceKey": (_reference_key, 0, 1),
}
# Known to FHIRPath or FHIR. What changes with the clock or needs a server would not be the same twice.
_NOT_KNOWN = {
    "now", "today", "timeOfDay", "resolve", "memberOf", "subsumes", "subsumedBy", "conformsTo",
    "htmlChecks",
    "elementDefinition", "slice", "checkModifiers", "toQuantity", "toBoolean", "toDate", "toDateTime",
    "toTime",
    "convertsToBoolean", "convertsToInteger", "convertsToDecimal", "convertsToDate", "convertsToDateTime",
    "convertsToTime", "convertsToString", "convertsToQuantity", "aggregate", "intersect", "exclude",
    "subsetOf",
    "supersetOf", "children", "descendants", "trace", "split", "toChars", "replaceMatches", "matchesFull",
    "encode",
    "decode", "escape", "unescape", "sqrt", "ln", "log", "exp", "power", "getValue", "type", "comparable",
    "precision", "yearOf", "monthOf", "dayOf", "hourOf", "minuteOf", "secondOf", "sort", "defineVariable",
    "coalesce",
}  # fmt: skip
