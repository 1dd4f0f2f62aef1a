"""Loans: what each text becomes, what is refused and why, and which rows are one loan."""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
import json
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from conftest_landing import Parts, bronze, landed, silver

from lakehouse.contracts import DecimalType, Type, quarantine_of
from lakehouse.domains.lending import contracts as c
from lakehouse.domains.lending import transforms, vocabulary
from lakehouse.domains.lending.sources import SOURCES
from lakehouse.errors import SourceError, UnknownShape
from lakehouse.landing import Unexpected
from lakehouse.pipeline import Lake, ingest, open_lake, refresh
from lakehouse.registry import transform_of
from lakehouse.settings import Settings

LOAN = {
    "loan_amnt": "10000", "funded_amnt": "10000", "funded_amnt_inv": "9975.0", "term": "36",
    "int_rate": "0.1356", "installment": "339.66", "grade": "C", "sub_grade": "C1",
    "emp_title": "Acme", "emp_length": "3 years", "home_ownership": "RENT", "annual_inc": "60000.0",
    "verification_status": "Verified", "issue_d": "2011-12-01", "loan_status": "Current",
    "purpose": "car", "title": "A car", "zip_code": "945xx", "addr_state": "CA", "dti": "12.5",
    "delinq_2yrs": "0", "earliest_cr_line": "1998-11-01", "inq_last_6mths": "1", "open_acc": "7",
    "pub_rec": "0", "revol_bal": "298", "revol_util": "0.787", "total_acc": "15",
    "out_prncp": "9000", "total_pymnt": "1300.00", "total_pymnt_inv": "1296.75",
    "total_rec_prncp": "1000", "total_rec_int": "270", "total_rec_late_fee": "15",
    "recoveries": "15", "collection_recovery_fee": "2.7", "last_pymnt_d": "2012-03-01",
    "last_pymnt_amnt": "339.66", "next_pymnt_d": "2012-04-01", "last_credit_pull_d": "2012-03-01",
    "application_type": "Individual", "more": '{"desc":"Hello","url":null,"policy_code":"1"}',
}  # fmt: skip


def made(*rows: dict[str, Any]) -> Parts:
    return silver(c.LOANS, transforms.loans, bronze(c.RAW_LOANS, [{**LOAN, **row} for row in rows]))


def refusals(*rows: dict[str, Any]) -> list[str]:
    """Return the rules that each row breaks, in one text; empty where it is kept."""
    parts = made(*rows)
    broken = dict(parts.refused.select("_row", "rules").rows())
    assert parts.good["_row"].to_list() == [n for n in range(len(rows)) if n not in broken]
    return [broken.get(n, "") for n in range(len(rows))]


def one(**values: Any) -> dict[str, Any]:
    """Return the loan of a row that keeps every rule."""
    parts = made(values)
    assert (parts.failures, parts.good.height) == ({}, 1)
    return parts.good.row(0, named=True)


# -- columns ---------------------------------------------------------------------------------------------


