"""LendingClub's own loans of four years, against figures that Python's csv and decimal give of the files.

Belongs here: what only real files tell. Does not: single values and rules (test_lending.py).
"""

from __future__ import annotations

import csv
import gzip
import io
import re
from collections import Counter
from collections.abc import Iterator
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path

import polars as pl
import pytest
from conftest_landing import shared

from lakehouse.contracts import quarantine_of
from lakehouse.domains.lending import contracts as c
from lakehouse.domains.lending.sources import SOURCES
from lakehouse.domains.lending.vocabulary import COLUMNS, OTHERS
from lakehouse.pipeline import IngestReport, Lake, RefreshReport, ingest, open_lake, refresh
from lakehouse.registry import transform_of
from lakehouse.settings import Settings
from lakehouse.verify import content_hash, verify

YEARS = ("2007", "2008", "2009", "2011")
POINTERS = ("_source", "_fingerprint", "_row", "_batch_id")
AMOUNTS = [COLUMNS[name] for name in c.ORIGINAL if COLUMNS[name] in c.MONEY_COLUMNS]


def files() -> dict[str, bytes]:
    found = {path.name[-11:-7]: path.read_bytes() for path in shared("lendingclub") if path.suffix == ".gz"}
    return {year: found[year] for year in YEARS}


def lines(body: bytes) -> Iterator[dict[str, str]]:
    return csv.DictReader(io.StringIO(gzip.decompress(body).decode(), newline=""))


def lake_at(folder: Path) -> Lake:
    return open_lake(Settings(lake_url=str(folder / "lake"), landing_url=str(folder / "landing")))


def run(lake: Lake, landed: dict[str, bytes]) -> tuple[IngestReport, RefreshReport]:
    for name, body in landed.items():
        lake.landing.put(f"loans/{name}", body)
    came = ingest(lake, c.RAW_LOANS, SOURCES)
    return came, refresh(lake, c.LOANS, transform_of(c.LOANS))


def loans(lake: Lake) -> pl.DataFrame:
    return lake.store.scan(c.LOANS).sort("loan_key").collect()


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Lake:
    """A lake of all four years; tests of this module read it and write nothing that changes a loan."""
    made = lake_at(tmp_path_factory.mktemp("loans"))
    came, found = run(made, {f"{year}.csv.gz": body for year, body in files().items()})
    assert (came.files, came.rows, came.refused, dict(came.unexpected)) == (4, 29998, [], {})
    assert (found.read, found.written, found.merged, found.quarantined) == (29998, 29998, 0, 0)
    assert (found.failures, found.warnings) == ({}, {})
    return made


def test_every_loan_is_there_once_and_none_is_refused(lake: Lake) -> None:
    found = loans(lake)
    assert (found.height, found["loan_key"].n_unique()) == (29998, 29998)
    assert lake.store.snapshot(quarantine_of(c.LOANS)).rows == 0
    assert [p for p in verify(lake, [c.RAW_LOANS, c.LOANS]).all_problems if p.check != "declared"] == []


def test_rows_sums_and_counts_of_each_file_are_those_of_python(lake: Lake) -> None:
    found = loans(lake)
    cent = Decimal("0.01")
    for year, body in files().items():
        here = found.filter(pl.col("_source") == f"loans/{year}.csv.gz").sort("_row")
        there = list(lines(body))
        assert here.height == len(there) > 600
        statuses = [
            re.sub(r"^Does not meet the credit policy\. Status:", "", row["loan_status"]) for row in there
        ]
        assert here["loan_status"].to_list() == statuses
        assert here["meets_credit_policy"].to_list() == [row["loan_status"] in ("Fully Paid", "Charged Off")
                                                         for row in there]  # fmt: skip
        assert Counter(here["grade"]) == Counter(row["grade"] for row in there)
        assert {str(day)[:4] for day in here["issue_month"]} == {year}
        for theirs, ours in COLUMNS.items():
            texts = [row[theirs].strip() or None for row in there]
            if ours in AMOUNTS:
                values = [t and Decimal(t).quantize(cent, ROUND_HALF_UP) for t in texts]
                assert here[ours].to_list() == values
                assert sum(here[ours].drop_nulls().to_list()) == sum(filter(None, values))
            elif ours in c.RATE_COLUMNS:
                places = [t and Decimal(t).quantize(Decimal("0.000001"), ROUND_HALF_UP) for t in texts]
                assert here[ours].to_list() == places
            elif ours in (*c.MONTH_COLUMNS, *c.COUNT_COLUMNS, "term_months"):
                assert here[ours].cast(pl.String).to_list() == texts
            elif ours == "zip3":
                assert here[ours].to_list() == [t and t.removesuffix("xx") for t in texts]
            elif ours not in ("employment_years", "dti", "loan_status"):
                assert here[ours].to_list() == texts


