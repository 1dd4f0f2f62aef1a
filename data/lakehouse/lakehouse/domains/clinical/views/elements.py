"""The elements of a resource as JSON has them.

Belongs here: children by name, and what JSON tells of a type. Does not: expressions (compiling.py).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from lakehouse.domains.clinical.views import values

# What follows the name of an element that may have one of several types, as in valueQuantity.
CHOICES = frozenset((
    "Base64Binary", "Boolean", "Canonical", "Code", "Date", "DateTime", "Decimal", "Id", "Instant",
    "Integer",
    "Integer64", "Markdown", "Oid", "PositiveInt", "String", "Time", "UnsignedInt", "Uri", "Url", "Uuid",
    "Address",
    "Age", "Annotation", "Attachment", "Availability", "CodeableConcept", "CodeableReference", "Coding",
    "ContactDetail", "ContactPoint", "Contributor", "Count", "DataRequirement", "Distance", "Dosage",
    "Duration",
    "Expression", "ExtendedContactDetail", "HumanName", "Identifier", "Meta", "Money",
    "ParameterDefinition",
    "Period", "Quantity", "Range", "Ratio", "RatioRange", "Reference", "RelatedArtifact", "RelativeTime",
    "SampledData", "Signature", "SimpleQuantity", "Timing", "TriggerDefinition", "UsageContext",
))  # fmt: skip


def members(elements: list[Any], name: str) -> list[Any]:
    """Return the children of that name; of `value`, the one that is there of valueString, valueQuantity …"""
    found: list[Any] = []
    for element in elements:
        if type(element) is not dict:
            continue
        value = element.get(name)
        if value is None and (value := _choice(element, name)) is None:
            continue
        if type(value) is list:
            found.extend([one for one in value if one is not None])
        else:
            found.append(value)
    return found


def _choice(element: dict[str, Any], name: str) -> Any:
    size = len(name)
    for key in element:
        if key.startswith(name) and key[size:] in CHOICES:
            return element[key]
    return None


def is_resource(element: Any, name: str) -> bool:
    """Return whether an element is a resource of a type."""
    stated = element.get("resourceType") if type(element) is dict else None
    return stated is not None and (stated == name or name in ("Resource", "DomainResource"))


JSON_TYPES: dict[str, Callable[[Any], bool]] = {
    "boolean": lambda one: type(one) is bool,
    "integer": lambda one: type(one) is int,
    "decimal": lambda one: type(one) is not int and values.number(one) is not None,
    "Quantity": lambda one: type(one) is values.Quantity,
    "date": lambda one: type(one) is values.Temporal and one.kind == "date",
    "dateTime": lambda one: type(one) is values.Temporal and one.kind == "dateTime",
    "time": lambda one: type(one) is values.Temporal and one.kind == "time",
}


def may_be(value: Any, name: str) -> bool:
    """Return whether an element of one type alone may have this one: JSON tells no more than its kind."""
    if type(value) is dict:
        return is_resource(value, name) if "resourceType" in value else name[:1].isupper()
    if name in ("integer", "positiveInt", "unsignedInt"):
        return type(value) is int
    if name in ("boolean", "decimal"):
        return JSON_TYPES[name](value)
    if type(value) is not str or name[:1].isupper():
        return False
    moment = values.temporal(value) if name in ("date", "dateTime", "instant", "time") else None
    return moment is not None if name in ("date", "dateTime", "instant", "time") else True
