"""Frames on DuckDB.

Belongs here: the engine's promise (protocol.py). Does not: operations on values (functions.py).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import duckdb
import narwhals.stable.v2 as nw
import polars as pl

from lakehouse.contracts import Contract
from lakehouse.engine.duckdb.file import rows_of
from lakehouse.engine.duckdb.floats import guarded
from lakehouse.engine.duckdb.functions import beside, computed, polars_of
from lakehouse.engine.protocol import Frame
from lakehouse.process import memory_limit
from lakehouse.scratch import scratch_without
from lakehouse.sizes import parts_within

_PREFIX = "odp-duckdb-"
_PART_BYTES = 64 << 20
_GROUP_ROWS = 122_880


class DuckDBEngine:
    """Relations of one database in memory, whose times are of UTC. For one thread at a time.

    What does not fit half of the memory that this process may use goes to a folder of ODP_SCRATCH, or of
    TMPDIR.
    """

    reads_files = True

    def __init__(self) -> None:
        settings: dict[str, str | bool | int | float | list[str]] = {
            "memory_limit": f"{memory_limit() // 2 >> 20}MiB",
            # DuckDB makes it when it needs it, and removes it at its end.
            "temp_directory": str(scratch_without(_PREFIX) / f"{_PREFIX}{os.getpid()}"),
            "preserve_insertion_order": "false",
            "autoinstall_known_extensions": "false",
            "autoload_known_extensions": "false",
        }
        self._database = duckdb.connect(":memory:", config=settings)
        self._database.execute("SET TimeZone = 'UTC'")

    def scan(self, rows: pl.LazyFrame) -> Frame:
        return nw.from_native(guarded(self._database.from_arrow(rows.collect(engine="streaming").to_arrow())))

    def read(self, files: Sequence[str], table: Contract) -> Frame | None:
        """Read files of this machine; those of an object store come by way of Polars."""
        paths = [Path(file) for file in files]
        if not all(path.is_absolute() for path in paths):
            return None
        return nw.from_native(self._database.sql(rows_of(self._database, table, paths)))

    def persist(self, frame: Frame) -> Frame:
        return computed(frame)

    def parts(self, frame: Frame) -> Iterator[Frame]:
        """Yield the rows, of which DuckDB has about so many bytes at a time."""
        for part in parts_within(_PART_BYTES, polars_of(frame)):
            yield beside(frame, part)

    def map_batches(self, frame: Frame, build: Callable[[pl.DataFrame], pl.DataFrame]) -> Frame:
        return beside(frame, build(polars_of(frame)))

    def stage(self, frame: Frame) -> pl.DataFrame:
        return polars_of(frame)

    def stage_files(self, frame: Frame, folder: Path) -> list[str]:
        file = folder / "rows.parquet"
        relation: duckdb.DuckDBPyRelation = nw.to_native(frame)
        relation.write_parquet(str(file), compression="zstd", row_group_size=_GROUP_ROWS)
        return [str(file)]
