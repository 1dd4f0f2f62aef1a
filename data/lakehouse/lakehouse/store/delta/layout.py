"""How a Delta table's rows lie in files.

Belongs here: file sizes, clustering, the writer's settings. Does not: writing.
"""

from __future__ import annotations

import polars as pl
from deltalake import DeltaTable, PostCommitHookProperties, WriterProperties

from lakehouse.contracts import Contract
from lakehouse.store.delta.read import adds

_LARGEST_FILE_BYTES = 128 * 1024 * 1024
# A change rewrites whole files, so a clustered table is cut into some hundred of them; below this size a
# file's fixed cost would be more than what it saves.
_SMALLEST_FILE_BYTES = 32 * 1024
_FILES_PER_TABLE = 64
_FRAME_BYTES_PER_STORED = 8  # a frame in memory against its Parquet, zstd; only the order of it matters
_DEEPEST = 4  # files that hold one value of the clustering column, before it pays to sort the table anew


def file_bytes(table: Contract, delta: DeltaTable, coming: int = 0) -> int:
    """Return how large a data file should be: a small part of a clustered table, else as large as any.

    `coming` is how many bytes the rows to be written take in memory.
    """
    if not table.cluster_by:
        return _LARGEST_FILE_BYTES
    stored = int(adds(delta)["size_bytes"].sum() or 0)
    share = (stored + coming // _FRAME_BYTES_PER_STORED) // _FILES_PER_TABLE
    return min(max(share, _SMALLEST_FILE_BYTES), _LARGEST_FILE_BYTES)


def poorly_clustered(table: Contract, files: pl.DataFrame) -> bool:
    """Return whether many files of a clustered table cover the same values: a change would touch them all."""
    low, high = (f"{end}.{table.cluster_by[0]}" if table.cluster_by else "" for end in ("min", "max"))
    if low not in files.columns or files.height <= _DEEPEST:
        return False
    spans = files.select(pl.col(low).alias("low"), pl.col(high).alias("high")).drop_nulls()
    ends = pl.concat(
        [
            spans.select(pl.col("low").alias("at"), pl.lit(1).alias("step")),
            spans.select(pl.col("high").alias("at"), pl.lit(-1).alias("step")),
        ]
    ).sort("at", "step", descending=[False, True])
    depth = ends["step"].cum_sum()
    return bool(depth.mean() > _DEEPEST) if len(depth) else False  # type: ignore[operator]


def hooks() -> PostCommitHookProperties:
    """Return what may follow a commit: nothing. Checkpoints are written when they are due
    (delta/checkpoint.py), and only maintenance removes log: it knows the pins.
    """
    return PostCommitHookProperties(create_checkpoint=False, cleanup_expired_logs=False)


def writer() -> WriterProperties:
    """Return the Parquet settings: zstd halves the bytes for a tenth of a second per million rows."""
    return WriterProperties(compression="ZSTD", compression_level=1)
