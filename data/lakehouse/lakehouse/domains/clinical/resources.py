"""The ten Silver tables: which field takes what of a resource.

Belongs here: one list of fields a table. Does not: the contracts around them (contracts.py).
"""

from __future__ import annotations

from lakehouse.contracts.model import Type
from lakehouse.domains.clinical import choices, parts, values
from lakehouse.domains.clinical import records as r
from lakehouse.domains.clinical.fields import (
    CodeableConcept,
    DateTime,
    Day,
    Field,
    Many,
    Plain,
    Quantity,
    Reference,
    Until,
)
from lakehouse.domains.clinical.lists import COMPONENTS, IDENTIFIERS, LINKED, TEXTS
from lakehouse.domains.clinical.modifiers import status_of
from lakehouse.domains.clinical.taking import Get, code, every, first, of, whole

TYPE = "resource_type"
DELETE = "DELETE"  # the method of a bundle's entry that takes a resource away


_PATIENT = ("Patient",)
_STAFF = ("Practitioner", "PractitionerRole", "Organization")
_ANYBODY = (*_STAFF, "Patient", "RelatedPerson")
_REASONS = ("Condition", "Observation", "DiagnosticReport", "Procedure", "DocumentReference")
_SUBJECTS = ("Group", "Device", "Location")
_ONSETS = ("DateTime", "Age", "Period", "Range", "String")


def _patient(
    get: Get, says: str = "Patient", *, required: bool = False, more: tuple[str, ...] = ()
) -> Reference:
    return Reference(
        name="patient", get=get, says=says, required=required, to=(*_PATIENT, *more), named="Patient"
    )


def _encounter(says: str = "Visit") -> Reference:
    return Reference(name="encounter", get=of("encounter"), says=says, to=("Encounter",), named="Encounter")


def _onset() -> tuple[Field, ...]:
    return (
        DateTime(name="onset_at", get=first(of("onsetDateTime"), of("onsetPeriod", "start")),
             says="When it began"),
        Plain(name="onset_type", get=values.kind("onset", _ONSETS),
              says="How its begin was stated: DateTime, Age …"),
        Plain(name="onset_text", get=values.words("onsetString", "onsetRange"),
              says="When it began, in words; a range as JSON"),
        Quantity(name="onset_age", get=of("onsetAge"), says="Age at which it began"),
    )  # fmt: skip


PATIENT: tuple[Field, ...] = (
    Plain(name="active", type=Type.BOOL, get=of("active"), says="Whether the record is in use"),
    Plain(name="gender", get=of("gender"), says="Administrative gender"),
    Day(name="birth_date", get=of("birthDate"), says="Date of birth", pii=True),
    Plain(
        name="deceased", type=Type.BOOL, get=parts.deceased, says="Whether the person has died, where stated"
    ),
    DateTime(name="deceased_at", get=of("deceasedDateTime"), says="When the person died", ends=True),
    CodeableConcept(name="marital_status", get=of("maritalStatus"), says="Marital status"),
    Plain(name="language", get=code("communication", "language"), says="First language"),
    Plain(name="race", get=parts.core(parts.RACE), says="Race (US core)"),
    Plain(name="ethnicity", get=parts.core(parts.ETHNICITY), says="Ethnicity (US core)"),
    Plain(name="family_name", get=parts.of_name("family"), says="Family name, of the current name", pii=True),
    Many(
        name="given_names",
        type=TEXTS,
        get=parts.of_name("given"),
        says="Given names, of the current name",
        pii=True,
    ),
    Many(
        name="identifiers",
        type=IDENTIFIERS,
        get=parts.identifiers(old=False),
        says="Identifiers in use",
        pii=True,
    ),
    Many(
        name="old_identifiers",
        type=IDENTIFIERS,
        get=parts.identifiers(old=True),
        says="Those of use `old`",
        pii=True,
    ),
    Plain(name="phone", get=choices.phone, says="Current telephone number", pii=True),
    Many(
        name="address_line",
        type=TEXTS,
        get=parts.of_address("line"),
        says="Street, of the current address: its lines",
        pii=True,
    ),
    Plain(name="city", get=parts.of_address("city"), says="Town", pii=True),
    Plain(name="state", get=parts.of_address("state"), says="State or province"),
    Plain(name="postal_code", get=parts.of_address("postalCode"), says="Postal code", pii=True),
    Plain(name="country", get=parts.of_address("country"), says="Country"),
    Many(
        name="links",
        type=LINKED,
        get=parts.linked,
        says="Records of the same person",
        pii=True,
    ),
    Reference(
        name="general_practitioner",
        get=of("generalPractitioner"),
        says="General practitioner",
        to=("Organization", "Practitioner", "PractitionerRole"),
    ),
    Reference(
        name="managing_organization",
        get=of("managingOrganization"),
        says="Keeper of the record",
        to=("Organization",),
    ),
)

