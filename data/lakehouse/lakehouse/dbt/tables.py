"""A model of the dbt project as a table of the lake.

Belongs here: what of a model becomes its contract. Does not: running it (build.py, refresh.py).

A table is each model with an enforced contract, and each snapshot, that dbt puts into schema `gold` and whose
`meta.odp` names its domain. Columns, types and descriptions are those of its YAML.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import timedelta
from hashlib import sha256
from typing import Any, NoReturn

import narwhals.stable.v2 as nw

from lakehouse.contracts import Chart, Column, Contract, Materialization, Type
from lakehouse.contracts.checks import CheckSpec
from lakehouse.contracts.model import Layer
from lakehouse.contracts.types import ColumnType, DecimalType
from lakehouse.dbt.project import Node, Project
from lakehouse.errors import ContractError
from lakehouse.table import Table

LAYER: Layer = "gold"
HISTORY = "history"
_DECIMAL = re.compile(r"(?:decimal|numeric)\s*\(\s*(\d+)\s*,\s*(\d+)\s*\)")
_TYPES: Mapping[str, Type] = {
    **dict.fromkeys(("varchar", "text", "string"), Type.STRING),
    **dict.fromkeys(("boolean", "bool"), Type.BOOL),
    **dict.fromkeys(("integer", "int", "int4"), Type.INT32),
    **dict.fromkeys(("bigint", "long", "int8"), Type.INT64),
    **dict.fromkeys(("double", "float8", "double precision"), Type.FLOAT64),
    "date": Type.DATE,
    **dict.fromkeys(("timestamptz", "timestamp with time zone"), Type.TIMESTAMP),
    **dict.fromkeys(("blob", "binary", "bytea"), Type.BINARY),
}
_KNOWN = {"domain", "key", "version", "owner", "max_age_days", "chart"}


def tables_of(project: Project, known: Mapping[str, Contract]) -> tuple[Table, ...]:
    """Return the project's tables. `known` are the contracts of the lake, by path, that it may read.

    Raises ContractError, which names the model, where one is no table that the lake can keep.
    """
    return tuple(
        _table(project, node, known)
        for node in project.nodes.values()
        if node.kind in ("model", "snapshot") and node.schema == LAYER
    )


def check_name(test: Node) -> str:
    """Return the name of a dbt test as a check of its table."""
    return f"dbt_{test.name}"


def is_history(table: Table) -> bool:
    """Return whether a table is a snapshot: its rows cannot be computed again from its sources."""
    return (table.model or "").startswith("snapshot.")  # as dbt names its nodes


def checks_of(project: Project, node: Node) -> list[CheckSpec]:
    """Return the tests of a node as checks."""
    return [
        CheckSpec(
            name=check_name(test),
            description=test.description or f"The dbt test {test.name} passes.",
            blocking=test.severity == "error",
        )
        for test in project.tests_of(node)
    ]


def sources_of(project: Project, node: Node, known: Mapping[str, Contract]) -> tuple[Contract, ...]:
    """Return the tables of the lake that a node reads, directly or by other models.

    Raises ContractError for a source that is no table of the lake.
    """
    found: dict[str, Contract] = {}
    for one in (node, *project.above(node)):
        if one.kind == "source" and one.schema != HISTORY:
            path = f"{one.schema}/{one.name}"
            if path not in known:
                raise ContractError(
                    f"dbt {node.kind} {node.name} reads {path}, which is no table of the lake"
                )
            found[path] = known[path]
    return tuple(found[path] for path in sorted(found))


def code_of(project: Project, node: Node) -> str:
    """Return a fingerprint of all SQL that decides what is in a node's table."""
    above = sorted(one.checksum for one in project.above(node) if one.kind in ("model", "snapshot"))
    return sha256("\n".join([node.checksum, *above]).encode()).hexdigest()


def _table(project: Project, node: Node, known: Mapping[str, Contract]) -> Table:
    def refuse(what: str) -> NoReturn:
        raise ContractError(f"dbt {node.kind} {node.name}: {what}")

    said = node.meta
    if "domain" not in said:
        refuse("its schema is gold, so it is a table of the lake: give it config.meta.odp with its domain")
    if unknown := sorted(set(said) - _KNOWN):
        refuse(f"meta.odp.{unknown[0]} is not known: there are {', '.join(sorted(_KNOWN))}")
    if not node.columns:
        refuse("name its columns with their data_type in its YAML, and enforce the contract")
    key = tuple(said.get("key", ()))
    try:
        contract = Contract(
            layer=LAYER,
            name=node.name,
            domain=said["domain"],
            materialization=Materialization.FULL,
            version=str(said.get("version", "1.0.0")),
            description=node.description or refuse("say what one row is, in its description"),
            key=key,
            columns=tuple(_column(one, key, refuse) for one in node.columns),
            sources=sources_of(project, node, known),
            max_age=timedelta(days=said["max_age_days"]) if "max_age_days" in said else None,
            chart=Chart(**said["chart"]) if "chart" in said else None,
            tests=tuple(checks_of(project, node)),
            **({"owner": said["owner"]} if "owner" in said else {}),
        )
    except TypeError as exc:
        refuse(f"meta.odp cannot be read: {exc}")
    return Table(contract=contract, model=node.id, transform=_made_by_dbt(code_of(project, node)))


def _column(said: Mapping[str, Any], key: tuple[str, ...], refuse: Any) -> Column:
    meta = said["meta"]
    if unknown := sorted(set(meta) - {"of", "unit", "pii"}):
        refuse(f"column {said['name']}: meta.odp.{unknown[0]} is not known: there are of, pii and unit")
    return Column(
        name=said["name"],
        type=_type(said["type"]) or refuse(f"column {said['name']}: data_type {said['type']!r} is not known"),
        description=said["description"] or refuse(f"column {said['name']} has no description"),
        nullable=not said["not_null"] and said["name"] not in key,
        unit=meta.get("unit"),
        pii=bool(meta.get("pii", False)),
        sources=tuple(meta.get("of", ())),
    )


def _type(text: str) -> ColumnType | None:
    text = text.strip().lower()
    if found := _DECIMAL.fullmatch(text):
        return DecimalType(int(found[1]), int(found[2]))
    return _TYPES.get(text)


def _made_by_dbt(sql: str) -> Callable[..., NoReturn]:
    """Return what stands for SQL of this fingerprint: a table of dbt is made with all others of its build."""

    def transform(*_: nw.LazyFrame) -> NoReturn:
        raise ContractError(
            f"a table of dbt is made by a build of its project, not by itself (SQL {sql[:12]})"
        )

    return transform
