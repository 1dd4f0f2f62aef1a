"""Synthetic loans, equal on every machine, in both forms of LendingClub's files: none of a real person.

Belongs here: generating files from a seed. Does not: landing them.

    python -m lakehouse.domains.lending.sample --loans 100000 --out landing/loans/synthetic.csv

Each loan is paid back by its schedule, in whole cents, until it ends or the clock stops it, so that what was
paid adds up. Only `random()` is drawn, which is the same in every Python.
"""

from __future__ import annotations

import argparse
import csv
import io
import random
import sys
from collections.abc import Sequence
from datetime import date
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path

from lakehouse.domains.lending.vocabulary import COLUMNS, GRADES, NOT_BY_POLICY, OTHERS

CLOCK = date(2026, 1, 1)
SEED = 13
LOANS = 500
IN_OWN_FORM = 100  # of them, every fifth: in LendingClub's own form
FIRST_YEAR, QUARTERS = 2020, 25

EXPECTED: dict[str, int] = {
    "bronze/raw_loans": 500,
    "silver/loans": 500,
    "quarantine/loans": 0,
}
"""Rows of each table once exactly the sample has been loaded."""

_STATES = (
    ("CA", "900"), ("NY", "100"), ("TX", "750"), ("FL", "331"), ("IL", "606"), ("WA", "981"), ("OH", "441"),
    ("GA", "303"), ("CO", "802"), ("MA", "021"),
)  # fmt: skip
_PURPOSES = ("debt_consolidation", "credit_card", "home_improvement", "small_business", "car", "other")
_HOMES = ("RENT", "RENT", "MORTGAGE", "MORTGAGE", "OWN", "OTHER")
_CHECKED = ("Not Verified", "Verified", "Source Verified")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_DATES = ("issue_d", "earliest_cr_line", "last_pymnt_d", "next_pymnt_d", "last_credit_pull_d")
_RATES = ("int_rate", "revol_util")

Loan = dict[str, str]


def sample_files(*, seed: int = SEED, clock: date = CLOCK) -> dict[str, bytes]:
    """Return the sample: landing name -> CSV bytes. 400 loans in the converted form, 100 in LendingClub's."""
    made = loans(LOANS, seed=seed, clock=clock)
    every = LOANS // IN_OWN_FORM
    return {
        "loans/sample.csv": converted([loan for n, loan in enumerate(made) if n % every]),
        "loans/sample_as_published.csv": as_published(made[::every]),
    }


def loans(count: int, *, seed: int = SEED, clock: date = CLOCK) -> list[Loan]:
    """Return loans in the converted form, as they stand at the clock's month. 25 quarters from 2020 on."""
    draw = random.Random(seed)  # noqa: S311
    return [_loan(n, draw, clock) for n in range(count)]


def converted(made: Sequence[Loan]) -> bytes:
    """Return a file in the converted form: fractions, ISO dates, months as numbers, every column."""
    rows = [{**loan, "issue_year": loan["issue_d"][:4]} for loan in made]
    return _csv([*COLUMNS, *OTHERS], rows, csv.QUOTE_MINIMAL)


def as_published(made: Sequence[Loan]) -> bytes:
    """Return a file in LendingClub's own form, with the lines above and below its table."""
    columns = [*COLUMNS, *(name for name in OTHERS if name != "issue_year")]
    table = _csv(columns, [own_form(loan) for loan in made], csv.QUOTE_ALL).decode()
    funded = sum(Decimal(loan["funded_amnt"]) for loan in made)
    above = "Notes offered by Prospectus (https://www.lendingclub.com/info/prospectus.action)\n"
    below = (
        f"\n\nTotal amount funded in policy code 1: {funded:.0f}\nTotal amount funded in policy code 2: 0\n"
    )
    return (above + table + below).encode()


