"""Gold of clinical cohorts, in Polars: joins by patient and lists, which narwhals has not.

Belongs here: what each column means. Does not: reading and writing.
"""

from __future__ import annotations

from datetime import timedelta

import polars as pl

from lakehouse.domains.clinical.tables import LINKS

_ERA_GAP = timedelta(days=30)
_DAY = timedelta(days=1)
_LIST_END = ","


def encounter_summary(
    encounters: pl.LazyFrame,
    patients: pl.LazyFrame,
    conditions: pl.LazyFrame,
    medications: pl.LazyFrame,
    observations: pl.LazyFrame,
    procedures: pl.LazyFrame,
    immunizations: pl.LazyFrame,
    reports: pl.LazyFrame,
) -> pl.LazyFrame:
    """One row per encounter: who, how old, what was active that day, and what was done."""
    born = patients.select(pl.col("id").alias("patient_id"), "birth_date")
    visits = encounters.select(
        pl.col("id").alias("encounter_id"), "cohort", "patient_id", "status", "class", "type", "type_display",
        "started_at", "ended_at",
    ).with_columns(date=pl.col("started_at").dt.date())  # fmt: skip
    made = visits.join(born, on="patient_id", how="left").with_columns(
        age_years=_age(), duration_minutes=(pl.col("ended_at") - pl.col("started_at")).dt.total_seconds() / 60
    )
    onset, abated = pl.col("onset_at").dt.date(), pl.col("abated_at").dt.date()
    made = _listed(
        made,
        conditions.select("patient_id", entry="code", begin=onset, end=abated),
        "conditions",
    )
    authored = pl.col("authored_at").dt.date()
    lasting = pl.when(pl.col("status") != "active").then(authored + _DAY)
    made = _listed(
        made, medications.select("patient_id", entry="medication", begin=authored, end=lasting), "medications"
    )
    for name, rows in (("observation", observations), ("procedure", procedures),
                       ("immunization", immunizations), ("report", reports)):  # fmt: skip
        counts = rows.group_by(encounter_id="encounter_id").agg(
            pl.len().cast(pl.Int64).alias(f"{name}_count")
        )
        made = made.join(counts, on="encounter_id", how="left").with_columns(
            pl.col(f"{name}_count").fill_null(0)
        )
    return made


def _age() -> pl.Expr:
    """Full years at the encounter; null without a birth date, or one after it."""
    date, born = pl.col("date"), pl.col("birth_date")
    birthday_to_come = (date.dt.month() < born.dt.month()) | (
        (date.dt.month() == born.dt.month()) & (date.dt.day() < born.dt.day())
    )
    years = date.dt.year() - born.dt.year() - birthday_to_come.cast(pl.Int32)
    return pl.when(date >= born).then(years.cast(pl.Int64))


def _listed(visits: pl.LazyFrame, spans: pl.LazyFrame, name: str) -> pl.LazyFrame:
    """Add the distinct codes whose span holds the encounter's date, a sorted JSON list, and their number."""
    known = spans.filter(pl.col("entry").is_not_null() & pl.col("begin").is_not_null())
    begins, ends = pl.col("begin") <= pl.col("date"), pl.col("date") < pl.col("end")
    holds = begins & ends.fill_null(True)
    active = (
        visits.filter(pl.col("date").is_not_null())
        .select("encounter_id", "patient_id", "date")
        .join(known, on="patient_id", how="inner")
        .filter(holds)
        .select("encounter_id", "entry")
        .unique()
        .group_by("encounter_id")
        .agg(pl.col("entry").sort())
        .select(
            "encounter_id",
            pl.concat_str(
                pl.lit("["),
                pl.col("entry").list.eval(pl.struct(pl.element().alias("v")).struct.json_encode().str.slice(5).str.head(-1))
                .list.join(_LIST_END),
                pl.lit("]"),
            ).alias(f"active_{name}"),
            pl.col("entry").list.len().cast(pl.Int64).alias(f"active_{name}_count"),
        )
    )  # fmt: skip
    return visits.join(active, on="encounter_id", how="left").with_columns(
        pl.col(f"active_{name}").fill_null("[]"), pl.col(f"active_{name}_count").fill_null(0)
    )


