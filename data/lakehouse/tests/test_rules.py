"""Row rules: which rows they refuse, in which words, and that a column without nulls is a rule too."""

from __future__ import annotations

import narwhals.stable.v2 as nw
import polars as pl
from conftest_landing import Parts, parted

from lakehouse.contracts import (
    Column,
    Contract,
    Materialization,
    RowRule,
    Type,
    bronze_columns,
    pointer_columns,
)

RAW = Contract(
    layer="bronze",
    name="raw",
    domain="test",
    description="One line.",
    materialization=Materialization.APPEND,
    columns=bronze_columns(),
)


def table(*rules: RowRule) -> Contract:
    return Contract(
        layer="silver", name="readings", domain="test", description="One reading.",
        materialization=Materialization.INCREMENTAL_BY_KEY, key=("id",),
        sources=(RAW,), rules=rules,
        columns=(
            Column(name="id", type=Type.STRING, nullable=False, description="Identity"),
            Column(name="celsius", type=Type.FLOAT64, nullable=False, unit="°C", description="Temperature"),
            Column(name="note", type=Type.STRING, description="Note"),
            *pointer_columns(RAW.path),
        ),
    )  # fmt: skip


WARM = RowRule(
    name="celsius_above_zero",
    description="above zero",
    passes=lambda: nw.col("celsius") > 0,
    values=("celsius",),
)
MILD = RowRule(
    name="celsius_mild", description="mild", passes=lambda: nw.col("celsius") < 30, severity="warn"
)


def rows(*values: tuple[str | None, float | None]) -> pl.DataFrame:
    return pl.DataFrame(values, schema={"id": pl.String, "celsius": pl.Float64}, orient="row").select(
        "id", "celsius", pl.lit(None, pl.String).alias("note"), pl.lit("f").alias("_source"),
        pl.lit("h").alias("_fingerprint"), pl.int_range(pl.len()).alias("_row"),
        pl.lit(1, pl.Int64).alias("_batch_id"),
    )  # fmt: skip


def told(parts: Parts) -> tuple[list[str], list[tuple[int, str, str]]]:
    return parts.good["id"].to_list(), parts.refused.select("_row", "rules", "reasons").rows()


def test_without_rules_and_nulls_everything_is_good() -> None:
    parts = parted(table(), rows(("a", 1.0), ("b", -2.0)))
    assert told(parts) == (["a", "b"], [])
    assert parts.failures == parts.warnings == {}


def test_a_null_where_none_is_allowed_is_refused_without_any_rule() -> None:
    parts = parted(table(), rows(("a", 1.0), ("b", None), (None, None)))
    assert told(parts) == (
        ["a"],
        [
            (1, "celsius_not_null", '[{"rule":"celsius_not_null","values":{}}]'),
            (2, "id_not_null,celsius_not_null",
             '[{"rule":"id_not_null","values":{}},{"rule":"celsius_not_null","values":{}}]'),
        ],
    )  # fmt: skip
    assert parts.failures == {"id_not_null": 1, "celsius_not_null": 2}


def test_a_stated_rule_says_it_better_and_alone() -> None:
    parts = parted(table(WARM), rows(("a", -1.0), ("b", None), (None, 5.0), ("d", 5.0)))
    assert told(parts) == (
        ["d"],
        [
            (0, "celsius_above_zero", '[{"rule":"celsius_above_zero","values":{"celsius":-1.0}}]'),
            (1, "celsius_above_zero", '[{"rule":"celsius_above_zero","values":{"celsius":null}}]'),
            (2, "id_not_null", '[{"rule":"id_not_null","values":{}}]'),
        ],
    )
    assert parts.failures == {"celsius_above_zero": 2, "id_not_null": 1}


def test_a_warning_refuses_nothing_and_hides_no_null() -> None:
    parts = parted(table(MILD), rows(("a", 31.0), ("b", None)))
    assert told(parts) == (["a"], [(1, "celsius_not_null", '[{"rule":"celsius_not_null","values":{}}]')])
    assert (parts.failures, parts.warnings) == ({"celsius_not_null": 1}, {"celsius_mild": 2})


def test_a_null_among_optional_columns_is_fine() -> None:
    assert told(parted(table(WARM), rows(("a", 1.0))))[0] == ["a"]
