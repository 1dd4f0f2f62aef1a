"""The surrogate key of a loan.

Belongs here: what it is made of, and how. Does not: reading the values (decoding.py).

LendingClub removed ids from its public files, so a loan that came without one is known by what was
fixed when it was issued (`IDENTIFYING`): typed, so that both forms of a file give one key, and text without
regard to case and white space. Of 29 998 loans of 2007 to 2011 no two agree in all of these, nor in all but
any one of them; in amounts, rate, month, place, income and credit history alone two do, both of one borrower.
What changes while a loan is paid back is no part of it. A loan with an id is known by that alone: one that
comes with its id in one file and without it in another is two loans, so land one kind of files.
"""

from __future__ import annotations

import hashlib

import polars as pl

from lakehouse.domains.lending.contracts import IDENTIFYING

_BETWEEN = "\x1f"  # in no text, once its white space is one blank


def loan_key(dtypes: pl.Schema) -> pl.Expr:
    """Return SHA-256 in hex, of a frame's typed columns of these types."""
    by_id, by_facts = _told("id", ("loan_id",), dtypes), _told("loan", IDENTIFYING, dtypes)
    told = pl.when(pl.col("loan_id").is_not_null()).then(by_id).otherwise(by_facts)
    return told.map_batches(_sha256, return_dtype=pl.String(), is_elementwise=True)


def _told(kind: str, columns: tuple[str, ...], dtypes: pl.Schema) -> pl.Expr:
    """Return typed values as one text, the same however they were written; nothing for null."""
    parts = [_canonical(pl.col(name), dtypes[name]).fill_null("") for name in columns]
    return pl.concat_str([pl.lit(kind), *parts], separator=_BETWEEN)


def _canonical(value: pl.Expr, dtype: pl.DataType) -> pl.Expr:
    if dtype == pl.String:
        return value.str.replace_all(r"[\s\x00-\x1f]+", " ").str.strip_chars().str.to_lowercase()
    return value.cast(pl.String)


def _sha256(texts: pl.Series) -> pl.Series:
    return pl.Series(texts.name, [hashlib.sha256(text.encode()).hexdigest() for text in texts], pl.String)
