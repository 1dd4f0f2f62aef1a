"""A source: the folder in which files land, the Bronze table they feed, and how they are read.

Belongs here: the declaration. Does not: any concrete source (domains/<domain>/sources.py).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

import polars as pl

from lakehouse.contracts.model import Contract
from lakehouse.errors import ContractError, SourceError
from lakehouse.landing.files import LandedFile
from lakehouse.landing.form import Form

CHUNK_ROWS = 500_000  # most rows of one frame of a reader


@dataclass(frozen=True, kw_only=True)
class Partition:
    """How the files of a source lie by partition.

    `of` tells from a file's name its value of the column `table.files_within`: a file is known by its bytes
    within that value. It raises SourceError for a name that has none. `name` is what partitions are called,
    in the plural; `counted_by` names a column of the table that tells kinds of rows apart.
    """

    name: str
    of: Callable[[str], str]
    counted_by: str | None = None


@dataclass(frozen=True, kw_only=True)
class Source:
    """One landing folder.

    `read` yields at least one frame with exactly `payload_schema`, rows in file order, at most CHUNK_ROWS
    each; the same bytes always give the same rows, so a restart can skip the first n. It raises
    UnknownShape (readable, but of an unknown structure) or SourceError (not readable), before the first frame
    where possible. `form` declares what cannot be detected from the files; `rows` applies it.
    """

    folder: str
    table: Contract
    read: Callable[[LandedFile], Iterator[pl.DataFrame]]
    description: str
    partition_by: Partition | None = None
    names_are_personal: bool = False  # files are named after persons: shown by fingerprint
    form: Form = field(default_factory=Form)

    def __post_init__(self) -> None:
        if self.table.layer != "bronze":
            raise ContractError(
                f"source {self.folder!r} feeds {self.table.path}: a source feeds a Bronze table"
            )
        if (self.partition_by is None) != (self.table.files_within is None):
            raise ContractError(
                f"source {self.folder!r}: partition_by and files_within of its table go together"
            )
        if not self.folder or "/" in self.folder or self.folder.startswith("."):
            raise ContractError(f"source {self.folder!r}: give the plain name of one folder below landing")

    def rows(self, file: LandedFile) -> Iterator[pl.DataFrame]:
        """Yield the file's rows, read with the declared form. Raises what `read` raises."""
        return self.read(file.written_as(self.form))

    def placed(self, file: LandedFile) -> LandedFile:
        """Return the file with the partition that it is known within; as it is where its name tells none."""
        if self.partition_by is None:
            return file
        try:
            return replace(file, within=self.partition_by.of(file.name))
        except SourceError:
            return file

    @property
    def payload_schema(self) -> pl.Schema:
        """Return the columns that come from the file itself: all that do not start with `_`."""
        return payload_schema(self.table)


def payload_schema(table: Contract) -> pl.Schema:
    """Return the columns of a Bronze table that come from the file, in the contract's order."""
    return pl.Schema({name: t for name, t in table.polars_schema().items() if not name.startswith("_")})
