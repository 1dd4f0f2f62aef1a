"""The columns of a loan, in Polars: hashes and rewritten JSON, which narwhals has no words for.

Belongs here: what each column means. Does not: which text means what (values.py), the key (keys.py), or
decimals (engine/xp.py). Beside the contract's columns stand those its rules look at: `<column>_text` is a
value as it came, null where none was given, `<column>_number` the text of a decimal to be read.
"""

from __future__ import annotations

import orjson
import polars as pl

from lakehouse.domains.lending import values
from lakehouse.domains.lending.contracts import (
    COUNT_COLUMNS,
    LENDINGCLUB,
    MONEY_COLUMNS,
    MONTH_COLUMNS,
    ORIGINAL,
    RATE_COLUMNS,
    RATIO_COLUMNS,
)
from lakehouse.domains.lending.keys import loan_key

_IDS = ("loan_id", "member_id")
_WORDS = (
    "grade", "sub_grade", "home_ownership", "verification_status", "purpose", "state",
    "application_type",
)  # fmt: skip
_FREE_TEXT = ("employer_title", "title")
_DECIMALS = (*MONEY_COLUMNS, *RATE_COLUMNS, *RATIO_COLUMNS)
_TYPED = (*_DECIMALS, *COUNT_COLUMNS, *MONTH_COLUMNS, "term_months", "employment_years", "zip3")


def with_texts(raw: pl.LazyFrame) -> pl.LazyFrame:
    """Keep every value as it came before columns of the same name become typed."""
    original = pl.struct(ORIGINAL).struct.json_encode()
    texts = [values.given(LENDINGCLUB[name]).alias(f"{name}_text") for name in (*_TYPED, "loan_status")]
    numbers = [pl.col(f"{name}_text").alias(f"{name}_number") for name in (*MONEY_COLUMNS, *RATIO_COLUMNS)]
    percent = values.in_percent(pl.col("interest_rate_text"))
    numbers += [
        values.fraction(pl.col(f"{name}_text"), in_percent=percent).alias(f"{name}_number")
        for name in RATE_COLUMNS
    ]
    return raw.with_columns(*texts, original=original).with_columns(*numbers)


def with_values(frame: pl.LazyFrame) -> pl.LazyFrame:
    """Add every other column, and the key, which is made of them."""
    text = {name: pl.col(f"{name}_text") for name in (*_TYPED, "loan_status")}
    frame = frame.with_columns(
        *(values.identifier(values.given(LENDINGCLUB[name])).alias(name) for name in _IDS),
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
    return frame.with_columns(loan_key(frame.collect_schema()).alias("loan_key"))


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
