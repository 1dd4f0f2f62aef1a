"""The row rules of workflow telemetry.

Belongs here: one builder per kind of rule. Does not: which table keeps which (contracts.py).
A rule looks at what the transform returns: a column, and beside it the value's text as it came.
"""

from __future__ import annotations

import narwhals.stable.v2 as nw

from lakehouse.contracts.model import RowRule


def present(column: str) -> RowRule:
    return RowRule(
        name=f"{column}_present",
        description=f"{column} is given and not blank",
        passes=lambda: ~nw.col(column).is_null(),
        values=(column,),
    )


def readable_time(column: str) -> RowRule:
    return RowRule(
        name=f"{column}_readable",
        description=f"{column} can be read as a point in time (ISO 8601, or epoch seconds or milliseconds)",
        passes=lambda: ~nw.col(column).is_null(),
        values=("timestamp",),
    )


def json_object(column: str) -> RowRule:
    return RowRule(
        name=f"{column}_readable",
        description=f"{column} is given and is a well-formed JSON object",
        passes=lambda: nw.col(f"{column}_is_object"),
        values=(f"{column}_length",),
    )


def whole_number(column: str) -> tuple[RowRule, RowRule]:
    """A number may be missing; one that is given must be readable, and not negative."""
    value, text = nw.col(column), nw.col(f"{column}_text")
    return (
        RowRule(
            name=f"{column}_readable",
            description=f"{column}, where given, is a number that fits 18 digits",
            passes=lambda: ~value.is_null() | text.is_null(),
            values=(f"{column}_text",),
        ),
        RowRule(
            name=f"{column}_not_negative",
            description=f"{column}, where given, is not negative",
            passes=lambda: (value >= 0).fill_null(True),
            values=(f"{column}_text",),
        ),
    )


def is_verified_readable() -> RowRule:
    return RowRule(
        name="is_verified_readable",
        severity="warn",
        values=("is_verified_text",),
        description="is_verified, where given, is true or false",
        passes=lambda: nw.col("is_verified_text").is_in(["true", "false"]).fill_null(True),
    )


def account_created_at_readable() -> RowRule:
    value, text = nw.col("account_created_at"), nw.col("account_created_at_text")
    return RowRule(
        name="account_created_at_readable",
        severity="warn",
        values=("account_created_at_text",),
        description="account_created_at, where given, can be read as a point in time",
        passes=lambda: ~value.is_null() | text.is_null(),
    )
