"""A source: the folder that files land in, the Bronze table they feed, and how they are read.

Belongs here: the declaration. Does not: any actual source (domains/<domain>/sources.py).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import polars as pl

from lakehouse.contracts.model import Contract
from lakehouse.errors import ContractError
from lakehouse.landing.files import LandedFile

CHUNK_ROWS = 500_000  # rows a reader may give at once


@dataclass(frozen=True, kw_only=True)
class Source:
    """One landing folder.

    `read` yields at least one frame with exactly `payload_schema`, rows in file order, at most CHUNK_ROWS
    each; the same bytes always give the same rows, so a restart can skip the first n. It raises
    UnknownShape (readable, but nothing here knows it) or SourceError (not readable), where it can before
    the first frame.
    """

    folder: str
    table: Contract
    read: Callable[[LandedFile], Iterator[pl.DataFrame]]
    description: str
    names_are_personal: bool = False  # files are named after persons: told by fingerprint in what people see

    def __post_init__(self) -> None:
        if self.table.layer != "bronze":
            raise ContractError(
                f"source {self.folder!r} feeds {self.table.path}: a source feeds a Bronze table"
            )
        if not self.folder or "/" in self.folder or self.folder.startswith("."):
            raise ContractError(f"source {self.folder!r}: give the plain name of one folder below landing")

    @property
    def payload_schema(self) -> pl.Schema:
        """The table's columns that come from the file itself: all but those that start with `_`."""
        return payload_schema(self.table)


def payload_schema(table: Contract) -> pl.Schema:
    """Return the columns of a Bronze table that come from the file, in the contract's order."""
    return pl.Schema({name: t for name, t in table.polars_schema().items() if not name.startswith("_")})
