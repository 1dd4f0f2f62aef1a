"""A DuckDB file that another program reads and writes: views of Parquet files, and tables to and from frames.

Belongs here: making it and reading it. Does not: what is computed in it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import duckdb
import polars as pl

from lakehouse.contracts import Contract
from lakehouse.contracts.sql import duckdb_type, parquet_rows, quoted
from lakehouse.engine.duckdb.floats import selection

_OFFLINE: Mapping[str, str | bool | int | float | list[str]] = {
    "autoinstall_known_extensions": "false",
    "autoload_known_extensions": "false",
}


class DatabaseFile:
    """One file, open; nobody else may have it open meanwhile."""

    def __init__(self, connection: duckdb.DuckDBPyConnection) -> None:
        self._connection = connection

    def view(self, table: Contract, files: Sequence[Path]) -> int:
        """Make `<layer>.<name>` a view of Parquet files, with the contract's columns; return its rows.

        A column that no file has yet is null.
        """
        self._schema(table.layer)
        self._connection.execute(
            f"CREATE VIEW {_path(table.layer, table.name)} AS {rows_of(self._connection, table, files)}"
        )
        found = self._connection.execute(f"SELECT count(*) FROM {parquet_rows(files)}").fetchone()
        return int(found[0]) if found else 0

    def table(self, schema: str, table: Contract, rows: pl.LazyFrame | None) -> None:
        """Make `<schema>.<name>` a table of the contract's columns with the rows; None: empty."""
        self._schema(schema)
        columns = ", ".join(f"{quoted(c.name)} {duckdb_type(c.type)}" for c in table.columns)
        self._connection.execute(f"CREATE TABLE {_path(schema, table.name)} ({columns})")
        if rows is not None:
            handed = rows.select(table.column_names).collect(engine="streaming").to_arrow()
            self._connection.execute(f"INSERT INTO {_path(schema, table.name)} SELECT * FROM handed")
            del handed

    def rows(self, schema: str, table: Contract) -> pl.DataFrame:
        """Return the rows of `<schema>.<name>`, whatever its columns are."""
        return self._connection.execute(f"SELECT * FROM {_path(schema, table.name)}").pl()

    def _schema(self, name: str) -> None:
        self._connection.execute(f"CREATE SCHEMA IF NOT EXISTS {quoted(name)}")


def rows_of(connection: duckdb.DuckDBPyConnection, table: Contract, files: Sequence[Path]) -> str:
    """Return the statement that reads Parquet files with the contract's columns; what none has is null."""
    rows = parquet_rows(files)
    known = {row[0] for row in connection.execute(f"DESCRIBE SELECT * FROM {rows}").fetchall()}
    columns = ", ".join(
        f"CAST({name if c.name in known else 'NULL'} AS {duckdb_type(c.type)}) AS {name}"
        for c, name in ((c, quoted(c.name)) for c in table.columns)
    )
    found = connection.sql(f"SELECT {columns} FROM {rows}")
    kinds = dict(zip(found.columns, found.types, strict=True))
    return f"SELECT {selection(kinds)} FROM (SELECT {columns} FROM {rows})"


@contextmanager
def database_file(path: Path) -> Iterator[DatabaseFile]:
    """Open the file at `path`; it is made where there is none."""
    with duckdb.connect(str(path), config=dict(_OFFLINE)) as connection:
        connection.execute("SET TimeZone = 'UTC'")
        yield DatabaseFile(connection)


def _path(schema: str, name: str) -> str:
    return f"{quoted(schema)}.{quoted(name)}"
