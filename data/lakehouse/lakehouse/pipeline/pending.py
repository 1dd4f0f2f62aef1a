"""Rows that wait for their commit, as the files give them: many frames of few rows, or few of many.

Belongs here: holding them in bounded memory, and the columns that say where each came from. Does not: when
they are committed (ingest.py), or reading files.

A frame costs some kilobytes and some hundred microseconds whatever its rows, so small ones are joined, and
the columns that point to the file are made for many files at once. Large ones stay as they are: joining them
would hold their rows twice.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

import polars as pl

from lakehouse.sizes import size_of

_JOINED_AT = 1000  # frames
_LARGE = 50_000  # rows of a frame, on average


class Piece(NamedTuple):
    """Some rows of a file, the first of which is its row `row`."""

    frame: pl.DataFrame
    source: str
    fingerprint: str
    row: int


@dataclass(kw_only=True)
class Rows:
    """The rows of one coming commit, in the order they were taken."""

    count: int = 0
    size: int = 0  # bytes in memory
    _joined: list[pl.DataFrame] = field(default_factory=list)
    _whole: list[Piece] = field(default_factory=list)
    _open: list[Piece] = field(default_factory=list)  # of the file that is being read

    def take(self, piece: Piece) -> None:
        """Add rows of the file that is being read."""
        self._open.append(piece)
        self.count += piece.frame.height
        self.size += size_of(piece.frame)

    def end_file(self) -> None:
        """Keep the rows of the file that was read."""
        self._whole += self._open
        self._open = []
        if len(self._whole) >= _JOINED_AT:
            self._join()

    def drop_file(self) -> None:
        """Forget the rows of the file that was being read."""
        for piece in self._open:
            self.count -= piece.frame.height
            self.size -= size_of(piece.frame)
        self._open = []

    def frame(self) -> pl.DataFrame | None:
        """Return all rows with their pointer columns, those of the file that is being read too."""
        self.end_file()
        self._join()
        return pl.concat(self._joined) if self._joined else None

    def clear(self) -> None:
        """Forget all rows."""
        self._joined, self._whole, self._open, self.count, self.size = [], [], [], 0, 0

    def _join(self) -> None:
        pieces = [piece for piece in self._whole if piece.frame.height]
        self._whole = []
        if pieces:
            small = sum(piece.frame.height for piece in pieces) < _LARGE * len(pieces)
            frames = pl.concat([piece.frame for piece in pieces], rechunk=small)
            self._joined.append(frames.hstack(_pointers(pieces)))


def _pointers(pieces: list[Piece]) -> pl.DataFrame:
    """Return where each row came from; a text stands in memory once for all rows of its file."""
    rows = pl.Series([piece.frame.height for piece in pieces], dtype=pl.Int64)
    first = pl.Series([piece.row for piece in pieces], dtype=pl.Int64)
    number = pl.select(pl.int_range(len(pieces), dtype=pl.UInt32).repeat_by(rows).explode()).to_series()
    told = {"_source": [piece.source for piece in pieces], "_fingerprint": [p.fingerprint for p in pieces]}
    return pl.DataFrame(
        {
            **{name: pl.Series(texts, dtype=pl.String).gather(number) for name, texts in told.items()},
            "_row": pl.int_ranges(first, first + rows, dtype=pl.Int64, eager=True).explode(),
        }
    )
