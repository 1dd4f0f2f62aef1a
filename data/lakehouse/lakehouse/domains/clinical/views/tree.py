"""The parts of a FHIRPath expression.

Belongs here: kinds of node. Does not: text (syntax.py), meaning (compiling.py).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Node:
    """A part of an expression."""


@dataclass(frozen=True)
class Literal(Node):
    """A constant; `{}` has no value."""

    values: tuple[Any, ...]


@dataclass(frozen=True)
class This(Node):
    """`$this`, and where a path begins."""


@dataclass(frozen=True)
class IterationIndex(Node):
    """`$index`."""


@dataclass(frozen=True)
class Variable(Node):
    """`%name`."""

    name: str


@dataclass(frozen=True)
class Member(Node):
    """`of.name`; `of` is None at the beginning of a path."""

    of: Node | None
    name: str


@dataclass(frozen=True)
class Call(Node):
    """`of.name(arguments)`."""

    of: Node
    name: str
    arguments: tuple[Node, ...]


@dataclass(frozen=True)
class Index(Node):
    """`of[at]`."""

    of: Node
    at: Node


@dataclass(frozen=True)
class Sign(Node):
    """`-of`."""

    of: Node


@dataclass(frozen=True)
class Binary(Node):
    """`left operator right`."""

    operator: str
    left: Node
    right: Node


@dataclass(frozen=True)
class TypeTest(Node):
    """`of is type` or `of as type`."""

    operator: str
    of: Node
    type: str


def parts(node: Node) -> Iterator[Node]:
    """Yield a node and all below it."""
    yield node
    for value in vars(node).values():
        for one in value if isinstance(value, tuple) else (value,):
            if isinstance(one, Node):
                yield from parts(one)
