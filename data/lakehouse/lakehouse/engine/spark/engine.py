"""Frames on a Spark Connect server.

Belongs here: the engine's promise (protocol.py). Does not: the session (session.py), operations on values
(functions.py).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

import narwhals.stable.v2 as nw
import polars as pl

from lakehouse.contracts import Contract
from lakehouse.contracts.types import is_nested
from lakehouse.engine.protocol import Frame
from lakehouse.engine.spark import session
from lakehouse.engine.spark.functions import computed, row_by_row
from lakehouse.engine.spark.transfer import address, polars_of, sent, spark_types, together

_PLAIN = re.compile(r"[A-Za-z0-9/:._=@+,~-]*")


class SparkEngine:
    """Frames of one session with the server at `remote` (`sc://host:port`), opened at first use.

    The server needs this library, of the same version, for what no expression can say: it runs `map_batches`
    and the operations of functions.py.
    """

    def __init__(self, remote: str, *, reads_files: bool = False) -> None:
        """`reads_files`: the server reaches the lake at the same addresses, with a key of its own."""
        self._remote, self.reads_files = remote, reads_files

    def scan(self, rows: pl.LazyFrame) -> Frame:
        return sent(session.at(self._remote), rows.collect(engine="streaming"))

    def read(self, files: Sequence[str], table: Contract) -> Frame | None:
        """Of other paths servers make patterns or other paths: Spark keeps a `%20`, Sail decodes it.

        Nor can Sail read lists as delta-rs writes them (LargeList) where a list is asked for.
        """
        if not all(map(_PLAIN.fullmatch, files)) or any(is_nested(c.type) for c in table.columns):
            return None
        types = spark_types(pl.Schema(table.polars_schema()))
        reader = session.at(self._remote).read.schema(types)
        # One by one: texts of two kinds of Arrow in one table are two types to Sail, which it will not merge.
        return together(reader.parquet(address(file)) for file in files)

    def persist(self, frame: Frame) -> Frame:
        return computed(frame)

    def map_batches(self, frame: Frame, build: Callable[[pl.DataFrame], pl.DataFrame]) -> Frame:
        return row_by_row(frame, build)

    def stage(self, frame: Frame) -> pl.DataFrame:
        return polars_of(nw.to_native(frame))
