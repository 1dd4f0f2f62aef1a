"""What of a Polars condition becomes SQL: fails when the JSON form that it is read from changes."""

from __future__ import annotations

from datetime import UTC, datetime

import polars as pl
import pytest
from test_store_contract import EVENTS

from lakehouse.store.ducklake.pushdown import pushed

AT = datetime(2026, 1, 1, tzinfo=UTC)
LATER = datetime(2026, 2, 1, tzinfo=UTC)
AT_TICKS, LATER_TICKS = (int(time.timestamp()) * 1_000_000 for time in (AT, LATER))
BETWEEN = '"at" >= make_timestamptz(?) AND "at" < make_timestamptz(?)'


@pytest.mark.parametrize(
    ("predicate", "conditions"),
    [
        (pl.col("id") == "a", [('"id" = ?', ["a"])]),
        (pl.col("n") >= 3, [('"n" >= ?', [3])]),
        (pl.lit(3) > pl.col("n"), [('"n" < ?', [3])]),
        (pl.col("at") < AT, [('"at" < make_timestamptz(?)', [AT_TICKS])]),
        ((pl.col("n") > 1) & (pl.col("id") == "a"), [('"n" > ?', [1]), ('"id" = ?', ["a"])]),
        ((pl.col("n") > 1) | (pl.col("n") < 0), [('(("n" > ?) OR ("n" < ?))', [1, 0])]),
        (pl.col("at").is_between(AT, LATER, closed="left"), [(BETWEEN, [AT_TICKS, LATER_TICKS])]),
        (pl.col("n").is_null(), []),
        (pl.col("n") * 2 > 4, []),
        (pl.col("id") == "a\0b", []),
    ],
)
def test_the_plain_part_becomes_sql(predicate: pl.Expr, conditions: list[object]) -> None:
    assert list(pushed(EVENTS, predicate)) == conditions