def condition_era(conditions: pl.LazyFrame) -> pl.LazyFrame:
    """Spans of one condition of one patient, joined over gaps of up to thirty days.

    As the OMOP common data model derives CONDITION_ERA: a condition without an end lasts one day.
    """
    key = ["patient_id", "code_system", "code"]
    begin = pl.col("onset_at").dt.date()
    spans = conditions.filter(pl.col("code").is_not_null() & pl.col("onset_at").is_not_null()).select(
        "patient_id",
        pl.col("code_system").fill_null(""),
        "code",
        "code_display",
        "cohort",
        begin=begin,
        end=pl.max_horizontal(pl.col("abated_at").dt.date().fill_null(begin + _DAY), begin),
    )
    apart = pl.col("reach").is_null() | (pl.col("begin") > pl.col("reach") + _ERA_GAP)
    return (
        spans.sort(*key, "begin", "end")
        .with_columns(reach=pl.col("end").cum_max().shift(1).over(key))
        .with_columns(era=apart.cast(pl.Int64).cum_sum().over(key))
        .group_by(*key, "era")
        .agg(
            pl.col("code_display").drop_nulls().sort().first(),
            pl.col("cohort").sort().first(),
            era_start=pl.col("begin").min(),
            era_end=pl.col("end").max(),
            occurrence_count=pl.len().cast(pl.Int64),
        )
        .drop("era")
    )


_CONDITIONAL = r"^([A-Z][A-Za-z]+)\?identifier=(.+)$"


def fhir_references(index: pl.LazyFrame, *silver: pl.LazyFrame) -> pl.LazyFrame:
    """One row per reference of a Silver table: how many were stated, and how many lead somewhere.

    `resolved`: the lake holds a resource of that id. `resolved_by_identifier`: the reference is conditional,
    and one resource of its type alone carries the identifier. `contained`: a part of its own resource.
    `dangling`: none of these.
    """
    ids = index.select(pl.col("id").alias("target")).unique()
    carried = (
        index.filter(pl.col("identifiers").is_not_null())
        .select("resource_type", "id", identifier=pl.col("identifiers").str.json_decode(pl.List(pl.String)))
        .explode("identifier")
        .group_by("resource_type", "identifier")
        .agg(pl.col("id").n_unique().alias("carriers"))
    )
    stated = pl.concat(
        [
            frame.filter(pl.col(f"{link}_ref").is_not_null()).select(
                pl.lit(table).alias("table"), pl.lit(link).alias("reference"),
                pl.col(f"{link}_id").alias("target"), pl.col(f"{link}_ref").alias("ref"),
            )
            for (table, links), frame in zip(LINKS.items(), silver, strict=True)
            for link in links
        ]
    )  # fmt: skip
    told = (
        stated.with_columns(
            pl.col("ref").str.extract(_CONDITIONAL, 1).alias("resource_type"),
            pl.col("ref").str.extract(_CONDITIONAL, 2).alias("identifier"),
        )
        .join(ids.with_columns(found=pl.lit(True)), on="target", how="left")
        .join(carried, on=["resource_type", "identifier"], how="left")
        .with_columns(
            resolved=pl.col("found").fill_null(False),
            by=(pl.col("carriers") == 1).fill_null(False),
            inside=pl.col("ref").str.starts_with("#"),
        )
    )
    return told.group_by("table", "reference").agg(
        stated=pl.len().cast(pl.Int64),
        resolved=pl.col("resolved").sum().cast(pl.Int64),
        resolved_by_identifier=pl.col("by").sum().cast(pl.Int64),
        contained=pl.col("inside").sum().cast(pl.Int64),
        dangling=(~(pl.col("resolved") | pl.col("by") | pl.col("inside"))).sum().cast(pl.Int64),
    )