ENCOUNTER: tuple[Field, ...] = (
    Plain(name="status", get=of("status"), says="Where the visit stands", required=True),
    Plain(name="class", get=first(of("class_", "code"), of("class_", "display")),
          says="Kind of visit: AMB, EMER, IMP …; without a code in words", required=True),
    CodeableConcept(name="type", get=whole("type"), says="What the visit was"),
    _patient(of("subject"), more=("Group",)),
    DateTime(name="started_at", get=of("period", "start"), says="When it began"),
    Until(name="ended_at", get=parts.until("period"), says="When it ended"),
    CodeableConcept(name="reason", get=whole("reasonCode"), says="Why it took place"),
    CodeableConcept(
        name="discharge", get=of("hospitalization", "dischargeDisposition"), says="Where to after it"
    ),
    Reference(
        name="practitioner",
        get=of("participant", "individual"),
        says="First participant",
        to=("Practitioner", "PractitionerRole", "RelatedPerson"),
    ),
    Reference(name="location", get=parts.place, to=("Location",),
              says="Where it took place; no location that was but planned or reserved"),
    Reference(name="organization", get=of("serviceProvider"), says="Who provided it", to=("Organization",)),
    Reference(name="part_of", get=of("partOf"), says="The visit it belongs to", to=("Encounter",)),
)  # fmt: skip

CONDITION: tuple[Field, ...] = (
    Plain(name="clinical_status", get=status_of("condition", "clinicalStatus"), says="active, resolved …"),
    Plain(name="verification_status", get=status_of("condition", "verificationStatus"), says="confirmed …"),
    CodeableConcept(name="category", get=whole("category"), says="Category"),
    CodeableConcept(name="severity", get=of("severity"), says="Severity"),
    CodeableConcept(name="code", get=of("code"), says="The condition"),
    _patient(of("subject"), required=True, more=("Group",)),
    _encounter("Visit at which it was found"),
    *_onset(),
    DateTime(name="abated_at",
         get=first(of("abatementDateTime"), of("abatementPeriod", "end"), of("abatementPeriod", "start")),
         says="When it went", ends=True),
    Plain(name="abatement_type", get=values.kind("abatement", _ONSETS, unsaid=("DateTime", "String")),
          says="How its end was stated, also where its value is not known"),
    Plain(name="abatement_text", get=values.words("abatementString", "abatementRange"),
          says="When it went, in words; a range as JSON"),
    Quantity(name="abatement_age", get=of("abatementAge"), says="Age at which it went"),
    DateTime(name="recorded_at", get=of("recordedDate"), says="When it was recorded"),
)  # fmt: skip

OBSERVATION: tuple[Field, ...] = (
    Plain(name="status", get=of("status"), says="final, preliminary …", required=True),
    CodeableConcept(name="category", get=whole("category"), says="vital-signs, laboratory …"),
    CodeableConcept(name="code", get=of("code"), says="What was observed"),
    _patient(of("subject"), "Patient (of another subject see its type)", more=_SUBJECTS),
    Many(name="focus", type=TEXTS, get=parts.refs("focus"), pii=True,
          says="References of what was observed where that is not the patient: a fetus, a donor, a device"),
    _encounter(),
    Reference(name="performer", get=of("performer"), says="First performer", to=(*_ANYBODY, "CareTeam")),
    DateTime(name="effective_at",
         get=first(of("effectiveDateTime"), of("effectiveInstant"), of("effectivePeriod", "start")),
         says="The time it holds for"),
    Until(name="effective_end_at", get=parts.until("effectivePeriod"),
          says="The end of that time, where it has one"),
    Plain(name="effective_type", get=values.kind("effective", ("DateTime", "Instant", "Period", "Timing")),
          says="How that time was stated"),
    DateTime(name="issued_at", get=of("issued"), says="When it was made known"),
    Quantity(name="value", get=of("valueQuantity"), says="Value as a quantity"),
    CodeableConcept(name="value_code", get=of("valueCodeableConcept"), says="Value as a code"),
    Plain(name="value_type", get=values.value_kind,
          says="Type of the value: Quantity, CodeableConcept, String, Ratio …; null where there is none"),
    Plain(name="value_json", get=values.value_json,
          says="Value of type Range, Ratio, SampledData or Period, as JSON"),
    Plain(name="value_string", get=values.value_text,
          says="Value as text; also of a boolean, a whole number or a time"),
    CodeableConcept(name="absent_reason", get=of("dataAbsentReason"), says="Why there is no value"),
    CodeableConcept(name="interpretation", get=whole("interpretation"), says="High, low, normal …"),
    Many(name="components", type=COMPONENTS, get=values.components,
         says="Parts of a panel; what a part says is named as in this table"),
    Many(name="members", type=TEXTS, get=parts.refs("hasMember"), pii=True,
          says="References of the observations of a panel"),
)  # fmt: skip

