"""The tables of clinical cohorts.

Belongs here: keys, rules and what every table has. Does not: the columns of a resource (tables.py).

Of one resource in several files the row with the latest `last_updated` stays; of equal or unknown ones, the
one that landed last.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import narwhals.stable.v2 as nw

from lakehouse.contracts.model import (
    Column,
    Contract,
    RowRule,
    Type,
    Write,
    bronze_columns,
    pointer_columns,
)
from lakehouse.domains.clinical.fields import Field, When
from lakehouse.domains.clinical.tables import LINKS, SHAPES

DOMAIN = "clinical"
TYPE = "resource_type"


def _personal(columns: tuple[Column, ...]) -> tuple[Column, ...]:
    """Files of this domain are often named after their patient."""
    return tuple(replace(one, pii=True) if one.name == "_source" else one for one in columns)


RAW_FHIR_RESOURCES = Contract(
    layer="bronze", name="raw_fhir_resources", domain=DOMAIN, write=Write.APPEND,
    row="One resource of a FHIR R4 bundle or bulk file, as it was received.",
    partition_by=(TYPE,),
    rows_per_batch=50_000,
    columns=(
        Column(name="cohort", type=Type.STRING, nullable=False, description="Folder below landing/clinical"),
        Column(name=TYPE, type=Type.STRING,
               description="Its resourceType; null for what states none, or none that could be one"),
        Column(name="resource_id", type=Type.STRING, description="Its id, as stated"),
        Column(name="bundle_type", type=Type.STRING,
               description="Type of the bundle it came in; null outside of one"),
        Column(name="links", type=Type.STRING, pii=True,
               description="What references to bundle entries mean, where ids do not say so: JSON object"),
        Column(name="resource", type=Type.STRING, pii=True, description="It, byte for byte; JSON text"),
        *_personal(bronze_columns()),
    ),
)  # fmt: skip


def _present(column: str) -> RowRule:
    return RowRule(
        name=f"{column}_present",
        description=f"{column} is given",
        passes=lambda: ~nw.col(column).is_null(),
    )


_ID = RowRule(
    name="id_valid",
    description="id is given: up to 64 letters, digits, hyphens and dots",
    passes=lambda: nw.col("id").str.contains(r"^[A-Za-z0-9\-\.]{1,64}$"),
)
_READABLE = RowRule(
    name="resource_readable",
    description="the resource is a JSON object, and what is read of it has the type that FHIR gives it",
    passes=lambda: nw.col("fault").is_null(),
    values=("fault",),
)


def _time(column: str) -> RowRule:
    return RowRule(
        name=f"{column}_readable",
        description=f"{column}, where given, is a FHIR date or a time with its zone",
        passes=lambda: ~nw.col(column).is_null() | nw.col(f"{column}_text").is_null(),
    )


def _in_order(begin: str, end: str) -> RowRule:
    return RowRule(
        name=f"{end}_after_{begin}",
        severity="warn",
        description=f"{end}, where given, is not before {begin}",
        passes=lambda: (nw.col(end) >= nw.col(begin)).fill_null(True),
    )


_ORDERS = (("started_at", "ended_at"), ("onset_at", "abated_at"), ("birth_date", "deceased_at"))


def _common() -> tuple[Column, ...]:
    return (
        Column(name="id", type=Type.STRING, nullable=False, description="Logical id", sources=("resource",)),
        Column(name="cohort", type=Type.STRING, nullable=False,
               description="Cohort of the file it came from", sources=("cohort",)),
    )  # fmt: skip


def _stamped() -> tuple[Column, ...]:
    return (
        Column(name="last_updated", type=Type.TIMESTAMP, description="meta.lastUpdated (UTC)",
               sources=("resource",)),
        Column(name="version_id", type=Type.STRING, description="meta.versionId", sources=("resource",)),
    )  # fmt: skip


def _silver(name: str, resource: str, fields: tuple[Field, ...], **more: Any) -> Contract:
    columns = tuple(column for field in fields for column in field.columns())
    whens = [field.name for field in fields if isinstance(field, When)]
    return Contract(
        layer="silver",
        name=name,
        domain=DOMAIN,
        write=Write.MERGE,
        row=f"One {resource} of a cohort, by its latest version.",
        key=("id",),
        cluster_by=("cohort",),
        newest_by=("last_updated",),
        takes=(TYPE, resource),
        sources=(RAW_FHIR_RESOURCES,),
        columns=(*_common(), *columns, *_stamped(), *_personal(pointer_columns(RAW_FHIR_RESOURCES.path))),
        rules=(
            _READABLE,
            _ID,
            *(_time(one) for one in ("last_updated", *whens)),
            *(_present(column.name) for column in columns if not column.nullable),
            *(_in_order(*pair) for pair in _ORDERS if set(pair) <= set(whens)),
        ),
        **more,
    )


SILVER: tuple[Contract, ...] = tuple(
    _silver(name, resource, fields) for name, (resource, _, fields) in SHAPES.items()
)

FHIR_INDEX = Contract(
    layer="silver", name="fhir_index", domain=DOMAIN, write=Write.MERGE,
    row="One resource of any type, those without a table of their own too: what references lead to.",
    key=(TYPE, "id"),
    cluster_by=("cohort",),
    newest_by=("last_updated",),
    sources=(RAW_FHIR_RESOURCES,),
    columns=(
        Column(name=TYPE, type=Type.STRING, nullable=False, description="resourceType", sources=(TYPE,)),
        *_common(),
        Column(name="identifiers", type=Type.STRING, pii=True, sources=("resource",),
               description="Identifiers as a list of `system|value`, for conditional references"),
        *_stamped(),
        *_personal(pointer_columns(RAW_FHIR_RESOURCES.path)),
    ),
    rules=(
        RowRule(name="type_valid", description="resourceType is given and could be one",
                passes=lambda: ~nw.col(TYPE).is_null()),
        _READABLE, _ID, _time("last_updated"),
    ),
)  # fmt: skip

_BY_NAME = {table.name: table for table in SILVER}


def _c(name: str, type_: Type, description: str, *, of: str | tuple[str, ...] = (), **more: Any) -> Column:
    """One column, on one line; `of` names what it is computed from."""
    sources = (of,) if isinstance(of, str) else of
    return Column(name=name, type=type_, description=description, sources=sources, **more)


ENCOUNTER_SUMMARY = Contract(
    layer="gold", name="encounter_summary", domain=DOMAIN, write=Write.OVERWRITE,
    row="One encounter: who, how old, what was active that day, and what was done.",
    key=("encounter_id",),
    cluster_by=("cohort", "started_at"),
    sources=tuple(_BY_NAME[name] for name in (
        "encounter", "patient", "condition", "medication_request", "observation", "procedure", "immunization",
        "diagnostic_report",
    )),
    columns=(
        _c("encounter_id", Type.STRING, "The encounter", of="id", nullable=False),
        _c("cohort", Type.STRING, "Its cohort", of="cohort", nullable=False),
        _c("patient_id", Type.STRING, "Its patient", of="patient_id"),
        _c("age_years", Type.INT64, "Full years of the patient when it began",
           of=("birth_date", "started_at"), unit="year"),
        _c("status", Type.STRING, "Where it stands", of="status"),
        _c("class", Type.STRING, "Kind of visit", of="class"),
        _c("type", Type.STRING, "What it was: code", of="type"),
        _c("type_display", Type.STRING, "What it was: in words", of="type_display"),
        _c("started_at", Type.TIMESTAMP, "When it began (UTC)", of="started_at"),
        _c("ended_at", Type.TIMESTAMP, "When it ended (UTC)", of="ended_at"),
        _c("duration_minutes", Type.FLOAT64, "How long it took", of=("started_at", "ended_at"), unit="min"),
        _c("active_conditions", Type.STRING,
           "Codes of conditions with onset <= its UTC date < abatement: JSON list, sorted",
           of=("code", "onset_at", "abated_at"), nullable=False),
        _c("active_conditions_count", Type.INT64, "Their number",
           of=("code", "onset_at", "abated_at"), nullable=False, unit="count"),
        _c("active_medications", Type.STRING,
           "Codes of medications ordered by its UTC date and still active, or ordered that day: JSON list",
           of=("medication", "authored_at", "status"), nullable=False),
        _c("active_medications_count", Type.INT64, "Their number",
           of=("medication", "authored_at", "status"), nullable=False, unit="count"),
        *(_c(f"{name}_count", Type.INT64, f"{name.capitalize()}s that refer to it", of="encounter_id",
             nullable=False, unit="count")
          for name in ("observation", "procedure", "immunization", "report")),
        _c("built_from", Type.STRING, "Versions of the Silver tables it was computed from: JSON object",
           nullable=False, volatile=True),
    ),
    rules=(
        RowRule(name="age_plausible", severity="warn", description="age_years, where known, is up to 130",
                passes=lambda: (nw.col("age_years") <= 130).fill_null(True)),
    ),
)  # fmt: skip

CONDITION_ERA = Contract(
    layer="gold", name="condition_era", domain=DOMAIN, write=Write.OVERWRITE,
    row="One span of one condition of one patient; gaps of up to thirty days are joined (OMOP CDM).",
    key=("patient_id", "code_system", "code", "era_start"),
    cluster_by=("cohort", "patient_id"),
    sources=(_BY_NAME["condition"],),
    columns=(
        _c("patient_id", Type.STRING, "Patient", of="patient_id", nullable=False),
        _c("code_system", Type.STRING, "Code system; empty where none is stated",
           of="code_system", nullable=False),
        _c("code", Type.STRING, "The condition", of="code", nullable=False),
        _c("code_display", Type.STRING, "In words", of="code_display"),
        _c("cohort", Type.STRING, "Cohort of its first record by name", of="cohort", nullable=False),
        _c("era_start", Type.DATE, "First UTC day", of="onset_at", nullable=False),
        _c("era_end", Type.DATE, "Last UTC day; of a condition without an end the day after its onset",
           of=("onset_at", "abated_at"), nullable=False),
        _c("occurrence_count", Type.INT64, "Records joined", of="onset_at", nullable=False, unit="count"),
    ),
)  # fmt: skip

FHIR_REFERENCES = Contract(
    layer="gold", name="fhir_references", domain=DOMAIN, write=Write.OVERWRITE,
    row="One kind of reference of one Silver table: how many were stated, and how many lead somewhere.",
    key=("table", "reference"),
    sources=(FHIR_INDEX, *(_BY_NAME[name] for name in LINKS)),
    columns=(
        _c("table", Type.STRING, "Silver table", nullable=False),
        _c("reference", Type.STRING, "The reference, as in <reference>_ref", nullable=False),
        _c("stated", Type.INT64, "References stated", nullable=False, unit="count"),
        _c("resolved", Type.INT64, "The lake holds the resource", nullable=False, unit="count"),
        _c("resolved_by_identifier", Type.INT64,
           "Conditional, and one resource carries the identifier", nullable=False, unit="count"),
        _c("contained", Type.INT64, "Means a part of its own resource", nullable=False, unit="count"),
        _c("dangling", Type.INT64, "None of these", nullable=False, unit="count"),
    ),
    rules=(
        RowRule(name="none_dangling", severity="warn",
                description="every reference leads to a resource of the lake, or into its own",
                passes=lambda: nw.col("dangling") == 0),
    ),
)  # fmt: skip

GOLD: tuple[Contract, ...] = (ENCOUNTER_SUMMARY, CONDITION_ERA, FHIR_REFERENCES)
TABLES: tuple[Contract, ...] = (RAW_FHIR_RESOURCES, *SILVER, FHIR_INDEX, *GOLD)
