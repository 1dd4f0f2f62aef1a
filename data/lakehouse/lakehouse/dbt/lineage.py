"""Which columns of what a model is made of its SQL computes each of its columns from.

Belongs here: reading SQL, one step up. Does not: what a table says of its lineage in words of its own (`of`
of its YAML, which names columns of the lake's tables).
Of a model that sqlglot cannot read, or whose code has more of Jinja than `ref` and `source`, nothing is told.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from graphlib import TopologicalSorter
from typing import Any

_NAMED = re.compile(
    r"\{\{\s*(?:ref\(\s*['\"](\w+)['\"]\s*\)|source\(\s*['\"](\w+)['\"]\s*,\s*['\"](\w+)['\"]\s*\))\s*\}\}"
)
_DIALECT = "duckdb"

Lineage = dict[str, list[tuple[str, str]]]
"""Column to pairs of a node's id and its column."""


def of_models(codes: Mapping[str, str], needs: Mapping[str, Sequence[str]]) -> dict[str, Lineage]:
    """Return the lineage of models, by their ids. `codes` are theirs, `needs` the nodes each is made of.

    Raises ModuleNotFoundError where sqlglot is not installed.
    """
    from sqlglot.errors import SqlglotError

    found: dict[str, Lineage] = {}
    known: dict[str, list[str]] = {}
    for model in TopologicalSorter({model: needs[model] for model in codes}).static_order():
        if model not in codes:
            continue
        names = {_short(node): node for node in needs[model]}
        sql = _NAMED.sub(lambda at: at[1] or f"{at[2]}__{at[3]}", codes[model])
        if "{{" in sql or "{%" in sql:
            continue
        schema = {name: dict.fromkeys(known[node], "text") for name, node in names.items() if node in known}
        try:
            columns, told = _read(sql, schema, names)
        except (SqlglotError, ValueError, KeyError, RecursionError):
            continue
        known[model], found[model] = columns, told
    return found


def _read(sql: str, schema: dict[str, Any], names: Mapping[str, str]) -> tuple[list[str], Lineage]:
    from sqlglot import exp, parse_one
    from sqlglot.lineage import lineage
    from sqlglot.optimizer.qualify import qualify

    whole = qualify(
        parse_one(sql, dialect=_DIALECT), dialect=_DIALECT, schema=schema, validate_qualify_columns=False
    )
    if not isinstance(whole, exp.Query):
        raise ValueError("no query")  # noqa: TRY004  # of the SQL, not of a type of ours
    columns = [name for name in whole.named_selects if name != "*"]
    told: Lineage = {}
    for column in columns:
        top = lineage(column, sql, schema=schema, dialect=_DIALECT)
        leaves = {
            (names[node.expression.name], node.name.rpartition(".")[2])
            for node in top.walk()
            if isinstance(node.expression, exp.Table) and node.expression.name in names
        }
        told[column] = sorted(pair for pair in leaves if pair[1] != "*")
    return columns, told


def _short(node: str) -> str:
    """Return the name by which a model's code has a node: `loans`, of a source `silver__loans`."""
    kind, *_, schema, name = node.split(".")
    return f"{schema}__{name}" if kind == "source" else name