PROCEDURE: tuple[Field, ...] = (
    Plain(name="status", get=of("status"), says="completed, in-progress …", required=True),
    CodeableConcept(name="category", get=of("category"), says="Category"),
    CodeableConcept(name="code", get=of("code"), says="The procedure"),
    _patient(of("subject"), required=True, more=("Group",)),
    _encounter(),
    DateTime(name="started_at", get=first(of("performedDateTime"), of("performedPeriod", "start")),
         says="When it began"),
    Until(name="ended_at", get=parts.until("performedPeriod"), says="When it ended"),
    Plain(name="performed_type", get=values.kind("performed", _ONSETS),
          says="How its time was stated"),
    Plain(name="performed_text", get=values.words("performedString", "performedRange"),
          says="When it was done, in words; a range as JSON"),
    Quantity(name="performed_age", get=of("performedAge"), says="Age at which it was done"),
    Reference(name="practitioner", get=of("performer", "actor"), says="First performer",
         to=(*_ANYBODY, "Device")),
    Reference(name="location", get=of("location"), says="Where", to=("Location",)),
    Reference(name="reason", get=of("reasonReference"), says="Condition it was done for", to=_REASONS),
    CodeableConcept(name="outcome", get=of("outcome"), says="Outcome"),
)  # fmt: skip

MEDICATION_REQUEST: tuple[Field, ...] = (
    Plain(name="status", get=of("status"), says="active, completed, stopped …", required=True),
    Plain(name="intent", get=of("intent"), says="order, plan …", required=True),
    Plain(name="do_not_perform", type=Type.BOOL, get=of("doNotPerform"), says="Asked not to be given"),
    Plain(name="reported", type=Type.BOOL, get=parts.reported,
          says="Reported by somebody, no original order; null where that is not stated"),
    CodeableConcept(name="medication", get=parts.medication, says="The medication"),
    Reference(name="medication", get=of("medicationReference"), says="The medication, where it is a resource",
         to=("Medication",)),
    _patient(of("subject"), required=True, more=("Group",)),
    _encounter(),
    DateTime(name="authored_at", get=of("authoredOn"), says="When it was ordered"),
    Reference(name="requester", get=of("requester"), says="Who ordered it", to=(*_ANYBODY, "Device")),
    Reference(name="reason", get=of("reasonReference"), says="Condition it is for",
         to=("Condition", "Observation")),
    Many(name="dosage", type=TEXTS, get=parts.dosage,
         says="Dosage in words, one text for each instruction that has one"),
    Plain(name="as_needed", type=Type.BOOL, get=parts.as_needed,
          says="Taken as needed"),
)  # fmt: skip

IMMUNIZATION: tuple[Field, ...] = (
    Plain(name="status", get=of("status"), says="completed, not-done …", required=True),
    CodeableConcept(name="vaccine", get=of("vaccineCode"), says="The vaccine"),
    _patient(of("patient"), required=True),
    _encounter(),
    DateTime(name="given_at", get=of("occurrenceDateTime"), says="When it was given"),
    Plain(name="given_when", get=of("occurrenceString"), says="When, where only words say it"),
    Plain(name="is_subpotent", type=Type.BOOL, get=of("isSubpotent"), says="The dose was too weak"),
    Plain(name="primary_source", type=Type.BOOL, get=of("primarySource"), says="From who gave it"),
    Plain(name="lot_number", get=of("lotNumber"), says="Lot"),
    Reference(name="location", get=of("location"), says="Where", to=("Location",)),
    Reference(name="performer", get=of("performer", "actor"), says="First performer", to=_STAFF),
)

