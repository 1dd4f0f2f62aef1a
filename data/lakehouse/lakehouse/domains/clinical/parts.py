"""What tables take of a resource beyond a path: lists, current entries, what is contained.

Belongs here: functions from a resource to a value. Does not: columns (resources.py), or values of several
types (values.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lakehouse.domains.clinical import choices
from lakehouse.domains.clinical import records as r
from lakehouse.domains.clinical.links import text_of
from lakehouse.domains.clinical.lists import Tuples
from lakehouse.domains.clinical.taking import Get, each

RACE = "http://hl7.org/fhir/us/core/StructureDefinition/us-core-race"
ETHNICITY = "http://hl7.org/fhir/us/core/StructureDefinition/us-core-ethnicity"


_SEVERITIES = {"severe": 0, "moderate": 1, "mild": 2}


def identifiers(*, old: bool) -> Get:
    def get(resource: Any) -> Tuples:
        given = [one for one in each(resource.identifier) if one.value and (one.use == "old") is old]
        return [(one.system, one.value) for one in given]

    return get


def of_name(part: str) -> Get:
    return _of_chosen(choices.name, part)


def of_address(part: str) -> Get:
    return _of_chosen(choices.address, part)


def _of_chosen(chosen: Get, part: str) -> Get:
    def get(patient: r.Patient) -> Any:
        found = chosen(patient)
        value = getattr(found, part) if found else None
        return [one for one in value if one] if isinstance(value, list) else value

    return get


def linked(patient: r.Patient) -> Tuples:
    return [(one.type, text_of(one.other)) for one in each(patient.link)]


def refs(name: str, kind: str | None = None) -> Get:
    """Return what takes all references of a list, as texts; `kind` is the one type that they may lead to."""

    def get(resource: Any) -> list[str] | None:
        given = getattr(resource, name)
        return [said for one in each(given) if (said := text_of(one, kind))] if given else None

    return get


def count(name: str) -> Get:
    return lambda resource: len(each(getattr(resource, name)))


def until(name: str) -> Get:
    """Return what takes end and begin of a period."""

    def get(resource: Any) -> Any:
        period = getattr(resource, name)
        return (period.end, period.start) if period else None

    return get


def medication(request: r.MedicationRequest) -> Any:
    """Return the concept of a request's medication; of a contained one its own."""
    if request.medicationCodeableConcept is not None or request.medicationReference is None:
        return request.medicationCodeableConcept
    inside = (request.medicationReference.reference or "").removeprefix("#")
    return next(
        (
            r.concept_of(one)
            for one in each(request.contained)
            if one.id == inside and one.resourceType == "Medication"
        ),
        None,
    )


def dosage(request: r.MedicationRequest) -> list[str]:
    return [one.text for one in each(request.dosageInstruction) if one.text]


def as_needed(request: r.MedicationRequest) -> bool | None:
    """Say whether it is taken as needed, by the first instruction; what names the need says so too."""
    first = next(iter(each(request.dosageInstruction)), None)
    if first is None:
        return None
    needed: bool | None = first.asNeededBoolean
    return True if first.asNeededCodeableConcept is not None else needed


def reported(request: r.MedicationRequest) -> bool | None:
    """Say whether a request is somebody's report of it, no original; who reported it says so too."""
    return True if request.reportedReference is not None else request.reportedBoolean


def place(encounter: r.Encounter) -> Any:
    """Return the first location of an encounter at which the patient was, or is."""
    held = [one for one in each(encounter.location) if one.status not in ("planned", "reserved")]
    return next((one.location for one in held if one.location is not None), None)


def categories(allergy: r.AllergyIntolerance) -> Sequence[str]:
    found: Sequence[str] = each(allergy.category)
    return found


def worst(allergy: r.AllergyIntolerance) -> str | None:
    """Return the severity of the worst reaction; a code that the standard has not comes last."""
    found = [one.severity for one in each(allergy.reaction) if one.severity is not None]
    return min(found, key=lambda one: _SEVERITIES.get(one, len(_SEVERITIES)), default=None)


def core(url: str) -> Any:
    """US core says race and ethnicity in extensions: their text, else the first coding's words."""

    def get(patient: r.Patient) -> str | None:
        for one in each(patient.extension):
            if one.url == url:
                own = {part.url: part for part in reversed(each(one.extension))}
                if "text" in own:
                    said: str | None = own["text"].valueString
                    return said
                coded = own.get("ombCategory")
                words: str | None = coded.valueCoding.display if coded and coded.valueCoding else None
                return words
        return None

    return get


def deceased(patient: r.Patient) -> bool | None:
    """Say whether the person has died: when they did says so too, even where that time is not known."""
    if patient.deceasedDateTime or patient.deceasedDateTime_:
        return True
    return patient.deceasedBoolean
