"""Gold of LendingClub's own loans, against figures that Python's csv and decimal give of the files.

Belongs here: what only real files tell, and the history of a loan's status. Does not: the seam (test_dbt.py).
"""

from __future__ import annotations

import csv
import gzip
import io
from collections import defaultdict
from collections.abc import Iterator
from datetime import date
from decimal import ROUND_HALF_UP, Decimal
from itertools import pairwise
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from conftest_landing import shared
from loans import as_csv, converted
from test_dbt import gold, hashes, lake_at, project, silver  # noqa: F401

from lakehouse import registry
from lakehouse.contracts import quarantine_of
from lakehouse.dbt import refresh_models
from lakehouse.domains.lending import contracts as lending
from lakehouse.pipeline import Lake

pytestmark = pytest.mark.slow
YEARS = ("2008", "2009", "2011")


def files() -> dict[str, bytes]:
    found = {path.name[-11:-7]: path.read_bytes() for path in shared("lendingclub") if path.suffix == ".gz"}
    return {f"loans/{year}.csv.gz": found[year] for year in YEARS}


def lines(names: dict[str, bytes]) -> Iterator[dict[str, str]]:
    for body in names.values():
        yield from csv.DictReader(io.StringIO(gzip.decompress(body).decode(), newline=""))


def cents(text: str) -> Decimal:
    return Decimal(text).quantize(Decimal("0.01"), ROUND_HALF_UP)


def status(row: dict[str, str]) -> str:
    return row["loan_status"].rpartition("Status:")[2]


def expected_performance(rows: Iterator[dict[str, str]]) -> dict[tuple[date, str, int], dict[str, Any]]:
    found: dict[tuple[date, str, int], dict[str, Any]] = defaultdict(
        lambda: {"loan_count": 0, "funded_amount": Decimal(0), "principal_paid": Decimal(0),
                 "interest_paid": Decimal(0), "charged_off_count": 0, "outside_policy_count": 0}
    )  # fmt: skip
    for row in rows:
        group = found[date.fromisoformat(row["issue_d"]), row["grade"], int(row["term"])]
        group["loan_count"] += 1
        group["funded_amount"] += cents(row["funded_amnt"])
        group["principal_paid"] += cents(row["total_rec_prncp"])
        group["interest_paid"] += cents(row["total_rec_int"])
        group["charged_off_count"] += status(row) == "Charged Off"
        group["outside_policy_count"] += "Status:" in row["loan_status"]
    return dict(found)


def performance(lake: Lake) -> dict[tuple[date, str, int], dict[str, Any]]:
    rows = lake.store.scan(gold("loan_performance")).collect().to_dicts()
    names = (
        "loan_count", "funded_amount", "principal_paid", "interest_paid", "charged_off_count",
        "outside_policy_count",
    )  # fmt: skip
    return {(r["issue_month"], r["grade"], r["term_months"]): {n: r[n] for n in names} for r in rows}


def test_the_marts_of_real_years_and_one_year_more(project: Path, tmp_path: Path) -> None:  # noqa: F811
    own, lake = files(), lake_at(tmp_path)
    first = {name: body for name, body in own.items() if "2011" not in name}
    silver(lake, first)
    refresh_models(lake, registry.models(), registry.models())
    before = performance(lake)
    assert before == expected_performance(lines(first))

    silver(lake, own)
    refresh_models(lake, registry.models(), registry.models())
    after = performance(lake)
    assert after == expected_performance(lines(own))
    assert {key: after[key] for key in before} == before  # the groups of other years are as they were

    curves = lake.store.scan(gold("vintage_curves")).collect()
    last = curves.sort("months_on_book").group_by("vintage_year", "term_months", maintain_order=True).last()
    wanted: dict[tuple[int, int], list[int]] = defaultdict(lambda: [0, 0, 0])
    for row in lines(own):
        one = wanted[int(row["issue_d"][:4]), int(row["term"])]
        one[0] += 1
        one[1] += status(row) == "Charged Off"
        one[2] += status(row) == "Fully Paid"
    found = {
        (r["vintage_year"], r["term_months"]): [
            r["loan_count"],
            r["charged_off_count"],
            r["fully_paid_count"],
        ]
        for r in last.to_dicts()
    }
    assert found == dict(wanted)

    segments = lake.store.scan(gold("borrower_segments")).collect()
    counts: dict[tuple[str, str, str], int] = defaultdict(int)
    for row in lines(own):
        counts[row["addr_state"], row["home_ownership"], band(row["annual_inc"])] += 1
    assert {
        (r["state"], r["home_ownership"], r["income_band"]): r["loan_count"] for r in segments.to_dicts()
    } == dict(counts)
    assert lake.store.snapshot(quarantine_of(lending.LOANS)).rows == 0


