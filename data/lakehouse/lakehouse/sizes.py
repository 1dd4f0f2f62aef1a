"""How many bytes rows take in memory, and how many of them fit into so many.

Belongs here: the estimate that every part and batch is sized by. Does not: how large one is (who cuts it).
"""

from __future__ import annotations

from collections.abc import Iterator

import polars as pl

_VIEW_BYTES = 16  # that each text has besides its characters


def size_of(frame: pl.DataFrame) -> int:
    """Return about how many bytes a frame takes in memory."""
    texts = sum(dtype in (pl.String, pl.Binary) for dtype in frame.dtypes)
    return int(frame.estimated_size()) + _VIEW_BYTES * texts * frame.height


def rows_within(most: int, frame: pl.DataFrame) -> int:
    """Return how many rows the parts of a frame have that take at most about `most` bytes each."""
    parts = -(-size_of(frame) // most)
    return max(1, -(-frame.height // max(parts, 1)))


def parts_within(most: int, frame: pl.DataFrame) -> Iterator[pl.DataFrame]:
    """Yield a frame in parts of about `most` bytes; one without rows where it has none."""
    if frame.is_empty():
        yield frame
    else:
        yield from frame.iter_slices(rows_within(most, frame))