def test_a_loan_has_these_columns_and_no_other() -> None:
    """Models are built on the names and types."""
    money = (
        "loan_amount", "funded_amount", "funded_amount_investors", "installment", "annual_income",
        "revolving_balance", "outstanding_principal", "total_paid", "total_paid_investors", "principal_paid",
        "interest_paid", "late_fees_paid", "recoveries", "collection_fee", "last_payment_amount",
    )  # fmt: skip
    whole = (
        "employment_years", "delinquencies_2y", "inquiries_6m", "open_accounts", "public_records",
        "total_accounts",
    )  # fmt: skip
    months = (
        "earliest_credit_line", "last_payment_month", "next_payment_month", "last_credit_pull_month",
    )  # fmt: skip
    texts = (
        "loan_id", "member_id", "sub_grade", "employer_title", "verification_status", "purpose", "title",
        "zip3", "application_type", "original", "more",
    )  # fmt: skip
    required = {
        "loan_key": Type.STRING, "term_months": Type.INT32, "interest_rate": DecimalType(9, 6),
        "grade": Type.STRING, "home_ownership": Type.STRING, "issue_month": Type.DATE,
        "loan_status": Type.STRING, "meets_credit_policy": Type.BOOL, "state": Type.STRING,
    }  # fmt: skip
    pointers = {
        "_source": Type.STRING, "_fingerprint": Type.STRING, "_row": Type.INT64, "_batch_id": Type.INT64,
    }  # fmt: skip
    optional = {
        **dict.fromkeys(money, DecimalType(18, 2)),
        **dict.fromkeys(whole, Type.INT32),
        **dict.fromkeys(months, Type.DATE),
        **dict.fromkeys(texts, Type.STRING),
        "dti": DecimalType(18, 4),
        "revolving_utilization": DecimalType(9, 6),
    }
    assert {x.name: x.type for x in c.LOANS.columns if not x.nullable} == required | pointers
    assert {x.name: x.type for x in c.LOANS.columns if x.nullable} == optional
    assert {x.name for x in c.LOANS.columns if x.pii} == {
        "member_id",
        "employer_title",
        "title",
        "zip3",
        "more",
    }
    assert c.LOANS.key == ("loan_key",)


def test_a_row_in_the_converted_form() -> None:
    loan = one()
    key = loan.pop("loan_key")
    assert (len(key), set(key) <= set("0123456789abcdef")) == (64, True)
    original = json.loads(loan.pop("original"))
    assert list(original) == [name for name in vocabulary.COLUMNS if name in c.ORIGINAL]
    assert original == {name: LOAN[name] for name in c.ORIGINAL}
    assert {name: value for name, value in loan.items() if not name.startswith("_")} == {
        "loan_id": None, "member_id": None, "loan_amount": Decimal(10000), "funded_amount": Decimal(10000),
        "funded_amount_investors": Decimal(9975), "term_months": 36, "interest_rate": Decimal("0.1356"),
        "installment": Decimal("339.66"), "grade": "C", "sub_grade": "C1", "employer_title": "Acme",
        "employment_years": 3, "home_ownership": "RENT", "annual_income": Decimal(60000),
        "verification_status": "Verified", "issue_month": date(2011, 12, 1), "loan_status": "Current",
        "meets_credit_policy": True, "purpose": "car", "title": "A car", "zip3": "945", "state": "CA",
        "dti": Decimal("12.5"), "delinquencies_2y": 0, "earliest_credit_line": date(1998, 11, 1),
        "inquiries_6m": 1, "open_accounts": 7, "public_records": 0, "revolving_balance": Decimal(298),
        "revolving_utilization": Decimal("0.787"), "total_accounts": 15,
        "outstanding_principal": Decimal(9000), "total_paid": Decimal(1300),
        "total_paid_investors": Decimal("1296.75"),
        "principal_paid": Decimal(1000), "interest_paid": Decimal(270), "late_fees_paid": Decimal(15),
        "recoveries": Decimal(15), "collection_fee": Decimal("2.7"), "last_payment_month": date(2012, 3, 1),
        "last_payment_amount": Decimal("339.66"), "next_payment_month": date(2012, 4, 1),
        "last_credit_pull_month": date(2012, 3, 1), "application_type": "Individual",
        "more": '{"desc":"Hello","policy_code":"1"}',
    }  # fmt: skip


def test_the_same_row_in_lendingclubs_own_form_is_the_same_loan() -> None:
    own = {
        "loan_amnt": " 10000 ", "funded_amnt_inv": "9975", "term": " 36 months", "int_rate": " 13.56%",
        "revol_util": "78.7%", "issue_d": "Dec-11", "earliest_cr_line": "Nov-98", "last_pymnt_d": "Mar-2012",
        "next_pymnt_d": "Apr-12", "last_credit_pull_d": "mar-2012", "emp_title": " ACME  ",
        "annual_inc": "6e4",
    }  # fmt: skip
    there, here = one(), one(**own)
    assert there.pop("employer_title") == "Acme"
    assert here.pop("employer_title") == "ACME"
    assert json.loads(here.pop("original"))["int_rate"] == " 13.56%"
    assert {**there, "original": None} == {**here, "original": None}


