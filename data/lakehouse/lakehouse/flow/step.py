"""What every shape of refresh works with: the lake, the table, its transform, and the report it fills.

Belongs here: types shared by refresh.py, rowwise.py and aggregates.py. Does not: any reading or writing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import narwhals.stable.v2 as nw
import polars as pl

from lakehouse.contracts import Contract
from lakehouse.flow.lake import Lake

Transform = Callable[..., nw.LazyFrame]
"""Source frames in, in the order of the contract's `sources`; the table's frame out."""


def batch_rows(lake: Lake, table: Contract) -> int:
    """Return how many rows are held at once."""
    return min(lake.batch_rows, table.rows_per_batch or lake.batch_rows)


@dataclass(kw_only=True)
class RefreshReport:
    """What one refresh did. `read == written + merged + quarantined` holds for tables of shape `rows`.

    `last_read` and `last_quarantined` are those of the last run that read anything, this one or an earlier
    one: a batch with too many rejects goes on blocking until a better one comes.
    """

    read: int = 0
    written: int = 0
    merged: int = 0
    quarantined: int = 0
    updated: int = 0
    batches: int = 0
    version: int = -1
    failures: dict[str, int] = field(default_factory=dict)
    warnings: dict[str, int] = field(default_factory=dict)
    last_read: int = 0
    last_quarantined: int = 0

    @property
    def balances(self) -> bool:
        return self.read == self.written + self.merged + self.quarantined


@dataclass(frozen=True, kw_only=True)
class Step:
    """One table being brought up to its sources."""

    lake: Lake
    table: Contract
    transform: Transform
    info: Mapping[str, str]
    full: bool = False  # from all source rows, whatever the table has taken in already
    report: RefreshReport = field(default_factory=RefreshReport)

    def compute(self, *sources: pl.LazyFrame) -> pl.DataFrame:
        """Return what the transform makes of the source frames."""
        made = nw.to_native(self.transform(*[nw.from_native(source) for source in sources]))
        return made.collect(engine="streaming") if isinstance(made, pl.LazyFrame) else pl.DataFrame(made)
