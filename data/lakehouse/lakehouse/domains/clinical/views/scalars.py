"""FHIRPath's functions of one text or number.

Belongs here: what each gives. Does not: functions of collections (functions.py).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

from lakehouse.domains.clinical.views import tree, values
from lakehouse.domains.clinical.views.compiling import Compiled, Env, Scope, compiled
from lakehouse.domains.clinical.views.operators import single
from lakehouse.errors import ViewError

Build = Callable[[tree.Call, Scope], Compiled]
Function = tuple[Build, int, int]
"""What compiles a call, and how many arguments it takes: at least, at most."""


def _of_one(what: str, take: Callable[..., Any], *kinds: type) -> Build:
    """A function of one value with plain arguments; an empty one, or an empty argument, gives nothing."""

    def build(node: tree.Call, scope: Scope) -> Compiled:
        of = compiled(node.of, scope)
        given = [compiled(one, scope) for one in node.arguments]

        def run(this: list[Any], env: Env) -> list[Any]:
            value = single(of(this, env), f"{what}()")
            stated = [single(one(this, env), f"{what}()") for one in given]
            if value is None or any(one is None for one in stated):
                return []
            value = values.number(value) if kinds == _NUMBERS else value
            if type(value) not in kinds:
                raise ViewError(f"{what}() is not defined for {values.kind_of(value)}")
            try:
                made = take(value, *stated)
            except (TypeError, ValueError, ArithmeticError, re.error):
                raise ViewError(f"{what}() cannot take these arguments") from None
            return [] if made is None else [made]

        return run

    return build


def _substring(text: str, start: int, length: int | None = None) -> str | None:
    if not 0 <= start < len(text):
        return None
    return text[start:] if length is None else text[start : start + max(length, 0)]


def _to_integer(value: Any) -> int | None:
    if type(value) is str:
        return int(value) if re.fullmatch(r"[+-]?\d+", value) else None
    return int(value) if type(value) in (int, bool) else None


def _to_decimal(value: Any) -> Any:
    if type(value) is str:
        return Decimal(value) if re.fullmatch(r"[+-]?\d+(\.\d+)?", value) else None
    return Decimal(int(value)) if type(value) is bool else values.number(value)


def _round(value: Any, digits: int = 0) -> Any:
    return Decimal(value).quantize(Decimal(1).scaleb(-digits), rounding=ROUND_HALF_UP)


def _floor(value: Any) -> int:
    return int(value // 1) if value >= 0 or value % 1 == 0 else int(value) - 1


_NUMBERS = (int, Decimal)
_ANY = (str, bool, int, float, values.Temporal, values.Quantity, *_NUMBERS)
SCALARS: dict[str, Function] = {
    "startsWith": (_of_one("startsWith", str.startswith, str), 1, 1),
    "endsWith": (_of_one("endsWith", str.endswith, str), 1, 1),
    "contains": (_of_one("contains", lambda text, part: part in text, str), 1, 1),
    "indexOf": (_of_one("indexOf", str.find, str), 1, 1),
    "substring": (_of_one("substring", _substring, str), 1, 2),
    "upper": (_of_one("upper", str.upper, str), 0, 0),
    "lower": (_of_one("lower", str.lower, str), 0, 0),
    "trim": (_of_one("trim", str.strip, str), 0, 0),
    "length": (_of_one("length", len, str), 0, 0),
    "replace": (_of_one("replace", str.replace, str), 2, 2),
    "matches": (_of_one("matches", lambda text, form: re.search(form, text) is not None, str), 1, 1),
    "abs": (_of_one("abs", abs, *_NUMBERS), 0, 0),
    "floor": (_of_one("floor", _floor, *_NUMBERS), 0, 0),
    "ceiling": (_of_one("ceiling", lambda value: -_floor(-value), *_NUMBERS), 0, 0),
    "truncate": (_of_one("truncate", int, *_NUMBERS), 0, 0),
    "round": (_of_one("round", _round, *_NUMBERS), 0, 1),
    "toString": (_of_one("toString", values.shown, *_ANY), 0, 0),
    "toInteger": (_of_one("toInteger", _to_integer, *_ANY), 0, 0),
    "toDecimal": (_of_one("toDecimal", _to_decimal, *_ANY), 0, 0),
}
