"""FHIR's dates and times: the instant, the precision, the date as it is written, and the unit's last instant.

Belongs here: reading them as columns. Does not: which element has one (resources.py).
https://hl7.org/fhir/R4/datatypes.html#dateTime: a time needs its zone; https://hl7.org/fhir/R4/datatypes.html#Period:
an end includes the unit it is stated in. A date has no zone, so it never shifts.
"""

from __future__ import annotations

import polars as pl

from lakehouse.contracts.calendar import in_calendar
from lakehouse.contracts.model import Type

_STATED = r"^\d{4}(-\d\d(-\d\d(T\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d))?)?)?$"
_OFFSET = r"([+-]\d\d:\d\d)$"
_LAST = pl.datetime(9999, 12, 31, 23, 59, 59, 999999, time_zone="UTC", time_unit="us")


def moments(text: pl.Series) -> tuple[pl.Series, pl.Series]:
    """Return the point in time and the precision of FHIR dates and times; null for what is none."""
    done = read(text)
    return done["at"], done["precision"]


def read(text: pl.Series) -> pl.DataFrame:
    """Return `at`, `precision` and `date` of FHIR dates and times; null for what is none.

    FHIR has the years 1 to 9999, and a column has them in UTC: what an offset takes out of these is none.
    A year, month or day stands for its begin in UTC. `date` is as it is written, of a year or month its first
    day.
    """
    stated = pl.col("text").str.contains(_STATED)
    size = pl.col("text").str.len_bytes()
    day = (
        pl.when(~stated).then(pl.lit(None, pl.String))
        .when(size == 4).then(pl.col("text") + "-01-01")
        .when(size == 7).then(pl.col("text") + "-01")
        .otherwise(pl.col("text").str.slice(0, 10))
    )  # fmt: skip
    time = pl.when(size > 10).then(pl.col("text").str.slice(10).str.replace(r"Z$", "+00:00"))
    whole = pl.col("day") + time.fill_null("T00:00:00+00:00")
    at = whole.str.to_datetime("%Y-%m-%dT%H:%M:%S%.f%:z", time_unit="us", time_zone="UTC", strict=False)
    at = pl.when(in_calendar(at, Type.TIMESTAMP)).then(at)
    known = pl.col("at").is_not_null()
    return (
        pl.DataFrame({"text": text})
        .lazy()
        .with_columns(day=day)
        .with_columns(at=at)
        .select(
            "at",
            precision=pl.when(~known).then(pl.lit(None, pl.String))
            .when(size == 4).then(pl.lit("year"))
            .when(size == 7).then(pl.lit("month"))
            .when(size == 10).then(pl.lit("day"))
            .otherwise(pl.lit("second")),
            date=pl.when(known).then(pl.col("day").str.to_date("%Y-%m-%d", strict=False)),
        )
        .collect()
    )  # fmt: skip


def ends(at: pl.Series, precision: pl.Series, beside: pl.Series) -> pl.Series:
    """Return the last instant (microsecond) of what is stated: of a year, month or day the unit's.

    A day has no zone of its own: it ends where the time `beside` it, the period's begin, has its midnight.
    """
    frame = pl.DataFrame({"at": at, "precision": precision, "beside": beside})
    sign = pl.when(pl.col("beside").str.contains(r"-\d\d:\d\d$")).then(-1).otherwise(1)
    zone = pl.col("beside").str.extract(_OFFSET, 1)
    minutes = zone.str.slice(1, 2).cast(pl.Int64) * 60 + zone.str.slice(4, 2).cast(pl.Int64)
    behind = pl.duration(minutes=(sign * minutes).fill_null(0))
    begin = pl.col("at")
    day = (
        last_of_unit(begin.dt.date(), pl.col("precision")).cast(pl.Datetime("us")).dt.replace_time_zone("UTC")
    )
    whole = day.dt.offset_by("23h59m59s") + pl.duration(microseconds=999_999) - behind
    end = pl.when(pl.col("precision") == "second").then(begin).otherwise(pl.min_horizontal(whole, _LAST))
    return frame.select(end=pl.when(begin.is_not_null()).then(end))["end"]


def last_of_unit(day: pl.Expr, precision: pl.Expr) -> pl.Expr:
    """Return the last day of the year, month or day that `day` begins."""
    one = pl.duration(days=1)
    return (
        pl.when(precision == "year").then(day.dt.offset_by("1y") - one)
        .when(precision == "month").then(day.dt.offset_by("1mo") - one)
        .otherwise(day)
    )  # fmt: skip
