"""What every shape of refresh works with: the lake, the table, its transform, and the report it fills.

Belongs here: types shared by refresh.py, rowwise.py and aggregates.py. Does not: any reading or writing.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

import narwhals.stable.v2 as nw

from lakehouse.contracts import Contract
from lakehouse.engine.frames import take
from lakehouse.engine.protocol import Engine, Frame
from lakehouse.errors import UNSAID, LakeError, UnexpectedError, plain
from lakehouse.pipeline.holds import Hold, Judgement
from lakehouse.pipeline.lake import Lake
from lakehouse.process import panicked

Transform = Callable[..., Frame]
"""Source frames in, in the order of the contract's `sources`; the table's frame out."""


def batch_rows(lake: Lake, table: Contract) -> int:
    """Return how many rows are held at once."""
    return min(lake.batch_rows, table.rows_per_batch or lake.batch_rows)


@dataclass(kw_only=True)
class RefreshReport:
    """What one refresh did. `read == written + merged + quarantined` holds for tables of shape `rows`.

    `judged` is what the run found of its own rows, None when it read none; `hold` is what too many
    rejects, of this run or an earlier one, have put on the table; `waits_for` names the holds of its
    sources, for which the table was left as it is.
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
    judged: Judgement | None = None
    hold: Hold | None = None
    waits_for: tuple[Hold, ...] = ()

    @property
    def balances(self) -> bool:
        return self.read == self.written + self.merged + self.quarantined


@dataclass(frozen=True, kw_only=True)
class RefreshContext:
    """One table being brought up to its sources."""

    lake: Lake
    table: Contract
    transform: Transform
    info: Mapping[str, str]
    full: bool = False  # from all source rows, whatever the table has taken in already
    staged: bool = False  # it is a staging table of a full refresh, and never computed anew itself
    report: RefreshReport = field(default_factory=RefreshReport)

    @property
    def engine(self) -> Engine:
        return self.lake.engine_of(self.table)

    def frame(self, table: Contract, *, version: int | None = None) -> Frame:
        """Return a version of a table as a frame of the engine that computes this one."""
        return self.lake.frame(self.engine, table, version=version)

    def compute(self, *sources: Frame) -> Frame:
        """Return what the transform makes of the source frames, computed.

        Raises UnexpectedError where it fails: whose code it is, and where, but not what it said.
        """
        with self._failing():
            made = self.transform(*sources)
            if not isinstance(made, nw.LazyFrame | nw.DataFrame):
                made = nw.from_native(take(made, self.table))
            if made.implementation is nw.Implementation.POLARS:  # of whatever engine its sources were
                return self.engine.persist(self.engine.scan(nw.to_native(made.lazy())))
            return self.engine.persist(made.lazy())

    @contextmanager
    def _failing(self) -> Iterator[None]:
        try:
            yield
        except LakeError:
            raise
        except BaseException as exc:
            if not isinstance(exc, Exception) and not panicked(exc):
                raise
            hint = ""
            if type(exc).__name__ == "ColumnNotFoundError":
                there = "; ".join(f"{s}: {', '.join(s.column_names)}" for s in self.table.sources)
                hint = f" Columns there are ({there})."
            raise UnexpectedError(
                f"computing {self.table}: its transform {_named(self.transform)} failed: {plain(exc)}.{hint} "
                f"Nothing was written. {UNSAID}"
            ) from None


def _named(transform: Transform) -> str:
    """Return where a transform is defined: partial and adapted ones by what they hold."""
    inner = inspect.unwrap(transform)
    while isinstance(inner, functools.partial):
        inner = inner.func
    return f"{getattr(inner, '__module__', '?')}.{getattr(inner, '__qualname__', type(inner).__name__)}"
