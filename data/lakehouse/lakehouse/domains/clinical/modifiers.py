"""What keeps a resource out of Gold: elements that say it did not happen, or that may say anything.

Belongs here: every element that FHIR R4 marks `isModifier` in a resource of ours, and what becomes of each.
Does not: reading them (records.py), or Gold.

| element (R4, isModifier) | what becomes of it |
|---|---|
| status (of all but patient), MedicationRequest.intent, doNotPerform | a column; counts by `CODES` below |
| Condition and AllergyIntolerance: clinicalStatus, verificationStatus | a column; counts by `CODES` below |
| Immunization.isSubpotent | a column; a subpotent dose counts as none |
| doNotPerform, isSubpotent, implicitRules: extensions, no value | counts as none: any may be meant |
| Observation.dataAbsentReason (no modifier) | a column; what was not performed or asked counts as none |
| Patient.link | a column; a record that another one replaces, or a link of unknown type, counts as none |
| Patient.active, deceased[x] | columns; a birth date holds all the same |
| Identifier.use, HumanName.use, Address.use, ContactPoint.use | what is old is not taken (choices.py) |
| HumanName, Address, ContactPoint: extensions of use, no value | it may be old: taken for want of another |
| Quantity.comparator | a column, and no value beside it |
| implicitRules, modifierExtension (at any depth) | the resource counts as none: they may say anything |
| implicitRules of a Bundle, modifierExtension of its entry, request, response | refused (reading.py) |
| notGiven, notDone, animal … of other FHIR versions | the resource is refused (records.py) |
| Medication: status (but active, inactive), implicitRules, modifierExtension | no code is taken of it |

https://hl7.org/fhir/R4/conformance-rules.html#isModifier. A code that the standard has not is not understood,
and so counts as none.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import orjson
import polars as pl

from lakehouse.domains.clinical import records as r
from lakehouse.domains.clinical.taking import Get, coded, codes, each
from lakehouse.domains.clinical.values import value_kind

DELETED = "deleted"
GONE = "(deleted)"  # what a column that must be given says of a deleted resource


@dataclass(frozen=True)
class Codes:
    """The codes that the standard has for an element: those with which a resource counts, and the others."""

    counts: frozenset[str]
    others: frozenset[str]

    def hold(self, given: set[str]) -> bool:
        """Return whether a resource with these codes counts: one of them does, and none says otherwise."""
        return bool(given & self.counts) and not given & self.others

    def know(self, given: set[str]) -> bool:
        return bool(given & (self.counts | self.others))


def _codes(counts: str, others: str) -> Codes:
    return Codes(frozenset(counts.split()), frozenset(others.split()))


CODES: dict[str, dict[str, Codes]] = {
    "encounter": {
        "status": _codes(
            "arrived triaged in-progress onleave finished", "planned cancelled entered-in-error unknown"
        )
    },
    "observation": {
        "status": _codes(
            "preliminary final amended corrected", "registered cancelled entered-in-error unknown"
        )
    },
    "procedure": {
        "status": _codes(
            "in-progress on-hold stopped completed", "preparation not-done entered-in-error unknown"
        )
    },
    "medication_request": {
        "status": _codes("active on-hold completed stopped", "cancelled draft entered-in-error unknown"),
        "intent": _codes(
            "order original-order reflex-order filler-order instance-order", "proposal plan option"
        ),
    },
    "immunization": {"status": _codes("completed", "not-done entered-in-error")},
    "diagnostic_report": {
        "status": _codes(
            "partial preliminary final amended corrected appended",
            "registered cancelled entered-in-error unknown",
        )
    },
    "imaging_study": {"status": _codes("available", "registered cancelled entered-in-error unknown")},
    "condition": {
        "clinicalStatus": _codes("active recurrence relapse inactive remission resolved", ""),
        "verificationStatus": _codes(
            "unconfirmed provisional differential confirmed", "refuted entered-in-error"
        ),
    },
    "allergy_intolerance": {
        "clinicalStatus": _codes("active inactive resolved", ""),
        "verificationStatus": _codes("unconfirmed confirmed", "refuted entered-in-error"),
    },
}
"""Silver table -> element -> its codes. A resource without the element counts."""


_HL7 = ("http://terminology.hl7.org/", "http://hl7.org/fhir/")


def status_of(table: str, element: str) -> Get:
    """Return what takes the code of a concept that has the standard's codes: of several codings theirs.

    A coding of another system says the same in other words, which no figure understands.
    """
    known = CODES[table][element]

    def get(resource: Any) -> str | None:
        concept = getattr(resource, element)
        if concept is None:
            return None
        standard = [one for one in each(concept.coding) if one.code is not None and known.know({one.code})]
        stated = (one.code for one in standard if (one.system or "").startswith(_HL7))
        first: str | None = next(stated, None) or (standard[0].code if standard else coded(concept)[0])
        return first

    return get


def kept_out(table: str) -> Callable[[Any, str], tuple[list[str] | None, bool]]:
    """Return what tells of a resource which elements keep it out of Gold, or None.

    And whether all of these are understood: an extension or a code that is not the standard's is not. It is
    given with its text where that `may_be_extended`.
    """
    known, unsaid = CODES.get(table, {}), _UNSAID.get(table)

    def found(resource: Any, text: str) -> tuple[list[str] | None, bool]:
        names, understood = [], True
        for name, element in known.items():
            value = getattr(resource, name)
            if value is None or (type(value) is str and value in element.counts):
                continue
            given = {value} if isinstance(value, str) else set(codes(value))
            if not element.hold(given):
                names.append(name)
                understood = understood and element.know(given)
        names += [name for name, holds in _OTHERS.get(table, ()) if holds(resource)]
        if resource.implicitRules is not None or resource.implicitRules_:
            names.append("implicitRules")
            understood = False
        if unsaid is not None and getattr(resource, unsaid) is None and getattr(resource, f"{unsaid}_"):
            names.append(unsaid)
            understood = False
        if extended(text):
            names.append("modifierExtension")
            understood = False
        return names or None, understood

    return found


def extended(text: str) -> bool:
    """Return whether a resource or a part of it, at whatever depth, has a modifierExtension.

    A name may be written with escapes, and a value may be that word, so the text is parsed where it could be.
    """
    if '"modifierExtension"' not in text and "\\u" not in text:
        return False
    try:
        return _has(orjson.loads(text), "modifierExtension")
    except orjson.JSONDecodeError:  # no JSON: the rules say so
        return '"modifierExtension"' in text


def may_be_extended(text: pl.Expr) -> pl.Expr:
    """Return whether `extended` would have to parse a text."""
    return text.str.contains('"modifierExtension"', literal=True) | text.str.contains("\\u", literal=True)


def _has(document: Any, name: str) -> bool:
    waiting = [document]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            if value.get(name):
                return True
            waiting.extend(value.values())
        elif isinstance(value, list):
            waiting.extend(value)
    return False


def _not_made(observation: r.Observation) -> bool:
    """Return whether an observation says by itself, or by all of its parts, that it was not made."""
    parts = each(observation.component)
    if not _says_not_made(observation) and not (parts and all(map(_says_not_made, parts))):
        return False
    return not each(observation.hasMember) and not any(map(value_kind, (observation, *parts)))


def _says_not_made(one: r.Observation | r.Component) -> bool:
    return one.dataAbsentReason is not None and not _NOT_MADE.isdisjoint(codes(one.dataAbsentReason))


def _replaced(patient: r.Patient) -> bool:
    """Return whether a link says that another record replaces it, or does not say what it means."""
    links = each(patient.link)
    return any(one.type == "replaced-by" or (one.type is None and one.type_) for one in links)


_NOT_MADE = frozenset(("not-performed", "not-asked"))
"""Of https://hl7.org/fhir/R4/valueset-data-absent-reason.html; by the others it was made, or asked for."""
_UNSAID = {"medication_request": "doNotPerform", "immunization": "isSubpotent"}
_OTHERS: dict[str, tuple[tuple[str, Callable[[Any], bool]], ...]] = {
    "patient": (("link", _replaced),),
    "observation": (("dataAbsentReason", _not_made),),
    "medication_request": (("doNotPerform", lambda one: one.doNotPerform is True),),
    "immunization": (("isSubpotent", lambda one: one.isSubpotent is True),),
}