def test_no_two_loans_agree_in_what_identifies_them_nor_in_all_but_one_of_it(lake: Lake) -> None:
    found = loans(lake).with_columns(pl.col("employer_title", "title").str.to_lowercase())
    for left_out in c.IDENTIFYING:
        assert found.select(name for name in c.IDENTIFYING if name != left_out).n_unique() == 29998, left_out
    facts = (
        "loan_amount", "funded_amount", "term_months", "interest_rate", "installment", "issue_month", "zip3",
        "state", "annual_income", "dti", "earliest_credit_line",
    )  # fmt: skip
    assert found.select(facts).n_unique() == 29997


def test_the_same_files_again_change_nothing(lake: Lake) -> None:
    before = lake.store.snapshot(c.LOANS).version, content_hash(c.LOANS, lake.store.scan(c.LOANS))
    body = files()["2008"]
    came, found = run(lake, {"2008.csv.gz": body, "again.csv.gz": body})
    assert (came.files, came.rows, found.read, found.written, found.updated) == (0, 0, 0, 0, 0)
    assert before == (lake.store.snapshot(c.LOANS).version, content_hash(c.LOANS, lake.store.scan(c.LOANS)))


@pytest.mark.slow
def test_a_year_more_writes_its_own_loans_and_those_of_before_stay(tmp_path: Path) -> None:
    lake, landed = lake_at(tmp_path), files()
    run(lake, {year: landed[year] for year in ("2007", "2008")})
    before = loans(lake)
    _, found = run(lake, {"2009": landed["2009"]})
    assert (found.read, found.written, found.updated, found.merged) == (5281, 5281, 0, 0)
    after = loans(lake)
    assert after.filter(pl.col("_source") != "loans/2009").equals(before)
    assert after.height == before.height + 5281
    # The same loans in other bytes: each takes the place of itself.
    _, found = run(lake, {"2009-plain.csv": gzip.decompress(landed["2009"])})
    assert (found.read, found.written, found.updated, found.merged) == (5281, 0, 5281, 5281)
    assert loans(lake).drop(POINTERS).equals(after.drop(POINTERS))


MONTHS = "Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split()  # noqa: SIM905


def published(body: bytes, *, short_years: bool) -> bytes:
    """Return a file's loans as LendingClub publishes them."""

    def month(day: str) -> str:
        year, number, _ = day.split("-")
        return f"{MONTHS[int(number) - 1]}-{year[2:] if short_years else year}"

    def percent(text: str) -> str:
        return f"{(Decimal(text) * 100).quantize(Decimal('0.0001'), ROUND_HALF_UP).normalize():f}%"

    out = io.StringIO()
    out.write("Notes offered by Prospectus (https://www.lendingclub.com/info/prospectus.action)\n")
    writer = csv.writer(out, quoting=csv.QUOTE_ALL, lineterminator="\n")
    names = [*COLUMNS, *(name for name in OTHERS if name in next(lines(body)) and name != "issue_year")]
    writer.writerow(names)
    for row in lines(body):
        own = {name: month(row[name]) for name in row if name in COLUMNS and name.endswith(("_d", "_line"))
               and row[name]}  # fmt: skip
        own |= {name: percent(row[name]) for name in ("int_rate", "revol_util") if row[name]}
        own["term"] = f" {row['term']} months"
        writer.writerow([{**row, **own}[name] for name in names])
    out.write(
        "\n\nTotal amount funded in policy code 1: 460296150\nTotal amount funded in policy code 2: 0\n"
    )
    return out.getvalue().encode()


@pytest.mark.slow
@pytest.mark.parametrize("short_years", [True, False], ids=["Dec-11", "Dec-2011"])
def test_the_form_that_lendingclub_publishes_gives_the_same_loans(tmp_path: Path, short_years: bool) -> None:
    landed = {year: body for year, body in files().items() if year in ("2007", "2008")}
    lake = lake_at(tmp_path)
    run(lake, {f"{year}.csv.gz": body for year, body in landed.items()})
    before = loans(lake)
    came, found = run(lake, {f"{year}.csv": published(body, short_years=short_years)
                             for year, body in landed.items()})  # fmt: skip
    assert (came.rows, came.unexpected.other_lines, came.unexpected.blank_lines) == (2996, 6, 4)
    assert (found.written, found.updated, found.quarantined) == (0, 2996, 0)
    beside = (*POINTERS, "original", "more")
    assert loans(lake).drop(beside).equals(before.drop(beside))
    without_year = before["more"].str.replace(r'"issue_year":"[0-9]{4}",', "")
    assert loans(lake)["more"].equals(without_year)
