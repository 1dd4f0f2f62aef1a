"""Gold of loans that nobody would wish for, against SQL written by hand over Silver's own Parquet files.

Belongs here: odd values, and loans that go and come back. Does not: real loans (test_dbt_real.py).
"""

from __future__ import annotations

from datetime import date
from pathlib import Path

import duckdb
import polars as pl
import pytest
from loans import as_csv, converted
from test_dbt import gold, hashes, lake_at, project, silver  # noqa: F401
from test_dbt_real import history

from lakehouse import registry
from lakehouse.contracts import quarantine_of
from lakehouse.dbt import refresh_models
from lakehouse.domains.lending import contracts as lending
from lakehouse.pipeline import Lake
from lakehouse.store import whole_files

pytestmark = pytest.mark.slow

CURVES = """
WITH l AS (
    SELECT year(issue_month) AS y, term_months AS t, loan_status AS s, coalesce(funded_amount, 0) AS f,
           funded_amount, greatest(coalesce(datediff('month', issue_month, last_payment_month), 0), 0) AS m
    FROM silver
)
SELECT y, t, months.m, count(*), count(*) FILTER (s = 'Charged Off' AND l.m <= months.m),
       count(*) FILTER (s = 'Fully Paid' AND l.m <= months.m),
       sum(CASE WHEN s = 'Charged Off' AND l.m <= months.m THEN f ELSE 0 END),
       round(sum(CASE WHEN s = 'Charged Off' AND l.m <= months.m THEN f ELSE 0 END)::DOUBLE
             / nullif(sum(funded_amount), 0)::DOUBLE, 6)
FROM l, (SELECT DISTINCT m FROM l) AS months
GROUP BY ALL HAVING months.m <= max(l.m) ORDER BY ALL
"""
SEGMENTS = """
SELECT state, home_ownership, count(*), sum(funded_amount),
       round(sum(interest_rate * funded_amount)::DOUBLE / nullif(sum(funded_amount), 0)::DOUBLE, 6)
FROM silver WHERE annual_income IS NULL GROUP BY ALL ORDER BY ALL
"""


def by_hand(lake: Lake, sql: str) -> list[tuple[object, ...]]:
    found = whole_files(lake.store, lending.LOANS, version=None)
    assert found is not None
    files = [str(Path(lake.store.uri(lending.LOANS)) / one.name) for one in found.files]
    with duckdb.connect() as database:
        database.execute(f"CREATE VIEW silver AS SELECT * FROM read_parquet({files})")
        return database.execute(sql).fetchall()


def test_odd_loans_are_counted_as_sql_by_hand_counts_them(project: Path, tmp_path: Path) -> None:  # noqa: F811
    lake = lake_at(tmp_path)
    name, rows = converted()
    nothing_paid = {"funded_amnt": "0", "total_pymnt": "0", "total_rec_prncp": "0", "total_rec_int": "0",
                    "total_rec_late_fee": "0", "recoveries": "0"}  # fmt: skip
    rows[0] |= {"grade": ""}
    rows[1] |= {"recoveries": "-10.00"}
    rows[2] |= nothing_paid | {"issue_d": "2031-01-01", "annual_inc": "", "addr_state": "VI"}
    rows[3] |= {"loan_status": "Charged Off", "last_pymnt_d": ""}
    rows[4] |= {"loan_status": "Fully Paid", "issue_d": "2019-05-01", "last_pymnt_d": "2019-03-01"}
    rows[5] |= {"loan_status": "Charged Off", "funded_amnt": ""}
    twice = rows[6] | {"loan_status": "Charged Off"}
    silver(lake, {name: as_csv([*rows, twice]), "loans/other_year.csv": as_csv([twice, rows[7]])})
    refresh_models(lake, registry.models(), registry.models())

    assert lake.store.snapshot(quarantine_of(lending.LOANS)).rows == 2  # no grade; a negative recovery
    assert lake.store.snapshot(lending.LOANS).rows == len(rows) - 2
    assert history(lake).height == len(rows) - 2  # a status that came and went within one load is no version
    assert set(history(lake)["version_number"]) == {1}
    columns = ("vintage_year", "term_months", "months_on_book", "loan_count", "charged_off_count",
               "fully_paid_count", "charged_off_amount", "charged_off_amount_share")  # fmt: skip
    curves = lake.store.scan(gold("vintage_curves")).select(columns).sort(columns[:3]).collect()
    assert curves.rows() == by_hand(lake, CURVES)
    assert curves["months_on_book"].min() == 0  # though a payment is dated before its loan
    unknown = lake.store.scan(gold("borrower_segments")).filter(pl.col("income_band") == "unknown")
    of_segments = ("state", "home_ownership", "loan_count", "funded_amount", "weighted_interest_rate")
    assert unknown.select(of_segments).sort(of_segments[:2]).collect().rows() == by_hand(lake, SEGMENTS)
    [nothing] = unknown.filter(pl.col("state") == "VI").collect().to_dicts()
    assert nothing["weighted_interest_rate"] is None


def test_a_loan_that_goes_and_comes_back_has_a_version_for_each_time(project: Path, tmp_path: Path) -> None:  # noqa: F811
    lake = lake_at(tmp_path)
    name, rows = converted()
    rows[0] |= {
        "last_credit_pull_d": "",
        "last_pymnt_d": "",
    }  # all others are known of to one and the same month
    silver(lake, {name: as_csv(rows)})
    refresh_models(lake, registry.models(), registry.models())
    whole = lake.store.scan(lending.LOANS).collect()
    [first] = history(lake).sort("dbt_valid_from", "loan_key").head(1).to_dicts()
    key, others = first["loan_key"], history(lake).filter(pl.col("loan_key") != first["loan_key"])
    newest = history(lake)["dbt_valid_from"].max()
    assert isinstance(newest, date)
    assert first["dbt_valid_from"] < newest

    lake.store.overwrite(lending.LOANS, whole.filter(pl.col("loan_key") != key))
    refresh_models(lake, registry.models(), registry.models())
    lake.store.overwrite(lending.LOANS, whole)
    refresh_models(lake, registry.models(), registry.models())
    refresh_models(lake, registry.models(), registry.models(), full=True)
    status = first["loan_status"]
    assert history(lake).filter(pl.col("loan_key") == key).rows() == [
        (key, 1, status, first["dbt_valid_from"], newest),  # gone as of the newest date that was known
        (key, 2, status, newest, None),
    ]
    assert history(lake).filter(pl.col("loan_key") != key).equals(others)
    before = hashes(lake)
    refresh_models(lake, registry.models(), registry.models(), full=True)
    assert hashes(lake) == before
