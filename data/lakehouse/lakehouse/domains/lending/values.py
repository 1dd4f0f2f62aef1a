"""LendingClub's texts as values: months, rates, terms, years of employment, in either form of its files.

Belongs here: which text means what. Does not: which column is read how (decoding.py), what becomes of text
that means nothing (rules.py), or reading a decimal (engine/xp.py).

A text is read as a whole or not at all: `365 months` is 365, `1,000` and `NaN` are no numbers. Null stands
for both "not given" and "cannot be read"; the text beside it tells which.
"""

from __future__ import annotations

import polars as pl

from lakehouse.domains.lending.vocabulary import NOT_BY_POLICY_PATTERN

NOTHING = ("", "n/a", "na")
"""Words for nothing in a typed column, in lower case: LendingClub's and R's. NaN is none of them."""

_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_POLICY = rf"^{NOT_BY_POLICY_PATTERN}"


def filled(column: str) -> pl.Expr:
    """Return the trimmed text, null where it is blank."""
    text = pl.col(column).str.strip_chars()
    return pl.when(text != "").then(text)


def given(column: str) -> pl.Expr:
    """Return the trimmed text, null where it is blank or a word for nothing."""
    text = pl.col(column).str.strip_chars()
    return pl.when(~text.str.to_lowercase().is_in(NOTHING)).then(text)


def fraction(rate: pl.Expr, *, in_percent: pl.Expr) -> pl.Expr:
    """Return the text of a rate as that of a fraction of 1: `13.56%` is 0.1356, and 0.1356 stays.

    So is 13.56 where its row states rates in percent. The point moves in the text, so that no digit is lost.
    A percentage with an exponent is none.
    """
    text = pl.when(in_percent & ~rate.str.ends_with("%")).then(rate + "%").otherwise(rate)
    digits = text.str.replace(r"^([+-]?)([0-9]*)(\.[0-9]*)?\s*%$", "${1}00${2}${3}%")
    moved = digits.str.replace(r"^([+-]?[0-9]*)([0-9]{2})(?:\.([0-9]*))?%$", "${1}.${2}${3}")
    is_percentage = text.str.contains(r"^[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)\s*%$")
    return pl.when(text.str.ends_with("%")).then(pl.when(is_percentage).then(moved)).otherwise(text)


def identifier(text: pl.Expr) -> pl.Expr:
    """Return an id; `1077501.0` is 1077501, as pandas writes a column of whole numbers with gaps."""
    return text.str.replace(r"^([0-9]+)\.0+$", "${1}")


def in_percent(interest: pl.Expr) -> pl.Expr:
    """Return whether a row states its rates in percent, by the text of its interest rate.

    It has its %, or is 2 or more without one: LendingClub lends at 5 % to 36 %, so no fraction of 1 is that
    large, and no percentage that small.
    """
    number = interest.str.extract(r"^\+?([0-9]+(?:\.[0-9]*)?)$", 1).cast(pl.Float64, strict=False)
    return (interest.str.ends_with("%") | (number >= 2)).fill_null(False)


def whole(text: pl.Expr) -> pl.Expr:
    """Return a whole number of at most nine digits; `9.0` is one, as pandas writes it."""
    digits = text.str.extract(r"^([+-]?[0-9]{1,9})(?:\.0*)?$", 1)
    return digits.str.strip_prefix("+").cast(pl.Int32, strict=False)


def term(text: pl.Expr) -> pl.Expr:
    """Return the months of `36 months`, `36` or `36.0`."""
    return whole(text.str.replace(r"(?i)\s*months?$", ""))


def employment_years(text: pl.Expr) -> pl.Expr:
    """Return the years of `10+ years`, `3 years`, `1 year`, `< 1 year` (0), or a bare number."""
    years = text.str.replace(r"(?i)\s*years?$", "")
    return (
        pl.when(years.str.contains(r"^<\s*1$")).then(0).otherwise(whole(years.str.replace(r"^10\+$", "10")))
    )


def zip3(text: pl.Expr) -> pl.Expr:
    """Return the first three digits of `945xx` or of a whole postal code."""
    return text.str.extract(r"(?i)^([0-9]{3})(?:xx|[0-9]{2}(?:-[0-9]{4})?)?$", 1)


def month(text: pl.Expr, *, not_after: pl.Expr | None = None) -> pl.Expr:
    """Return the first day of a month: `2011-12-01`, `2011-12`, `Dec-2011`, `Dec-11`.

    Two digits are a year of this century, for LendingClub issued its first loan in 2007. Where that lies
    after `not_after`, they are one of the last century: `Jan-62` of a loan of 2011 is 1962, `Jan-08` is 2008.
    """
    day = text.str.extract(
        r"^([0-9]{4}-[0-9]{2}-[0-9]{2})(?:[T ]00:00(?::00(?:\.0+)?)?(?:Z|[+-]00:?00)?)?$", 1
    )
    day = pl.coalesce(day, text.str.extract(r"^([0-9]{4}-[0-9]{2})$", 1) + "-01")
    iso = day.str.to_date("%Y-%m-%d", strict=False).dt.truncate("1mo")
    names = text.str.extract(r"^([A-Za-z]{3})-(?:[0-9]{2}|[0-9]{4})$", 1).str.to_titlecase()
    number = names.replace_strict(_MONTHS, [*range(1, 13)], default=None, return_dtype=pl.Int8)
    four = _first_day(text.str.extract(r"-([0-9]{4})$", 1), number)
    two = text.str.extract(r"^[A-Za-z]{3}-([0-9]{2})$", 1)
    short = _first_day("20" + two, number)
    if not_after is not None:
        short = pl.when(short > not_after).then(_first_day("19" + two, number)).otherwise(short)
    return pl.coalesce(iso, four, short)


def _first_day(year: pl.Expr, month_number: pl.Expr) -> pl.Expr:
    text = year + "-" + month_number.cast(pl.String).str.zfill(2) + "-01"
    return text.str.to_date("%Y-%m-%d", strict=False)


def status(text: pl.Expr) -> pl.Expr:
    """Return the status without what stands before it where the credit policy is not met."""
    return text.str.replace(_POLICY, "")


def meets_credit_policy(text: pl.Expr) -> pl.Expr:
    """Return whether the status does not say that the credit policy is not met."""
    return ~text.str.contains(_POLICY).fill_null(False)
