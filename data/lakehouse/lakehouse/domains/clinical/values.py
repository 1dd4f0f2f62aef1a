"""Elements that may be of several types (`value[x]`): which type it was, and what has no columns of its own.

Belongs here: values of observations and their components, the type of a stated time, what states two types.
Does not: quantities, codes and times as columns (fields.py).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from operator import attrgetter
from types import NoneType
from typing import Any

import msgspec

from lakehouse.domains.clinical import records as r
from lakehouse.domains.clinical.datatypes import Concept, Range, written
from lakehouse.domains.clinical.lists import Tuples, as_coding
from lakehouse.domains.clinical.taking import UNCODED, coded, each

VALUES = (
    "Quantity", "CodeableConcept", "String", "Boolean", "Integer", "Range", "Ratio", "SampledData", "Time",
    "DateTime", "Period",
)  # fmt: skip
_WHOLE = ("Range", "Ratio", "SampledData", "Period")
_ENCODE = msgspec.json.Encoder().encode


def kind(
    element: str, types: tuple[str, ...], *, unsaid: tuple[str, ...] = ()
) -> Callable[[Any], str | None]:
    """Return what names the type of `element[x]`, as `Quantity` or `DateTime`; None where none is given.

    One of `unsaid` types is given by extensions alone too: such as that its value is not known.
    """
    names = [(f"{element}{one}", one) for one in types]
    names += [(f"{element}{one}_", one) for one in unsaid]

    def get(resource: Any) -> str | None:
        for name, one in names:  # no generator: it is read of every resource
            if getattr(resource, name) is not None:
                return one
        return None

    return get


value_kind = kind("value", VALUES)


def value_text(one: r.Observation | r.Component) -> str | None:
    """Return a value that is text, a time, a whole number or a boolean, as text."""
    for name in ("valueString", "valueDateTime", "valueTime"):
        if (value := getattr(one, name)) is not None:
            return str(value)
    if one.valueInteger is not None:
        return str(one.valueInteger)
    return None if one.valueBoolean is None else str(one.valueBoolean).lower()


def value_json(one: r.Observation | r.Component) -> str | None:
    """Return a range, ratio, sampled data or period as JSON."""
    for name in _WHOLE:
        if (value := getattr(one, f"value{name}")) is not None:
            return _ENCODE(value).decode()
    return None


def components(observation: r.Observation) -> Tuples:
    """Return the parts of a panel, each as the struct in lists.py has it."""
    return [_component(one) for one in each(observation.component)]


def _component(one: r.Component) -> tuple[Any, ...]:
    code = coded(one.code) if one.code else UNCODED
    concept = coded(one.valueCodeableConcept) if one.valueCodeableConcept else UNCODED
    quantity = one.valueQuantity
    number = written(quantity.value) if quantity else None
    sign = quantity.said_comparator() if quantity else None
    exact = None if sign else number
    return (
        *code[:3],
        list(map(as_coding, code[3] or ())),
        float(exact) if exact is not None else None,
        exact,
        quantity.said_unit() if quantity else None,
        sign,
        number if sign else None,
        *concept[:3],
        value_kind(one),
        value_json(one),
        value_text(one),
        coded(one.dataAbsentReason)[0] if one.dataAbsentReason else None,
        [said for concept in each(one.interpretation) if (said := code_or_words(concept))],
    )


def code_or_words(concept: Concept) -> str | None:
    """Return the code that counts of a concept; of one without a code its words."""
    code, _, words, _ = coded(concept)
    return code or words


def words(text: str, span: str) -> Callable[[Any], str | None]:
    """Return what takes a time that is stated as text, or as a range (JSON)."""

    def get(resource: Any) -> str | None:
        if (said := getattr(resource, text)) is not None:
            return str(said)
        value: Range | None = getattr(resource, span)
        return _ENCODE(value).decode() if value is not None else None

    return get


_CHOICES = (
    "value", "effective", "onset", "abatement", "performed", "deceased", "medication", "reported",
    "occurrence", "asNeeded",
)  # fmt: skip
_PARTS: dict[str, type[msgspec.Struct]] = {"component": r.Component, "dosageInstruction": r.Dosage}


def has_choices(shape: type[msgspec.Struct]) -> bool:
    """Return whether a shape, or a part of it, has an element of several types."""
    return any(map(_choices, (shape, *(_PARTS[one] for one in _PARTS if one in shape.__struct_fields__))))


def doubled(shape: type[msgspec.Struct], resources: Sequence[Any]) -> list[str | None]:
    """Return for each resource the elements that it states in several types, as `value[x]`; None mostly.

    R4 allows one type of each, so that nobody can tell which of several holds:
    https://hl7.org/fhir/R4/formats.html#choice. Of an element with extensions alone nothing is said here.
    """
    found: dict[int, list[str]] = {}
    for place, name in _doubled(shape, resources):
        found.setdefault(place, []).append(name)
    for part, inner in _PARTS.items():
        if part not in shape.__struct_fields__:
            continue
        given = [
            (place, one) for place, parts in enumerate(map(attrgetter(part), resources)) if parts
            for one in parts if one is not None
        ]  # fmt: skip
        for place, name in _doubled(inner, [one for _, one in given]):
            names = found.setdefault(given[place][0], [])
            names += [said for said in (f"{part}.{name}",) if said not in names]
    return [", ".join(found[place]) if place in found else None for place in range(len(resources))]


def _doubled(shape: type[msgspec.Struct], given: Sequence[Any]) -> Iterator[tuple[int, str]]:
    for name, take, most in _choices(shape):
        # A list a choice, no function a resource: it is read of every one, and was twice as slow.
        absent = [types.count(None) for types in map(take, given)]
        if min(absent, default=most) < most:
            yield from ((place, name) for place, n in enumerate(absent) if n < most)


@cache
def _choices(shape: type[msgspec.Struct]) -> list[tuple[str, attrgetter[Any], int]]:
    """Return each choice of a shape: its name, what takes all its types, how many at least are not there."""
    made = []
    known = [one.name for one in msgspec.structs.fields(shape) if one.type is not NoneType]
    for element in _CHOICES:
        types = [name for name in known if re.fullmatch(f"{element}[A-Z][A-Za-z]*", name)]
        if len(types) > 1:
            made.append((f"{element}[x]", attrgetter(*types), len(types) - 1))
    return made
