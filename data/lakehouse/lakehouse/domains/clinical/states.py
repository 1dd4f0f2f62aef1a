"""When a condition held: from which date to which, as FHIR states it, and where it does not by stated rules.

Belongs here: begin and end of conditions, and the eras of them. Does not: encounters (gold.py).

Dates are as they are written; a year or month begins with its first day and ends with its last.

begin      onsetDateTime, onsetPeriod; else the birth date and onsetAge; else recordedDate, but none that is
           after the end: the condition was over then
end        abatementDateTime, abatementPeriod; else the birth date and abatementAge, to the end of that unit
no end     but clinicalStatus is inactive, remission or resolved, or an abatement is stated otherwise: it
           holds on its first day alone
no begin   it holds on every day while clinicalStatus is active, recurrence or relapse, else on none; and it
           has no era
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date

import narwhals.stable.v2 as nw

from lakehouse.domains.clinical.references import resolved
from lakehouse.engine import xp

_ERA_GAP = "30d"
_ENDED = ("inactive", "remission", "resolved")
_HOLDS = ("active", "recurrence", "relapse")
_MONTHS = {12: ("a", "y", "yr", "year", "years"), 1: ("mo", "month", "months")}
_DAYS = {7: ("wk", "week", "weeks"), 1: ("d", "day", "days")}
_OLDEST = 150  # years, beyond which an age is none


def spans(conditions: xp.Frame, patients: xp.Frame, index: xp.Frame) -> xp.Frame:
    """One row per condition that counts: patient (with the cohort), code, `begin` and `end` (dates or null).

    `end` is the first day on which it no longer holds. `always`: it has no begin, and holds on every day.
    """
    counted = conditions.filter(nw.col("kept_out_by").is_null())
    born = patients.filter(nw.col("kept_out_by").is_null()).select(
        nw.col("cohort").alias("patient_cohort"),
        nw.col("id").alias("patient_found"),
        nw.col("birth_date").alias("born"),
    )
    known = resolved(counted, "patient", ("Patient",), index).join(
        born, on=["patient_cohort", "patient_found"], how="left"
    )
    known = _with_age(_with_age(known, "onset_age"), "abatement_age", until_end=True)
    abated = _last_of_unit(nw.col("abated_at_date"), nw.col("abated_at_precision"))
    status = nw.col("clinical_status")
    over = status.is_in(_ENDED).fill_null(False) | ~nw.col("abatement_type").is_null()
    known = known.with_columns(nw.coalesce(abated, nw.col("abatement_age_at")).alias("abated"))
    recorded = nw.col("recorded_at_date")
    held_then = nw.col("abated").is_null() | (recorded <= nw.col("abated"))
    dated = known.with_columns(
        nw.coalesce("onset_at_date", "onset_age_at", nw.when(held_then).then(recorded)).alias("begin"),
        over.alias("over"),
    )
    begin = nw.col("begin")
    always = begin.is_null() & ~nw.col("over") & status.is_in(_HOLDS).fill_null(False)
    return dated.select(
        nw.col("patient_cohort").alias("cohort"),
        nw.col("patient_found").alias("patient_id"),
        "code_system",
        "code",
        "code_display",
        "begin",
        "abated",
        nw.coalesce(nw.col("abated"), nw.when(nw.col("over")).then(_next_day(begin))).alias("end"),
        always.alias("always"),
    )


def _with_age(frame: xp.Frame, name: str, *, until_end: bool = False) -> xp.Frame:
    """Add `<name>_at`, the date of an age: its first day, or the last one of the year, month, week or day."""
    value, unit = nw.col(name), nw.col(f"{name}_unit").str.to_lowercase()
    months, length = _size(unit, _MONTHS), _size(unit, _DAYS)
    oldest = nw.coalesce(_OLDEST * 12 / months, _OLDEST * 366 / length)
    held = nw.when((value >= 0) & (value <= oldest)).then(value + (1 if until_end else 0))
    frame = frame.with_columns((held * months).alias("__months"), (held * length).alias("__days"))
    frame = xp.date_after(frame, "born", "__months", "mo", to="__by_months")
    frame = xp.date_after(frame, "born", "__days", "d", to="__by_days")
    at = nw.coalesce("__by_months", "__by_days")
    at = _after(at, "-1d") if until_end else at
    found = nw.when(at <= nw.lit(date.max)).then(at).alias(f"{name}_at")
    return frame.with_columns(found).drop("__months", "__days", "__by_months", "__by_days")


def _size(unit: nw.Expr, sizes: Mapping[int, tuple[str, ...]]) -> nw.Expr:
    """Return the size of a unit; null for another one."""
    return nw.coalesce(*(nw.when(unit.is_in(words)).then(nw.lit(size)) for size, words in sizes.items()))


def _last_of_unit(day: nw.Expr, precision: nw.Expr) -> nw.Expr:
    """Return the last day of the year, month or day that `day` begins (as dates.py does while decoding)."""
    of_year, of_month = _after(_after(day, "1y"), "-1d"), _after(_after(day, "1mo"), "-1d")
    longer = nw.when(precision == "month").then(of_month).otherwise(day)
    return nw.when(precision == "year").then(of_year).otherwise(longer)


def _next_day(day: nw.Expr) -> nw.Expr:
    """Return the day after, and the last day of all for itself."""
    return nw.min_horizontal(_after(day, "1d"), nw.when(~day.is_null()).then(nw.lit(date.max)))


def _after(day: nw.Expr, length: str) -> nw.Expr:
    return day.dt.offset_by(length).cast(nw.Date)  # a time, on some engines


def condition_era(conditions: xp.Frame, patients: xp.Frame, index: xp.Frame) -> xp.Frame:
    """Spans of one condition of one patient, joined over gaps of up to thirty days.

    As the OMOP common data model derives CONDITION_ERA: a condition without an end lasts one day.
    """
    key = ["cohort", "patient_id", "code_system", "code"]
    # What leads to no patient is nobody's era.
    stated = [~nw.col(name).is_null() for name in ("patient_id", "code", "begin")]
    begin, reach = nw.col("begin"), nw.col("reach")
    dated = (
        spans(conditions, patients, index)
        .filter(*stated)
        .with_columns(
            nw.col("code_system").fill_null(""),
            nw.max_horizontal(nw.coalesce(nw.col("abated"), _next_day(begin)), begin).alias("end"),
        )
        .select(*key, "code_display", "begin", "end")
        .with_row_index("n", order_by=[*key, "begin", "end", "code_display"])
    )
    apart = reach.is_null() | (begin > _after(reach, _ERA_GAP))
    return (
        dated.with_columns(nw.col("end").cum_max().over(*key, order_by="n").alias("furthest"))
        .with_columns(nw.col("furthest").shift(1).over(*key, order_by="n").alias("reach"))
        .with_columns(apart.cast(nw.Int64).alias("apart"))
        .with_columns(nw.col("apart").cum_sum().over(*key, order_by="n").alias("era"))
        .group_by(*key, "era")
        .agg(
            nw.col("code_display").min(),
            begin.min().alias("era_start"),
            nw.col("end").max().alias("era_end"),
            nw.len().cast(nw.Int64).alias("occurrence_count"),
        )
        .drop("era")
    )
