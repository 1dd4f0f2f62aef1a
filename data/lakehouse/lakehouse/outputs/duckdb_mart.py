"""The mart as one DuckDB file, where there is no Postgres.

Belongs here: writing the file. Does not: frames on DuckDB (engine/duckdb), or tables of DuckLake
(store/ducklake).

The file is written beside the old one and renamed over it: who has the old one open goes on reading it, and a
kill leaves it as it was. Lists and structs are DuckDB's own there, and a text may hold NUL.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from lakehouse.contracts import Contract
from lakehouse.contracts.sql import duckdb_type, parquet_rows, quoted, text
from lakehouse.errors import SettingsError, StorageUnavailable, UnexpectedError, plain
from lakehouse.outputs.mart import TABLES, TABLES_SAYS, Known, Loaded, Mart
from lakehouse.outputs.selection import Chosen, rows_of
from lakehouse.pipeline import Lake
from lakehouse.storage.objects import locked
from lakehouse.store.values import physical

if TYPE_CHECKING:
    import duckdb

_CREATE = f"""
CREATE TABLE {TABLES} (
  name VARCHAR PRIMARY KEY, lake_table VARCHAR NOT NULL, lake_identity VARCHAR NOT NULL,
  lake_version BIGINT NOT NULL, contract_version VARCHAR NOT NULL, shape VARCHAR NOT NULL, run_id VARCHAR,
  loaded_at TIMESTAMP WITH TIME ZONE NOT NULL, rows BIGINT NOT NULL, left_out VARCHAR[] NOT NULL
)
"""


def refresh(lake: Lake, chosen: Sequence[Chosen], absent: Sequence[Contract], file: Path) -> Mart:
    """Write the file anew where it is not of the chosen tables. Raises as refresh_mart does."""
    try:
        import duckdb
    except ImportError:
        raise SettingsError(
            "a mart without Postgres is a DuckDB file, and DuckDB is not installed: install "
            "`lakehouse[mart]`, or give MART_PG_HOST"
        ) from None
    try:
        with locked(file.with_name(f".{file.name}.lock")):
            known = _known(file)
            gone = [known[name].table for name in sorted(known.keys() - {one.table.name for one in chosen})]
            if not gone and all(
                one.table.name in known and known[one.table.name].is_of(one) for one in chosen
            ):
                tables = [known[one.table.name].loaded(one) for one in chosen]
            else:
                tables = _write(lake, chosen, file)
    except OSError as exc:
        raise StorageUnavailable(f"writing the mart {file}: {plain(exc)}; the file before it stays") from None
    except duckdb.Error as exc:
        raise UnexpectedError(f"writing the mart {file}: {plain(exc)}; the file before it stays") from None
    return Mart(
        place=str(file),
        tables=tuple(tables),
        absent=tuple(table.path for table in absent),
        removed=tuple(gone),
    )


def _known(file: Path) -> dict[str, Known]:
    """Return what the file says of its tables; nothing where it is none of ours, or cannot be opened now."""
    import duckdb

    if not file.exists():
        return {}
    query = f"SELECT name, lake_table, lake_identity, lake_version, shape, rows FROM {TABLES}"  # noqa: S608
    fields = ("name", "table", "identity", "version", "shape", "rows")
    try:
        with closing(duckdb.connect(file, read_only=True)) as database:
            found = [
                Known(**dict(zip(fields, row, strict=True)), shown_nul={})
                for row in database.sql(query).fetchall()
            ]
    except duckdb.Error:
        return {}
    return {one.name: one for one in found}


def _write(lake: Lake, chosen: Sequence[Chosen], file: Path) -> list[Loaded]:
    import duckdb

    for left in file.parent.glob(f".{file.name}.*.new*"):  # of a writer that was killed
        left.unlink(missing_ok=True)
    fresh = file.with_name(f".{file.name}.{uuid.uuid4().hex}.new")
    try:
        with closing(duckdb.connect(fresh)) as database:
            database.execute("SET TimeZone = 'UTC'")
            database.execute(_CREATE)
            database.execute(f"COMMENT ON TABLE {TABLES} IS {text(TABLES_SAYS)}")
            loaded = [_load(database, lake, one, fresh.with_name(f"{fresh.name}.rows")) for one in chosen]
        # Changes that somebody made to the old file are for that one alone.
        file.with_name(f"{file.name}.wal").unlink(missing_ok=True)
        fresh.replace(file)
    finally:
        for left in file.parent.glob(f"{fresh.name}*"):
            left.unlink(missing_ok=True)
    return loaded


def _load(database: duckdb.DuckDBPyConnection, lake: Lake, one: Chosen, rows_file: Path) -> Loaded:
    """Make one table.

    Rows go by way of a Parquet file, and values as literals: for Arrow's and for parameters DuckDB imports
    pandas, which costs two CPU-seconds.
    """
    name = quoted(one.table.name)
    parts = [
        f"{quoted(c.name)} {duckdb_type(c.type)}{'' if c.nullable else ' NOT NULL'}" for c in one.columns
    ]
    if one.key:
        parts.append(f"PRIMARY KEY ({', '.join(map(quoted, one.key))})")
    database.execute(f"CREATE TABLE {name} ({', '.join(parts)})")
    database.execute(f"COMMENT ON TABLE {name} IS {text(one.table.description)}")
    for c in one.columns:
        says = f"{c.description} ({c.unit})" if c.unit else c.description
        database.execute(f"COMMENT ON COLUMN {name}.{quoted(c.name)} IS {text(says)}")
    rows = rows_of(lake, one)
    rows.write_parquet(rows_file)
    database.execute(f"INSERT INTO {name} SELECT * FROM {parquet_rows([rows_file])}")  # noqa: S608
    left_out = f"[{', '.join(map(text, one.left_out))}]::VARCHAR[]"
    run, at = one.run, f"make_timestamptz({physical(lake.clock())})"
    said = [
        *map(text, (one.table.name, one.table.path, one.identity)),
        *(str(one.version), text(one.table.version), text(one.shape)),
        *("NULL" if run is None else text(run), at, str(rows.height), left_out),
    ]
    database.execute(f"INSERT INTO {TABLES} VALUES ({', '.join(said)})")  # noqa: S608
    return Loaded(
        table=one.table.path, version=one.version, rows=rows.height, left_out=one.left_out, changed=True
    )
