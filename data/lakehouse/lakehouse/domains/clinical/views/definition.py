"""A ViewDefinition, checked: https://sql-on-fhir.org/ig/StructureDefinition-ViewDefinition.html.

Belongs here: its parts and what makes one invalid. Does not: running it (rows.py), constants
(constants.py), expressions (compiling.py).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

from lakehouse.domains.clinical.views import syntax, tree
from lakehouse.domains.clinical.views.compiling import ROW_INDEX, Compiled, Scope, compiled
from lakehouse.domains.clinical.views.constants import constants_of, listed, name_of
from lakehouse.domains.clinical.views.inference import type_of
from lakehouse.domains.clinical.views.types import ansi, exact, named
from lakehouse.errors import Unsupported, ViewError

_RESOURCE = re.compile(r"[A-Z][A-Za-z]+")
_ELEMENT = {"id", "extension", "modifierExtension"}
_SELECT = _ELEMENT | {"column", "select", "forEach", "forEachOrNull", "repeat", "unionAll"}
_COLUMN = _ELEMENT | {"name", "path", "description", "collection", "type", "tag"}
_ITERATIONS = ("forEach", "forEachOrNull", "repeat")


@dataclass(frozen=True, kw_only=True)
class ViewColumn:
    """One column. `type` is its FHIR type, stated or told by its path; None where neither tells.

    `of_row` says whether its path has %rowIndex, which has a value also where an iteration found nothing.
    """

    name: str
    path: str
    value: Compiled
    type: str | None
    is_stated: bool
    collection: bool
    of_row: bool
    description: str
    tags: Mapping[str, str]

    @property
    def is_personal(self) -> bool:
        """Whether it is personal data: every column is, unless it is tagged otherwise."""
        return self.tags.get(PII, "true") != "false"


@dataclass(frozen=True, kw_only=True)
class Select:
    """One selection structure: `foci` iterates where `iteration` says how."""

    iteration: str | None
    foci: tuple[Compiled, ...]
    columns: tuple[ViewColumn, ...]
    selects: tuple[Select, ...]
    union: tuple[Select, ...]
    all_columns: tuple[ViewColumn, ...] = field(repr=False)


@dataclass(frozen=True, kw_only=True)
class View:
    """A whole view."""

    name: str | None
    resource: str
    where: tuple[tuple[str, Compiled], ...]
    root: Select
    about: Mapping[str, str]
    has_references: bool

    @property
    def columns(self) -> tuple[ViewColumn, ...]:
        return self.root.all_columns


def view_of(document: object) -> View:
    """Return a ViewDefinition, given as an object, or as JSON text or bytes.

    Raises ViewError, which names the place, for an invalid one; Unsupported for FHIRPath that is not known.
    """
    if isinstance(document, str | bytes):
        try:
            document = exact(document)
        except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
            raise ViewError("a ViewDefinition is JSON, and this is none") from None
    if not isinstance(document, Mapping):
        raise ViewError("a ViewDefinition is a JSON object")
    try:
        return _view(document)
    except RecursionError:
        raise ViewError("the ViewDefinition is nested too deeply") from None


def _view(document: Mapping[str, Any]) -> View:
    if document.get("resourceType", "ViewDefinition") != "ViewDefinition":
        raise ViewError("its resourceType is not ViewDefinition")
    resource = document.get("resource")
    if not isinstance(resource, str) or not _RESOURCE.fullmatch(resource):
        raise ViewError("`resource` names no type of resource, as Patient")
    name = document.get("name")
    if name is not None:
        name_of("the view", name)
    constants = constants_of(document)
    if "select" not in document:
        raise ViewError("it has no `select`")
    selects = tuple(
        _select(one, f"select[{i}]", constants)
        for i, one in enumerate(listed(document, "select", "the view"))
    )
    root = _joined(selects)
    _no_column_twice(root.all_columns)
    if not root.all_columns:
        raise ViewError("it has no column")
    texts = [text for one in listed(document, "where", "the view", least=0) for text in [_where(one)]]
    scope = Scope(constants)
    return View(
        name=name,
        resource=resource,
        where=tuple((text, _expression(text, "where", scope)) for text in texts),
        root=root,
        about={key: str(document[key]) for key in ("title", "description", "version") if key in document},
        has_references=any("getReferenceKey" in text for text in _texts(document)),
    )


def _where(one: Any) -> str:
    if not isinstance(one, Mapping) or not isinstance(one.get("path"), str):
        raise ViewError("where: each is an object with a `path`")
    return str(one["path"])


def _texts(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value]
    inner = value.values() if isinstance(value, Mapping) else value if isinstance(value, list) else ()
    return [text for one in inner for text in _texts(one)]


def _expression(text: object, where: str, scope: Scope) -> Compiled:
    try:
        return compiled(syntax.parse(text), scope)
    except (ViewError, Unsupported) as exc:
        raise type(exc)(f"{where}: {exc}") from None


def _select(one: Any, where: str, constants: Mapping[str, tuple[Any, str]]) -> Select:
    if not isinstance(one, Mapping):
        raise ViewError(f"{where} is no object")
    _no_strangers(one, _SELECT, where)
    iteration, foci = _iteration(one, where, Scope(constants))
    columns = tuple(
        _column(each, f"{where}.column[{i}]", constants)
        for i, each in enumerate(listed(one, "column", where, least=0))
    )
    selects = tuple(
        _select(each, f"{where}.select[{i}]", constants)
        for i, each in enumerate(listed(one, "select", where, least=0))
    )
    union = tuple(
        _select(each, f"{where}.unionAll[{i}]", constants)
        for i, each in enumerate(listed(one, "unionAll", where, least=0))
    )
    _same_columns(union, where)
    return _joined(selects, columns=columns, union=union, iteration=iteration, foci=foci)


def _joined(
    selects: tuple[Select, ...],
    *,
    columns: tuple[ViewColumn, ...] = (),
    union: tuple[Select, ...] = (),
    iteration: str | None = None,
    foci: tuple[Compiled, ...] = (),
) -> Select:
    below = (column for select in selects for column in select.all_columns)
    last = union[0].all_columns if union else ()
    return Select(
        iteration=iteration, foci=foci, columns=columns, selects=selects, union=union,
        all_columns=(*columns, *below, *last),
    )  # fmt: skip


def _iteration(one: Mapping[str, Any], where: str, scope: Scope) -> tuple[str | None, tuple[Compiled, ...]]:
    stated = [name for name in _ITERATIONS if name in one]
    if len(stated) > 1:
        raise ViewError(f"{where} has {' and '.join(stated)}; one alone is possible")
    if not stated:
        return None, ()
    [name] = stated
    texts = listed(one, name, where) if name == "repeat" else (one[name],)
    return name, tuple(_expression(text, f"{where}.{name}", scope) for text in texts)


def _column(one: Any, where: str, constants: Mapping[str, tuple[Any, str]]) -> ViewColumn:
    if not isinstance(one, Mapping):
        raise ViewError(f"{where} is no object")
    _no_strangers(one, _COLUMN, where)
    name = name_of(where, one.get("name"))
    collection = one.get("collection", False)
    if not isinstance(collection, bool):
        raise ViewError(f"{where} ({name}): `collection` is true or false")
    try:
        stated = named(one["type"]) if "type" in one else None
        tags = _tags(one)
        node = syntax.parse(one.get("path"))
        value = compiled(node, Scope(constants, stated))
        inner = stated or type_of(node, constants)
    except (ViewError, Unsupported) as exc:
        raise type(exc)(f"{where} ({name}): {exc}") from None
    return ViewColumn(
        name=name, path=one["path"], value=value, type=inner, is_stated=stated is not None,
        collection=collection, of_row=_has_row_index(node), description=str(one.get("description") or ""),
        tags=tags,
    )  # fmt: skip


def _tags(one: Mapping[str, Any]) -> dict[str, str]:
    tags = {}
    for tag in listed(one, "tag", "the column", least=0):
        stated = (tag.get("name"), tag.get("value")) if isinstance(tag, Mapping) else (None, None)
        if not isinstance(stated[0], str) or not isinstance(stated[1], str):
            raise ViewError("a tag has a `name` and a `value`, both texts")
        tags[stated[0]] = stated[1]
    if "ansi/type" in tags:
        ansi(tags["ansi/type"])
    if tags.get(PII, "true") not in ("true", "false"):
        raise ViewError(f"tag {PII} is true or false")
    return tags


PII = "odp/pii"
"""The tag that says whether a column is personal data; it is where the tag does not say false."""


def _has_row_index(node: tree.Node) -> bool:
    return any(isinstance(one, tree.Variable) and one.name == ROW_INDEX for one in tree.parts(node))


def _no_strangers(one: Mapping[str, Any], known: set[str], where: str) -> None:
    if strangers := sorted(set(map(str, one)) - known):
        raise ViewError(f"{where} has {', '.join(strangers)}, which a ViewDefinition does not know")


def _no_column_twice(columns: tuple[ViewColumn, ...]) -> None:
    names = [column.name for column in columns]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ViewError(f"two columns are named {', '.join(twice)}")


def _same_columns(union: tuple[Select, ...], where: str) -> None:
    for i, one in enumerate(union[1:], 1):
        first, other = (
            [(c.name, c.type if c.is_stated else None, c.collection) for c in each.all_columns]
            for each in (union[0], one)
        )
        if [c[0] for c in first] != [c[0] for c in other]:
            raise ViewError(f"{where}.unionAll[{i}] has other columns, or in another order, than unionAll[0]")
        for (name, a, many), (_, b, many_too) in zip(first, other, strict=True):
            if many != many_too or (a is not None and b is not None and a != b):
                raise ViewError(f"{where}.unionAll[{i}]: column {name} has another type than in unionAll[0]")
