"""The sample of loans: equal bytes everywhere, amounts that add up, both forms of file."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from collections import Counter
from datetime import date
from decimal import Decimal
from pathlib import Path

import polars as pl
import pytest
from conftest_landing import Parts, bronze, landed, silver

from lakehouse import registry
from lakehouse.domains.lending import contracts as c
from lakehouse.domains.lending import sample, transforms
from lakehouse.domains.lending.sources import SOURCES
from lakehouse.domains.lending.vocabulary import GRADES, STATUSES

# Pinned, so that a change of the sample is seen: two machines must give equal bytes.
PINNED = {
    "loans/sample.csv": "69f52b8f7a9c959acccb8aaeadecdcd96cc0e69de354d365b77051773c50c899",
    "loans/sample_as_published.csv": "2aa58f9051b3d5b1e19fd7ecaa0f8d6ace9df3270ad2071ab69e4da92b1bb595",
}


def loaded(files: dict[str, bytes]) -> Parts:
    frames = [pl.concat(list(SOURCES[0].rows(landed(name, body)))) for name, body in files.items()]
    return silver(c.LOANS, transforms.loans, bronze(c.RAW_LOANS, pl.concat(frames).to_dicts()))


def test_the_bytes_are_the_same_on_every_machine() -> None:
    assert {n: hashlib.sha256(b).hexdigest() for n, b in sample.sample_files().items()} == PINNED
    assert sample.sample_files(seed=8) != sample.sample_files()
    assert {n: b for n, b in registry.sample_files().items() if n in PINNED} == sample.sample_files()


def test_five_hundred_loans_of_every_grade_term_and_status() -> None:
    parts = loaded(sample.sample_files())
    found = parts.good
    assert (parts.failures, parts.warnings) == ({}, {})
    assert (found.height, found["loan_key"].n_unique()) == (500, 500)
    assert (set(found["grade"]), set(found["term_months"])) == (set(GRADES), {36, 60})
    assert set(found["loan_status"]) == set(STATUSES)
    assert Counter(found["issue_month"].dt.year()) == Counter(
        {2020: 80, 2021: 80, 2022: 80, 2023: 80, 2024: 80, 2025: 80, 2026: 20}
    )
    assert found.filter(~pl.col("meets_credit_policy")).height > 0
    assert found["employment_years"].null_count() > 0


@pytest.mark.parametrize("clock", [sample.CLOCK, date(2031, 5, 1)])
@pytest.mark.parametrize("seed", [sample.SEED, 1])
def test_what_was_paid_adds_up_to_the_cent(seed: int, clock: date) -> None:
    for loan in sample.loans(2000, seed=seed, clock=clock):
        parts = ("total_rec_prncp", "total_rec_int", "total_rec_late_fee", "recoveries")
        assert Decimal(loan["total_pymnt"]) == sum(Decimal(loan[name]) for name in parts)
        principal, amount = Decimal(loan["total_rec_prncp"]), Decimal(loan["funded_amnt"])
        ended = loan["loan_status"].endswith(("Fully Paid", "Charged Off"))
        assert Decimal(loan["out_prncp"]) == (0 if ended else amount - principal)
        assert (loan["loan_status"].endswith("Fully Paid")) == (principal == amount)
        assert max(loan["issue_d"], loan["last_pymnt_d"]) <= clock.isoformat()


def test_both_forms_are_the_same_loans() -> None:
    made = sample.loans(60)
    one = loaded({"loans/a.csv": sample.converted(made)}).good
    other = loaded({"loans/a.csv": sample.as_published(made)}).good
    assert one.drop("original", "more").equals(other.drop("original", "more"))


@pytest.mark.parametrize("more", [[], ["--as-published"]])
def test_a_file_of_any_number_of_loans_is_written(tmp_path: Path, more: list[str]) -> None:
    out = tmp_path / "loans.csv"
    command = [
        sys.executable,
        "-m",
        sample.__name__,
        "--loans",
        "30",
        "--seed",
        "5",
        "--out",
        str(out),
        *more,
    ]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, f"{out}: 30 loans\n")
    assert loaded({"loans/a.csv": out.read_bytes()}).good.height == 30
