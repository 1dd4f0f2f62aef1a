"""The Bronze and Silver tables of clinical cohorts.

Belongs here: keys, rules and what every table has. Does not: the columns of a resource (resources.py), or
Gold.

A resource is known by its id within its cohort. Of its versions the row with the latest `last_updated` stays;
of equal or unknown ones that with the highest number of its version, then the one that landed last. What was
deleted stays as a row that says so.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import narwhals.stable.v2 as nw

from lakehouse.contracts.model import (
    Column,
    Contract,
    Materialization,
    RowRule,
    Type,
    bronze_columns,
    pointer_columns,
)
from lakehouse.contracts.rules import matches, ordered, parsable
from lakehouse.domains.clinical.fields import DateTime, Field
from lakehouse.domains.clinical.lists import TEXTS
from lakehouse.domains.clinical.resources import SHAPES, TYPE
from lakehouse.domains.clinical.values import has_choices

DOMAIN = "clinical"
NEWEST_BY = ("last_updated", "version_number")


def _personal(columns: tuple[Column, ...]) -> tuple[Column, ...]:
    """Files of this domain are often named after their patient."""
    return tuple(replace(one, pii=True) if one.name == "_source" else one for one in columns)


RAW_FHIR_RESOURCES = Contract(
    layer="bronze", name="raw_fhir_resources", domain=DOMAIN, materialization=Materialization.APPEND,
    description="One resource of a FHIR R4 bundle or bulk file, as it was received.",
    version="1.1.0",
    partition_by=(TYPE,),
    files_within="cohort",
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
        Column(name="entry_method", type=Type.STRING,
               description="Method of its entry's request in a history; of a deletion (DELETE) the text"
                           " is the entry's"),
        Column(name="entry_modified", type=Type.STRING,
               description="When it changed, by its bundle entry (response.lastModified); where that tells no"
                           " time, by the version before it in a history, or for a deletion by the bundle"),
        Column(name="entry_version", type=Type.STRING,
               description="Which version it is, by its bundle entry (response.etag), likewise"),
        *_personal(bronze_columns()),
    ),
)  # fmt: skip


def _present(column: str) -> RowRule:
    return RowRule(
        name=f"{column}_present",
        description=f"{column} is given",
        passes=lambda: ~nw.col(column).is_null(),
    )


_ID = matches(
    "id",
    r"[A-Za-z0-9\-\.]{1,64}",
    required=True,
    name="id_valid",
    description="id is given: up to 64 letters, digits, hyphens and dots",
    values=(),
)
_READABLE = RowRule(
    name="resource_readable",
    description="the resource is a JSON object, and what is read of it has the type that FHIR gives it",
    passes=lambda: nw.col("fault").is_null(),
    values=("fault",),
)
_SINGLE = RowRule(
    name="one_type_of_each",
    description="no element that may be of several types, as value[x], is stated in two: either may hold",
    passes=lambda: nw.col("doubled").is_null(),
    values=("doubled",),
)


def _time(column: str) -> RowRule:
    return parsable(
        column,
        f"{column}_text",
        description=f"{column}, where given, is a FHIR date or a time with its zone",
        values=(),
    )


def _in_order(begin: str, end: str) -> RowRule:
    return ordered(
        begin,
        f"{end}_last",
        name=f"{end}_after_{begin}",
        severity="warn",
        description=f"{end}, where given, is not before {begin}, as precisely as both are stated",
        values=(),
    )


_UNDERSTOOD = RowRule(
    name="modifiers_understood",
    severity="warn",
    description="no implicitRules, no modifierExtension and no status that the standard has not: each may say"
    " anything, and keeps it out of Gold",
    passes=lambda: nw.col("understood"),
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
        Column(name="is_deleted", type=Type.BOOL, sources=("entry_method",),
               description="Its server has deleted it: nothing leads to it, nothing else of it is left; what"
                           " must be given says `(deleted)`"),
        Column(name="last_updated", type=Type.TIMESTAMP, sources=("resource", "entry_modified"),
               description="meta.lastUpdated (UTC), else when its bundle says that it changed; of a deletion"
                           " that says no time the year 9999: it comes after all versions"),
        Column(name="version_id", type=Type.STRING, sources=("resource", "entry_version"),
               description="meta.versionId, else by its bundle"),
        Column(name="version_number", type=Type.INT64, sources=("resource", "entry_version"),
               description="version_id, where it is a whole number"),
    )  # fmt: skip


def _kept_out() -> Column:
    return Column(
        name="kept_out_by", type=TEXTS, sources=("resource",),
        description="Elements that say it did not happen, or that may say anything (status, intent,"
                    " doNotPerform, dataAbsentReason, modifierExtension …; `deleted`): it is in no Gold"
                    " figure",
    )  # fmt: skip


def _silver(name: str, resource: str, fields: tuple[Field, ...], **more: Any) -> Contract:
    columns = tuple(column for field in fields for column in field.columns())
    whens = [field.name for field in fields if isinstance(field, DateTime)]
    single = (_SINGLE,) if has_choices(SHAPES[name][1]) else ()
    return Contract(
        layer="silver",
        name=name,
        domain=DOMAIN,
        materialization=Materialization.INCREMENTAL_BY_KEY,
        description=f"One {resource} of a cohort, by its latest version, also what did not happen.",
        version="3.0.0",
        key=("cohort", "id"),
        cluster_by=("cohort",),
        sequence_by=NEWEST_BY,
        source_filter=(TYPE, resource),
        sources=(RAW_FHIR_RESOURCES,),
        columns=(
            *_common(),
            *columns,
            _kept_out(),
            *_stamped(),
            *_personal(pointer_columns(RAW_FHIR_RESOURCES.path)),
        ),
        rules=(
            _READABLE,
            *single,
            _ID,
            *(_time(one) for one in ("last_updated", *whens)),
            *(_present(field.asked) for field in fields if field.required),
            *(_in_order(*pair) for pair in _ORDERS if set(pair) <= set(whens)),
            _UNDERSTOOD,
        ),
        **more,
    )


SILVER: tuple[Contract, ...] = tuple(
    _silver(name, resource, fields) for name, (resource, _, fields) in SHAPES.items()
)

FHIR_INDEX = Contract(
    layer="silver", name="fhir_index", domain=DOMAIN, materialization=Materialization.INCREMENTAL_BY_KEY,
    description="One resource of any type, those without a table of their own too: what references lead to.",
    version="3.0.0",
    key=("cohort", TYPE, "id"),
    cluster_by=("cohort",),
    sequence_by=NEWEST_BY,
    sources=(RAW_FHIR_RESOURCES,),
    columns=(
        Column(name=TYPE, type=Type.STRING, nullable=False, description="resourceType", sources=(TYPE,)),
        *_common(),
        Column(name="identifiers", type=TEXTS, pii=True, sources=("resource",),
               description="Identifiers as `system|value`, for conditional references"),
        *(Column(name=name, type=Type.STRING, sources=("resource",), description=f"Of a Medication: {says}")
          for name, says in (("code", "code"), ("code_system", "code system"), ("code_display", "in words"))),
        *_stamped(),
        *_personal(pointer_columns(RAW_FHIR_RESOURCES.path)),
    ),
    rules=(
        RowRule(name="type_valid", description="resourceType is given and could be one",
                passes=lambda: ~nw.col(TYPE).is_null()),
        RowRule(name="entry_done", values=("failed_with",),
                description="the answer to a batch or transaction does not say that it failed (4xx, 5xx)",
                passes=lambda: nw.col("failed_with").is_null()),
        _READABLE, _ID, _time("last_updated"),
    ),
)  # fmt: skip
