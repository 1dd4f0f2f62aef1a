"""The two tables of loans.

Belongs here: columns, keys and rules. Does not: how a column is computed (transforms.py).
A rule may look at helper columns that the transform leaves beside the contract's: `<column>_text` is a value
as it came, null where none was given.
"""

from __future__ import annotations

from lakehouse.contracts.model import (
    Column,
    Contract,
    Materialization,
    Type,
    bronze_columns,
    pointer_columns,
)
from lakehouse.contracts.model import column as _c
from lakehouse.contracts.rules import between, matches, non_negative, one_of
from lakehouse.contracts.types import DecimalType
from lakehouse.domains.lending import rules
from lakehouse.domains.lending.vocabulary import COLUMNS, GRADES, NOT_BY_POLICY, STATUSES

DOMAIN = "lending"

MONEY = DecimalType(18, 2)
RATE = DecimalType(9, 6)
RATIO = DecimalType(18, 4)
LENDINGCLUB = {ours: theirs for theirs, ours in COLUMNS.items()}

PERSONAL = ("member_id", "employer_title", "title", "zip3")
IDENTIFYING: tuple[str, ...] = (
    "loan_amount", "funded_amount", "term_months", "interest_rate", "installment", "sub_grade",
    "employer_title", "employment_years", "home_ownership", "annual_income", "issue_month", "purpose",
    "title", "zip3", "state", "dti", "earliest_credit_line", "inquiries_6m",
)  # fmt: skip
"""What is fixed when a loan is issued, and tells loans apart that came without an id."""

ORIGINAL: tuple[str, ...] = (
    "loan_amnt", "funded_amnt", "funded_amnt_inv", "int_rate", "installment", "annual_inc", "dti",
    "revol_bal", "revol_util", "out_prncp", "total_pymnt", "total_pymnt_inv", "total_rec_prncp",
    "total_rec_int", "total_rec_late_fee", "recoveries", "collection_recovery_fee", "last_pymnt_amnt",
)  # fmt: skip
"""What Silver rounds: LendingClub's amounts and rates, whose text stays beside them."""

_BRONZE = {
    "id": "LendingClub's id of the loan; blank in its public files",
    "member_id": "LendingClub's id of the borrower; blank in its public files",
}

RAW_LOANS = Contract(
    layer="bronze", name="raw_loans", domain=DOMAIN, materialization=Materialization.APPEND,
    description="One loan of a LendingClub file as it came, every value as text.",
    columns=(
        *(
            _c(theirs, Type.STRING, _BRONZE.get(theirs, f"LendingClub's {theirs}, as it came"),
               pii=ours in PERSONAL)
            for theirs, ours in COLUMNS.items()
        ),
        _c("more", Type.STRING, "The file's other columns, a JSON object by heading", pii=True),
        *bronze_columns(),
    ),
)  # fmt: skip


def _money(name: str, description: str) -> Column:
    return _c(name, MONEY, f"{description}; rounded half up to cents", of=LENDINGCLUB[name], unit="USD")


def _count(name: str, description: str) -> Column:
    return _c(name, Type.INT32, description, of=LENDINGCLUB[name], unit="count")


def _month(name: str, description: str) -> Column:
    return _c(name, Type.DATE, f"{description}, the first day of the month", of=LENDINGCLUB[name])