@pytest.mark.parametrize(
    ("interest", "utilization"),
    [("13.56", "78.7"), ("13.56%", "78.7"), ("13.56", "78.7%"), ("0.1356", "78.7%")],
)
def test_rates_without_their_sign_are_those_of_their_row(interest: str, utilization: str) -> None:
    loan = one(int_rate=interest, revol_util=utilization)
    assert (loan["interest_rate"], loan["revolving_utilization"]) == (Decimal("0.1356"), Decimal("0.787"))


MEANT: list[tuple[str, str | None, str, object]] = [
    ("int_rate", "13.56 %", "interest_rate", Decimal("0.1356")),
    ("int_rate", "7%", "interest_rate", Decimal("0.07")),
    ("int_rate", ".5%", "interest_rate", Decimal("0.005")),
    ("int_rate", "0.07490000000000001", "interest_rate", Decimal("0.0749")),
    ("int_rate", "100%", "interest_rate", Decimal(1)),
    ("int_rate", "-0", "interest_rate", Decimal(0)),
    ("revol_util", "119%", "revolving_utilization", Decimal("1.19")),
    ("revol_util", "n/a", "revolving_utilization", None),
    ("revol_util", "0.05%", "revolving_utilization", Decimal("0.0005")),
    ("term", " 60 months", "term_months", 60),
    ("term", "36.0", "term_months", 36),
    ("total_pymnt", "1300.0000000000001", "total_paid", Decimal("1300.00")),
    ("annual_inc", "1000.399999999996", "annual_income", Decimal("1000.40")),
    ("annual_inc", "0.005", "annual_income", Decimal("0.01")),
    ("annual_inc", "1e+05", "annual_income", Decimal(100000)),
    ("annual_inc", "", "annual_income", None),
    ("annual_inc", "NA", "annual_income", None),
    ("out_prncp", "-0.0", "outstanding_principal", Decimal(0)),
    ("out_prncp", "-0.0049", "outstanding_principal", Decimal(0)),
    ("dti", "27.65", "dti", Decimal("27.65")),
    ("dti", "-1", "dti", Decimal(-1)),
    ("emp_length", "10+ years", "employment_years", 10),
    ("emp_length", "< 1 year", "employment_years", 0),
    ("emp_length", "1 year", "employment_years", 1),
    ("emp_length", "n/a", "employment_years", None),
    ("emp_length", None, "employment_years", None),
    ("emp_length", "10", "employment_years", 10),
    ("emp_title", "n/a", "employer_title", "n/a"),
    ("emp_title", "  ", "employer_title", None),
    ("title", " A car ", "title", "A car"),
    ("purpose", "N/A", "purpose", None),
    ("zip_code", "021XX", "zip3", "021"),
    ("zip_code", "02134", "zip3", "021"),
    ("open_acc", "9.0", "open_accounts", 9),
    ("issue_d", "2011-12-01T00:00:00.000Z", "issue_month", date(2011, 12, 1)),
    ("issue_d", "2011-12-31", "issue_month", date(2011, 12, 1)),
    ("issue_d", "2011-12", "issue_month", date(2011, 12, 1)),
    ("issue_d", "DEC-2011", "issue_month", date(2011, 12, 1)),
    ("earliest_cr_line", "Jan-62", "earliest_credit_line", date(1962, 1, 1)),
    ("earliest_cr_line", "Dec-99", "earliest_credit_line", date(1999, 12, 1)),
    ("earliest_cr_line", "Mar-08", "earliest_credit_line", date(2008, 3, 1)),
    ("earliest_cr_line", "Dec-11", "earliest_credit_line", date(2011, 12, 1)),
    ("earliest_cr_line", "Jan-12", "earliest_credit_line", date(1912, 1, 1)),
    ("next_pymnt_d", "Jan-62", "next_payment_month", date(2062, 1, 1)),
    ("id", "1077501", "loan_id", "1077501"),
    ("id", "1077501.0", "loan_id", "1077501"),
    ("member_id", "1296599.00", "member_id", "1296599"),
    ("loan_status", " In Grace Period", "loan_status", "In Grace Period"),
    ("more", None, "more", None),
    ("more", '{"b":"2","a":" ","c":null,"desc":"say \\"x\\":null"}', "more",
     '{"b":"2","desc":"say \\"x\\":null"}'),
]  # fmt: skip


