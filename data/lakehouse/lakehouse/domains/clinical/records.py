"""What is read of each FHIR R4 resource, as typed structures.

Belongs here: the shapes, after https://hl7.org/fhir/R4/resourcelist.html. Does not: which column takes what
(fields.py). Decoding skips every element that is not named, and refuses one of another JSON type by its path
(`$.valueQuantity.value`), never by its content.
"""

from __future__ import annotations

from typing import Any

from msgspec import Raw, Struct, field


class Reference(Struct):
    reference: str | None = None


class Coding(Struct):
    system: str | None = None
    code: str | None = None
    display: str | None = None


class Concept(Struct):
    coding: list[Coding] | None = None
    text: str | None = None


class Identifier(Struct):
    system: str | None = None
    value: str | None = None


class Period(Struct):
    start: str | None = None
    end: str | None = None


class Quantity(Struct):
    value: Raw = Raw(b"")  # the decimal as it is written; a float would round it
    unit: str | None = None
    code: str | None = None
    system: str | None = None


class Meta(Struct):
    lastUpdated: str | None = None
    versionId: str | None = None


class Resource(Struct):
    """What every resource has."""

    resourceType: str | None = None
    id: str | None = None
    meta: Meta | None = None


class AnyResource(Resource):
    """A resource of whatever type. Some types have one identifier, others a list."""

    identifier: Any = None


class Extension(Struct):
    url: str | None = None
    valueString: str | None = None
    valueCoding: Coding | None = None
    extension: list[Extension] | None = None


class Name(Struct):
    use: str | None = None
    family: str | None = None
    given: list[str | None] | None = None
    text: str | None = None


class Contact(Struct):
    system: str | None = None
    value: str | None = None


class Address(Struct):
    line: list[str | None] | None = None
    city: str | None = None
    state: str | None = None
    postalCode: str | None = None
    country: str | None = None


class Communication(Struct):
    language: Concept | None = None


class Patient(Resource):
    active: bool | None = None
    identifier: list[Identifier] | None = None
    name: list[Name] | None = None
    telecom: list[Contact] | None = None
    gender: str | None = None
    birthDate: str | None = None
    deceasedBoolean: bool | None = None
    deceasedDateTime: str | None = None
    address: list[Address] | None = None
    maritalStatus: Concept | None = None
    communication: list[Communication] | None = None
    extension: list[Extension] | None = None
    generalPractitioner: list[Reference] | None = None
    managingOrganization: Reference | None = None


class Participant(Struct):
    individual: Reference | None = None


class Place(Struct):
    location: Reference | None = None


class Hospitalization(Struct):
    dischargeDisposition: Concept | None = None


class Encounter(Resource):
    status: str | None = None
    class_: Coding | None = field(default=None, name="class")
    type: list[Concept] | None = None
    subject: Reference | None = None
    participant: list[Participant] | None = None
    period: Period | None = None
    reasonCode: list[Concept] | None = None
    hospitalization: Hospitalization | None = None
    location: list[Place] | None = None
    serviceProvider: Reference | None = None
    partOf: Reference | None = None


class Condition(Resource):
    clinicalStatus: Concept | None = None
    verificationStatus: Concept | None = None
    category: list[Concept] | None = None
    severity: Concept | None = None
    code: Concept | None = None
    subject: Reference | None = None
    encounter: Reference | None = None
    onsetDateTime: str | None = None
    onsetPeriod: Period | None = None
    abatementDateTime: str | None = None
    abatementPeriod: Period | None = None
    recordedDate: str | None = None


class Range(Struct):
    low: Quantity | None = None
    high: Quantity | None = None


class Component(Struct):
    code: Concept | None = None
    valueQuantity: Quantity | None = None
    valueCodeableConcept: Concept | None = None
    valueString: str | None = None
    valueBoolean: bool | None = None
    valueInteger: int | None = None
    valueDateTime: str | None = None


class Observation(Resource):
    status: str | None = None
    category: list[Concept] | None = None
    code: Concept | None = None
    subject: Reference | None = None
    encounter: Reference | None = None
    performer: list[Reference] | None = None
    effectiveDateTime: str | None = None
    effectiveInstant: str | None = None
    effectivePeriod: Period | None = None
    issued: str | None = None
    valueQuantity: Quantity | None = None
    valueCodeableConcept: Concept | None = None
    valueString: str | None = None
    valueBoolean: bool | None = None
    valueInteger: int | None = None
    valueDateTime: str | None = None
    valueTime: str | None = None
    dataAbsentReason: Concept | None = None
    interpretation: list[Concept] | None = None
    component: list[Component] | None = None
    hasMember: list[Reference] | None = None


class Performer(Struct):
    actor: Reference | None = None


class Procedure(Resource):
    status: str | None = None
    category: Concept | None = None
    code: Concept | None = None
    subject: Reference | None = None
    encounter: Reference | None = None
    performedDateTime: str | None = None
    performedPeriod: Period | None = None
    performer: list[Performer] | None = None
    location: Reference | None = None
    reasonReference: list[Reference] | None = None
    reasonCode: list[Concept] | None = None
    outcome: Concept | None = None


class Dosage(Struct):
    text: str | None = None
    asNeededBoolean: bool | None = None


class MedicationRequest(Resource):
    status: str | None = None
    intent: str | None = None
    medicationCodeableConcept: Concept | None = None
    medicationReference: Reference | None = None
    subject: Reference | None = None
    encounter: Reference | None = None
    authoredOn: str | None = None
    requester: Reference | None = None
    reasonReference: list[Reference] | None = None
    dosageInstruction: list[Dosage] | None = None


class ImmunizationPerformer(Struct):
    actor: Reference | None = None


class Immunization(Resource):
    status: str | None = None
    vaccineCode: Concept | None = None
    patient: Reference | None = None
    encounter: Reference | None = None
    occurrenceDateTime: str | None = None
    occurrenceString: str | None = None
    primarySource: bool | None = None
    lotNumber: str | None = None
    location: Reference | None = None
    performer: list[ImmunizationPerformer] | None = None


class Reaction(Struct):
    manifestation: list[Concept] | None = None
    severity: str | None = None


class AllergyIntolerance(Resource):
    clinicalStatus: Concept | None = None
    verificationStatus: Concept | None = None
    type: str | None = None
    category: list[str] | None = None
    criticality: str | None = None
    code: Concept | None = None
    patient: Reference | None = None
    encounter: Reference | None = None
    onsetDateTime: str | None = None
    recordedDate: str | None = None
    reaction: list[Reaction] | None = None


class DiagnosticReport(Resource):
    status: str | None = None
    category: list[Concept] | None = None
    code: Concept | None = None
    subject: Reference | None = None
    encounter: Reference | None = None
    effectiveDateTime: str | None = None
    effectivePeriod: Period | None = None
    issued: str | None = None
    performer: list[Reference] | None = None
    result: list[Reference] | None = None
    conclusion: str | None = None


class Series(Struct):
    uid: str | None = None
    modality: Coding | None = None
    bodySite: Coding | None = None
    numberOfInstances: int | None = None


class ImagingStudy(Resource):
    status: str | None = None
    identifier: list[Identifier] | None = None
    subject: Reference | None = None
    encounter: Reference | None = None
    started: str | None = None
    numberOfSeries: int | None = None
    numberOfInstances: int | None = None
    procedureCode: list[Concept] | None = None
    location: Reference | None = None
    series: list[Series] | None = None
