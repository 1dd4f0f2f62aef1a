"""The row rules of workflow telemetry.

Belongs here: one builder per kind of rule. Does not: which table keeps which (contracts.py).
A rule looks at what the transform returns: a column, and beside it the value's text as it came.
"""

from __future__ import annotations

import narwhals.stable.v2 as nw

from lakehouse.contracts.model import RowRule
from lakehouse.contracts.rules import non_negative, not_blank, parsable
from lakehouse.domains.pipelines import values, vocabulary

_NOTHING = f"blank and {', '.join(values.NOTHING)} mean that none is given"


def present(column: str) -> RowRule:
    return not_blank(column, name=f"{column}_present")


def event_type_present() -> RowRule:
    return not_blank(
        "event_type",
        name="event_type_present",
        description="event_type is given and not blank. Its last word tells the status: "
        f"{vocabulary.STATUSES}",
    )


def event_type_known() -> RowRule:
    """An event whose status is unknown ends no pipeline, so somebody should hear of it."""
    return RowRule(
        name="event_type_known",
        severity="warn",
        description=f"event_type ends in a word of the vocabulary: {vocabulary.STATUSES}",
        passes=lambda: nw.col("status") != "unknown",
        values=("event_type",),
    )


_POINT_IN_TIME = (
    "can be read as a point in time (ISO 8601 with a year of four digits, or epoch seconds or milliseconds)"
)


def readable_time(column: str) -> RowRule:
    return parsable(column, "timestamp", required=True, description=f"{column} {_POINT_IN_TIME}")


def json_object(column: str) -> RowRule:
    return RowRule(
        name=f"{column}_readable",
        description=f"{column} is given and is a well-formed JSON object",
        passes=lambda: nw.col(f"{column}_is_object"),
        values=(f"{column}_length",),
    )


def whole_number(column: str) -> tuple[RowRule, ...]:
    """A number may be missing; one that is given must be readable, and not negative. A bool is none."""
    value, text = nw.col(column), nw.col(f"{column}_text")
    return (
        RowRule(
            name=f"{column}_readable",
            description=f"{column}, where given, is a number that fits 18 digits, if need be with a sign, a "
            f"fraction after a point, an exponent, and blanks around it; {_NOTHING}",
            passes=lambda: ~value.is_null() | text.is_null() | values.is_bool(column),
            values=(f"{column}_text",),
        ),
        no_bool(column),
        non_negative(column, values=(f"{column}_text",)),
    )


def no_bool(column: str) -> RowRule:
    return RowRule(
        name=f"{column}_is_no_bool",
        severity="warn",
        description=f"{column} is not stated as a bool (true, false, yes, no …), which counts as none given",
        passes=lambda: ~values.is_bool(column).fill_null(False),
        values=(f"{column}_text",),
    )


def is_verified_readable() -> tuple[RowRule, ...]:
    """Told apart by the kind of value; both count as not given."""
    value, text = values.truth("is_verified"), nw.col("is_verified_text")
    number = values.is_number("is_verified").fill_null(False)
    meant = f"{', '.join(values.TRUE)} mean true, {', '.join(values.FALSE)} false"
    return (
        RowRule(
            name="is_verified_readable",
            severity="warn",
            values=("is_verified_text",),
            description=f"is_verified, where given, is no text other than a bool: {meant}; {_NOTHING}",
            passes=lambda: ~value.is_null() | text.is_null() | number,
        ),
        RowRule(
            name="is_verified_is_no_number",
            severity="warn",
            values=("is_verified_text",),
            description="is_verified, where given, is no number but 0 and 1; others count as none given",
            passes=lambda: ~value.is_null() | ~number,
        ),
    )


def account_created_at_readable() -> tuple[RowRule, ...]:
    """Told apart by the kind of value; each counts as not given."""
    value, text = nw.col("account_created_at"), nw.col("account_created_at_text")
    number = values.is_number("account_created_at").fill_null(False)
    is_bool = values.is_bool("account_created_at").fill_null(False)
    return (
        RowRule(
            name="account_created_at_readable",
            severity="warn",
            values=("account_created_at_text",),
            description=f"account_created_at, where given, {_POINT_IN_TIME}; {_NOTHING}",
            passes=lambda: ~value.is_null() | text.is_null() | number | is_bool,
        ),
        RowRule(
            name="account_created_at_is_no_number",
            severity="warn",
            values=("account_created_at_text",),
            description="account_created_at, where given, is no number but an epoch of 10 or 13 digits; "
            "others count as none given",
            passes=lambda: ~value.is_null() | ~number,
        ),
        no_bool("account_created_at"),
    )
