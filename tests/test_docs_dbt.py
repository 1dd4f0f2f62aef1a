"""Types docs/operations/dbt.md, word for word, into a copy of the checkout."""

from __future__ import annotations

import json

import polars as pl
import pytest
from checkouts import ROOT
from docs_blocks import Block, mismatch, steps
from test_docs_add_a_table import STARTS, Newcomer, newcomer  # noqa: F401

pytestmark = [pytest.mark.slow, pytest.mark.embedded, pytest.mark.timeout(900)]

PAGE = ROOT / "docs" / "operations" / "dbt.md"


def test_the_page_works_as_it_is_written(newcomer: Newcomer) -> None:  # noqa: F811
    for step in steps(PAGE):
        if isinstance(step, Block):
            newcomer.write(step)
            continue
        printed = newcomer.type(step)
        assert not (step.prints and mismatch(step.prints, printed)), mismatch(step.prints or "", printed)
        if step.commands.startswith(STARTS):
            newcomer.run("make stop")
    made = newcomer.rows("gold/loans_by_purpose").sort("purpose")
    loans = newcomer.rows("silver/loans")
    expected = (
        loans.group_by("purpose").agg(pl.len().cast(pl.Int64), pl.col("funded_amount").sum()).sort("purpose")
    )
    assert made.rows() == expected.rows()
    done = newcomer.run("make verify-data-layers ARGS=--json")
    assert json.loads(done.stdout)["ok"] is True
