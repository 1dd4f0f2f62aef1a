"""What is read of each FHIR R4 resource, as typed structures.

Belongs here: the shapes, after https://hl7.org/fhir/R4/resourcelist.html. Does not: the data types
(datatypes.py), or which column takes what (fields.py). Decoding skips every element that is not named, and
refuses one of another JSON type by its path (`$.valueQuantity.value`), never by its content. `x_` is `_x`:
what is stated of an element `x` that has extensions and perhaps no value.

Elements of other versions of FHIR are named where R4 says the same by another name, or where they modify
what is read: a resource that has one is refused, since as R4 it would say less, or the opposite. DSTU2 and
STU3 have `notGiven`, `notDone` and `context`, R5 has `actualPeriod` and `medication`.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import msgspec
from msgspec import field

from lakehouse.domains.clinical.datatypes import (
    Address,
    Coding,
    Concept,
    Concepts,
    Contact,
    Element,
    Extension,
    Identifiers,
    Meta,
    Name,
    Period,
    Quantity,
    Range,
    Ratio,
    Reference,
    References,
    SampledData,
    Timing,
    Whole,
)

Foreign: TypeAlias = None
"""The type of an element that R4 has not: it takes no value."""


class Resource(Element):
    """What every resource has."""

    resourceType: str | None = None
    id: str | None = None
    meta: Meta | None = None
    implicitRules: str | None = None
    implicitRules_: Any = field(default=None, name="_implicitRules")


class AnyResource(Resource):
    """A resource of whatever type. Some types have one identifier, others a list."""

    identifier: Any = None


class Medication(Element):
    """A medication that requests refer to, or any other contained resource, whose parts may be anything."""

    resourceType: Any = None
    id: Any = None
    implicitRules: Any = None
    implicitRules_: Any = field(default=None, name="_implicitRules")
    status: Any = None
    status_: Any = field(default=None, name="_status")
    code: Any = None


class Communication(Element):
    language: Concept | None = None


class PatientLink(Element):
    other: Reference | None = None
    type: str | None = None
    type_: Any = field(default=None, name="_type")


class Patient(Resource):
    active: bool | None = None
    identifier: Identifiers | None = None
    name: list[Name | None] | None = None
    telecom: list[Contact | None] | None = None
    gender: str | None = None
    birthDate: str | None = None
    deceasedBoolean: bool | None = None
    deceasedDateTime: str | None = None
    deceasedDateTime_: Any = field(default=None, name="_deceasedDateTime")
    address: list[Address | None] | None = None
    maritalStatus: Concept | None = None
    communication: list[Communication | None] | None = None
    extension: list[Extension | None] | None = None
    link: list[PatientLink | None] | None = None
    generalPractitioner: References | None = None
    managingOrganization: Reference | None = None
    animal: Foreign = None
    careProvider: Foreign = None


class Participant(Element):
    individual: Reference | None = None


class Place(Element):
    location: Reference | None = None
    status: str | None = None


class Hospitalization(Element):
    dischargeDisposition: Concept | None = None


class Encounter(Resource):
    status: str | None = None
    class_: Coding | None = field(default=None, name="class")
    type: Concepts | None = None
    subject: Reference | None = None
    participant: list[Participant | None] | None = None
    period: Period | None = None
    reasonCode: Concepts | None = None
    hospitalization: Hospitalization | None = None
    location: list[Place | None] | None = None
    serviceProvider: Reference | None = None
    partOf: Reference | None = None
    patient: Foreign = None
    reason: Foreign = None
    indication: Foreign = None
    actualPeriod: Foreign = None
    admission: Foreign = None


class Condition(Resource):
    clinicalStatus: Concept | None = None
    verificationStatus: Concept | None = None
    category: Concepts | None = None
    severity: Concept | None = None
    code: Concept | None = None
    subject: Reference | None = None
    encounter: Reference | None = None
    onsetDateTime: str | None = None
    onsetPeriod: Period | None = None
    onsetAge: Quantity | None = None
    onsetRange: Range | None = None
    onsetString: str | None = None
    abatementDateTime: str | None = None
    abatementDateTime_: Any = field(default=None, name="_abatementDateTime")
    abatementPeriod: Period | None = None
    abatementAge: Quantity | None = None
    abatementRange: Range | None = None
    abatementString: str | None = None
    abatementString_: Any = field(default=None, name="_abatementString")
    recordedDate: str | None = None
    patient: Foreign = None
    context: Foreign = None
    assertedDate: Foreign = None
    dateRecorded: Foreign = None
    onsetQuantity: Foreign = None
    abatementQuantity: Foreign = None
    abatementBoolean: Foreign = None


class Component(Element):
    code: Concept | None = None
    valueQuantity: Quantity | None = None
    valueCodeableConcept: Concept | None = None
    valueString: str | None = None
    valueBoolean: bool | None = None
    valueInteger: Whole | None = None
    valueDateTime: str | None = None
    valueTime: str | None = None
    valueRange: Range | None = None
    valueRatio: Ratio | None = None
    valueSampledData: SampledData | None = None
    valuePeriod: Period | None = None
    dataAbsentReason: Concept | None = None
    interpretation: Concepts | None = None
    valueAttachment: Foreign = None
    valueReference: Foreign = None


class Observation(Resource):
    status: str | None = None
    category: Concepts | None = None
    code: Concept | None = None
    subject: Reference | None = None
    focus: References | None = None
    encounter: Reference | None = None
    performer: References | None = None
    effectiveDateTime: str | None = None
    effectiveInstant: str | None = None
    effectivePeriod: Period | None = None
    effectiveTiming: Timing | None = None
    issued: str | None = None
    valueQuantity: Quantity | None = None
    valueCodeableConcept: Concept | None = None
    valueString: str | None = None
    valueBoolean: bool | None = None
    valueInteger: Whole | None = None
    valueDateTime: str | None = None
    valueTime: str | None = None
    valueRange: Range | None = None
    valueRatio: Ratio | None = None
    valueSampledData: SampledData | None = None
    valuePeriod: Period | None = None
    dataAbsentReason: Concept | None = None
    interpretation: Concepts | None = None
    component: list[Component | None] | None = None
    hasMember: References | None = None
    context: Foreign = None
    related: Foreign = None
    valueAttachment: Foreign = None
    valueReference: Foreign = None


class Performer(Element):
    actor: Reference | None = None


class Procedure(Resource):
    status: str | None = None
    category: Concept | None = None
    code: Concept | None = None
    subject: Reference | None = None
    encounter: Reference | None = None
    performedDateTime: str | None = None
    performedPeriod: Period | None = None
    performedString: str | None = None
    performedAge: Quantity | None = None
    performedRange: Range | None = None
    performer: list[Performer | None] | None = None
    location: Reference | None = None
    reasonReference: References | None = None
    reasonCode: Concepts | None = None
    outcome: Concept | None = None
    context: Foreign = None
    notDone: Foreign = None
    notPerformed: Foreign = None
    reason: Foreign = None
    occurrenceDateTime: Foreign = None
    occurrencePeriod: Foreign = None
    occurrenceString: Foreign = None
    occurrenceAge: Foreign = None
    occurrenceRange: Foreign = None
    occurrenceTiming: Foreign = None


class Dosage(Element):
    text: str | None = None
    asNeededBoolean: bool | None = None
    asNeededCodeableConcept: Concept | None = None
    asNeeded: Foreign = None
    asNeededFor: Foreign = None


class MedicationRequest(Resource):
    status: str | None = None
    intent: str | None = None
    doNotPerform: bool | None = None
    doNotPerform_: Any = field(default=None, name="_doNotPerform")
    reportedBoolean: bool | None = None
    reportedReference: Reference | None = None
    contained: list[Medication | None] | None = None
    medicationCodeableConcept: Concept | None = None
    medicationReference: Reference | None = None
    subject: Reference | None = None
    encounter: Reference | None = None
    authoredOn: str | None = None
    requester: Reference | None = None
    reasonReference: References | None = None
    dosageInstruction: list[Dosage | None] | None = None
    context: Foreign = None
    medication: Foreign = None
    reason: Foreign = None
    reported: Foreign = None


class Immunization(Resource):
    status: str | None = None
    vaccineCode: Concept | None = None
    patient: Reference | None = None
    encounter: Reference | None = None
    occurrenceDateTime: str | None = None
    occurrenceString: str | None = None
    isSubpotent: bool | None = None
    isSubpotent_: Any = field(default=None, name="_isSubpotent")
    primarySource: bool | None = None
    lotNumber: str | None = None
    location: Reference | None = None
    performer: list[Performer | None] | None = None
    wasNotGiven: Foreign = None
    notGiven: Foreign = None
    date: Foreign = None
    practitioner: Foreign = None
    reported: Foreign = None


class Reaction(Element):
    manifestation: Concepts | None = None
    severity: str | None = None


class AllergyIntolerance(Resource):
    clinicalStatus: Concept | None = None
    verificationStatus: Concept | None = None
    type: str | None = None
    category: list[str | None] | None = None
    criticality: str | None = None
    code: Concept | None = None
    patient: Reference | None = None
    encounter: Reference | None = None
    onsetDateTime: str | None = None
    onsetPeriod: Period | None = None
    onsetAge: Quantity | None = None
    onsetRange: Range | None = None
    onsetString: str | None = None
    recordedDate: str | None = None
    reaction: list[Reaction | None] | None = None
    substance: Foreign = None
    status: Foreign = None
    assertedDate: Foreign = None


class DiagnosticReport(Resource):
    status: str | None = None
    category: Concepts | None = None
    code: Concept | None = None
    subject: Reference | None = None
    encounter: Reference | None = None
    effectiveDateTime: str | None = None
    effectivePeriod: Period | None = None
    issued: str | None = None
    performer: References | None = None
    result: References | None = None
    conclusion: str | None = None
    context: Foreign = None


class SeriesCoding(Coding):
    coding: Foreign = None
    concept: Foreign = None
    reference: Foreign = None


class Series(Element):
    uid: str | None = None
    modality: SeriesCoding | None = None
    bodySite: SeriesCoding | None = None
    numberOfInstances: Whole | None = None


class ImagingStudy(Resource):
    status: str | None = None
    identifier: Identifiers | None = None
    subject: Reference | None = None
    encounter: Reference | None = None
    started: str | None = None
    numberOfSeries: Whole | None = None
    numberOfInstances: Whole | None = None
    procedureCode: Concepts | None = None
    location: Reference | None = None
    modality: list[SeriesCoding | None] | None = None
    series: list[Series | None] | None = None
    patient: Foreign = None
    context: Foreign = None
    availability: Foreign = None
    procedure: Foreign = None


def concept_of(medication: Medication) -> Concept | None:
    """Return what a medication is; None where it says nothing readable, or what it says may not hold."""
    ruled = medication.implicitRules is not None or medication.implicitRules_
    if medication.resourceType != "Medication" or ruled:
        return None
    if medication.status not in (None, "active", "inactive") or (
        medication.status is None and medication.status_
    ):
        return None
    try:
        return msgspec.convert(medication.code, Concept) if medication.code is not None else None
    except msgspec.ValidationError:
        return None
