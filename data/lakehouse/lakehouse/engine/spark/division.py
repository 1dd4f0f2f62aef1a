"""Division on Spark Connect, where narwhals and Sail do not fit together.

Belongs here: that one function. Does not: another operation.

Reason: narwhals divides by `try_divide`, which Sail has for whole numbers alone.
Gain: a transform that divides floats runs on Sail at all; Spark itself gives the same with and without.
Pin: narwhals 2.28.0
Drop when: test_sail_still_needs_the_workaround (test_engine_spark.py) fails.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any

Column = Any  # of whichever client is there: its own types differ between its two kinds


def use() -> None:
    """Let narwhals divide by Spark's own `/`; what a division by zero gives stays as narwhals says it."""
    from narwhals._spark_like import expr, namespace

    for module in (expr, namespace):
        vars(module)["true_divide"] = true_divide


def true_divide(F: ModuleType, left: Column, right: Column) -> Column:  # noqa: N803  # Spark's own name
    """Divide; by zero it gives NaN or an infinity, as Polars does."""
    zero = F.lit(0)
    by_zero = (
        F.when((left == zero) | F.isnan(left.cast("double")), F.lit(float("nan")))
        .when(left > zero, F.lit(float("inf")))
        .when(left < zero, F.lit(float("-inf")))
    )
    quotient = left.cast("double") / F.nullif(right, zero).cast("double")  # null: computed, but not taken
    divided: Column = F.when(right != zero, quotient).when(right == zero, by_zero)
    return divided
