"""The shared rules: what each lets through, on two engines, and that its source counts as a table's code."""

from __future__ import annotations

import dataclasses
from datetime import date
from decimal import Decimal
from typing import Any

import duckdb
import narwhals.stable.v2 as nw
import polars as pl
import pytest

from lakehouse.contracts import Column, Contract, Materialization, RowRule, Type
from lakehouse.contracts.rules import between, matches, non_negative, not_blank, one_of, ordered, parsable
from lakehouse.engine.polars import PolarsEngine
from lakehouse.errors import ContractError
from lakehouse.pipeline.code import fingerprint
from lakehouse.pipeline.rules import validate
from lakehouse.pipeline.source import source_of

NAN, INF = float("nan"), float("inf")
TEXTS = pl.Series(["a", "", " \t", "ab\n", None, " a "])
FLOATS = pl.Series([NAN, INF, -INF, -0.0, 0.0, -5e-324, 1.0, None])
WHOLE = pl.Series([-(2**63), -1, 0, 1, 2**63 - 1, None])
MONEY = pl.Series([Decimal("-0.01"), Decimal("0.00"), Decimal("1.00"), None], dtype=pl.Decimal(18, 2))
DAYS = pl.Series([date(2024, 1, 1), date(2024, 1, 2), date(2024, 1, 3), None])
YES, NO = True, False

# Which values keep the rule; the last but in TEXTS is null, which `required` alone turns into a failure.
CASES: list[tuple[RowRule, pl.Series, list[bool]]] = [
    (not_blank("v"), TEXTS, [YES, NO, NO, YES, NO, YES]),
    (between("v", 0, 1), FLOATS, [NO, NO, NO, YES, YES, NO, YES, YES]),
    (between("v", 0, 1, required=True), FLOATS, [NO, NO, NO, YES, YES, NO, YES, NO]),
    (between("v", 0, None), FLOATS, [NO, YES, NO, YES, YES, NO, YES, YES]),
    (between("v", None, 0), FLOATS, [NO, NO, YES, YES, YES, YES, NO, YES]),
    (between("v", -1, 2**63 - 1), WHOLE, [NO, YES, YES, YES, YES, YES]),
    (between("v", Decimal("0.00"), Decimal("0.99")), MONEY, [NO, YES, NO, YES]),
    (between("v", date(2024, 1, 2), None), DAYS, [NO, YES, YES, YES]),
    (between("v", date(2024, 1, 2), date(2024, 1, 2), required=True), DAYS, [NO, YES, NO, NO]),
    (between("v", "a", "b"), TEXTS, [YES, NO, NO, YES, YES, NO]),
    (one_of("v", ("a", "")), TEXTS, [YES, YES, NO, NO, YES, NO]),
    (one_of("v", ("a", ""), required=True), TEXTS, [YES, YES, NO, NO, NO, NO]),
    (one_of("v", (0, 1)), WHOLE, [NO, NO, YES, YES, NO, YES]),
    (matches("v", "a|ab"), TEXTS, [YES, NO, NO, NO, YES, NO]),
    (matches("v", "a|ab", required=True), TEXTS, [YES, NO, NO, NO, NO, NO]),
    (non_negative("v"), FLOATS, [NO, YES, NO, YES, YES, NO, YES, YES]),
    (non_negative("v"), WHOLE, [NO, NO, YES, YES, YES, YES]),
    (non_negative("v", required=True), WHOLE, [NO, NO, YES, YES, YES, NO]),
    (non_negative("v"), MONEY, [NO, YES, YES, YES]),
    (parsable("n", "v"), TEXTS, [NO, NO, NO, NO, YES, NO]),
    (parsable("n", "v", required=True), TEXTS, [NO] * 6),
    (parsable("v", "n", required=True), TEXTS, [YES, YES, YES, YES, NO, YES]),
    (ordered("w", "v"), DAYS, [NO, YES, YES, YES]),
    (ordered("v", "w"), DAYS, [YES, YES, NO, YES]),
    (ordered("v", "n"), DAYS, [YES, YES, YES, YES]),
    (ordered("v", "n", required=True), DAYS, [NO, NO, NO, NO]),
]


def frame(values: pl.Series) -> pl.DataFrame:
    """`v` are the values, `n` nulls of their type, `w` the second of them."""
    return pl.DataFrame({"v": values}).select("v", n=pl.lit(None, values.dtype), w=pl.col("v").get(1))


