"""Which statements are let through, and the tables they read.

Belongs here: judging the tree that DuckDB's own parser gives. Does not: running it, or the
tables there are.

A statement is judged by what is known to be harmless: whatever the tree holds that is not listed here is
refused. So a table is `<layer>.<name>` or a WITH query, never a file; a function is one of functions.py.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator
from typing import Any

import duckdb

from serving.sql.functions import TABLE_FUNCTIONS


class Refused(Exception):
    """A statement that is not run. The text quotes nothing but names of the statement itself."""


_ONE = "give exactly one SELECT (a PIVOT needs its values: `IN (…)`)"
_NODES = frozenset(
    {
        "SELECT_NODE", "SET_OPERATION_NODE", "RECURSIVE_CTE_NODE", "CTE_NODE",
        "BASE_TABLE", "SUBQUERY", "JOIN", "TABLE_FUNCTION", "EXPRESSION_LIST", "EMPTY", "PIVOT",
        "ORDER_MODIFIER", "LIMIT_MODIFIER", "LIMIT_PERCENT_MODIFIER", "DISTINCT_MODIFIER",
        "ORDER_DEFAULT", "ASCENDING", "DESCENDING",
    }
)  # fmt: skip
_MOST_NAME = 60


def tables_read(
    connection: duckdb.DuckDBPyConnection, sql: str, functions: Collection[str]
) -> list[tuple[str, str]]:
    """Return (schema, name) of each table that one SELECT reads, in lower case and sorted.

    Raises Refused, and duckdb.ParserException for what is no SQL.
    """
    statements = connection.extract_statements(sql)
    if len(statements) != 1 or statements[0].type != duckdb.StatementType.SELECT:
        raise Refused(_ONE)
    row = connection.execute("SELECT json_serialize_sql(?)", [sql]).fetchone()
    try:
        tree = json.loads(row[0]) if row else {"error": True}
    except RecursionError:
        raise Refused("the statement is nested too deeply") from None
    if tree.get("error") or len(tree.get("statements", ())) != 1:
        raise Refused(_ONE)
    nodes = list(_walk(tree["statements"]))
    queries = _with_queries(nodes)
    found: set[tuple[str, str]] = set()
    table_calls = {id(node["function"]) for node in nodes if node.get("type") == "TABLE_FUNCTION"}
    for node in nodes:
        if "class" not in node and isinstance(kind := node.get("type"), str):
            _check_node(kind)
            if kind == "BASE_TABLE" and (table := _table(node, queries)):
                found.add(table)
        if node.get("class") == "PARAMETER":
            raise Refused("parameters are not supported: write the values into the statement")
        if "function_name" in node:
            _check_function(node, TABLE_FUNCTIONS if id(node) in table_calls else functions)
    return sorted(found)


def _walk(tree: Any) -> Iterator[dict[str, Any]]:
    left = [tree]
    while left:
        one = left.pop()
        if isinstance(one, dict):
            yield one
            left.extend(one.values())
        elif isinstance(one, list):
            left.extend(one)


def _with_queries(nodes: Collection[dict[str, Any]]) -> set[str]:
    """Return the names of WITH queries, in lower case.

    They must be identifiers: one that reads as a file would let the file through where it is out of scope.
    """
    names = {
        str(entry["key"])
        for node in nodes
        if isinstance(ctes := node.get("cte_map"), dict)
        for entry in ctes.get("map", ())
    }
    if strange := sorted(name for name in names if not name.isidentifier()):
        raise Refused(f"the WITH query {_shown(strange[0])} needs a name of letters, digits and underscores")
    return {name.lower() for name in names}


def _check_node(kind: str) -> None:
    if kind == "SHOW_REF":
        raise Refused("DESCRIBE, SHOW and SUMMARIZE are not run here: GET /catalog tells of tables")
    if kind not in _NODES and not kind.endswith("_INFO"):
        raise Refused(f"{kind.lower().replace('_', ' ')} is not allowed here")


def _table(node: dict[str, Any], queries: Collection[str]) -> tuple[str, str] | None:
    schema, name = str(node["schema_name"]), str(node["table_name"])
    if node.get("catalog_name"):
        raise Refused(f"{_shown(name)}: tables are named <layer>.<name>, without a database")
    if not schema:
        if name.lower() in queries:
            return None
        raise Refused(
            f"there is no table {_shown(name)}: tables are named <layer>.<name>, as gold.pipeline_metrics"
        )
    if node.get("at_clause"):
        raise Refused("AT is not supported: the newest version is read")
    return schema.lower(), name.lower()


def _check_function(node: dict[str, Any], allowed: Collection[str]) -> None:
    name = str(node["function_name"]).lower()
    if name not in allowed or str(node.get("schema") or "main").lower() != "main" or node.get("catalog"):
        raise Refused(f"the function {_shown(name)} does not exist, or is not allowed here")


def _shown(name: str) -> str:
    return name if len(name) <= _MOST_NAME else f"{name[:_MOST_NAME]}…"
