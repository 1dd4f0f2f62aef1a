"""FHIR R4's data types, as far as they are read.

Belongs here: the shapes of https://hl7.org/fhir/R4/datatypes.html. Does not: resources (records.py), or what
becomes of a value (fields.py). An element of another JSON type is refused by its path, never by its content.
Lists may hold null: FHIR's JSON has it where an element has extensions alone.
"""

from __future__ import annotations

import math
from typing import Annotated, Any

from msgspec import Meta as Bounds
from msgspec import Raw, Struct, field

Whole = Annotated[int, Bounds(ge=-(2**31), le=2**31 - 1)]  # https://hl7.org/fhir/R4/datatypes.html#integer
NOTHING = Raw(b"")
UCUM = "http://unitsofmeasure.org"
_LONG = 300  # digits, below which a number without an exponent is no infinity


def written(number: Raw) -> str | None:
    """Return a number as it is written; None for one that is not there.

    Raises TypeError for what is no JSON number, ValueError for one that no 64-bit float holds.
    """
    text = bytes(number)
    if not text or text == b"null":
        return None
    if text[0] not in b"-0123456789":
        raise TypeError("Expected `number`")
    if (len(text) > _LONG or b"e" in text or b"E" in text) and math.isinf(float(text)):
        raise ValueError("Expected a number that a 64-bit float holds")
    return text.decode()


class Element(Struct, gc=False):
    """What is decoded: a tree, in which Python need not look for cycles; that took a quarter of the time."""


class Identifier(Element):
    use: str | None = None
    system: str | None = None
    value: str | None = None


class Reference(Element):
    reference: str | None = None
    reference_: Any = field(default=None, name="_reference")
    type: str | None = None
    identifier: Identifier | None = None
    display: str | None = None
    extension: Any = None


class Coding(Element, omit_defaults=True):
    system: str | None = None
    version: str | None = None
    code: str | None = None
    display: str | None = None
    userSelected: bool | None = None


class Concept(Element):
    coding: list[Coding | None] | None = None
    text: str | None = None


class Period(Element, omit_defaults=True):
    start: str | None = None
    end: str | None = None


class Quantity(Element, omit_defaults=True):
    value: Raw = NOTHING  # the decimal as it is written; a float would round it
    comparator: str | None = None
    comparator_: Any = field(default=None, name="_comparator")
    unit: str | None = None
    code: str | None = None
    system: str | None = None

    def __post_init__(self) -> None:
        written(self.value)

    def said_comparator(self) -> str | None:
        """Return the comparator; `?` for one that is stated without its value: then any may be meant."""
        return self.comparator or ("?" if self.comparator_ else None)

    def said_unit(self) -> str | None:
        """Return the unit: its UCUM code, else in words; a code of another system is none without that."""
        is_ucum = self.system is None or self.system.rstrip("/") == UCUM
        return (self.code if is_ucum else None) or self.unit or self.code


class Range(Element, omit_defaults=True):
    low: Quantity | None = None
    high: Quantity | None = None


class Ratio(Element, omit_defaults=True):
    numerator: Quantity | None = None
    denominator: Quantity | None = None


class SampledData(Element, omit_defaults=True):
    origin: Quantity | None = None
    period: Raw = NOTHING
    factor: Raw = NOTHING
    lowerLimit: Raw = NOTHING
    upperLimit: Raw = NOTHING
    dimensions: Whole | None = None
    data: str | None = None

    def __post_init__(self) -> None:
        for number in (self.period, self.factor, self.lowerLimit, self.upperLimit):
            written(number)


Timing = dict[str, Any]


class Meta(Element):
    lastUpdated: str | None = None
    versionId: str | None = None
    tag: list[Coding | None] | None = None


class Extension(Element):
    url: str | None = None
    valueString: str | None = None
    valueCoding: Coding | None = None
    extension: list[Extension | None] | None = None


class Name(Element):
    use: str | None = None
    use_: Any = field(default=None, name="_use")
    family: str | None = None
    given: list[str | None] | None = None
    text: str | None = None
    period: Period | None = None


class Contact(Element):
    system: str | None = None
    value: str | None = None
    use: str | None = None
    use_: Any = field(default=None, name="_use")
    rank: Whole | None = None
    period: Period | None = None


class Address(Element):
    use: str | None = None
    use_: Any = field(default=None, name="_use")
    line: list[str | None] | None = None
    city: str | None = None
    state: str | None = None
    postalCode: str | None = None
    country: str | None = None
    period: Period | None = None


Concepts = list[Concept | None]
References = list[Reference | None]
Identifiers = list[Identifier | None]
