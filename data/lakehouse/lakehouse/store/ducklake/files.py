"""Writing data files and putting them in the place of others, inside an open DuckLake transaction.

Belongs here: Parquet below a table, the catalog told of it, files taken out whole. Does not: which rows.

A change rewrites the files it touches and takes the old ones out, so that no deletion files are needed:
DuckLake would write those itself, and remove them again when only the answer to a COMMIT was lost.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from lakehouse.contracts import Contract
from lakehouse.contracts.sql import text
from lakehouse.storage.files import Files, FolderFiles
from lakehouse.store.ducklake.connection import LAKE, Cursor
from lakehouse.store.ducklake.schema import address, columns, place
from lakehouse.store.integrity.checksums import Checksums

LARGEST_FILE_BYTES = 128 * 1024 * 1024
SMALLEST_FILE_BYTES = 32 * 1024
FILES_PER_TABLE = 64  # of a clustered table: a change rewrites whole files
_FRAME_BYTES_PER_STORED = 8
_LARGEST_ROW_GROUP = 122_880
_OPTIONS = "FORMAT parquet, COMPRESSION zstd, COMPRESSION_LEVEL 1, RETURN_FILES true"
_INCOMING = "incoming"
IDENTITY = "ducklake"  # names of data files are never used again, so that checksums need no table's identity


@dataclass(frozen=True)
class Stored:
    """How much a table holds, as far as it matters to how its files are cut."""

    rows: int
    size: int


def bring(cursor: Cursor, frame: pl.DataFrame) -> str:
    """Make a frame known to the cursor's queries, and return its name there."""
    cursor.register(_INCOMING, frame.to_arrow())
    return _INCOMING


def files_of_rows(cursor: Cursor, table: Contract, condition: str, values: Sequence[Any]) -> dict[str, int]:
    """Return the files that hold rows with `condition` (about `t`), each with how many of them."""
    rows = cursor.execute(
        f"SELECT filename, count(*) FROM {address(place(table.path))} t WHERE {condition} GROUP BY 1", values
    ).fetchall()
    return {str(name): int(count) for name, count in rows}


def take_out(cursor: Cursor, table: Contract, paths: Iterable[str]) -> None:
    """Remove whole files from the table."""
    condition, values = in_files(paths)
    if values:
        cursor.execute(f"DELETE FROM {address(place(table.path))} WHERE {condition}", values)


def in_files(paths: Iterable[str]) -> tuple[str, list[str]]:
    """Return the condition that a row lies in one of these files."""
    named = sorted(paths)
    return (f"filename IN ({', '.join('?' for _ in named)})" if named else "false"), named


def put_in(
    cursor: Cursor,
    files: Files,
    table: Contract,
    query: str,
    values: Sequence[Any],
    *,
    rows: int,
    per_file: int,
) -> None:
    """Write what `query` returns, at most `rows`, as files of `per_file` rows, and add them to the table.

    Rows are ordered by what the table is partitioned and clustered by: the catalog's bounds of each file then
    tell most files apart.
    """
    base = f"{files.uri(table.path)}/{uuid.uuid4()}"
    if isinstance(files, FolderFiles):
        Path(base).parent.mkdir(parents=True, exist_ok=True)
    order = columns([*table.partition_by, *table.cluster_by])
    ordered = f"SELECT * FROM ({query}) ORDER BY {order}" if order else query
    group = min(per_file, _LARGEST_ROW_GROUP)
    options = f"{_OPTIONS}, ROW_GROUP_SIZE {group}"
    if rows > per_file:
        options += f", ROW_GROUPS_PER_FILE {max(per_file // group, 1)}"
    else:
        base += ".parquet"
    written, paths = cursor.execute(f"COPY ({ordered}) TO {text(base)} ({options})", values).fetchall()[0]
    if written:
        names = [str(path).removeprefix(f"{files.uri(table.path)}/") for path in paths]
        Checksums(files).record_files(table.path, IDENTITY, names)
        schema, name = place(table.path)
        cursor.execute(
            f"CALL ducklake_add_data_files('{LAKE}', ?, ?, schema => ?)", [name, list(paths), schema]
        )


def rows_per_file(table: Contract, stored: Stored, frame: pl.DataFrame | None = None) -> int:
    """Return how many rows a file should have: a small part of a clustered table, else as many as fit."""
    coming = int(frame.estimated_size()) // _FRAME_BYTES_PER_STORED if frame is not None else 0
    rows = stored.rows + (frame.height if frame is not None else 0)
    size = max(stored.size + coming, 1)
    target = LARGEST_FILE_BYTES
    if table.cluster_by:
        target = min(max(size // FILES_PER_TABLE, SMALLEST_FILE_BYTES), LARGEST_FILE_BYTES)
    return max(rows * target // size, 2048) if rows else _LARGEST_ROW_GROUP


def stored(cursor: Cursor, table: Contract) -> Stored:
    """Return how much the table holds, as the open transaction sees it."""
    schema, name = place(table.path)
    size = cursor.execute(
        f"SELECT coalesce(sum(data_file_size_bytes), 0) FROM ducklake_list_files('{LAKE}', ?, schema => ?)",
        [name, schema],
    ).fetchone()
    rows = cursor.execute(f"SELECT count(*) FROM {address(place(table.path))}").fetchone()
    return Stored(rows=int(rows[0]) if rows else 0, size=int(size[0]) if size else 0)
