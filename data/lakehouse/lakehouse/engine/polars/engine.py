"""Frames on Polars.

Belongs here: the engine's promise (protocol.py). Does not: operations on values (functions.py).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import narwhals.stable.v2 as nw
import polars as pl

from lakehouse.contracts import Contract
from lakehouse.engine.polars.functions import computed
from lakehouse.engine.protocol import Frame
from lakehouse.sizes import rows_within

_PART_ROWS = 250_000  # each query costs some milliseconds, whatever its rows
_PART_BYTES = 64 << 20


@dataclass(frozen=True)
class PolarsEngine:
    """Lazy frames of this process; the streaming engine computes them."""

    reads_files = False  # the store's own scans are Polars'

    def scan(self, rows: pl.LazyFrame) -> Frame:
        return nw.from_native(rows)

    def read(self, files: Sequence[str], table: Contract) -> Frame | None:  # noqa: ARG002
        return None

    def persist(self, frame: Frame) -> Frame:
        return computed(frame)

    def map_batches(self, frame: Frame, build: Callable[[pl.DataFrame], pl.DataFrame]) -> Frame:
        return nw.from_native(build(self.stage(frame)).lazy())

    def stage(self, frame: Frame) -> pl.DataFrame:
        rows: pl.LazyFrame = nw.to_native(frame)
        return rows.collect(engine="streaming")

    def parts(self, frame: Frame) -> Iterator[Frame]:
        """Yield the rows as they are read, at most so many rows and about so many bytes at a time."""
        rows: pl.LazyFrame = nw.to_native(frame)
        is_empty = True
        for read in rows.collect_batches(chunk_size=_PART_ROWS, maintain_order=True, engine="streaming"):
            for part in read.iter_slices(rows_within(_PART_BYTES, read)):
                is_empty = False
                yield nw.from_native(part.lazy())
        if is_empty:
            yield nw.from_native(rows.head(0).collect().lazy())