def own_form(loan: Loan) -> Loan:
    """Return a loan of the converted form in LendingClub's texts: ` 36 months`, ` 13.56%`, `Dec-11`."""
    own = {name: text for name, text in loan.items() if name != "issue_year"}
    own |= {name: _short_month(own[name]) for name in _DATES if own[name]}
    own |= {name: f" {Decimal(own[name]) * 100:.2f}%" for name in _RATES if own[name]}
    return {**own, "term": f" {own['term']} months"}


def _short_month(day: str) -> str:
    return f"{_MONTHS[int(day[5:7]) - 1]}-{day[2:4]}"


def _csv(columns: Sequence[str], rows: Sequence[Loan], quoting: int) -> bytes:
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, restval="", quoting=quoting, lineterminator="\n")  # type: ignore[arg-type]
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()


def _loan(number: int, draw: random.Random, clock: date) -> Loan:
    quarter = number % QUARTERS
    issued = date(FIRST_YEAR + quarter // 4, quarter % 4 * 3 + 1, 1)
    place = min(_below(draw, 35), _below(draw, 35))  # better grades are more common
    grade, state = GRADES[place // 5], _STATES[_below(draw, len(_STATES))]
    term = 60 if draw.random() < 0.3 else 36
    amount, rate = 100_000 + 2_500 * _below(draw, 1_361), 542 + 55 * place  # cents, hundredths of a percent
    income = 2_000_000 + 50_000 * _below(draw, 300)
    years = _below(draw, 12)
    purpose = _PURPOSES[_below(draw, len(_PURPOSES))]
    paid = _paid(draw, amount=amount, rate=rate, term=term, issued=issued, clock=clock, place=place)
    backed = 100 if draw.random() < 0.8 else 90  # percent of it by investors
    return {
        "loan_amnt": _money(amount), "funded_amnt": _money(amount),
        "funded_amnt_inv": _money(amount * backed // 100), "term": str(term),
        "int_rate": f"{rate / 10_000:.4f}",
        "installment": _money(_installment(amount, rate, term)), "grade": grade,
        "sub_grade": f"{grade}{place % 5 + 1}",
        "emp_title": f"Employer {_below(draw, 200):03}" if years < 11 else "",
        "emp_length": {0: "< 1 year", 1: "1 year", 10: "10+ years", 11: "n/a"}.get(years, f"{years} years"),
        "home_ownership": _HOMES[_below(draw, len(_HOMES))], "annual_inc": _money(income),
        "verification_status": _CHECKED[_below(draw, 3)], "issue_d": issued.isoformat(), "purpose": purpose,
        "title": purpose.replace("_", " ").capitalize(), "zip_code": f"{state[1]}xx", "addr_state": state[0],
        "dti": f"{_below(draw, 3_500) / 100:.2f}", "delinq_2yrs": str(_below(draw, 3)),
        "earliest_cr_line": date(1962 + _below(draw, 50), 1 + _below(draw, 12), 1).isoformat(),
        "inq_last_6mths": str(_below(draw, 4)), "open_acc": str(2 + _below(draw, 20)),
        "pub_rec": str(_below(draw, 2)), "revol_bal": str(_below(draw, 40_000)),
        "revol_util": f"{_below(draw, 1_050) / 1_000:.3f}", "total_acc": str(22 + _below(draw, 30)),
        "application_type": "Individual", "policy_code": "1", "pymnt_plan": "n", "initial_list_status": "w",
        "last_credit_pull_d": clock.isoformat(), **paid,
        "total_pymnt_inv": _money(int(Decimal(paid["total_pymnt"]) * backed)),
    }  # fmt: skip


def _paid(
    draw: random.Random, *, amount: int, rate: int, term: int, issued: date, clock: date, place: int
) -> Loan:
    """Return a loan's status and what was paid of it: the payments due so far, or those until it ended."""
    due = max(0, min(term, (clock.year - issued.year) * 12 + clock.month - issued.month))
    stops, early = draw.random() < 0.1 + place / 100, draw.random() < 0.2
    missed = _below(draw, 6 if draw.random() < 0.4 else due + 1) if stops else 0
    made = max(0, due - missed)
    if early and not stops and due:
        made = 1 + _below(draw, due)
    principal, interest = _schedule(amount, rate, term, made)
    last = min(_installment(amount, rate, term), principal + interest)
    if early and not stops and made:
        last += amount - principal
        principal = amount
    gone = principal < amount and due - made >= 5
    status = _status(left=amount - principal, made=made, missed=due - made, half=draw.random() < 0.5)
    late = 1_500 * _below(draw, 3) if stops and made else 0
    recovered = (amount - principal) * _below(draw, 20) // 100 if gone else 0
    policy = NOT_BY_POLICY if status in ("Fully Paid", "Charged Off") and draw.random() < 0.05 else ""
    ended = status in ("Fully Paid", "Charged Off")
    return {
        "loan_status": policy + status, "out_prncp": _money(0 if ended else amount - principal),
        "total_pymnt": _money(principal + interest + late + recovered), "total_rec_prncp": _money(principal),
        "total_rec_int": _money(interest), "total_rec_late_fee": _money(late),
        "recoveries": _money(recovered),
        "collection_recovery_fee": _money(recovered * 18 // 100),
        "last_pymnt_d": _later(issued, made) if made else "", "last_pymnt_amnt": _money(last if made else 0),
        "next_pymnt_d": "" if ended else _later(clock, 1),
    }  # fmt: skip


def _status(*, left: int, made: int, missed: int, half: bool) -> str:
    """Return the status by what is left and how many payments were missed; some have two, half of each."""
    if not left:
        return "Fully Paid"
    if missed >= 5:
        return "Charged Off"
    if missed >= 2:
        return "Default" if half and missed == 4 else "Late (31-120 days)"
    if missed:
        return "In Grace Period" if half else "Late (16-30 days)"
    return "Current" if made else "Issued"


def _schedule(amount: int, rate: int, term: int, made: int) -> tuple[int, int]:
    """Return principal and interest of the first payments, in cents; the last one settles the rest."""
    left, interest, installment = amount, 0, _installment(amount, rate, term)
    for number in range(1, made + 1):
        part = (left * rate + 60_000) // 120_000  # a month's, rounded half up
        interest += part
        left -= left if number == term else installment - part
    return amount - left, interest


def _installment(amount: int, rate: int, term: int) -> int:
    """Return the payment of an annuity, in cents: P·r / (1 - (1 + r)^-n)."""
    monthly = Decimal(rate) / 120_000
    exact = amount * monthly / (1 - (1 + monthly) ** -term)
    return int(exact.quantize(Decimal(1), ROUND_HALF_UP))


def _later(day: date, months: int) -> str:
    number = day.year * 12 + day.month - 1 + months
    return date(number // 12, number % 12 + 1, 1).isoformat()


def _money(cents: int) -> str:
    return f"{cents // 100}.{cents % 100:02}"


def _below(draw: random.Random, bound: int) -> int:
    return int(draw.random() * bound)


def main(argv: Sequence[str] | None = None) -> int:
    """Write a file of loans; 0 when done, 2 on wrong arguments."""
    parser = argparse.ArgumentParser(
        prog="python -m lakehouse.domains.lending.sample", description=loans.__doc__
    )
    parser.add_argument("--loans", type=int, required=True, help="how many")
    parser.add_argument("--out", type=Path, required=True, help="CSV file to write")
    parser.add_argument(
        "--seed", type=int, default=SEED, help="another seed, other data (default %(default)s)"
    )
    parser.add_argument("--as-published", action="store_true", help="in LendingClub's own form")
    given = parser.parse_args(argv)
    made = loans(given.loans, seed=given.seed)
    try:
        given.out.write_bytes(as_published(made) if given.as_published else converted(made))
    except OSError as exc:
        parser.error(str(exc))
    sys.stdout.write(f"{given.out}: {len(made)} loans\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