ALLERGY_INTOLERANCE: tuple[Field, ...] = (
    Plain(
        name="clinical_status",
        get=status_of("allergy_intolerance", "clinicalStatus"),
        says="active, resolved …",
    ),
    Plain(
        name="verification_status",
        get=status_of("allergy_intolerance", "verificationStatus"),
        says="confirmed …",
    ),
    Plain(name="type", get=of("type"), says="allergy or intolerance"),
    Plain(name="category", get=of("category"), says="The first: food, medication, environment, biologic"),
    Many(name="categories", type=TEXTS, get=parts.categories, says="All of them"),
    Plain(name="criticality", get=of("criticality"), says="low, high, unable-to-assess"),
    CodeableConcept(name="code", get=of("code"), says="What it is against"),
    _patient(of("patient"), required=True),
    _encounter(),
    *_onset(),
    DateTime(name="recorded_at", get=of("recordedDate"), says="When it was recorded"),
    CodeableConcept(name="manifestation", get=every("reaction", "manifestation"), says="First reaction"),
    Plain(name="reaction_severity", get=parts.worst, says="mild, moderate or severe: of the worst reaction"),
)

DIAGNOSTIC_REPORT: tuple[Field, ...] = (
    Plain(name="status", get=of("status"), says="final, partial …", required=True),
    CodeableConcept(name="category", get=whole("category"), says="Category"),
    CodeableConcept(name="code", get=of("code"), says="The report"),
    _patient(of("subject"), "Patient (of another subject see its type)", more=_SUBJECTS),
    _encounter(),
    DateTime(name="effective_at", get=first(of("effectiveDateTime"), of("effectivePeriod", "start")),
         says="The time it holds for"),
    Until(name="effective_end_at", get=parts.until("effectivePeriod"),
          says="The end of that time, where it has one"),
    DateTime(name="issued_at", get=of("issued"), says="When it was made known"),
    Reference(name="performer", get=of("performer"), says="First performer", to=(*_STAFF, "CareTeam")),
    Many(name="results", type=TEXTS, get=parts.refs("result", "Observation"), pii=True,
          says="References of its observations"),
    Plain(name="result_count", type=Type.INT64, unit="count", get=parts.count("result"),
          says="Number of its observations"),
    Plain(name="conclusion", get=of("conclusion"), says="Conclusion in words"),
)  # fmt: skip

IMAGING_STUDY: tuple[Field, ...] = (
    Plain(name="status", get=of("status"), says="available, cancelled …", required=True),
    Many(
        name="identifiers",
        type=IDENTIFIERS,
        get=parts.identifiers(old=False),
        says="Identifiers in use",
        pii=True,
    ),
    _patient(of("subject"), required=True, more=("Device", "Group")),
    _encounter(),
    DateTime(name="started_at", get=of("started"), says="When it began"),
    CodeableConcept(name="procedure", get=whole("procedureCode"), says="What was done"),
    CodeableConcept(
        name="modality",
        get=first(every("series", "modality"), whole("modality")),
        says="Modality of the first series, else of the study",
    ),
    CodeableConcept(name="body_site", get=every("series", "bodySite"), says="Body site of the first series"),
    Plain(name="series_count", type=Type.INT64, unit="count", get=of("numberOfSeries"), says="Series"),
    Plain(name="instance_count", type=Type.INT64, unit="count", get=of("numberOfInstances"), says="Images"),
    Reference(name="location", get=of("location"), says="Where", to=("Location",)),
)

SHAPES: dict[str, tuple[str, type[r.Resource], tuple[Field, ...]]] = {
    "patient": ("Patient", r.Patient, PATIENT),
    "encounter": ("Encounter", r.Encounter, ENCOUNTER),
    "condition": ("Condition", r.Condition, CONDITION),
    "observation": ("Observation", r.Observation, OBSERVATION),
    "procedure": ("Procedure", r.Procedure, PROCEDURE),
    "medication_request": ("MedicationRequest", r.MedicationRequest, MEDICATION_REQUEST),
    "immunization": ("Immunization", r.Immunization, IMMUNIZATION),
    "allergy_intolerance": ("AllergyIntolerance", r.AllergyIntolerance, ALLERGY_INTOLERANCE),
    "diagnostic_report": ("DiagnosticReport", r.DiagnosticReport, DIAGNOSTIC_REPORT),
    "imaging_study": ("ImagingStudy", r.ImagingStudy, IMAGING_STUDY),
}
"""Silver table -> resource type, shape, fields."""

LINKS: dict[str, dict[str, tuple[str, ...]]] = {
    name: {field.name: field.to for field in fields if isinstance(field, Reference)}
    for name, (_, _, fields) in SHAPES.items()
}
"""Silver table -> its references, each with the types it may lead to."""
