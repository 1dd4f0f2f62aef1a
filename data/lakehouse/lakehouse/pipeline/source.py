"""The source of a function with all that it uses, in a form that changes only when what it computes may.

Belongs here: finding and normalising source. Does not: what is made of it (code.py).

A function's text is followed through the names in it: to other functions, classes and constants of its
module, and of modules of the same project, of `lakehouse.domains`, of `lakehouse.engine` and of the shared
rules in `lakehouse.contracts.rules`. Installed libraries are not followed. What a closure, a default or a
`partial` holds is part of it. An operation of xp counts by what it does on Polars, which the other engines
must equal; how it finds its engine does not count.
"""

from __future__ import annotations

import ast
import inspect
import sys
import threading
from ast import parse
from collections.abc import Callable
from datetime import date, timedelta
from decimal import Decimal
from functools import cache, partial
from pathlib import Path
from types import FunctionType
from typing import Any

_OURS = ("lakehouse.domains", "lakehouse.engine", "lakehouse.contracts.rules")
_XP, _REFERENCE = "lakehouse.engine.xp", "lakehouse.engine.polars.functions"
_ONE = threading.Lock()  # two threads would parse a module twice, and take its statements for different ones
_TRIES = 20
_PLAIN = (str, bytes, int, float, bool, date, timedelta, Decimal, type(None))


def source_of(function: Callable[..., Any]) -> str:
    """Return the source of `function` and of what it uses, without comments, docstrings and layout.

    Where there is no source to read, as in a console, only the function's name.
    """
    walk = _Walk()
    with _ONE:
        walk.value(function)
    return "\n".join(walk.found)


class _Walk:
    """Collects statements, each once, in the order they are met."""

    def __init__(self) -> None:
        self.found: list[str] = []
        self._seen: set[object] = set()

    def value(self, value: Any) -> None:
        """Take in a function, what a `partial` holds, or a plain value."""
        if isinstance(value, partial):
            for part in (value.func, *value.args, *sorted(value.keywords.items())):
                self.value(part)
        elif isinstance(value, FunctionType):
            self._function(inspect.unwrap(value))
        elif isinstance(value, tuple | list):
            for part in value:
                self.value(part)
        else:
            self.found.append(repr(value) if isinstance(value, _PLAIN) else type(value).__qualname__)

    def _function(self, function: Any) -> None:
        if function in self._seen:
            return
        self._seen.add(function)
        if not isinstance(function, FunctionType):
            self.found.append(type(function).__qualname__)
            return
        module = function.__module__
        nodes = _nodes_at(module, function.__code__.co_firstlineno, function.__name__)
        if not nodes:
            self.found.append(function.__qualname__)
        for node in nodes:
            self._node(module, node, module)
        for default in (*(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values()):
            self.value(default)
        for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
            self.found.append(name)
            self.value(cell.cell_contents)

    def _node(self, module: str, node: ast.AST, home: str) -> None:
        if (module, node) in self._seen:
            return
        self._seen.add((module, node))
        self.found.append(_text(node))
        for owner, name in _names(node):
            self._name(module, owner, name, home)

    def _name(self, module: str, owner: str | None, name: str, home: str) -> None:
        """Follow `name`, or `owner.name`, as it is written in `module`."""
        defined, imported = _index(module)
        if owner is None and name in defined:
            for node in defined[name]:
                self._node(module, node, home)
            return
        target = imported.get(owner or name)
        if target is None:
            return
        other, attribute = target
        if attribute is not None and _index(f"{other}.{attribute}")[0]:
            other, attribute = f"{other}.{attribute}", None
        wanted = name if owner is not None and attribute is None else attribute
        if wanted is not None and _followed(other, home):
            self._name(_telling(other, wanted), None, wanted, home)


def _telling(module: str, name: str) -> str:
    """Return the module that says what `name` of a module computes."""
    return _REFERENCE if module == _XP and name in _index(_REFERENCE)[0] else module


def _followed(module: str, home: str) -> bool:
    project = home.split(".")[0]
    if project == "lakehouse":
        return module.startswith(_OURS)
    return module.split(".")[0] == project or module.startswith(_OURS)


@cache
def _text(node: ast.AST) -> str:
    return ast.unparse(node)


@cache
def _names(node: ast.AST) -> tuple[tuple[str | None, str], ...]:
    """Return every name in the node, and each `owner.name`, each once; an owner may be `package.module`."""
    found: dict[tuple[str | None, str], None] = {}
    for inner in ast.walk(node):
        if isinstance(inner, ast.Attribute):
            if (owner := _dotted(inner.value)) is not None:
                found[owner, inner.attr] = None
        elif isinstance(inner, ast.Name):
            found[None, inner.id] = None
    return tuple(found)


def _dotted(node: ast.AST) -> str | None:
    if isinstance(node, ast.Name):
        return node.id
    above = _dotted(node.value) if isinstance(node, ast.Attribute) else None
    return None if above is None else f"{above}.{node.attr}"  # type: ignore[attr-defined]


Defined = dict[str, list[ast.stmt]]
Imported = dict[str, tuple[str, str | None]]


def _parsed(text: str) -> ast.Module:
    """Return the parsed text. Older releases of CPython 3.11 and 3.12 keep one count of depth for all threads
    that parse, of whatever library, and raise SystemError where two meet (python/cpython#106905).
    """
    for _ in range(_TRIES - 1):
        try:
            return parse(text)
        except SystemError:
            continue
    return parse(text)


@cache
def _tree(module: str) -> ast.Module:
    """Return the parsed source of a loaded module without docstrings; an empty one where none can be read."""
    file = getattr(sys.modules.get(module), "__file__", None)
    try:
        tree = _parsed(Path(file).read_text(encoding="utf-8")) if file else ast.parse("")
    except (OSError, SyntaxError, UnicodeDecodeError):
        return ast.parse("")
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.ClassDef | ast.AsyncFunctionDef):
            first = node.body[0]
            if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
                node.body = node.body[1:] or [ast.Pass()]
    return tree