def test_what_a_text_means() -> None:
    rows = made(*({column: text} for column, text, _, _ in MEANT)).good.rows(named=True)
    found = [(*case[:3], row[case[2]]) for case, row in zip(MEANT, rows, strict=True)]
    assert found == MEANT


def test_the_status_and_the_credit_policy_are_told_apart() -> None:
    meant = {
        "Does not meet the credit policy. Status:Fully Paid": ("Fully Paid", False),
        "Does not meet the credit policy.  Status: Charged Off": ("Charged Off", False),
        "Does not meet the current credit policy  Status: Current": ("Current", False),
        **{status: (status, True) for status in vocabulary.STATUSES},
    }
    rows = made(*({"loan_status": text} for text in meant)).good
    assert rows.select("loan_status", "meets_credit_policy").rows() == list(meant.values())


REFUSED: list[tuple[str, list[str | None], list[str]]] = [
    ("term", ["365 months", "12"], ["term_months_one_of"]),
    ("term", ["36 days", "36.5", "months", "", "n/a", "3 6", "36%"], ["term_months_readable"]),
    ("int_rate", ["113.56", "101%", "1.0000005", "1.99", "-0.01"], ["interest_rate_between"]),
    ("int_rate", ["NaN", "inf", "", None, "n/a", "13,56%", "%", "13.56%%", "1e1%", "13.56 pct"],
     ["interest_rate_readable"]),
    ("revol_util", ["78.7", "-1%"], ["revolving_utilization_between"]),
    ("revol_util", ["NaN", "seventy", "0,5"], ["revolving_utilization_readable"]),
    ("annual_inc", ["1,000", "$1000", "NaN", "nan", "inf", "-inf", "1 000", "0x10", "none", "1e", "(5)"],
     ["annual_income_readable"]),
    ("annual_inc", ["9" * 17, "1e16", "9999999999999999.995"], ["annual_income_readable"]),
    ("annual_inc", ["-1", "-0.005"], ["annual_income_not_negative"]),
    ("dti", ["12%", "NaN"], ["dti_readable"]),
    ("grade", ["H", "a"], ["grade_one_of", "sub_grade_of_grade"]),
    ("grade", ["", "NA"], ["grade_one_of"]),
    ("sub_grade", ["C6", "C", "C11"], ["sub_grade_matches"]),
    ("sub_grade", ["B1"], ["sub_grade_of_grade"]),
    ("loan_status", ["Paid", "fully paid", "", "Does not meet the credit policy. Status:Gone"],
     ["loan_status_one_of"]),
    ("addr_state", ["California", "ca", "", "NA", "12"], ["state_matches"]),
    ("home_ownership", ["", None, "n/a"], ["home_ownership_not_null"]),
    ("emp_length", ["several", "-", "10+ months", "< 2 years"], ["employment_years_readable"]),
    ("emp_length", ["11 years", "-1 year"], ["employment_years_between"]),
    ("zip_code", ["94", "945x", "70xx", "ABCxx", "9450000"], ["zip3_readable"]),
    ("open_acc", ["7.5", "seven", "1e1", "9999999999", "NaN"], ["open_accounts_readable"]),
    ("open_acc", ["-1"], ["open_accounts_not_negative"]),
    ("issue_d", ["", "n/a", "11-Dec", "2011-13-01", "2011-13", "2011", "12/2011", "Dez-2011", "Dec-211",
                 "2011-02-30", "2011-12-01T10:00:00Z"], ["issue_month_readable"]),
    ("last_pymnt_d", ["Foo-12", "2012"], ["last_payment_month_readable"]),
]  # fmt: skip


