"""The ten Silver tables: which field takes what of a resource.

Belongs here: one list of fields a table. Does not: the contracts around them (contracts.py).
"""

from __future__ import annotations

from typing import Any

import orjson

from lakehouse.contracts.model import Type
from lakehouse.domains.clinical import records as r
from lakehouse.domains.clinical.fields import Coded, Field, Link, Measure, Plain, When, first, of

_RACE = "http://hl7.org/fhir/us/core/StructureDefinition/us-core-race"
_ETHNICITY = "http://hl7.org/fhir/us/core/StructureDefinition/us-core-ethnicity"


def _text(values: list[Any] | None) -> str | None:
    return orjson.dumps(values).decode() if values else None


def _identifiers(resource: Any) -> str | None:
    return _text([[one.system, one.value] for one in resource.identifier or () if one.value])


def _given(patient: r.Patient) -> str | None:
    name = of("name")(patient)
    return " ".join(one for one in name.given or () if one) or None if name else None


def _line(patient: r.Patient) -> str | None:
    address = of("address")(patient)
    return ", ".join(one for one in address.line or () if one) or None if address else None


def _phone(patient: r.Patient) -> str | None:
    return next((one.value for one in patient.telecom or () if one.system == "phone"), None)


def _core(url: str) -> Any:
    """US core says race and ethnicity in extensions: their text, else the first coding's words."""

    def get(patient: r.Patient) -> str | None:
        for one in patient.extension or ():
            if one.url == url:
                parts = {part.url: part for part in one.extension or ()}
                if "text" in parts:
                    return parts["text"].valueString
                coded = parts.get("ombCategory")
                return coded.valueCoding.display if coded and coded.valueCoding else None
        return None

    return get


def _deceased(patient: r.Patient) -> bool | None:
    return True if patient.deceasedDateTime else patient.deceasedBoolean


def _value_text(one: r.Observation | r.Component) -> str | None:
    for name in ("valueString", "valueDateTime", "valueTime"):
        if (value := getattr(one, name, None)) is not None:
            return str(value)
    if one.valueInteger is not None:
        return str(one.valueInteger)
    return None if one.valueBoolean is None else str(one.valueBoolean).lower()


def _components(observation: r.Observation) -> str | None:
    found = []
    for one in observation.component or ():
        code, concept = of("code", "coding")(one), of("valueCodeableConcept", "coding")(one)
        quantity = one.valueQuantity
        written = bytes(quantity.value).decode() if quantity else ""
        found.append({
            "code": code.code if code else None,
            "display": code.display if code else of("code", "text")(one),
            "value": written or None,
            "unit": (quantity.code or quantity.unit) if quantity else None,
            "value_code": concept.code if concept else None,
            "value_text": _value_text(one),
        })  # fmt: skip
    return _text(found)


def _members(observation: r.Observation) -> str | None:
    return _text([one.reference for one in observation.hasMember or () if one.reference])


def _results(report: r.DiagnosticReport) -> str | None:
    return _text([one.reference for one in report.result or () if one.reference])


def _count(name: str) -> Any:
    return lambda resource: len(getattr(resource, name) or ())


PATIENT: tuple[Field, ...] = (
    Plain(name="active", type=Type.BOOL, get=of("active"), says="Whether the record is in use"),
    Plain(name="gender", get=of("gender"), says="Administrative gender"),
    When(name="birth_date", type=Type.DATE, get=of("birthDate"), says="Date of birth", pii=True),
    Plain(name="deceased", type=Type.BOOL, get=_deceased, says="Whether the person has died, where stated"),
    When(name="deceased_at", get=of("deceasedDateTime"), says="When the person died"),
    Coded(name="marital_status", get=of("maritalStatus"), says="Marital status"),
    Plain(name="language", get=of("communication", "language", "coding", "code"), says="First language"),
    Plain(name="race", get=_core(_RACE), says="Race (US core)"),
    Plain(name="ethnicity", get=_core(_ETHNICITY), says="Ethnicity (US core)"),
    Plain(name="family_name", get=of("name", "family"), says="Family name", pii=True),
    Plain(name="given_names", get=_given, says="Given names", pii=True),
    Plain(name="identifiers", get=_identifiers, says="Identifiers, a list of [system, value]", pii=True),
    Plain(name="phone", get=_phone, says="First telephone number", pii=True),
    Plain(name="address_line", get=_line, says="Street", pii=True),
    Plain(name="city", get=of("address", "city"), says="Town", pii=True),
    Plain(name="state", get=of("address", "state"), says="State or province"),
    Plain(name="postal_code", get=of("address", "postalCode"), says="Postal code", pii=True),
    Plain(name="country", get=of("address", "country"), says="Country"),
    Link(name="general_practitioner", get=of("generalPractitioner"), says="General practitioner"),
    Link(name="managing_organization", get=of("managingOrganization"), says="Keeper of the record"),
)

