"""What takes a value of a resource: by its path, of a list, of codings.

Belongs here: functions from a resource to what a field is made of. Does not: what becomes of it (fields.py).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from operator import attrgetter
from typing import Any

from lakehouse.domains.clinical.datatypes import Coding, Concept

Get = Callable[[Any], Any]


def of(*path: str) -> Get:
    """Return what takes the value at a path; None where a step is not there, the first element of a list."""
    if len(path) == 1:
        return _at(path[0])

    def get(value: Any) -> Any:
        for name in path:
            if value is None:
                return None
            value = getattr(value, name)
            if type(value) is list:
                value = next((one for one in value if one is not None), None)
        return value

    return get


def _at(name: str) -> Get:
    take = attrgetter(name)

    def get(value: Any) -> Any:
        found = take(value) if value is not None else None
        return next((one for one in found if one is not None), None) if type(found) is list else found

    return get


def first(*gets: Get) -> Get:
    """Return what takes the first value that is there."""

    def get(value: Any) -> Any:
        return next((found for one in gets if (found := one(value)) is not None), None)

    return get


def each(values: Any) -> Any:
    """Return the elements of a list that are there; FHIR's JSON has null for those with extensions alone."""
    return [one for one in values if one is not None] if values else ()


CodedParts = tuple[str | None, str | None, str | None, Sequence[Coding | None] | None]
UNCODED: CodedParts = (None, None, None, None)


def coded(value: Any) -> CodedParts:
    """Return code, system, display and all codings of a coding, a concept, or a list of either.

    Of the first concept with a code the first coding with a system counts, else the first with a code. The
    words are the coding's, else its concept's text.
    """
    if type(value) is list and len(value) == 1 and value[0] is not None:
        value = value[0]
    if type(value) is Concept and value.coding and len(value.coding) == 1:  # nearly all are so
        only = value.coding[0]
        if only is not None and only.code is not None:
            return only.code, only.system, only.display or value.text, value.coding
    given = each(value) if type(value) is list else (value,)
    all_: list[Coding] = []
    chosen: Coding | None = None
    words: str | None = None
    for one in given:
        own = (one,) if isinstance(one, Coding) else each(one.coding)
        all_.extend(own)
        text = None if isinstance(one, Coding) else one.text
        if chosen is None and (chosen := _counts(own)) is not None:
            words = chosen.display or text
        elif chosen is None and words is None:
            words = next((part.display for part in own if part.display), None) or text
    codings = all_ or None
    if chosen is None:
        return None, None, words, codings
    return chosen.code, chosen.system, words, codings


def _counts(codings: Sequence[Coding]) -> Coding | None:
    with_code = [one for one in codings if one.code is not None]
    return next((one for one in with_code if one.system), with_code[0] if with_code else None)


def code(*path: str) -> Get:
    """Return what takes the code that counts of the concept (or list) at a path."""
    take = of(*path[:-1]) if path[:-1] else None

    def get(value: Any) -> Any:
        holder = take(value) if take else value
        found = getattr(holder, path[-1]) if holder is not None else None
        return coded(found)[0] if found is not None else None

    return get


def whole(name: str) -> Get:
    """Return what takes an element as it is, a list too."""
    return lambda value: getattr(value, name)


def every(outer: str, inner: str) -> Get:
    """Return what takes an element of every part of a list, as one list."""

    def get(value: Any) -> Any:
        found: list[Any] = []
        for part in each(getattr(value, outer)):
            own = getattr(part, inner)
            found += each(own if type(own) is list else [own])
        return found or None

    return get


def codes(value: Concept | None) -> list[str]:
    """Return every code of a concept."""
    return [one.code for one in each(value.coding) if one.code is not None] if value is not None else []
