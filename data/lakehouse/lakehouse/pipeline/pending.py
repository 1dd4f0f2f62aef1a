"""Rows that wait for their commit, as the files give them: many frames of few rows, or few of many.

Belongs here: holding them in bounded memory, and the columns that say where each came from. Does not: when
they are committed (ingest.py), or reading files.

A frame costs some kilobytes and some hundred microseconds whatever its rows, so small ones are joined, and
the columns that point to the file are made for many files at once.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

import polars as pl

_JOINED_AT = 1000  # frames


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
        self.size += int(piece.frame.estimated_size())

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
            self.size -= int(piece.frame.estimated_size())
        self._open = []

    def frame(self) -> pl.DataFrame | None:
        """Return all rows with their pointer columns, those of the file that is being read too."""
        self.end_file()
        self._join()
        return pl.concat(self._joined) if self._joined else None

    def _join(self) -> None:
        pieces = [piece for piece in self._whole if piece.frame.height]
        self._whole = []
        if pieces:
            frames = pl.concat([piece.frame for piece in pieces], rechunk=True)
            self._joined.append(frames.hstack(_pointers(pieces)))


def _pointers(pieces: list[Piece]) -> pl.DataFrame:
    rows = pl.Series([piece.frame.height for piece in pieces], dtype=pl.Int64)
    first = pl.Series([piece.row for piece in pieces], dtype=pl.Int64)
    told = pl.DataFrame(
        {
            "_source": pl.Series([piece.source for piece in pieces], dtype=pl.String),
            "_fingerprint": pl.Series([piece.fingerprint for piece in pieces], dtype=pl.String),
            "_row": pl.int_ranges(first, first + rows, dtype=pl.Int64, eager=True),
        }
    )
    repeated = (pl.col(name).repeat_by(rows) for name in ("_source", "_fingerprint"))
    return told.with_columns(*repeated).explode("_source", "_fingerprint", "_row")
