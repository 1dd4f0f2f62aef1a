"""Frames on Polars.

Belongs here: the engine's promise (protocol.py). Does not: operations on values (functions.py).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import narwhals.stable.v2 as nw
import polars as pl

from lakehouse.contracts import Contract
from lakehouse.engine.polars.functions import computed
from lakehouse.engine.protocol import Frame


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
