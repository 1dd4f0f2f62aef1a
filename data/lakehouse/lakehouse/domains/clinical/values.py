"""Elements that may be of several types (`value[x]`): which type it was, and what has no columns of its own.

Belongs here: values of observations and their components, and the type of a stated time. Does not:
quantities, codes and times as columns (fields.py).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import orjson

from lakehouse.domains.clinical import records as r
from lakehouse.domains.clinical.datatypes import Concept, Range, written
from lakehouse.domains.clinical.taking import coded, each

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
        return next((one for name, one in names if getattr(resource, name) is not None), None)

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


def components(observation: r.Observation) -> str | None:
    """Return the parts of a panel as JSON: code and value of each, and what else is stated of it."""
    found = []
    for one in each(observation.component):
        code = coded(one.code) if one.code else (None, None, None, None)
        concept = coded(one.valueCodeableConcept) if one.valueCodeableConcept else (None, None, None, None)
        absent = coded(one.dataAbsentReason)[0] if one.dataAbsentReason else None
        quantity = one.valueQuantity
        number = written(quantity.value) if quantity else None
        sign = quantity.said_comparator() if quantity else None
        told = {
            "code": code[0],
            "display": code[2],
            "value": None if sign else number,
            "unit": quantity.said_unit() if quantity else None,
            "value_code": concept[0],
            "value_text": value_text(one),
        }
        more = {
            "codings": _several(code[3], one.code),
            "comparator": sign,
            "bound": number if sign else None,
            "value_type": next((name for name in _WHOLE if getattr(one, f"value{name}") is not None), None),
            "value_json": value_json(one),
            "absent_reason": absent,
            "interpretation": [code_or_words(said) for said in each(one.interpretation)] or None,
        }
        found.append(told | {name: value for name, value in more.items() if value is not None})
    return orjson.dumps(found).decode() if found else None


def code_or_words(concept: Concept) -> str | None:
    """Return the code that counts of a concept; of one without a code its words."""
    code, _, words, _ = coded(concept)
    return code or words


def _several(codings: str | None, concept: Concept | None) -> str | None:
    return codings if concept is not None and len(each(concept.coding)) > 1 else None


def words(text: str, span: str) -> Callable[[Any], str | None]:
    """Return what takes a time that is stated as text, or as a range (JSON)."""

    def get(resource: Any) -> str | None:
        if (said := getattr(resource, text)) is not None:
            return str(said)
        value: Range | None = getattr(resource, span)
        return _ENCODE(value).decode() if value is not None else None

    return get
