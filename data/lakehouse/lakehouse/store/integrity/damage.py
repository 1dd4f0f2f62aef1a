"""Damage that shows only when rows are read, told by the file that it lies in.

Belongs here: turning what an engine says into an error of ours. Does not: checks.
An engine names neither the table nor always the file, and may quote what it has read.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import polars as pl

from lakehouse.contracts import Contract
from lakehouse.errors import DamagedTable, LakeError, StorageUnavailable, TableNotFound, UnexpectedError
from lakehouse.process import panicked
from lakehouse.store.protocol import TableStore


class UnreadableFiles(DamagedTable):
    """Data files of a table that are there and cannot be read."""

    def __init__(self, table: Contract, names: Sequence[str], uri: str) -> None:
        self.table, self.names = table, list(names)
        super().__init__(
            f"reading {table}: {len(names)} data files cannot be read, as {uri}/{names[0]}. "
            "`odp verify` says what to do."
        )


@contextmanager
def readable(store: TableStore, tables: Sequence[Contract]) -> Iterator[None]:
    """Raise UnreadableFiles for the one of these tables whose file an engine stumbled over in the block.

    Raises StorageUnavailable when the store does not answer, DamagedTable when no single file can be named.
    """
    try:
        yield
    except LakeError as exc:
        # DuckDB says of a broken page what it says of a broken connection, and a transform fails over either.
        if not isinstance(exc, StorageUnavailable | UnexpectedError):
            raise
        found = _unreadable(store, tables)
        if found is None:
            raise
        raise found from None
    except BaseException as exc:
        if not of_reading(exc):
            raise
        found = _unreadable(store, tables)
        if found is None:
            names = ", ".join(t.path for t in tables)
            found = DamagedTable(
                f"reading {names}: {type(exc).__name__}, though every file can be read by itself. Run it "
                "again."
            )
        raise found from None


def of_reading(exc: BaseException) -> bool:
    """Return whether an engine says by this that it could not read a file."""
    return panicked(exc) or isinstance(exc, pl.exceptions.PolarsError | OSError)


def _unreadable(store: TableStore, tables: Sequence[Contract]) -> LakeError | None:
    """Read every file of these tables by itself. Raises StorageUnavailable."""
    for table in tables:
        try:
            names = [n for n in store.file_names(table) if not _read(store, table, n)]
        except TableNotFound:
            continue
        except DamagedTable as exc:
            return exc
        if names:
            return UnreadableFiles(table, names, store.uri(table))
    return None


def _read(store: TableStore, table: Contract, name: str) -> bool:
    try:
        pl.read_parquet(io.BytesIO(store.files.read(table.path, name)))
    except FileNotFoundError:
        return False
    except BaseException as exc:
        if not of_reading(exc):
            raise
        return False
    return True
