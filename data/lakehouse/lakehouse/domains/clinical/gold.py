"""Encounters of clinical cohorts, in Polars: lists, which narwhals has not.

Belongs here: what each column means. Does not: conditions in time (states.py), references (references.py).
"""

from __future__ import annotations

from datetime import timedelta

import narwhals.stable.v2 as nw
import polars as pl

from lakehouse.domains.clinical import references, states

_DAY = timedelta(days=1)
_VISIT = ["cohort", "encounter_id"]
_PERSON = ["patient_cohort", "patient_id"]


def encounter_summary(
    encounters: pl.LazyFrame,
    patients: pl.LazyFrame,
    conditions: pl.LazyFrame,
    medications: pl.LazyFrame,
    observations: pl.LazyFrame,
    procedures: pl.LazyFrame,
    immunizations: pl.LazyFrame,
    reports: pl.LazyFrame,
    index: pl.LazyFrame,
) -> pl.LazyFrame:
    """One row per encounter that took place: who, how old, what was active that day, and what was done."""
    born = _counted(patients).select(patient_cohort="cohort", patient_id="id", birth_date="birth_date")
    visits = _of_person(_counted(encounters), index).select(
        "cohort", *_PERSON, "status", "class", "type", "type_display", "started_at", "ended_at",
        "started_at_precision", "ended_at_precision", encounter_id="id", date="started_at_date",
    )  # fmt: skip
    made = visits.join(born, on=_PERSON, how="left").with_columns(
        age_years=_age(), duration_minutes=_duration()
    )
    held = _spans(conditions, patients, index).rename({"cohort": "patient_cohort"})
    held = held.with_columns(begin=pl.when(pl.col("always")).then(pl.date(1, 1, 1)).otherwise("begin"))
    made = _listed(made, held.select(*_PERSON, "begin", "end", entry="code"), "conditions")
    made = _listed(made, _ordered(_counted(medications), index), "medications")
    for name, rows in (("observation", observations), ("procedure", procedures),
                       ("immunization", immunizations), ("report", reports)):  # fmt: skip
        counts = (
            _resolved(_counted(rows), "encounter", ("Encounter",), index)
            .group_by(cohort="encounter_cohort", encounter_id="encounter_found")
            .agg(pl.len().cast(pl.Int64).alias(f"{name}_count"))
        )
        made = made.join(counts, on=_VISIT, how="left").with_columns(pl.col(f"{name}_count").fill_null(0))
    return made


def _spans(*frames: pl.LazyFrame) -> pl.LazyFrame:
    found: pl.LazyFrame = states.spans(*map(nw.from_native, frames)).to_native()
    return found


def _resolved(rows: pl.LazyFrame, link: str, to: tuple[str, ...], index: pl.LazyFrame) -> pl.LazyFrame:
    found = references.resolved(nw.from_native(rows), link, to, nw.from_native(index))
    made: pl.LazyFrame = found.to_native()
    return made


def _counted(rows: pl.LazyFrame) -> pl.LazyFrame:
    return rows.filter(pl.col("kept_out_by").is_null())


def _of_person(rows: pl.LazyFrame, index: pl.LazyFrame) -> pl.LazyFrame:
    """Replace `patient_id` by what the reference leads to, beside the cohort of that."""
    found = _resolved(rows, "patient", ("Patient",), index)
    return found.with_columns(patient_id="patient_found").drop("patient_found")


def _duration() -> pl.Expr:
    """Minutes from begin to end; null where they are stated by the day, in zones that leave none between."""
    exact = pl.lit("second")
    whole = pl.when(pl.col("ended_at_precision") != exact).then(1).otherwise(0)
    took = (pl.col("ended_at") - pl.col("started_at")).dt.total_microseconds() + whole
    by_day = (pl.col("ended_at_precision") != exact) | (pl.col("started_at_precision") != exact)
    took = pl.when((took >= 0) | ~by_day).then(took)
    return took / (took * 0 + 60_000_000)  # exact: see xp.divided


def _ordered(orders: pl.LazyFrame, index: pl.LazyFrame) -> pl.LazyFrame:
    """Medications with the dates they count on; one without an end of its own lasts while it is active."""
    known = index.filter((pl.col("resource_type") == "Medication") & pl.col("code").is_not_null()).select(
        medication_cohort="cohort", medication_found="id", referred="code"
    )
    named = _resolved(_of_person(orders, index), "medication", ("Medication",), index).join(
        known, on=["medication_cohort", "medication_found"], how="left"
    )
    authored = pl.col("authored_at_date")
    return named.select(
        *_PERSON,
        entry=pl.coalesce("medication", "referred"),
        begin=authored,
        end=pl.when(pl.col("status") != "active").then(authored + _DAY),
    )


def _age() -> pl.Expr:
    """Full years at the encounter; null without a birth date, or one after it."""
    date, born = pl.col("date"), pl.col("birth_date")
    birthday_to_come = (date.dt.month() < born.dt.month()) | (
        (date.dt.month() == born.dt.month()) & (date.dt.day() < born.dt.day())
    )
    years = date.dt.year() - born.dt.year() - birthday_to_come.cast(pl.Int32)
    return pl.when(date >= born).then(years.cast(pl.Int64))


def _listed(visits: pl.LazyFrame, spans: pl.LazyFrame, name: str) -> pl.LazyFrame:
    """Add the distinct codes whose span holds the encounter's date, sorted, and their number."""
    listed = f"active_{name}"
    known = spans.filter(pl.col("entry").is_not_null() & pl.col("begin").is_not_null())
    begins, ends = pl.col("begin") <= pl.col("date"), pl.col("date") < pl.col("end")
    holds = begins & ends.fill_null(True)
    active = (
        visits.filter(pl.col("date").is_not_null())
        .select(*_VISIT, *_PERSON, "date")
        .join(known, on=_PERSON, how="inner")
        .filter(holds)
        .select(*_VISIT, "entry")
        .unique()
        .group_by(_VISIT)
        .agg(pl.col("entry").sort().alias(listed))
    )
    found = pl.col(listed).fill_null(pl.lit([], dtype=pl.List(pl.String)))
    return visits.join(active, on=_VISIT, how="left").with_columns(
        found, found.list.len().cast(pl.Int64).alias(f"{listed}_count")
    )