def band(text: str) -> str:
    if not text:
        return "unknown"
    income = Decimal(text)
    bounds = [(25_000, "under 25k"), (50_000, "25k to 50k"), (75_000, "50k to 75k"), (100_000, "75k to 100k"),
              (150_000, "100k to 150k")]  # fmt: skip
    return next((name for most, name in bounds if income < most), "150k and more")


def history(lake: Lake) -> pl.DataFrame:
    columns = ("loan_key", "version_number", "loan_status", "dbt_valid_from", "dbt_valid_to")
    return lake.store.scan(gold("loan_status_history")).select(columns).sort(columns[:2]).collect()


def test_a_status_is_a_version_only_when_it_changed(project: Path, tmp_path: Path) -> None:  # noqa: F811
    lake = lake_at(tmp_path)
    name, rows = converted()
    silver(lake, {name: as_csv(rows)})
    refresh_models(lake, registry.models(), registry.models())
    at_first = history(lake)
    assert at_first.height == len(rows)
    assert at_first["dbt_valid_to"].null_count() == len(rows)
    assert set(at_first["version_number"]) == {1}

    current = next(number for number, row in enumerate(rows) if row["loan_status"] == "Current")

    def landed(where: str, **changed: str) -> None:
        rows[current] |= changed
        silver(lake, {where: as_csv(rows)})
        refresh_models(lake, registry.models(), registry.models())

    landed("loans/b.csv", last_pymnt_amnt="1.00")  # something else changed: no version
    assert history(lake).equals(at_first)
    landed("loans/c.csv", loan_status="Default")  # as of the same month: a version of no length
    landed("loans/d.csv", loan_status="Charged Off", last_credit_pull_d="2031-06-01")
    # an older export, landed late
    landed("loans/e.csv", loan_status="Fully Paid", last_credit_pull_d="2014-01-01")
    [key] = history(lake).filter(pl.col("version_number") == 4)["loan_key"]
    versions = history(lake).filter(pl.col("loan_key") == key).rows()
    assert [row[2] for row in versions] == ["Current", "Default", "Charged Off", "Fully Paid"]
    for (_, _, _, start, end), (_, _, _, following, _) in pairwise(versions):
        assert start <= end == following  # in turn, without a gap and without an overlap
    assert versions[2][3] == versions[3][3] == date(2031, 6, 1)
    assert versions[3][4] is None
    assert history(lake).filter(pl.col("loan_key") != key).equals(at_first.filter(pl.col("loan_key") != key))

    before = hashes(lake)
    refresh_models(lake, registry.models(), registry.models(), full=True)  # a full refresh keeps the history
    assert hashes(lake) == before
    gone = lake.store.scan(lending.LOANS).filter(pl.col("loan_key") != key).collect()
    lake.store.overwrite(lending.LOANS, gone)
    refresh_models(lake, registry.models(), registry.models())
    last = history(lake).filter(pl.col("loan_key") == key).rows()[-1]
    assert last[4] is not None
    assert last[4] >= last[3]  # what has gone is closed
