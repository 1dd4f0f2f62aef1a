"""The options of a DuckLake catalog without which it is silently wrong: what they must be, and are.

Belongs here: reading them and setting them right. Does not: the connection.

    data_inlining_row_limit   0 for tables: of two deletions of one inlined row at once both are committed
                              (duckdb/ducklake#1215, #1329). State lie in the catalog, however many they are.
    write_deletion_vectors    not true: with it, older versions are read wrong (duckdb/ducklake#1072)

They lie in the catalog, so that any program that writes to it can change them, for all or for one table.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lakehouse.contracts.sql import text
from lakehouse.store.results import Fault

if TYPE_CHECKING:
    import duckdb

LAKE = "lake"
OWN = "odp"  # the schema of state
_INLINING, _VECTORS = "data_inlining_row_limit", "write_deletion_vectors"
_ALL_INLINE = "1000000000"
_WRONG = {
    _INLINING: "two deletions of one row at once would both be committed",
    _VECTORS: "older versions would be read wrong",
}
Option = tuple[str, str, str | None]  # name, value, and whose: None, a schema, or <schema>.<table>


def wrong(cursor: duckdb.DuckDBPyConnection) -> list[Option]:
    """Return the options that are not as they must be, each with the value that is right."""
    rows = cursor.execute(
        f"SELECT option_name, value, scope_entry FROM ducklake_options('{LAKE}') WHERE option_name IN (?, ?)",
        [_INLINING, _VECTORS],
    ).fetchall()
    found = {(str(name), scope): str(value).lower() for name, value, scope in rows}
    found.setdefault((_INLINING, None), "")
    found.setdefault((_INLINING, OWN), "")
    return [
        (name, right, scope)
        for (name, scope), value in sorted(found.items(), key=str)
        if value != (right := _right(name, scope))
    ]


def _right(name: str, scope: str | None) -> str:
    if name == _VECTORS:
        return "false"
    return _ALL_INLINE if (scope or "").split(".")[0] == OWN else "0"


def initialised(cursor: duckdb.DuckDBPyConnection) -> bool:
    """Return whether the catalog was ever given its options; whether they are right is another question."""
    rows = cursor.execute(
        f"SELECT scope_entry FROM ducklake_options('{LAKE}') WHERE option_name = ?", [_INLINING]
    ).fetchall()
    return {None, OWN} <= {scope for (scope,) in rows}


def set_right(cursor: duckdb.DuckDBPyConnection) -> None:
    """Set the options that are not as they must be; nothing is written when all are."""
    for name, value, scope in wrong(cursor):
        schema, _, table = (scope or "").partition(".")
        where = f", schema => {text(schema)}" if schema else ""
        where += f", table_name => {text(table)}" if table else ""
        cursor.execute(f"CALL ducklake_set_option('{LAKE}', '{name}', {value}{where})")


def faults(cursor: duckdb.DuckDBPyConnection) -> list[Fault]:
    """Return which options another program has changed, what that does, and what to run."""
    return [
        Fault(
            file=name,
            says=f"the DuckLake option {name} of {scope or 'the catalog'} is not {value}: {_WRONG[name]}",
            fix="`odp maintain` sets it right; find the program that changes it, and run `odp verify` again",
        )
        for name, value, scope in wrong(cursor)
    ]
