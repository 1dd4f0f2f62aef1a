"""Questions to a DuckLake catalog: which tables, which versions, which files. Nothing here writes to it.

Belongs here: reading the catalog's tables as DuckLake's specification describes them. Does not: rows.

A version is a snapshot of the whole lake. Those of one table are the snapshots that changed the table or its
state; the newest of them is the table's version.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from lakehouse.contracts import Contract
from lakehouse.contracts.sql import text
from lakehouse.store.ducklake.connection import LAKE, META, OWN, Cursor
from lakehouse.store.ducklake.schema import address, place, state_place
from lakehouse.store.results import BaseVersion

AUTHOR = "odp"
COMPACTION = "COMPACT"
ADD_COLUMNS = "ADD COLUMNS"
_LIVE = "SELECT table_id FROM ducklake_table WHERE end_snapshot IS NULL"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_ROWS = re.compile(r"(inserted_into_table|deleted_from_table|inlined_insert|inlined_delete):(\d+)")
_IDS = re.compile(r":(\d+)")


@dataclass(frozen=True)
class Entry:
    """A table as the catalog has it: its ids and those of its state, and the snapshot that created it."""

    table_id: int
    marks_id: int
    identity: str
    created: int


@dataclass(frozen=True, kw_only=True)
class Logged:
    """One snapshot that changed a table."""

    version: int
    at: datetime
    changes: str
    author: str | None
    operation: str | None
    info: dict[str, Any]

    def changed_rows(self, entry: Entry) -> bool:
        """Return whether rows of the table itself came or went; compaction moves them only."""
        if self.author == AUTHOR and self.operation == COMPACTION:
            return False
        return any(int(found) == entry.table_id for _, found in _ROWS.findall(self.changes))

    @property
    def is_maintenance(self) -> bool:
        """Whether neither rows nor state differ after it."""
        return self.author == AUTHOR and self.operation in (COMPACTION, ADD_COLUMNS)

    def concerns_only(self, entry: Entry) -> bool:
        """Return whether the snapshot changed this table and no other one."""
        ids = {int(found) for found in _IDS.findall(self.changes)}
        return ids <= {entry.table_id, entry.marks_id} and (
            self.author == AUTHOR or "created" not in self.changes
        )


def entry(cursor: Cursor, path: str) -> Entry | None:
    """Return what the catalog knows of table `path`, or None."""
    rows = _ask(
        cursor,
        f"""
        SELECT t.table_id, coalesce(m.table_id, -1), t.table_uuid::text, t.begin_snapshot
        FROM ({_tables(*place(path))}) t LEFT JOIN ({_tables(*state_place(path))}) m ON true
        """,
    )
    return Entry(*rows[0]) if rows else None


def _tables(schema: str, name: str) -> str:
    return f"""
        SELECT t.* FROM ducklake_table t JOIN ducklake_schema s ON s.schema_id = t.schema_id
        WHERE t.end_snapshot IS NULL AND s.end_snapshot IS NULL
          AND s.schema_name = {text(schema)} AND t.table_name = {text(name)}
    """


def paths(cursor: Cursor) -> list[str]:
    """Return every table of the lake as `<schema>/<table>`, ours or not."""
    rows = _ask(
        cursor,
        f"""
        SELECT s.schema_name, t.table_name
        FROM ducklake_table t JOIN ducklake_schema s ON s.schema_id = t.schema_id
        WHERE t.end_snapshot IS NULL AND s.end_snapshot IS NULL AND s.schema_name <> {text(OWN)}
        """,
    )
    return sorted(f"{schema}/{name}" for schema, name in rows)


def newest(cursor: Cursor) -> int:
    """Return the newest snapshot of the lake."""
    return int(_ask(cursor, "SELECT max(snapshot_id) FROM ducklake_snapshot")[0][0])


def current(cursor: Cursor) -> int:
    """Return the snapshot that the open transaction reads."""
    row = cursor.execute(f"SELECT id FROM ducklake_current_snapshot({text(LAKE)})").fetchone()
    return int(row[0]) if row else 0


def left_behind(cursor: Cursor, before: datetime) -> set[int]:
    """Return our snapshots up to `before` that concern only tables that are no more."""
    live = "|".join(str(row[0]) for row in _ask(cursor, _LIVE)) or "-"
    rows = _ask(
        cursor,
        f"""
        SELECT c.snapshot_id FROM ducklake_snapshot_changes c
        JOIN ducklake_snapshot s ON s.snapshot_id = c.snapshot_id
        WHERE c.author = {text(AUTHOR)} AND s.snapshot_time <= {text(before.isoformat())}
          AND c.changes_made !~ {text(f":({live})(,|$)")}
        """,
    )
    return {int(row[0]) for row in rows}


def known_files(cursor: Cursor, path: str) -> set[str]:
    """Return the names, below table `path`, that any snapshot of the lake or its clean-up list holds.

    A name is the last part of a path, or the last two: files are written alone or in a folder of one commit.
    """
    schema, name = place(path)
    same = f"""SELECT t.table_id FROM ducklake_table t JOIN ducklake_schema s ON s.schema_id = t.schema_id
               WHERE s.schema_name = {text(schema)} AND t.table_name = {text(name)}"""
    rows = _ask(
        cursor,
        f"""
        SELECT path FROM ducklake_data_file WHERE table_id IN ({same})
        UNION ALL SELECT path FROM ducklake_delete_file WHERE table_id IN ({same})
        UNION ALL SELECT path FROM ducklake_files_scheduled_for_deletion
        """,
    )
    parts = [str(row[0]).split("/") for row in rows]
    return {"/".join(part[-count:]) for part in parts for count in (1, 2)}


def surviving(cursor: Cursor, version: int) -> int | None:
    """Return the oldest snapshot from `version` on that is still there: maintenance takes old ones."""
    query = f"SELECT min(snapshot_id) FROM ducklake_snapshot WHERE snapshot_id >= {int(version)}"
    found = _ask(cursor, query)[0][0]
    return None if found is None else int(found)


def log(
    cursor: Cursor,
    table: Entry,
    *,
    limit: int | None = None,
    upto: int | None = None,
    after: int | None = None,
    unusual: bool = False,
) -> list[Logged]:
    """Return the snapshots that changed the table (after one, up to one), newest first.

    `unusual`: only those of other programs, and those of ours that undo what others wrote.
    """
    bound = "" if upto is None else f"c.snapshot_id <= {int(upto)} AND"
    if unusual:
        bound += (
            f" (c.author IS DISTINCT FROM {text(AUTHOR)} OR c.commit_message IN ('RESTORE', 'OVERWRITE')) AND"
        )
    if after is not None:
        bound += f" c.snapshot_id > {int(after)} AND"
    ids = f"(^|,)[a-z_]+:({table.table_id}|{table.marks_id})(,|$)"
    rows = _ask(
        cursor,
        f"""
        SELECT c.snapshot_id, s.snapshot_time, c.changes_made, c.author, c.commit_message, c.commit_extra_info
        FROM ducklake_snapshot_changes c JOIN ducklake_snapshot s ON s.snapshot_id = c.snapshot_id
        WHERE {bound} (c.snapshot_id = {table.created} OR c.changes_made ~ {text(ids)})
        ORDER BY c.snapshot_id DESC {f"LIMIT {int(limit)}" if limit is not None else ""}
        """,
        "* REPLACE (epoch_us(snapshot_time::TIMESTAMPTZ) AS snapshot_time)",
    )
    return [
        Logged(version=version, at=_EPOCH + timedelta(microseconds=at), changes=changes or "",
               author=author, operation=message, info=_info(extra))
        for version, at, changes, author, message, extra in rows
    ]  # fmt: skip


def stands(cursor: Cursor, table: Entry, since: BaseVersion, *, upto: int) -> bool:
    """Return whether nothing but maintenance has happened to the table since that state, up to a snapshot."""
    if table.identity != since.identity:
        return False
    return all(one.is_maintenance for one in log(cursor, table, after=since.version, upto=upto))


def version_of(cursor: Cursor, table: Entry, *, upto: int | None = None) -> int:
    """Return the newest version of the table, of those up to snapshot `upto`."""
    logged = log(cursor, table, limit=1, upto=upto)
    return logged[0].version if logged else table.created


def commit_of(cursor: Cursor, commit_id: str, *, after: int) -> int | None:
    """Return the snapshot that carries `commit_id`, if one after `after` does."""
    rows = _ask(
        cursor,
        f"""
        SELECT snapshot_id FROM ducklake_snapshot_changes
        WHERE snapshot_id > {int(after)} AND commit_extra_info LIKE {text(f"%{commit_id}%")}
        """,
    )
    return int(rows[0][0]) if rows else None


@dataclass(frozen=True)
class DataFile:
    """A data file of a version, with the deletions that some other writer may have laid over it."""

    path: str
    size: int
    deletions: str | None
    deletions_size: int | None


def files(cursor: Cursor, table: Contract, version: int) -> list[DataFile]:
    """Return the files that make up the table at snapshot `version`."""
    schema, name = place(table.path)
    rows = cursor.execute(
        "SELECT data_file, data_file_size_bytes, delete_file, delete_file_size_bytes "
        f"FROM ducklake_list_files({text(LAKE)}, ?, schema => ?, snapshot_version => {int(version)})",
        [name, schema],
    ).fetchall()
    return [DataFile(*row) for row in rows]


def row_counts(cursor: Cursor, table: Contract) -> dict[str, int]:
    """Return rows by file, as the open transaction reads the table."""
    rows = cursor.execute(
        f"SELECT filename, count(*) FROM {address(place(table.path))} GROUP BY 1 ORDER BY 1"
    ).fetchall()
    return {str(name): int(count) for name, count in rows}


def sizes(found: Sequence[DataFile]) -> dict[str, int]:
    """Return size by path of these files and of what lies over them."""
    named = {file.path: file.size for file in found}
    return named | {file.deletions: file.deletions_size or 0 for file in found if file.deletions}


def moved_rows(cursor: Cursor, table: Entry, since: int, until: int) -> int:
    """Return how many rows the files hold that are in one of two snapshots only."""
    rows = _ask(
        cursor,
        f"""
        SELECT coalesce(sum(record_count), 0)::bigint FROM ducklake_data_file
        WHERE table_id = {table.table_id}
          AND (begin_snapshot <= {since} AND (end_snapshot IS NULL OR end_snapshot > {since}))
           <> (begin_snapshot <= {until} AND (end_snapshot IS NULL OR end_snapshot > {until}))
        """,
    )
    return int(rows[0][0])


def record_counts(cursor: Cursor, table: Entry, version: int) -> dict[str, int]:
    """Return rows by the path, as the catalog has it, of the files that are the table at `version`.

    A path is absolute, or relative to the table.
    """
    rows = _ask(
        cursor,
        f"""
        SELECT path, record_count FROM ducklake_data_file
        WHERE table_id = {table.table_id} AND begin_snapshot <= {int(version)}
          AND (end_snapshot IS NULL OR end_snapshot > {int(version)})
        """,
    )
    return {str(path): int(count) for path, count in rows}


def has_former_columns(cursor: Cursor, table: Entry) -> bool:
    """Return whether a column was ever renamed, removed or retyped: files are read by what it was then."""
    query = f"""
        SELECT count(*) FROM ducklake_column a
        WHERE a.table_id = {table.table_id} AND a.end_snapshot IS NOT NULL AND NOT EXISTS (
          SELECT 1 FROM ducklake_column b
          WHERE b.table_id = a.table_id AND b.column_id = a.column_id AND b.end_snapshot IS NULL
            AND b.column_name = a.column_name AND b.column_type = a.column_type)
    """
    return int(_ask(cursor, query)[0][0]) > 0


def stored_columns(cursor: Cursor, table: Contract, version: int) -> dict[str, tuple[str, bool]]:
    """Return type and nullability of the columns at snapshot `version`."""
    rows = cursor.execute(
        f"DESCRIBE SELECT * FROM {address(place(table.path))} AT (VERSION => {int(version)})"
    ).fetchall()
    return {name: (kind, nullable == "YES") for name, kind, nullable, *_ in rows}


def _info(extra: str | None) -> dict[str, Any]:
    """Return what a commit says of itself; another writer's text is kept as it is."""
    if not extra:
        return {}
    try:
        found = json.loads(extra)
    except ValueError:
        return {"extra_info": extra}
    return found if isinstance(found, dict) else {"extra_info": extra}


def _ask(cursor: Cursor, query: str, select: str = "*") -> list[tuple[Any, ...]]:
    """Run a query in Postgres itself: patterns over the log of a large lake are not for the wire."""
    return cursor.execute(f"SELECT {select} FROM postgres_query(?, ?)", [META, query]).fetchall()
