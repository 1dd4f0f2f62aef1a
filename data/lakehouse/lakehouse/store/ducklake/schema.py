"""Between a contract and a DuckLake table: names, types, statements.

Belongs here: what a table is called and how it is declared. Does not: running anything.

    silver/pipeline_events   →  lake.silver.pipeline_events, its state in lake.odp.silver__pipeline_events

State have a table per table, since DuckLake finds conflicts by table: with one for all, every commit would
conflict with every other one of the lake.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from lakehouse.contracts import Column, Contract
from lakehouse.contracts.sql import duckdb_type, quoted, text
from lakehouse.store.ducklake.connection import LAKE, OWN

Stored = Mapping[str, tuple[str, bool]]
"""Columns as they are stored: type and whether they may be null."""


def place(path: str) -> tuple[str, str]:
    """Return schema and table of `path`: one part lies in `main`, of more the first is the schema."""
    first, *rest = path.split("/")
    return (first, "_".join(rest)) if rest else ("main", first)


def state_place(path: str) -> tuple[str, str]:
    """Return schema and table of the state of table `path`."""
    schema, name = place(path)
    return OWN, f"{schema}__{name}"


def address(where: tuple[str, ...]) -> str:
    """Return a place as an SQL name."""
    return ".".join(quoted(part) for part in (LAKE, *where))


def columns(names: Sequence[str], alias: str = "") -> str:
    """Return column names as an SQL list."""
    prefix = f"{alias}." if alias else ""
    return ", ".join(prefix + quoted(name) for name in names)


def creation(table: Contract) -> list[str]:
    """Return the statements that create a table and its state."""
    state = address(state_place(table.path))
    return [*declaration(table), f"CREATE TABLE {state} (name VARCHAR NOT NULL, value BIGINT NOT NULL)"]


def redeclaration(table: Contract) -> list[str]:
    """Return the statements that put an empty table with the contract's columns in the place of a stored one.

    It is another table to the catalog: DuckLake sets no column to NOT NULL in a transaction that does more.
    """
    return [f"DROP TABLE {address(place(table.path))}", *declaration(table)]


def declaration(table: Contract) -> list[str]:
    """Return the statements that create a table without its state, with nullability and comments."""
    here = address(place(table.path))
    declared = ", ".join(
        f"{quoted(c.name)} {duckdb_type(c.type)}{'' if c.nullable else ' NOT NULL'}" for c in table.columns
    )
    return [
        f"CREATE TABLE {here} ({declared})",
        f"COMMENT ON TABLE {here} IS {text(table.description)}",
        *(f"COMMENT ON COLUMN {here}.{quoted(c.name)} IS {text(c.description)}" for c in table.columns),
    ]


def addition(table: Contract, stored: Stored) -> list[str]:
    """Return the statements that add the contract's new, nullable columns to a stored table.

    Empty when there is nothing to add, or when more than that lies between the two.
    """
    fresh = absent(table, stored)
    if [f"{column.name} is missing" for column in fresh] != differences(table, stored):
        return []
    here = address(place(table.path))
    return [
        statement
        for column in fresh
        for statement in (
            f"ALTER TABLE {here} ADD COLUMN {quoted(column.name)} {duckdb_type(column.type)}",
            f"COMMENT ON COLUMN {here}.{quoted(column.name)} IS {text(column.description)}",
        )
    ]


def absent(table: Contract, stored: Stored) -> list[Column]:
    """Return the nullable columns that a stored table, or an older version of it, has not got."""
    return [column for column in table.columns if column.nullable and column.name not in stored]


def selection(table: Contract, stored: Stored) -> str:
    """Return the contract's columns as an SQL list; a column younger than what is stored is null."""
    young = {column.name for column in absent(table, stored)}
    return ", ".join(
        f"CAST(NULL AS {duckdb_type(c.type)}) AS {quoted(c.name)}" if c.name in young else quoted(c.name)
        for c in table.columns
    )


def differences(table: Contract, stored: Stored) -> list[str]:
    """Return how stored columns (type, nullable) differ from the contract; empty when they do not."""
    left = dict(stored)
    problems = []
    for column in table.columns:
        found = left.pop(column.name, None)
        wanted = duckdb_type(column.type)
        if found is None:
            problems.append(f"{column.name} is missing")
        elif found[0].replace('"', "") != wanted.replace('"', ""):  # it quotes reserved words alone
            problems.append(f"{column.name} is {found[0]}, not {wanted}")
        elif found[1] != column.nullable:
            problems.append(f"{column.name} is {'' if found[1] else 'not '}nullable")
    return problems + [f"{name} is not in the contract" for name in left]