@pytest.mark.parametrize("number", range(len(CASES)))
def test_each_rule_says_the_same_on_every_engine(number: int) -> None:
    rule, values, right = CASES[number]
    polars = nw.from_native(frame(values)).select(kept=rule.passes()).to_native()
    assert polars["kept"].to_list() == right
    with duckdb.connect() as db:
        rows = db.from_arrow(frame(values).with_row_index("i").to_arrow())
        kept = nw.from_native(rows).select("i", kept=rule.passes()).to_native().order("i").fetchall()
    assert [one for _, one in kept] == right


def test_a_rule_says_what_it_asks_and_may_be_said_otherwise() -> None:
    said = [(one.name, one.description, one.values, one.severity) for one in (
        not_blank("a"), between("a", 0, 130), between("a", None, 1, required=True), one_of("a", ("x", 1)),
        matches("a", "[a-z]+"), non_negative("a"), parsable("a", "b"), ordered("a", "b"),
        non_negative("a", name="n", description="d", values=(), severity="warn"),
    )]  # fmt: skip
    assert said == [
        ("a_not_blank", "a is given and not blank", ("a",), "error"),
        ("a_between", "a, where given, is at least 0 and at most 130", ("a",), "error"),
        ("a_between", "a is given and is at most 1", ("a",), "error"),
        ("a_one_of", "a, where given, is one of x, 1", ("a",), "error"),
        ("a_matches", "a, where given, matches [a-z]+", ("a",), "error"),
        ("a_not_negative", "a, where given, is not negative", ("a",), "error"),
        ("a_readable", "a, where given, can be read", ("b",), "error"),
        ("b_after_a", "b, where given, is not before a", ("a", "b"), "error"),
        ("n", "d", (), "warn"),
    ]


@pytest.mark.parametrize(
    "make",
    [lambda: between("a", 2, 1), lambda: between("a", None, None), lambda: one_of("a", ())],
)
def test_a_rule_that_lets_through_everything_or_nothing_is_refused(make: Any) -> None:
    with pytest.raises(ContractError, match="the rule on a "):
        make()


TABLE = Contract(
    layer="silver", name="shared", domain="test", description="One row.",
    materialization=Materialization.INCREMENTAL_BY_KEY, key=("v",),
    columns=(Column(name="v", type=Type.STRING, nullable=False, description="Value"),),
)  # fmt: skip


def test_they_refuse_rows_with_their_reasons() -> None:
    table = dataclasses.replace(TABLE, rules=(not_blank("v"), matches("v", "[a-z ]+", severity="warn")))
    engine = PolarsEngine()
    parts = validate(table, engine.scan(pl.LazyFrame({"v": ["a", " ", "B", None]})), engine=engine)
    assert engine.stage(parts.good)["v"].to_list() == ["a", "B"]
    assert parts.refused["reasons"].to_list() == [
        '[{"rule":"v_not_blank","values":{"v":" "}}]', '[{"rule":"v_not_blank","values":{"v":null}}]',
    ]  # fmt: skip
    assert (parts.failures, parts.warnings) == ({"v_not_blank": 2}, {"v_matches": 1})


def same(frame: nw.LazyFrame) -> nw.LazyFrame:
    return frame


CHANGED = [
    (between("v", 0, 1), between("v", 0, 2)),
    (between("v", Decimal("0.1"), None), between("v", Decimal("0.2"), None)),
    (between("v", date(2024, 1, 1), None), between("v", date(2024, 1, 2), None)),
    (one_of("v", ("a",)), one_of("v", ("b",))),
    (matches("v", "a"), matches("v", "b")),
    (non_negative("v"), non_negative("v", required=True)),
    (ordered("v", "w"), ordered("w", "v")),
]


@pytest.mark.parametrize("number", range(len(CHANGED)))
def test_another_argument_is_another_code_of_the_table(number: int) -> None:
    first, second = (dataclasses.replace(one, name="one") for one in CHANGED[number])
    state = [fingerprint(dataclasses.replace(TABLE, rules=(one,)), same) for one in (first, second, first)]
    assert state[0] == state[2] != state[1]


def test_the_source_of_a_shared_rule_is_part_of_what_uses_it() -> None:
    def uses(frame: nw.LazyFrame) -> nw.LazyFrame:
        return frame.filter(non_negative("v").passes())

    assert "def non_negative(" in source_of(non_negative("v").passes)
    assert "def non_negative(" in source_of(uses)