ENCOUNTER: tuple[Field, ...] = (
    Plain(name="status", get=of("status"), says="Where the visit stands", required=True),
    Plain(name="class", get=of("class_", "code"), says="Kind of visit: AMB, EMER, IMP …", required=True),
    Coded(name="type", get=of("type"), says="What the visit was"),
    Link(name="patient", get=of("subject"), says="Patient"),
    When(name="started_at", get=of("period", "start"), says="When it began"),
    When(name="ended_at", get=of("period", "end"), says="When it ended"),
    Coded(name="reason", get=of("reasonCode"), says="Why it took place"),
    Coded(name="discharge", get=of("hospitalization", "dischargeDisposition"), says="Where to after it"),
    Link(name="practitioner", get=of("participant", "individual"), says="First participant"),
    Link(name="location", get=of("location", "location"), says="Where it took place"),
    Link(name="organization", get=of("serviceProvider"), says="Who provided it"),
    Link(name="part_of", get=of("partOf"), says="The visit it belongs to"),
)

CONDITION: tuple[Field, ...] = (
    Plain(name="clinical_status", get=of("clinicalStatus", "coding", "code"), says="active, resolved …"),
    Plain(name="verification_status", get=of("verificationStatus", "coding", "code"), says="confirmed …"),
    Coded(name="category", get=of("category"), says="Category"),
    Coded(name="severity", get=of("severity"), says="Severity"),
    Coded(name="code", get=of("code"), says="The condition"),
    Link(name="patient", get=of("subject"), says="Patient", required=True),
    Link(name="encounter", get=of("encounter"), says="Visit at which it was found"),
    When(name="onset_at", get=first(of("onsetDateTime"), of("onsetPeriod", "start")), says="When it began"),
    When(name="abated_at", get=first(of("abatementDateTime"), of("abatementPeriod", "start")),
         says="When it went"),
    When(name="recorded_at", get=of("recordedDate"), says="When it was recorded"),
)  # fmt: skip

OBSERVATION: tuple[Field, ...] = (
    Plain(name="status", get=of("status"), says="final, preliminary …", required=True),
    Plain(name="category", get=of("category", "coding", "code"), says="vital-signs, laboratory …"),
    Coded(name="code", get=of("code"), says="What was observed"),
    Link(name="patient", get=of("subject"), says="Patient (or other subject)"),
    Link(name="encounter", get=of("encounter"), says="Visit"),
    Link(name="performer", get=of("performer"), says="First performer"),
    When(name="effective_at",
         get=first(of("effectiveDateTime"), of("effectiveInstant"), of("effectivePeriod", "start")),
         says="The time it holds for"),
    When(name="issued_at", get=of("issued"), says="When it was made known"),
    Measure(name="value", get=of("valueQuantity"), says="Value as a quantity"),
    Coded(name="value_code", get=of("valueCodeableConcept"), says="Value as a code"),
    Plain(name="value_string", get=_value_text,
          says="Value as text; also of a boolean, a whole number or a time"),
    Coded(name="absent_reason", get=of("dataAbsentReason"), says="Why there is no value"),
    Plain(name="interpretation", get=of("interpretation", "coding", "code"), says="High, low, normal …"),
    Plain(name="components", get=_components,
          says="Parts of a panel: list of code, display, value, unit, value_code, value_text"),
    Plain(name="members", get=_members, says="References of the observations of a panel"),
)  # fmt: skip

PROCEDURE: tuple[Field, ...] = (
    Plain(name="status", get=of("status"), says="completed, in-progress …", required=True),
    Coded(name="category", get=of("category"), says="Category"),
    Coded(name="code", get=of("code"), says="The procedure"),
    Link(name="patient", get=of("subject"), says="Patient", required=True),
    Link(name="encounter", get=of("encounter"), says="Visit"),
    When(name="started_at", get=first(of("performedDateTime"), of("performedPeriod", "start")),
         says="When it began"),
    When(name="ended_at", get=of("performedPeriod", "end"), says="When it ended"),
    Link(name="practitioner", get=of("performer", "actor"), says="First performer"),
    Link(name="location", get=of("location"), says="Where"),
    Link(name="reason", get=of("reasonReference"), says="Condition it was done for"),
    Coded(name="outcome", get=of("outcome"), says="Outcome"),
)  # fmt: skip

