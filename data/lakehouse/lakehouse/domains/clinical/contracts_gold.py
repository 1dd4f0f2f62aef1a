"""The Gold tables of clinical cohorts.

Belongs here: keys, columns and rules. Does not: how they are computed (gold.py, states.py, references.py).
No figure counts what `kept_out_by` of its Silver row names a reason for.
"""

from __future__ import annotations

import narwhals.stable.v2 as nw

from lakehouse.contracts.model import Contract, Materialization, RowRule, Type
from lakehouse.contracts.model import column as _c
from lakehouse.contracts.rules import between
from lakehouse.domains.clinical.contracts_silver import DOMAIN, FHIR_INDEX, SILVER
from lakehouse.domains.clinical.lists import TEXTS
from lakehouse.domains.clinical.resources import LINKS

_BY_NAME = {table.name: table for table in SILVER}
_STATES = (
    "code",
    "clinical_status",
    "onset_at_date",
    "onset_age",
    "recorded_at_date",
    "abated_at_date",
    "abatement_age",
)
_ORDERS = ("medication", "medication_ref", "authored_at_date", "status")

ENCOUNTER_SUMMARY = Contract(
    layer="gold", name="encounter_summary", domain=DOMAIN, materialization=Materialization.FULL,
    description="One encounter that took place: who, how old, what was active that day, and what was done.",
    version="3.0.0",
    key=("cohort", "encounter_id"),
    cluster_by=("cohort", "started_at"),
    sources=(*(_BY_NAME[name] for name in (
        "encounter", "patient", "condition", "medication_request", "observation", "procedure", "immunization",
        "diagnostic_report",
    )), FHIR_INDEX),
    columns=(
        _c("encounter_id", Type.STRING, "The encounter", of="id", nullable=False),
        _c("cohort", Type.STRING, "Its cohort", of="cohort", nullable=False),
        _c("patient_id", Type.STRING, "Its patient", of=("patient_id", "patient_ref")),
        _c("patient_cohort", Type.STRING, "Cohort of its patient: its own, or a shared one",
           of=("patient_id", "patient_ref")),
        _c("age_years", Type.INT64, "Full years of the patient on its date, both as they are written",
           of=("birth_date", "started_at_date"), unit="year"),
        _c("status", Type.STRING, "Where it stands", of="status"),
        _c("class", Type.STRING, "Kind of visit", of="class"),
        _c("type", Type.STRING, "What it was: code", of="type"),
        _c("type_display", Type.STRING, "What it was: in words", of="type_display"),
        _c("started_at", Type.TIMESTAMP, "When it began (UTC)", of="started_at"),
        _c("ended_at", Type.TIMESTAMP, "When it ended (UTC); of a day its last instant", of="ended_at"),
        _c("duration_minutes", Type.FLOAT64,
           "How long it took; where days are stated, from the first one's begin to the last one's end",
           of=("started_at", "ended_at"), unit="min"),
        _c("active_conditions", TEXTS,
           "Codes of conditions with onset <= its date < abatement, as they are written; sorted",
           of=_STATES, nullable=False),
        _c("active_conditions_count", Type.INT64, "Their number", of=_STATES, nullable=False, unit="count"),
        _c("active_medications", TEXTS,
           "Codes of medications ordered by its date and still active, or ordered that day; sorted",
           of=_ORDERS, nullable=False),
        _c("active_medications_count", Type.INT64, "Their number", of=_ORDERS, nullable=False, unit="count"),
        *(_c(f"{name}_count", Type.INT64, f"{name.capitalize()}s that were made at it", of="encounter_id",
             nullable=False, unit="count")
          for name in ("observation", "procedure", "immunization", "report")),
        _c("built_from", Type.STRING, "Versions of the Silver tables it was computed from: JSON object",
           nullable=False, volatile=True),
    ),
    rules=(
        between("age_years", None, 130, name="age_plausible", severity="warn", values=(),
                description="age_years, where known, is up to 130"),
    ),
)  # fmt: skip

CONDITION_ERA = Contract(
    layer="gold", name="condition_era", domain=DOMAIN, materialization=Materialization.FULL,
    description="One span of one condition of one patient; gaps of up to thirty days are joined (OMOP CDM).",
    version="2.0.0",
    key=("cohort", "patient_id", "code_system", "code", "era_start"),
    cluster_by=("cohort", "patient_id"),
    sources=(_BY_NAME["condition"], _BY_NAME["patient"], FHIR_INDEX),
    columns=(
        _c("cohort", Type.STRING, "Cohort of the patient", of="cohort", nullable=False),
        _c("patient_id", Type.STRING, "Patient", of=("patient_id", "patient_ref"), nullable=False),
        _c("code_system", Type.STRING, "Code system; empty where none is stated",
           of="code_system", nullable=False),
        _c("code", Type.STRING, "The condition", of="code", nullable=False),
        _c("code_display", Type.STRING, "In words", of="code_display"),
        _c("era_start", Type.DATE, "First day, as it is written", of=_STATES, nullable=False),
        _c("era_end", Type.DATE, "Last day; of a condition without a dated end the day after its onset",
           of=_STATES, nullable=False),
        _c("occurrence_count", Type.INT64, "Records joined", of=_STATES, nullable=False, unit="count"),
    ),
)  # fmt: skip

FHIR_REFERENCES = Contract(
    layer="gold", name="fhir_references", domain=DOMAIN, materialization=Materialization.FULL,
    description=(
        "One kind of reference of one Silver table: how many were stated, and how many lead "
        "somewhere."
    ),
    version="2.0.0",
    key=("table", "reference"),
    sources=(FHIR_INDEX, *(_BY_NAME[name] for name in LINKS)),
    columns=(
        _c("table", Type.STRING, "Silver table", nullable=False),
        _c("reference", Type.STRING, "The reference, as in <reference>_ref", nullable=False),
        _c("stated", Type.INT64, "References stated, of rows that count", nullable=False, unit="count"),
        _c("resolved", Type.INT64, "A resource of that type and id is in the cohort, or in a shared one",
            nullable=False, unit="count"),
        _c("resolved_by_identifier", Type.INT64,
           "Conditional, and one resource there carries the identifier", nullable=False, unit="count"),
        _c("contained", Type.INT64, "Means a part of its own resource", nullable=False, unit="count"),
        _c("dangling", Type.INT64, "None of these", nullable=False, unit="count"),
    ),
    rules=(
        RowRule(name="none_dangling", severity="warn",
                description="every reference leads to a resource of its cohort, a shared one, or itself",
                passes=lambda: nw.col("dangling") == 0),
    ),
)  # fmt: skip

GOLD: tuple[Contract, ...] = (ENCOUNTER_SUMMARY, CONDITION_ERA, FHIR_REFERENCES)
