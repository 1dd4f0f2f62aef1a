"""FHIRPath text to a tree.

Belongs here: tokens, grammar and precedence (https://hl7.org/fhirpath/N1/#expressions). Does not: what a
function or an operator means (compiling.py, functions.py).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal

from lakehouse.domains.clinical.views.tree import (
    Binary,
    Call,
    Index,
    IterationIndex,
    Literal,
    Member,
    Node,
    Sign,
    This,
    TypeTest,
    Variable,
)
from lakehouse.domains.clinical.views.values import Quantity, temporal
from lakehouse.errors import ViewError

_TOKEN = re.compile(
    r"""(?P<skip>\s+|//[^\n]*|/\*.*?\*/)
    |(?P<temporal>@(?:T\d\d(?::\d\d(?::\d\d(?:\.\d+)?)?)?
        |\d{4}(?:-\d\d(?:-\d\d)?)?(?:T(?:\d\d(?::\d\d(?::\d\d(?:\.\d+)?)?)?(?:Z|[+-]\d\d:\d\d)?)?)?))
    |(?P<number>\d+(?:\.\d+)?)
    |(?P<string>'(?:[^'\\]|\\.)*')
    |(?P<quoted>`(?:[^`\\]|\\.)*`)
    |(?P<name>[A-Za-z_][A-Za-z0-9_]*)
    |(?P<special>\$[a-z]+)
    |(?P<operator><=|>=|!=|!~|[-+*/|&<>=~.,()\[\]{}%])""",
    re.VERBOSE | re.DOTALL,
)
_ESCAPE = re.compile(r"\\(u[0-9A-Fa-f]{4}|.)", re.DOTALL)
_ESCAPES = {"'": "'", '"': '"', "`": "`", "\\": "\\", "/": "/", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}
_WORDS = {"and", "or", "xor", "implies", "div", "mod", "in", "contains", "is", "as"}
_UNITS = {
    unit: unit.removesuffix("s")
    for base in ("year", "month", "week", "day", "hour", "minute", "second", "millisecond")
    for unit in (base, f"{base}s")
}
# From the weakest to the strongest; `is` and `as` stand between the last comparison and `|`.
_LEVELS: tuple[tuple[str, ...], ...] = (
    ("implies",),
    ("or", "xor"),
    ("and",),
    ("in", "contains"),
    ("=", "~", "!=", "!~"),
    ("<=", "<", ">", ">="),
    ("|",),
    ("is", "as"),
    ("+", "-", "&"),
    ("*", "/", "div", "mod"),
)


def parse(text: object) -> Node:
    """Return the tree of an expression. Raises ViewError, which names the place."""
    if not isinstance(text, str) or not text.strip():
        raise ViewError(f"a FHIRPath expression is a text, not {type(text).__name__}, and not empty")
    try:
        return _Parser(text).whole()
    except RecursionError:
        raise ViewError("a FHIRPath expression is nested too deeply") from None


@dataclass(frozen=True)
class _Token:
    kind: str
    text: str
    at: int


class _Parser:
    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens = [*self._split(), _Token("end", "", len(text))]
        self._place = 0

    def whole(self) -> Node:
        node = self._level(0)
        if self._now.kind != "end":
            raise self._unexpected()
        return node

    def _split(self) -> Iterator[_Token]:
        at = 0
        while at < len(self._text):
            found = _TOKEN.match(self._text, at)
            if found is None:
                raise ViewError(f"FHIRPath {self._text!r}: unexpected {self._text[at]!r} at {at}")
            if found.lastgroup != "skip":
                yield _Token(str(found.lastgroup), found[0], at)
            at = found.end()

    @property
    def _now(self) -> _Token:
        return self._tokens[self._place]

    def _unexpected(self) -> ViewError:
        what = f"unexpected {self._now.text!r}" if self._now.text else "it ends too early"
        return ViewError(f"FHIRPath {self._text!r}: {what} at {self._now.at}")

    def _next(self) -> _Token:
        token = self._now
        if token.kind != "end":
            self._place += 1
        return token

    def _takes(self, *texts: str) -> str | None:
        """Take the next token where it is one of these operators or words."""
        if self._now.kind in ("operator", "name") and self._now.text in texts:
            return self._next().text
        return None

    def _must(self, text: str) -> None:
        if self._takes(text) is None:
            raise self._unexpected()

    def _level(self, level: int) -> Node:
        if level == len(_LEVELS):
            return self._signed()
        node = self._level(level + 1)
        while operator := self._takes(*_LEVELS[level]):
            if operator in ("is", "as"):
                node = TypeTest(operator, node, self._type())
            else:
                node = Binary(operator, node, self._level(level + 1))
        return node

    def _signed(self) -> Node:
        if sign := self._takes("+", "-"):
            node = self._signed()
            return Sign(node) if sign == "-" else node
        return self._path()

    def _path(self) -> Node:
        node = self._term()
        while True:
            if self._takes("."):
                node = self._step(node)
            elif self._takes("["):
                at = self._level(0)
                self._must("]")
                node = Index(node, at)
            else:
                return node

    def _term(self) -> Node:
        token = self._now
        if token.kind in ("number", "string", "temporal"):
            return self._literal(self._next())
        if token.kind == "name" and token.text in ("true", "false"):
            self._next()
            return Literal((token.text == "true",))
        if self._takes("("):
            node = self._level(0)
            self._must(")")
            return node
        if self._takes("{"):
            self._must("}")
            return Literal(())
        if self._takes("%"):
            name = self._next()
            if name.kind not in ("name", "string", "quoted"):
                self._place -= name.kind != "end"
                raise self._unexpected()
            return Variable(name.text if name.kind == "name" else self._unescaped(name))
        return self._step(None)

    def _literal(self, token: _Token) -> Node:
        if token.kind == "string":
            return Literal((self._unescaped(token),))
        if token.kind == "temporal":
            value = temporal(token.text[1:], literal=True)
            if value is None:
                raise ViewError(f"FHIRPath {self._text!r}: no date or time at {token.at}")
            return Literal((value,))
        number = Decimal(token.text)
        if self._now.kind == "string":
            return Literal((Quantity(number, self._unescaped(self._next())),))
        if self._now.kind == "name" and self._now.text in _UNITS:
            return Literal((Quantity(number, _UNITS[self._next().text]),))
        return Literal((int(token.text) if token.text.isdigit() else number,))

    def _step(self, of: Node | None) -> Node:
        token = self._next()
        if token.kind == "special" and of is None:
            if token.text == "$this":
                return This()
            if token.text == "$index":
                return IterationIndex()
        if token.kind not in ("name", "quoted") or (
            of is None and token.text in _WORDS - {"as", "is", "contains", "in"}
        ):
            self._place -= token.kind != "end"
            raise self._unexpected()
        name = token.text if token.kind == "name" else self._unescaped(token)
        if token.kind == "name" and self._takes("("):
            return Call(of or This(), name, self._arguments())
        return Member(of, name)

    def _arguments(self) -> tuple[Node, ...]:
        if self._takes(")"):
            return ()
        found = [self._level(0)]
        while self._takes(","):
            found.append(self._level(0))
        self._must(")")
        return tuple(found)

    def _type(self) -> str:
        names = []
        while True:
            token = self._next()
            if token.kind not in ("name", "quoted"):
                self._place -= token.kind != "end"
                raise self._unexpected()
            names.append(token.text if token.kind == "name" else self._unescaped(token))
            if self._takes(".") is None:
                return names[-1]

    def _unescaped(self, token: _Token) -> str:
        def one(found: re.Match[str]) -> str:
            code = found[1]
            if len(code) == 5:
                return chr(int(code[1:], 16))
            if code not in _ESCAPES:
                raise ViewError(f"FHIRPath {self._text!r}: unknown escape in the text at {token.at}")
            return _ESCAPES[code]

        return _ESCAPE.sub(one, token.text[1:-1])