MEDICATION_REQUEST: tuple[Field, ...] = (
    Plain(name="status", get=of("status"), says="active, completed, stopped …", required=True),
    Plain(name="intent", get=of("intent"), says="order, plan …", required=True),
    Coded(name="medication", get=of("medicationCodeableConcept"), says="The medication"),
    Link(name="medication", get=of("medicationReference"), says="The medication, where it is a resource"),
    Link(name="patient", get=of("subject"), says="Patient", required=True),
    Link(name="encounter", get=of("encounter"), says="Visit"),
    When(name="authored_at", get=of("authoredOn"), says="When it was ordered"),
    Link(name="requester", get=of("requester"), says="Who ordered it"),
    Link(name="reason", get=of("reasonReference"), says="Condition it is for"),
    Plain(name="dosage", get=of("dosageInstruction", "text"), says="Dosage in words"),
    Plain(name="as_needed", type=Type.BOOL, get=of("dosageInstruction", "asNeededBoolean"),
          says="Taken as needed"),
)  # fmt: skip

IMMUNIZATION: tuple[Field, ...] = (
    Plain(name="status", get=of("status"), says="completed, not-done …", required=True),
    Coded(name="vaccine", get=of("vaccineCode"), says="The vaccine"),
    Link(name="patient", get=of("patient"), says="Patient", required=True),
    Link(name="encounter", get=of("encounter"), says="Visit"),
    When(name="given_at", get=of("occurrenceDateTime"), says="When it was given"),
    Plain(name="given_when", get=of("occurrenceString"), says="When, where only words say it"),
    Plain(name="primary_source", type=Type.BOOL, get=of("primarySource"), says="From who gave it"),
    Plain(name="lot_number", get=of("lotNumber"), says="Lot"),
    Link(name="location", get=of("location"), says="Where"),
    Link(name="performer", get=of("performer", "actor"), says="First performer"),
)

ALLERGY_INTOLERANCE: tuple[Field, ...] = (
    Plain(name="clinical_status", get=of("clinicalStatus", "coding", "code"), says="active, resolved …"),
    Plain(name="verification_status", get=of("verificationStatus", "coding", "code"), says="confirmed …"),
    Plain(name="type", get=of("type"), says="allergy or intolerance"),
    Plain(name="category", get=of("category"), says="food, medication, environment, biologic"),
    Plain(name="criticality", get=of("criticality"), says="low, high, unable-to-assess"),
    Coded(name="code", get=of("code"), says="What it is against"),
    Link(name="patient", get=of("patient"), says="Patient", required=True),
    Link(name="encounter", get=of("encounter"), says="Visit"),
    When(name="onset_at", get=of("onsetDateTime"), says="When it began"),
    When(name="recorded_at", get=of("recordedDate"), says="When it was recorded"),
    Coded(name="manifestation", get=of("reaction", "manifestation"), says="First reaction"),
    Plain(name="reaction_severity", get=of("reaction", "severity"), says="mild, moderate, severe"),
)

DIAGNOSTIC_REPORT: tuple[Field, ...] = (
    Plain(name="status", get=of("status"), says="final, partial …", required=True),
    Coded(name="category", get=of("category"), says="Category"),
    Coded(name="code", get=of("code"), says="The report"),
    Link(name="patient", get=of("subject"), says="Patient (or other subject)"),
    Link(name="encounter", get=of("encounter"), says="Visit"),
    When(name="effective_at", get=first(of("effectiveDateTime"), of("effectivePeriod", "start")),
         says="The time it holds for"),
    When(name="issued_at", get=of("issued"), says="When it was made known"),
    Link(name="performer", get=of("performer"), says="First performer"),
    Plain(name="results", get=_results, says="References of its observations"),
    Plain(name="result_count", type=Type.INT64, unit="count", get=_count("result"),
          says="Number of its observations"),
    Plain(name="conclusion", get=of("conclusion"), says="Conclusion in words"),
)  # fmt: skip

IMAGING_STUDY: tuple[Field, ...] = (
    Plain(name="status", get=of("status"), says="available, cancelled …", required=True),
    Plain(name="identifiers", get=_identifiers, says="Identifiers, a list of [system, value]", pii=True),
    Link(name="patient", get=of("subject"), says="Patient", required=True),
    Link(name="encounter", get=of("encounter"), says="Visit"),
    When(name="started_at", get=of("started"), says="When it began"),
    Coded(name="procedure", get=of("procedureCode"), says="What was done"),
    Coded(name="modality", get=of("series", "modality"), says="Modality of the first series"),
    Coded(name="body_site", get=of("series", "bodySite"), says="Body site of the first series"),
    Plain(name="series_count", type=Type.INT64, unit="count", get=of("numberOfSeries"), says="Series"),
    Plain(name="instance_count", type=Type.INT64, unit="count", get=of("numberOfInstances"), says="Images"),
    Link(name="location", get=of("location"), says="Where"),
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

LINKS: dict[str, tuple[str, ...]] = {
    name: tuple(field.name for field in fields if isinstance(field, Link))
    for name, (_, _, fields) in SHAPES.items()
}
"""Silver table -> its references."""
