"""Frames on DuckDB.

Belongs here: the engine's promise (protocol.py). Does not: operations on values (functions.py).
"""

from __future__ import annotations

from collections.abc import Callable

import duckdb
import narwhals.stable.v2 as nw
import polars as pl

from lakehouse.engine.duckdb.functions import beside, computed, polars_of
from lakehouse.engine.protocol import Frame


class DuckDBEngine:
    """Relations of one database in memory, whose times are of UTC. For one thread at a time."""

    def __init__(self) -> None:
        self._database = duckdb.connect(":memory:")
        self._database.execute("SET TimeZone = 'UTC'")

    def scan(self, rows: pl.LazyFrame) -> Frame:
        return nw.from_native(self._database.from_arrow(rows.collect(engine="streaming").to_arrow()))

    def persist(self, frame: Frame) -> Frame:
        return computed(frame)

    def map_batches(self, frame: Frame, build: Callable[[pl.DataFrame], pl.DataFrame]) -> Frame:
        return beside(frame, build(polars_of(frame)))

    def stage(self, frame: Frame) -> pl.DataFrame:
        return polars_of(frame)
