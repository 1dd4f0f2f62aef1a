"""The row rules of loans.

Belongs here: what only LendingClub's values ask. Does not: the rules of every domain (contracts/rules.py), or
which column keeps which (contracts.py).
`<column>_text` is a value as it came, null where none was given; `paid_gap_cents` is left by the transform.
"""

from __future__ import annotations

import narwhals.stable.v2 as nw

from lakehouse.contracts.model import RowRule
from lakehouse.contracts.rules import between, ordered, parsable

_NOTHING = "blank, n/a and NA mean that none is given"
A_NUMBER = "a plain number that fits, if need be with a sign or an exponent; no `,` and no currency in it"
A_RATE = "a fraction of 1, or a percentage: with its %, or in a row whose int_rate is one, as 2 and more are"
A_MONTH = "a month: 2011-12-01, 2011-12, Dec-2011 or Dec-11"


def readable(column: str, what: str, *, required: bool = False) -> RowRule:
    """Text that is given has a value."""
    where = "is" if required else "is, where given,"
    return parsable(
        column,
        f"{column}_text",
        required=required,
        description=f"{column} {where} {what}; {_NOTHING}",
    )


def sub_grade_of_grade() -> RowRule:
    return RowRule(
        name="sub_grade_of_grade",
        description="sub_grade, where given, begins with grade",
        passes=lambda: (nw.col("sub_grade").str.slice(0, 1) == nw.col("grade")).fill_null(True),
        values=("grade", "sub_grade"),
    )


def paid_adds_up() -> RowRule:
    """Each of five amounts is rounded to cents, so that their sum may be off by less than three."""
    return between(
        "paid_gap_cents",
        -5,
        5,
        name="paid_adds_up",
        severity="warn",
        description="total_paid is principal_paid + interest_paid + late_fees_paid + recoveries, to 0.05",
        values=("total_paid", "principal_paid", "interest_paid", "late_fees_paid", "recoveries"),
    )


def credit_before_issue() -> RowRule:
    return ordered("earliest_credit_line", "issue_month", severity="warn")