def test_what_breaks_a_rule_is_refused_and_the_column_is_named() -> None:
    cases = [(column, text, ",".join(rules)) for column, texts, rules in REFUSED for text in texts]
    found = refusals(*({column: text} for column, text, _ in cases))
    assert [(*case[:2], rules) for case, rules in zip(cases, found, strict=True)] == cases


def test_what_was_paid_adds_up_to_five_cents_or_warns() -> None:
    kept = [{"total_pymnt": "1300.05"}, {"total_pymnt": "1299.95"}, {"recoveries": ""}]
    off = [{"total_pymnt": "1300.06"}, {"total_pymnt": "1299.94"}, {"recoveries": "14.94"}]
    late = [{"earliest_cr_line": "2012-01-01"}]
    parts = made(*kept, *off, *late)
    assert parts.warnings == {"paid_adds_up": 3, "issue_month_after_earliest_credit_line": 1}
    assert parts.good.height == 7


# -- which rows are one loan -------------------------------------------------------------------------------


def keys(*rows: dict[str, Any]) -> list[str]:
    good = made(*rows).good
    assert good.height == len(rows)
    return good["loan_key"].to_list()


CHANGED = {
    "loan_amnt": "10001", "funded_amnt": "9999", "term": "60", "int_rate": "0.1357", "installment": "339.67",
    "sub_grade": "C2", "emp_title": "Acme Ltd", "emp_length": "4 years", "home_ownership": "OWN",
    "annual_inc": "60000.01", "issue_d": "2011-11-01", "purpose": "house", "title": "A boat",
    "zip_code": "946xx", "addr_state": "NV", "dti": "12.51", "earliest_cr_line": "1998-12-01",
    "inq_last_6mths": "2",
}  # fmt: skip


def test_each_identifying_column_tells_loans_apart_and_no_other_does() -> None:
    assert [vocabulary.COLUMNS[name] for name in CHANGED] == list(c.IDENTIFYING)
    others = [{name: text} for name, text in CHANGED.items()]
    found = keys({}, *others, {"emp_title": "", "title": "Acme"})
    assert len(set(found)) == len(found)
    same = {
        "member_id": "7", "funded_amnt_inv": "1", "verification_status": "Not Verified", "zip_code": "94501",
        "loan_status": "Fully Paid", "total_pymnt": "1", "out_prncp": "0", "last_pymnt_d": "",
        "last_credit_pull_d": "", "recoveries": "0", "more": None, "emp_title": "  aCME\t",
        "title": "a \n car", "installment": "339.660000001", "delinq_2yrs": "5", "revol_bal": "0",
    }  # fmt: skip
    assert set(keys({}, *({name: text} for name, text in same.items()))) == {found[0]}


def test_an_id_is_the_key_alone() -> None:
    none, first, again, float_, second = keys(
        {}, {"id": "1"}, {"id": " 1 ", "loan_amnt": "5", "title": ""}, {"id": "1.0"}, {"id": "2"}
    )
    assert first == again == float_
    assert len({none, first, second}) == 3


def test_the_key_is_pinned() -> None:
    """Another key would double every loan of a lake."""
    told = (
        "loan", "10000.00", "10000.00", "36", "0.135600", "339.66", "c1", "acme", "3", "rent", "60000.00",
        "2011-12-01", "car", "a car", "945", "ca", "12.5000", "1998-11-01", "1",
    )  # fmt: skip
    assert keys({}, {"id": "1077501"}) == [
        hashlib.sha256("\x1f".join(text).encode()).hexdigest() for text in (told, ("id", "1077501"))
    ]


