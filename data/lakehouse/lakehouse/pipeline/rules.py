"""Splitting rows that keep the contract's rules from rows that do not.

Belongs here: evaluating row rules on frames of any engine, writing down reasons. Does not: the rules
(contracts).
What every table asks of its columns are rules of their own: `<column>_not_null` where the contract has no
null, `<column>_in_calendar` of dates and times, `<column>_in_bounds` of decimals and nested values,
`<column>_is_partition` of text that a partition is named by. They are asked only of rows that keep all
others, whose reasons say more: a time that cannot be read is told as that, and not as a null besides.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime

import narwhals.stable.v2 as nw
import orjson
import polars as pl

from lakehouse.contracts import POINTER, Column, Contract, RowRule, Type
from lakehouse.contracts.bounds import in_bounds
from lakehouse.contracts.calendar import CALENDAR, RANGES
from lakehouse.contracts.encoding import json_ready
from lakehouse.engine.protocol import Engine, Frame
from lakehouse.errors import ContractError, plain
from lakehouse.store.validation import refuse_other_columns, unkept

_FAILED = "__failed_"
_WITHIN = "__within_"
_ENDS: dict[object, tuple[date, date]] = {
    Type.DATE: (date.min, date.max),
    Type.TIMESTAMP: (datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)),
}
_AS_JSON = (pl.Boolean, pl.Int8, pl.Int16, pl.Int32, pl.Int64, pl.UInt8, pl.UInt16, pl.UInt32, pl.String)


@dataclass(frozen=True, kw_only=True)
class Validated:
    """`good` has the contract's columns; `refused` the pointer columns, `reasons` and `rules`.

    `read` counts all rows, `failures` those per failed rule, `warnings` those per warning rule.
    """

    good: Frame
    refused: pl.DataFrame
    read: int
    failures: dict[str, int]
    warnings: dict[str, int]

    @property
    def kept(self) -> int:
        """How many rows are good."""
        return self.read - self.refused.height


def validate(table: Contract, frame: Frame, *, engine: Engine) -> Validated:
    """Evaluate every rule on every row of a persisted frame. A null result counts as failed.

    Raises SchemaViolation when the frame lacks a column of the contract or has it in another type,
    ContractError when a rule cannot be evaluated on it.
    """
    none = engine.stage(frame.head(0))
    refuse_other_columns(table, none, helpers=True)
    bounded = _bounded(table)
    frame = _with_bounds(bounded, frame, engine)
    read, required = _of_columns(table, frame, engine, bounded)
    rules = [*table.rules, *required]
    judged = _validate(table, frame, required, engine) if rules else frame
    flags = {rule.name: nw.col(_FAILED + rule.name) for rule in rules}
    broken = counts(judged, flags, engine=engine)[1] if rules else {}
    errors = [rule for rule in rules if rule.severity == "error" and broken[rule.name]]
    failures = {rule.name: broken[rule.name] for rule in errors}
    bad = nw.any_horizontal(*(flags[name] for name in failures), ignore_nulls=True) if failures else None
    good = judged if bad is None else judged.filter(~bad)
    refused = none if bad is None else engine.stage(judged.filter(bad))
    return Validated(
        good=good.select(*table.column_names),
        refused=_reasons(errors, refused),
        read=read,
        failures=failures,
        warnings={name: count for name, count in broken.items() if count and name not in failures},
    )


def counts(frame: Frame, conditions: Mapping[str, nw.Expr], *, engine: Engine) -> tuple[int, dict[str, int]]:
    """Return how many rows there are, and for how many of them each condition is true.

    By the engine, not by narwhals, which would raise errors of its own over a file that cannot be read.
    """
    asked = [holds.cast(nw.Int64).sum().alias(f"n{n}") for n, holds in enumerate(conditions.values())]
    rows, *found = engine.stage(frame.select(nw.len().alias("rows"), *asked)).row(0)
    return int(rows), {name: int(count or 0) for name, count in zip(conditions, found, strict=True)}


def height(frame: Frame, *, engine: Engine) -> int:
    """Return how many rows a frame has."""
    return counts(frame, {}, engine=engine)[0]


def described(table: Contract, failures: Mapping[str, int]) -> str:
    """Return which rules were broken, by how many rows and what each of them asks: never a value."""
    says = {rule.name: rule.description for rule in table.rules}
    for column in table.columns:
        says |= {rule.name: rule.description for rule in (_not_null(column.name), _in_bounds(column))}
    return "; ".join(
        f"{rule} ({rows} {'row' if rows == 1 else 'rows'}): {says.get(rule, 'it can be stored')}"
        for rule, rows in failures.items()
    )


def _of_columns(
    table: Contract, frame: Frame, engine: Engine, bounded: Collection[str]
) -> tuple[int, list[RowRule]]:
    """Return how many rows there are, and the rules of the columns themselves that some row breaks.

    A null pointer is no row's fault.
    """
    asked = [_not_null(c.name) for c in table.columns if not c.nullable and c.name not in POINTER]
    asked += [_in_bounds(c) for c in table.columns if c.type in RANGES or c.name in bounded]
    asked += [_is_partition(name, frame, engine) for name in _text_partitions(table)]
    rows, broken = counts(frame, {rule.name: ~rule.passes() for rule in asked}, engine=engine)
    return rows, [rule for rule in asked if broken[rule.name]]


def _not_null(column: str) -> RowRule:
    return RowRule(
        name=f"{column}_not_null",
        description=f"{column} has a value",
        passes=lambda: ~nw.col(column).is_null(),
    )


def _in_bounds(column: Column) -> RowRule:
    if column.type in RANGES:
        first, last = _ENDS[column.type]
        return RowRule(
            name=f"{column.name}_in_calendar",
            description=f"{column.name} lies in {CALENDAR}",
            values=(column.name,),
            passes=lambda: _between(nw.col(column.name), first, last).fill_null(True),
        )
    says = f"{column.name} holds decimals of no more digits than their type, and times in {CALENDAR}"
    return RowRule(
        name=f"{column.name}_in_bounds",
        description=says,
        values=(column.name,),
        passes=lambda: nw.col(_WITHIN + column.name),
    )


def _bounded(table: Contract) -> dict[str, pl.Expr]:
    """Return the columns whose values may lie beyond their type, as only Polars tells: decimals, nested."""
    found = {c.name: in_bounds(pl.col(c.name), c.type) for c in table.columns if c.type not in RANGES}
    return {name: holds for name, holds in found.items() if holds is not None}


def _with_bounds(bounded: Mapping[str, pl.Expr], frame: Frame, engine: Engine) -> Frame:
    """Add for each such column whether its value can be kept."""
    if not bounded:
        return frame
    flags = [holds.fill_null(True).alias(_WITHIN + name) for name, holds in bounded.items()]
    return engine.persist(engine.map_batches(frame, lambda rows: rows.with_columns(flags)))


def _between(value: nw.Expr, first: date, last: date) -> nw.Expr:
    return (value >= nw.lit(first)) & (value <= nw.lit(last))


def _text_partitions(table: Contract) -> list[str]:
    return [name for name in table.partition_by if table.by_name[name].type is Type.STRING]


def _is_partition(name: str, frame: Frame, engine: Engine) -> RowRule:
    """Return the rule that text can name a partition: the store is asked of the texts, which are few."""
    lost = engine.stage(frame.select(name).unique()).filter(unkept(name))[name].to_list()
    return RowRule(
        name=f"{name}_is_partition",
        description=f"{name} can name a partition: not empty, not Hive's name of null, "
        "no longer than a folder's",
        values=(name,),
        passes=lambda: ~nw.col(name).is_in(lost).fill_null(False),
    )


def _validate(table: Contract, frame: Frame, required: Sequence[RowRule], engine: Engine) -> Frame:
    """Add whether each row breaks each rule, computed. Raises ContractError where one cannot be evaluated."""
    errors = [nw.col(_FAILED + rule.name) for rule in table.rules if rule.severity == "error"]
    kept = ~nw.any_horizontal(*errors, ignore_nulls=True) if errors else nw.lit(True)
    more = [(kept & ~rule.passes()).alias(_FAILED + rule.name) for rule in required]
    try:
        stated = _asked(table.rules, frame) if table.rules else frame
        return engine.persist(stated.with_columns(*more) if more else stated)
    except Exception:  # a rule is anybody's code
        _tell_fault(table, frame, engine)
        raise


def _asked(rules: Sequence[RowRule], frame: Frame) -> Frame:
    asked = frame.with_columns(*((~rule.passes()).alias(_FAILED + rule.name) for rule in rules))
    types = asked.collect_schema()
    if any(types[_FAILED + rule.name] != nw.Boolean for rule in rules):
        raise TypeError("a rule gives no true or false")
    return asked.with_columns(*(nw.col(_FAILED + rule.name).fill_null(True) for rule in rules))


def _tell_fault(table: Contract, frame: Frame, engine: Engine) -> None:
    """Raise ContractError for the first rule that cannot be evaluated on the frame, by its name."""
    for rule in table.rules:
        if (why := _fault(rule, frame, engine)) is not None:
            raise ContractError(
                f"rule {rule.name} of {table} cannot be evaluated: {why}. A rule is a condition on the "
                "contract's columns and the helper columns of its transform. Nothing was written."
            ) from None


def _fault(rule: RowRule, frame: Frame, engine: Engine) -> str | None:
    """Return why a rule of the contract cannot be evaluated; None where it can."""
    name = _FAILED + rule.name
    try:
        asked = frame.select((~rule.passes()).alias(name))
        if asked.collect_schema()[name] != nw.Boolean:
            return "it is no condition: it gives no true or false"
        engine.persist(asked)
    except Exception as exc:  # noqa: BLE001  # a rule is anybody's code
        return plain(exc)
    return None


def _reasons(errors: Sequence[RowRule], bad: pl.DataFrame) -> pl.DataFrame:
    """Return pointer, reasons and rules of each refused row; values of other types as text."""
    shown = {name for rule in errors for name in rule.values if name in bad.columns}
    flags = [_FAILED + rule.name for rule in errors]
    texts = []
    for row in bad.select(*flags, *(_shown(bad, name) for name in sorted(shown))).iter_rows(named=True):
        failed = [rule for rule in errors if row[_FAILED + rule.name]]
        reasons = [{"rule": r.name, "values": {v: _said(row.get(v)) for v in r.values}} for r in failed]
        texts.append((orjson.dumps(reasons, default=str).decode(), ",".join(r.name for r in failed)))
    told = bad.with_columns(
        pl.Series("reasons", [t[0] for t in texts], pl.String),
        pl.Series("rules", [t[1] for t in texts], pl.String),
    )
    return told.select(*(name for name in POINTER if name in bad.columns), "reasons", "rules")


def _shown(frame: pl.DataFrame, name: str) -> pl.Expr:
    """Return a column as JSON has it: what Python or JSON cannot say (year 0, NaN, 128 bits) as text."""
    dtype, column = frame.schema[name], pl.col(name)
    if dtype in _AS_JSON or dtype.is_float():
        return column
    if dtype.is_temporal():
        return column.dt.to_string("iso")
    ready = json_ready(column, dtype).alias(name)
    if dtype.is_nested():
        return pl.struct(ready).struct.json_encode().alias(name)
    return ready.cast(pl.String, strict=False)


def _said(value: object) -> object:
    return value if not isinstance(value, float) or math.isfinite(value) else str(value)
