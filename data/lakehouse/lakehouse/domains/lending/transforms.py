"""Silver of lending: each Bronze row as one typed loan.

Belongs here: what each column means. Does not: reading, writing, splitting by rules, removing duplicates.
The transform gives exactly one row per Bronze row, good or not: the contract's columns, plus the helper
columns its rules look at (`<column>_text` is a value as it came, null where none was given).

The key. LendingClub removed ids from its public files, so a loan that came without one is known by what was
fixed when it was issued (`IDENTIFYING`): typed, so that both forms of a file give one key, and text without
regard to case and white space. Of 29 998 loans of 2007 to 2011 no two agree in all of these, nor in all but
any one of them; in amounts, rate, month, place, income and credit history alone two do, both of one borrower.
What changes while a loan is paid back is no part of it. A loan with an id is known by that alone: one that
comes with its id in one file and without it in another is two loans, so land one kind of files.
"""

from __future__ import annotations

import hashlib

import orjson
import polars as pl

from lakehouse.domains.lending import values
from lakehouse.domains.lending.contracts import (
    COUNT_COLUMNS,
    IDENTIFYING,
    LENDINGCLUB,
    MONEY,
    MONEY_COLUMNS,
    MONTH_COLUMNS,
    ORIGINAL,
    RATE,
    RATE_COLUMNS,
    RATIO,
    RATIO_COLUMNS,
)
from lakehouse.engine import xp

_WORDS = (
    "loan_id", "member_id", "grade", "sub_grade", "home_ownership", "verification_status", "purpose", "state",
    "application_type",
)  # fmt: skip
_FREE_TEXT = ("employer_title", "title")
_DECIMALS = (*MONEY_COLUMNS, *RATE_COLUMNS, *RATIO_COLUMNS)
_TYPED = (*_DECIMALS, *COUNT_COLUMNS, *MONTH_COLUMNS, "term_months", "employment_years", "zip3")


def loans(raw: xp.Frame) -> xp.Frame:
    """Type each loan; what cannot be read is left to the contract's rules."""
    frame = _texts(raw)
    for columns, type_ in ((MONEY_COLUMNS, MONEY), (RATE_COLUMNS, RATE), (RATIO_COLUMNS, RATIO)):
        frame = xp.rounded_decimals(frame, {name: f"{name}_number" for name in columns}, type_=type_)
    return _loans(frame)


def _with_texts(raw: pl.LazyFrame) -> pl.LazyFrame:
    """Keep every value as it came before columns of the same name become typed."""
    original = pl.struct(ORIGINAL).struct.json_encode()
    texts = [values.given(LENDINGCLUB[name]).alias(f"{name}_text") for name in (*_TYPED, "loan_status")]
    numbers = [pl.col(f"{name}_text").alias(f"{name}_number") for name in (*MONEY_COLUMNS, *RATIO_COLUMNS)]
    numbers += [values.fraction(pl.col(f"{name}_text")).alias(f"{name}_number") for name in RATE_COLUMNS]
    return raw.with_columns(*texts, original=original).with_columns(*numbers)


def _with_values(frame: pl.LazyFrame) -> pl.LazyFrame:
    """Add every other column, and the key, which is made of them."""
    text = {name: pl.col(f"{name}_text") for name in (*_TYPED, "loan_status")}
    frame = frame.with_columns(
        *(values.given(LENDINGCLUB[name]).alias(name) for name in _WORDS),
        *(values.filled(LENDINGCLUB[name]).alias(name) for name in _FREE_TEXT),
        *(values.whole(text[name]).alias(name) for name in COUNT_COLUMNS),
        *(values.month(text[name]).alias(name) for name in MONTH_COLUMNS if name != "earliest_credit_line"),
        values.term(text["term_months"]).alias("term_months"),
        values.employment_years(text["employment_years"]).alias("employment_years"),
        values.zip3(text["zip3"]).alias("zip3"),
        values.status(text["loan_status"]).alias("loan_status"),
        values.meets_credit_policy(text["loan_status"]).alias("meets_credit_policy"),
        pl.col("more").map_batches(_without_blanks, return_dtype=pl.String(), is_elementwise=True),
        _paid_gap_cents().alias("paid_gap_cents"),
    )
    earliest = values.month(text["earliest_credit_line"], not_after=pl.col("issue_month"))
    frame = frame.with_columns(earliest.alias("earliest_credit_line"))
    dtypes = dict(frame.collect_schema())
    told = pl.when(pl.col("loan_id").is_not_null()).then(
        "id\x1f" + values.canonical(("loan_id",), dtypes)
    ).otherwise("loan\x1f" + values.canonical(IDENTIFYING, dtypes))  # fmt: skip
    return frame.with_columns(
        told.map_batches(_sha256, return_dtype=pl.String(), is_elementwise=True).alias("loan_key")
    )


_texts = xp.in_polars(_with_texts)
_loans = xp.in_polars(_with_values)


def _paid_gap_cents() -> pl.Expr:
    """Return total_paid less its parts, in cents; null where one of them is."""
    parts = ("principal_paid", "interest_paid", "late_fees_paid", "recoveries")
    cents = [(pl.col(name) * 100).cast(pl.Int64, strict=False) for name in ("total_paid", *parts)]
    return cents[0] - sum(cents[1:], start=pl.lit(0, pl.Int64))


def _without_blanks(objects: pl.Series) -> pl.Series:
    return pl.Series(objects.name, [None if one is None else _filled(one) for one in objects], pl.String)


def _filled(text: str) -> str:
    found = {name: value for name, value in orjson.loads(text).items() if value is not None and value.strip()}
    return orjson.dumps(found, option=orjson.OPT_SORT_KEYS).decode()


def _sha256(texts: pl.Series) -> pl.Series:
    return pl.Series(texts.name, [hashlib.sha256(text.encode()).hexdigest() for text in texts], pl.String)