# -- files -----------------------------------------------------------------------------------------------


def rows_of(text: str | bytes, name: str = "loans/a.csv") -> tuple[pl.DataFrame, Unexpected]:
    file = landed(name, text.encode() if isinstance(text, str) else text)
    return pl.concat(list(SOURCES[0].rows(file))), file.unexpected


def table(*rows: dict[str, str], without: tuple[str, ...] = (), quoting: int = csv.QUOTE_MINIMAL) -> str:
    names = [n for n in dict.fromkeys([*vocabulary.COLUMNS, *(n for row in rows for n in row)])
             if n not in (*without, "more")]  # fmt: skip
    out = io.StringIO()
    writer = csv.DictWriter(out, names, "", "ignore", quoting=quoting, lineterminator="\n")  # type: ignore[arg-type]
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()


def test_a_file_needs_the_columns_of_silver_and_no_other() -> None:
    rows, met = rows_of(table(LOAN))
    assert (rows.columns, rows.height, dict(met)) == ([*vocabulary.COLUMNS, "more"], 1, {})
    assert rows["more"].to_list() == [None]
    for name in vocabulary.COLUMNS:
        with pytest.raises(UnknownShape, match=f"it has 42 columns, but not {name};"):
            rows_of(table(LOAN, without=(name,)))


def test_columns_of_later_files_are_kept_and_unknown_ones_are_reported_too() -> None:
    more = {"desc": "Hello", "hardship_flag": "N", "sec_app_open_acc": "", "Shoe Size": "44"}
    rows, met = rows_of(table({**LOAN, **more}))
    assert json.loads(rows["more"][0]) == {**more, "sec_app_open_acc": None}
    assert dict(met) == {"shoe_size": 1}
    assert not set(vocabulary.OTHERS) & set(vocabulary.COLUMNS)


def test_headings_are_matched_without_case_and_blanks() -> None:
    head, rest = table(LOAN).split("\n", 1)
    rows, _ = rows_of(head.upper().replace("_", " ").replace(",", " ,") + "\n" + rest)
    assert rows.equals(rows_of(table(LOAN))[0])


ABOVE = "Notes offered by Prospectus (https://www.lendingclub.com/info/prospectus.action)\n"
BELOW = "\n\nTotal amount funded in policy code 1: 460296150\nTotal amount funded in policy code 2: 0\n"


@pytest.mark.parametrize("quoting", [csv.QUOTE_MINIMAL, csv.QUOTE_ALL])
def test_the_lines_around_lendingclubs_table_are_no_rows(quoting: int) -> None:
    plain = table(LOAN, {**LOAN, "id": "2"}, quoting=quoting)
    rows, met = rows_of(gzip.compress((ABOVE + plain + BELOW).encode()))
    assert rows.equals(rows_of(plain)[0])
    assert (met.other_lines, met.blank_lines) == (3, 2)
    head, first, _ = plain.splitlines(keepends=True)
    below = table({**LOAN, "loan_status": f"{vocabulary.NOT_BY_POLICY}Fully Paid"}, quoting=quoting)
    parts = head + first + "\n\nLoans that do not meet the credit policy\n\n" + below.removeprefix(head)
    found, met = rows_of(ABOVE + parts + BELOW)
    assert found["loan_status"].to_list() == ["Current", f"{vocabulary.NOT_BY_POLICY}Fully Paid"]
    assert (met.other_lines, met.blank_lines) == (4, 5)
    assert rows_of(ABOVE + parts.replace("the credit", "the current credit") + BELOW)[0].height == 2


