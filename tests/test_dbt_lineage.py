"""What the marts say of their columns' lineage is what their SQL says, through all models between.

Belongs here: `of` in the YAML beside a parser's reading of the SQL. Does not: how lineage is shown.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from checkouts import ROOT
from sqlglot import exp
from sqlglot.lineage import lineage

from lakehouse import registry
from lakehouse.domains.lending.contracts import LOANS

MODELS = ROOT / "data" / "dbt" / "models"
BETWEEN = ("stg_loans", "int_loans")
_REF = re.compile(r"\{\{ (?:ref\('(\w+)'\)|source\('(\w+)', '(\w+)'\)) \}\}")

# Columns that a value depends on but is not computed from: what is counted, and in which month it is.
BY_HAND = {
    "loan_performance.loan_count": {"loan_key"},
    "borrower_segments.loan_count": {"loan_key"},
    "vintage_curves.loan_count": {"loan_key"},
    "vintage_curves.charged_off_count": {"last_payment_month"},
    "vintage_curves.fully_paid_count": {"last_payment_month"},
    "vintage_curves.charged_off_amount": {"last_payment_month"},
    "vintage_curves.charged_off_share": {"last_payment_month"},
    "vintage_curves.charged_off_amount_share": {"last_payment_month"},
}


def sql_of(model: str) -> str:
    [file] = MODELS.rglob(f"{model}.sql")
    return _REF.sub(lambda found: found[1] or f"{found[2]}__{found[3]}", file.read_text())


def computed_from(model: str, column: str) -> set[str]:
    """Return the columns of silver/loans that sqlglot finds under a column, down all models."""
    found = lineage(
        column,
        sql_of(model),
        sources={name: sql_of(name) for name in BETWEEN},
        schema={"silver__loans": dict.fromkeys(LOANS.column_names, "text")},
        dialect="duckdb",
    )
    return {node.name.split(".")[-1] for node in found.walk() if isinstance(node.expression, exp.Table)}


def test_each_column_of_a_mart_names_the_silver_columns_under_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ODP_DBT_PROJECT", str(Path(MODELS).parent))
    registry.clear()
    try:
        marts = [
            t.contract for t in registry.models() if (MODELS / "marts" / f"{t.contract.name}.sql").exists()
        ]
    finally:
        registry.clear()
    said = {f"{mart.name}.{c.name}": set(c.sources) for mart in marts for c in mart.columns}
    assert len(said) == 31
    found = {name: computed_from(*name.split(".")) | BY_HAND.get(name, set()) for name in said}
    assert said == found
    assert found["borrower_segments.income_band"] == {"annual_income"}
    assert found["vintage_curves.months_on_book"] == {"issue_month", "last_payment_month"}
