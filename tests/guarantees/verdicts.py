"""The tables that the trials write, and the counting of what went wrong.

Belongs here: contracts and Verdict. Does not: trials.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import polars as pl

from lakehouse.contracts import Column, Contract, Materialization, Type

Row = tuple[int, str, int]  # key, partition, value

POINTS = Contract(
    layer="silver", name="points", domain="guarantees", description="One point.",
    materialization=Materialization.INCREMENTAL_BY_KEY,
    key=("k",), partition_by=("p",),
    columns=(
        Column(name="k", type=Type.INT64, nullable=False, description="Key"),
        Column(name="p", type=Type.STRING, nullable=False, description="Partition"),
        Column(name="v", type=Type.INT64, nullable=False, description="Value"),
    ),
)  # fmt: skip
LOG = Contract(
    layer="bronze", name="log", domain="guarantees", description="One line.",
    materialization=Materialization.APPEND,
    columns=(
        Column(name="writer", type=Type.INT64, nullable=False, description="Who"),
        Column(name="n", type=Type.INT64, nullable=False, description="Which"),
    ),
)  # fmt: skip


@dataclass(frozen=True)
class Verdict:
    """What came of a number of trials: acknowledged rows that are gone, there twice, or other than written.

    `told` counts trials that were refused with an error, as they may be; nothing of those may be there.
    """

    trials: int = 0
    lost: int = 0
    doubled: int = 0
    changed: int = 0
    told: int = 0

    def __add__(self, other: Verdict) -> Verdict:
        mine, its = vars(self), vars(other)
        return Verdict(**{name: mine[name] + its[name] for name in mine})

    @property
    def kept(self) -> bool:
        return self.trials > 0 and self.lost == self.doubled == self.changed == 0


def frame(rows: Iterable[Row]) -> pl.DataFrame:
    return pl.DataFrame(list(rows), schema=POINTS.polars_schema(), orient="row")


def judged(found: Iterable[Any], wanted: Iterable[Any], *, trials: int = 1, told: int = 0) -> Verdict:
    """Compare rows by their first field: missing ones, repeated ones, others."""
    have, want = Counter(found), Counter(wanted)
    keys_have, keys_want = Counter(r[0] for r in have.elements()), Counter(r[0] for r in want.elements())
    lost = sum((keys_want - keys_have).values())
    doubled = sum((keys_have - keys_want).values())
    changed = max(0, sum((have - want).values()) - doubled)
    return Verdict(trials=trials, lost=lost, doubled=doubled, changed=changed, told=told)


def best(found: Iterable[Any], outcomes: Iterable[Iterable[Any]], *, told: int = 0) -> Verdict:
    """Judge against the nearest of several lawful outcomes."""
    rows = list(found)
    verdicts = [judged(rows, outcome, told=told) for outcome in outcomes]
    return min(verdicts, key=lambda v: v.lost + v.doubled + v.changed)


def summed(verdicts: Iterable[Verdict]) -> Verdict:
    total = Verdict()
    for verdict in verdicts:
        total += verdict
    return total


def as_rows(state: Mapping[int, tuple[str, int]]) -> list[Row]:
    return [(k, p, v) for k, (p, v) in state.items()]


def named(table: Contract, name: str) -> Contract:
    return replace(table, name=name)