def test_a_loan_below_the_divider_whose_status_does_not_say_so_refuses_the_file() -> None:
    """The line becomes no row: the loan would pass for one that meets the credit policy."""
    head, first = table(LOAN).splitlines(keepends=True)
    parts = head + first + "\nLoans that do not meet the credit policy\n" + first
    with pytest.raises(
        SourceError, match="line 5 is below a divider, and its loan_status does not say the same"
    ):
        rows_of(parts)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("Notes offered by someone else\n{}", "line 2 has 43 fields, the header 1"),
        (ABOVE + "{}Total amount funded\n", "line 4 has 1 field, the header 43"),
        (ABOVE + "{}" + BELOW + "1,2\n", "line 8 follows the footer of line 6"),
        ("{}1,2,3\n", "line 3 has 3 fields, the header 43"),
    ],
)
def test_any_other_line_refuses_the_file_with_its_number(text: str, says: str) -> None:
    with pytest.raises(Exception, match=says):
        rows_of(text.format(table(LOAN)))


def test_parquet_with_types_gives_the_same_loan() -> None:
    schema = dict.fromkeys(vocabulary.COLUMNS, pl.String)
    texts = pl.DataFrame({name: [LOAN.get(name)] for name in schema}, schema)
    typed = texts.with_columns(
        pl.col("loan_amnt", "term", "open_acc").cast(pl.Int64), pl.col("int_rate", "dti").cast(pl.Float64),
        pl.col("issue_d").str.to_date(), pl.col("earliest_cr_line").str.to_datetime("%Y-%m-%d"),
    )  # fmt: skip
    out = io.BytesIO()
    typed.write_parquet(out)
    rows, _ = rows_of(out.getvalue(), "loans/a.parquet")
    found = silver(c.LOANS, transforms.loans, bronze(c.RAW_LOANS, rows.to_dicts())).good.row(0, named=True)
    wanted = {**one(more=None), "original": found["original"]}
    assert found == wanted


# -- a lake ----------------------------------------------------------------------------------------------


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return open_lake(Settings(lake_url=str(tmp_path / "lake"), landing_url=str(tmp_path / "landing")))


def run(lake: Lake, **files: str) -> tuple[int, int, int, int]:
    """Land files; return rows written, updated, merged and quarantined in Silver."""
    for name, text in files.items():
        lake.landing.put(f"loans/{name}.csv", text.encode())
    ingest(lake, c.RAW_LOANS, SOURCES)
    found = refresh(lake, c.LOANS, transform_of(c.LOANS))
    return found.written, found.updated, found.merged, found.quarantined


def test_a_later_export_of_a_loan_takes_its_place(lake: Lake) -> None:
    other = {**LOAN, "title": "A boat"}
    assert run(lake, a=table(LOAN, other)) == (2, 0, 0, 0)
    paid = {**LOAN, "loan_status": "Fully Paid", "out_prncp": "0", "total_pymnt": "11000"}
    assert run(lake, b=table(paid, other)) == (0, 2, 2, 0)
    rows = lake.store.scan(c.LOANS).sort("title").collect()
    assert rows.select("title", "loan_status", "_source").rows() == [
        ("A boat", "Current", "loans/b.csv"), ("A car", "Fully Paid", "loans/b.csv"),
    ]  # fmt: skip
    assert run(lake) == (0, 0, 0, 0)


def test_the_same_loan_twice_in_a_file_is_one(lake: Lake) -> None:
    assert run(lake, a=table(LOAN, LOAN)) == (1, 0, 1, 0)


def test_a_refused_row_is_in_quarantine_with_its_reasons(lake: Lake) -> None:
    bad = {**LOAN, "annual_inc": "1,000", "term": "365 months", "loan_status": "Lost"}
    assert run(lake, a=table(LOAN, bad)) == (1, 0, 0, 1)
    refused = lake.store.scan(quarantine_of(c.LOANS)).collect()
    assert json.loads(refused["reasons"][0]) == [
        {"rule": "term_months_one_of", "values": {"term_months": 365}},
        {"rule": "loan_status_one_of", "values": {"loan_status": "Lost"}},
        {"rule": "annual_income_readable", "values": {"annual_income_text": "1,000"}},
    ]