_COLUMNS = (
    _c("loan_key", Type.STRING,
       "Surrogate key, SHA-256 in hex: of LendingClub's id where the file has it, else of what is fixed "
       f"when a loan is issued, typed: {', '.join(IDENTIFYING)}. Case and white space of text do not count",
       of=("id", *(LENDINGCLUB[name] for name in IDENTIFYING)), nullable=False),
    _c("loan_id", Type.STRING, "LendingClub's id of the loan; null in its public files", of="id"),
    _c("member_id", Type.STRING, "LendingClub's id of the borrower; null in its public files",
       of="member_id", pii=True),
    _money("loan_amount", "Amount applied for"),
    _money("funded_amount", "Amount committed to the loan"),
    _money("funded_amount_investors", "Of it, committed by investors"),
    _c("term_months", Type.INT32, "Number of payments", of="term", nullable=False, unit="months"),
    _c("interest_rate", RATE, "Interest a year, as a fraction of 1", of="int_rate", nullable=False),
    _money("installment", "Monthly payment"),
    _c("grade", Type.STRING, "LendingClub's grade, A to G", of="grade", nullable=False),
    _c("sub_grade", Type.STRING, "Its fifth, as B3", of="sub_grade"),
    _c("employer_title", Type.STRING, "Job or employer, as stated", of="emp_title", pii=True),
    _c("employment_years", Type.INT32,
       "Years of employment: 0 is under one year, 10 is ten or more; null where not stated",
       of="emp_length", unit="years"),
    _c("home_ownership", Type.STRING, "RENT, OWN, MORTGAGE, OTHER, NONE or ANY",
       of="home_ownership", nullable=False),
    _money("annual_income", "Income a year, as stated"),
    _c("verification_status", Type.STRING, "Whether income or its source was verified",
       of="verification_status"),
    _c("issue_month", Type.DATE, "When the loan was funded, the first day of the month",
       of="issue_d", nullable=False),
    _c("loan_status", Type.STRING, f"Status: {', '.join(STATUSES)}", of="loan_status", nullable=False),
    _c("meets_credit_policy", Type.BOOL, f"False where the status begins with `{NOT_BY_POLICY}`",
       of="loan_status", nullable=False),
    _c("purpose", Type.STRING, "Kind of purpose", of="purpose"),
    _c("title", Type.STRING, "Title that the borrower gave the loan", of="title", pii=True),
    _c("zip3", Type.STRING, "First three digits of the postal code", of="zip_code", pii=True),
    _c("state", Type.STRING, "State, two letters", of="addr_state", nullable=False),
    _c("dti", RATIO,
       "Monthly debt payments, without mortgage and this loan, by monthly income; rounded half up",
       of="dti", unit="%"),
    _count("delinquencies_2y", "Times 30 or more days past due in the last two years"),
    _month("earliest_credit_line", "When the earliest credit line was opened"),
    _count("inquiries_6m", "Credit inquiries of the last six months"),
    _count("open_accounts", "Open credit lines"),
    _count("public_records", "Derogatory public records"),
    _money("revolving_balance", "Revolving credit in use"),
    _c("revolving_utilization", RATE,
       "Revolving credit in use by what is available, as a fraction of 1; more than 1 where overdrawn",
       of="revol_util"),
    _count("total_accounts", "Credit lines ever"),
    _money("outstanding_principal", "Principal still to be paid"),
    _money("total_paid", "Paid so far"),
    _money("total_paid_investors", "Of it, for the share of investors"),
    _money("principal_paid", "Principal paid so far"),
    _money("interest_paid", "Interest paid so far"),
    _money("late_fees_paid", "Late fees paid so far"),
    _money("recoveries", "Recovered after it was charged off"),
    _money("collection_fee", "Fee of that collection"),
    _month("last_payment_month", "When the last payment came"),
    _money("last_payment_amount", "Last payment"),
    _month("next_payment_month", "When the next payment is due"),
    _month("last_credit_pull_month", "When LendingClub last looked at the borrower's credit"),
    _c("application_type", Type.STRING, "Individual or joint application", of="application_type"),
    _c("original", Type.STRING,
       "Amounts, rates and the ratio as they came, a JSON object by LendingClub's names, in the order of "
       "Bronze", of=ORIGINAL),
    _c("more", Type.STRING,
       "The file's other columns that are not blank, a JSON object by heading, sorted", of="more", pii=True),
    *pointer_columns(RAW_LOANS.path),
)  # fmt: skip


def _of_type(*types: object) -> tuple[str, ...]:
    return tuple(c.name for c in _COLUMNS if c.type in types and c.name in LENDINGCLUB)


MONEY_COLUMNS, RATE_COLUMNS, RATIO_COLUMNS = _of_type(MONEY), _of_type(RATE), _of_type(RATIO)
MONTH_COLUMNS = _of_type(Type.DATE)
COUNT_COLUMNS = tuple(c.name for c in _COLUMNS if c.type is Type.INT32 and c.unit == "count")

LOANS = Contract(
    layer="silver", name="loans", domain=DOMAIN, materialization=Materialization.INCREMENTAL_BY_KEY,
    version="1.0.1",
    description="One loan, typed, by the last row that came of it.",
    key=("loan_key",),
    cluster_by=("issue_month",),
    sources=(RAW_LOANS,),
    columns=_COLUMNS,
    rules=(
        rules.readable("term_months", "a number of months", required=True),
        one_of("term_months", (36, 60)),
        rules.readable("interest_rate", rules.A_RATE, required=True),
        between("interest_rate", 0, 1),
        rules.readable("issue_month", rules.A_MONTH, required=True),
        one_of("grade", GRADES, required=True),
        matches("sub_grade", "[A-G][1-5]"),
        rules.sub_grade_of_grade(),
        one_of("loan_status", STATUSES, required=True),
        matches("state", "[A-Z]{2}", required=True),
        rules.readable("employment_years", "years as LendingClub words them, or n/a"),
        between("employment_years", 0, 10),
        rules.readable("zip3", "three digits, or five of which two may be x"),
        rules.readable("revolving_utilization", rules.A_RATE),
        between("revolving_utilization", 0, 10),
        *(rules.readable(name, rules.A_NUMBER) for name in (*MONEY_COLUMNS, *RATIO_COLUMNS)),
        *(non_negative(name) for name in MONEY_COLUMNS),
        *(rules.readable(name, "a whole number") for name in COUNT_COLUMNS),
        *(non_negative(name) for name in COUNT_COLUMNS),
        *(rules.readable(name, rules.A_MONTH) for name in MONTH_COLUMNS if name != "issue_month"),
        rules.paid_adds_up(),
        rules.credit_before_issue(),
    ),
)  # fmt: skip
