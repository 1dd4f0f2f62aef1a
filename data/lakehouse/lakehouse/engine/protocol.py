"""What the flow asks of an engine: frames from the store, computed, and back to the store.

Belongs here: the promise. Does not: an engine (one folder each), or an operation on values (xp.py).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeAlias, runtime_checkable

import narwhals.stable.v2 as nw

if TYPE_CHECKING:
    import polars as pl

    from lakehouse.contracts import Contract

Frame: TypeAlias = nw.LazyFrame


class Engine(Protocol):
    """Where frames are computed. Frames of one engine cannot be joined with those of another."""

    reads_files: bool
    """Whether `read` may give something."""

    def scan(self, rows: pl.LazyFrame) -> Frame:
        """Return what a reader of the store gives, or rows at hand, as a frame of this engine."""
        ...

    def read(self, files: Sequence[str], table: Contract) -> Frame | None:
        """Return the rows of Parquet files with the contract's columns; None where it cannot reach them.

        A column that a file has not got is null.
        """
        ...

    def persist(self, frame: Frame) -> Frame:
        """Return the same rows, computed now and once, to be read several times."""
        ...

    def map_batches(self, frame: Frame, build: Callable[[pl.DataFrame], pl.DataFrame]) -> Frame:
        """Return what `build` makes of the rows, some or all at a time: for what no expression can say.

        What it makes of a row must not depend on the others.
        """
        ...

    def stage(self, frame: Frame) -> pl.DataFrame:
        """Return rows as the store takes them at a commit."""
        ...


@runtime_checkable
class InParts(Protocol):
    """What an engine may offer besides: a batch in parts, so that it is never in memory as a whole."""

    def parts(self, frame: Frame) -> Iterator[Frame]:
        """Yield the rows in parts of bounded size, each computed; at least one, perhaps without rows."""
        ...


@runtime_checkable
class StagesFiles(Protocol):
    """What an engine may offer besides: rows as files, so that this process never holds them all."""

    def stage_files(self, frame: Frame, folder: Path) -> list[str]:
        """Write rows as Parquet files into a folder of this machine; return their paths."""
        ...
