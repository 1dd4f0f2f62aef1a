"""Frames on DuckDB.

Belongs here: the engine's promise (protocol.py). Does not: operations on values (functions.py).
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Sequence
from datetime import timedelta
from pathlib import Path
from time import time

import duckdb
import narwhals.stable.v2 as nw
import polars as pl

from lakehouse.contracts import Contract
from lakehouse.engine.duckdb.file import rows_of
from lakehouse.engine.duckdb.floats import guarded
from lakehouse.engine.duckdb.functions import beside, computed, polars_of
from lakehouse.engine.protocol import Frame
from lakehouse.process import memory_limit

_PREFIX = "odp-duckdb-"
_STALE = timedelta(days=1)


def _spill() -> Path:
    """Return the folder of this process, which DuckDB makes when it needs it and removes at its end."""
    base = Path(os.environ.get("ODP_SCRATCH") or tempfile.gettempdir())
    base.mkdir(parents=True, exist_ok=True)
    for left in base.glob(f"{_PREFIX}*"):  # of processes that were killed
        if time() - left.stat().st_mtime > _STALE.total_seconds():
            shutil.rmtree(left, ignore_errors=True)
    return base / f"{_PREFIX}{os.getpid()}"


class DuckDBEngine:
    """Relations of one database in memory, whose times are of UTC. For one thread at a time.

    What does not fit half of the memory that this process may use goes to a folder of ODP_SCRATCH, or of
    TMPDIR.
    """

    reads_files = True

    def __init__(self) -> None:
        settings: dict[str, str | bool | int | float | list[str]] = {
            "memory_limit": f"{memory_limit() // 2 >> 20}MiB",
            "temp_directory": str(_spill()),
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

    def map_batches(self, frame: Frame, build: Callable[[pl.DataFrame], pl.DataFrame]) -> Frame:
        return beside(frame, build(polars_of(frame)))

    def stage(self, frame: Frame) -> pl.DataFrame:
        return polars_of(frame)