@cache
def _index(module: str) -> tuple[Defined, Imported]:
    """Return what a module defines and imports at its top, by name."""
    defined: Defined = {}
    imported: Imported = {}
    for node in _tree(module).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef | ast.AsyncFunctionDef):
            defined.setdefault(node.name, []).append(node)
        elif isinstance(node, ast.Assign | ast.AnnAssign | ast.AugAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            for name in {n.id for t in targets for n in ast.walk(t) if isinstance(n, ast.Name)}:
                defined.setdefault(name, []).append(node)
        elif isinstance(node, ast.ImportFrom):
            base = _base(module, node)
            imported |= {alias.asname or alias.name: (base, alias.name) for alias in node.names}
        elif isinstance(node, ast.Import):
            imported |= {alias.asname or alias.name: (alias.name, None) for alias in node.names}
    return defined, imported


def _base(module: str, node: ast.ImportFrom) -> str:
    """Return the module that `from … import` names, also where it is relative."""
    if not node.level:
        return node.module or ""
    is_package = str(getattr(sys.modules.get(module), "__file__", "")).endswith("__init__.py")
    parts = module.split(".")
    parts = parts[: len(parts) - node.level + is_package]
    return ".".join([*parts, node.module] if node.module else parts)


def _nodes_at(module: str, line: int, name: str) -> list[ast.AST]:
    """Return the top statement that holds the function, or the lambdas of its line outside of any."""
    for node in _tree(module).body:
        first = min([node.lineno, *(d.lineno for d in getattr(node, "decorator_list", []))])
        if not first <= line <= (node.end_lineno or first):
            continue
        if name == "<lambda>" and not isinstance(node, ast.FunctionDef | ast.ClassDef):
            return [n for n in ast.walk(node) if isinstance(n, ast.Lambda) and n.lineno == line]
        return [node]
    return []
