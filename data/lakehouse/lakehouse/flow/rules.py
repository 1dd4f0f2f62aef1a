"""Splitting rows that keep the contract's rules from rows that do not.

Belongs here: evaluating row rules, writing down reasons. Does not: the rules (contracts).
A column that must not be null is a rule of its own, `<column>_not_null`. It is asked only of rows that keep
all others, whose reasons say more: a time that cannot be read is told as that, and not as a null besides.
"""

from __future__ import annotations

from dataclasses import dataclass

import narwhals.stable.v2 as nw
import orjson
import polars as pl

from lakehouse.contracts import POINTER, Column, Contract, RowRule
from lakehouse.errors import ContractError

_FAILED = "__failed_"


@dataclass(frozen=True, kw_only=True)
class Split:
    """`good` has the contract's columns; `refused` the pointer columns, `reasons` and `rules`.

    `failures` counts rows per failed rule, `warnings` per warning rule.
    """

    good: pl.DataFrame
    refused: pl.DataFrame
    failures: dict[str, int]
    warnings: dict[str, int]


def split(table: Contract, frame: pl.DataFrame) -> Split:
    """Evaluate every rule on every row. A null result counts as failed.

    Raises ContractError when a rule names a column that the frame does not have.
    """
    required = [c.name for c in table.columns if _lacks_values(c, frame)]
    if not table.rules and not required:
        good = frame.select(table.column_names)
        return Split(good=good, refused=_none(frame), failures={}, warnings={})
    judged = _judge(table, frame, required)
    counts = judged.select(pl.col(f"^{_FAILED}.*$").sum()).row(0, named=True) if judged.height else {}
    by_rule = {name.removeprefix(_FAILED): int(count) for name, count in counts.items() if count}
    errors = [*(r for r in table.rules if r.severity == "error"), *map(_not_null, required)]
    failures = {rule.name: by_rule[rule.name] for rule in errors if rule.name in by_rule}
    warnings = {name: count for name, count in by_rule.items() if name not in failures}
    if not failures:
        return Split(
            good=frame.select(table.column_names), refused=_none(frame), failures={}, warnings=warnings
        )
    bad = pl.any_horizontal([_FAILED + rule.name for rule in errors])
    return Split(
        good=judged.filter(~bad).select(table.column_names),
        refused=_reasons(errors, judged.filter(bad)),
        failures=failures,
        warnings=warnings,
    )


def _lacks_values(column: Column, frame: pl.DataFrame) -> bool:
    """Say whether the frame has nulls where the contract has none. A null pointer is no row's fault."""
    if column.nullable or column.name in POINTER or column.name not in frame.columns:
        return False
    return frame[column.name].null_count() > 0


def _not_null(column: str) -> RowRule:
    return RowRule(
        name=f"{column}_not_null",
        description=f"{column} has a value",
        passes=lambda: ~nw.col(column).is_null(),
    )


def _judge(table: Contract, frame: pl.DataFrame, required: list[str]) -> pl.DataFrame:
    judge = nw.from_native(frame)
    try:
        judged = judge.with_columns(**{_FAILED + rule.name: ~rule.passes() for rule in table.rules})
    except Exception as exc:
        raise ContractError(
            f"rules of {table}: {str(exc).splitlines()[0]}. A rule may use the contract's columns and "
            "the helper columns of its transform."
        ) from exc
    failed = judged.to_native().with_columns(pl.col(f"^{_FAILED}.*$").fill_null(True))
    stated = [_FAILED + rule.name for rule in table.rules if rule.severity == "error"]
    kept = ~pl.any_horizontal(stated) if stated else pl.lit(True)
    return failed.with_columns(
        (kept & pl.col(c).is_null()).alias(_FAILED + _not_null(c).name) for c in required
    )


def _reasons(errors: list[RowRule], bad: pl.DataFrame) -> pl.DataFrame:
    rows = bad.iter_rows(named=True)
    texts = []
    for row in rows:
        failed = [rule for rule in errors if row[_FAILED + rule.name]]
        reasons = [{"rule": r.name, "values": {v: row.get(v) for v in r.values}} for r in failed]
        texts.append((orjson.dumps(reasons, default=str).decode(), ",".join(r.name for r in failed)))
    return bad.select(POINTER).with_columns(
        pl.Series("reasons", [t[0] for t in texts], pl.String),
        pl.Series("rules", [t[1] for t in texts], pl.String),
    )


def _none(frame: pl.DataFrame) -> pl.DataFrame:
    pointers = [name for name in POINTER if name in frame.columns]
    return (
        frame.select(pointers)
        .clear()
        .with_columns(pl.lit(None, pl.String).alias("reasons"), pl.lit(None, pl.String).alias("rules"))
    )
