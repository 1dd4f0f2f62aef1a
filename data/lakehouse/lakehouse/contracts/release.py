"""What was released of each contract, and whether today's contract may differ from it so.

Belongs here: the snapshot, the comparison, where a release is recorded. Does not: applying a change (store),
the contracts, or the command (ops/scripts/contract_release.py).

A released contract may change with a new version only: `patch` for texts, `minor` for what old readers and
writers do not notice (a new nullable column, a rule that warns, a higher limit), `major` for everything else.
What a rule computes is code, and is not compared; its name and severity are.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lakehouse.contracts.model import Column, Contract, Materialization
from lakehouse.contracts.types import nested_fields

LEVELS = ("patch", "minor", "major")
Snapshot = dict[str, Any]


_WRITE = {
    Materialization.APPEND: "append",
    Materialization.INCREMENTAL_BY_KEY: "merge",
    Materialization.INCREMENTAL_BY_GROUP: "merge",
    Materialization.FULL: "overwrite",
}
"""The words of the releases that are recorded already."""


def snapshot(table: Contract) -> Snapshot:
    """Return everything of a contract that a reader, a writer or a person relies on."""
    return {
        "version": table.version,
        "row": table.description,
        "write": _WRITE[table.materialization],
        "key": list(table.key),
        "partition_by": list(table.partition_by),
        "cluster_by": list(table.cluster_by),
        "reject_limit": table.max_reject_ratio,
        "takes": list(table.source_filter or ()),
        "newest_by": list(table.sequence_by),
        "columns": {
            c.name: {
                "type": c.type.value,
                "nullable": c.nullable,
                "unit": c.unit,
                "pii": c.pii,
                "volatile": c.volatile,
                "description": c.description,
                **_fields(c),
            }
            for c in table.columns
        },
        "rules": {r.name: {"severity": r.severity, "description": r.description} for r in table.rules},
    }


def _fields(column: Column) -> dict[str, dict[str, str]]:
    """Return what the fields within a column say; nothing for one that has none. Their types are its own."""
    found = {path: field.description for path, field in nested_fields(column.name, column.type)}
    return {"fields": found} if found else {}


def needed(old: Snapshot, new: Snapshot) -> str | None:
    """Return the least bump that the change from `old` to `new` asks for; None when nothing changed."""
    levels = [*_columns(old["columns"], new["columns"]), *_rules(old["rules"], new["rules"])]
    levels += ["major" for name in ("write", "key", "partition_by") if old[name] != new[name]]
    levels += ["major" for name in ("takes", "newest_by") if old.get(name, []) != new[name]]
    if old["reject_limit"] != new["reject_limit"]:
        levels.append("minor" if new["reject_limit"] > old["reject_limit"] else "major")
    if (old["row"], old["cluster_by"]) != (new["row"], new["cluster_by"]):
        levels.append("patch")
    return max(levels, key=LEVELS.index) if levels else None


def _columns(old: Snapshot, new: Snapshot) -> list[str]:
    levels = ["major" for name in old if name not in new]
    levels += ["minor" if c["nullable"] else "major" for name, c in new.items() if name not in old]
    for name in old.keys() & new.keys():
        was, now = old[name], new[name]
        if any(was[part] != now[part] for part in ("type", "nullable", "unit", "volatile")):
            levels.append("major")
        elif was["pii"] != now["pii"]:
            levels.append("minor")
        elif was != now:
            levels.append("patch")
    return levels


def _rules(old: Snapshot, new: Snapshot) -> list[str]:
    levels = ["major" if rule["severity"] == "error" else "minor" for n, rule in new.items() if n not in old]
    levels += ["minor" for name in old if name not in new]
    for name in old.keys() & new.keys():
        if old[name]["severity"] != new[name]["severity"]:
            levels.append("major" if new[name]["severity"] == "error" else "minor")
        elif old[name] != new[name]:
            levels.append("patch")
    return levels


def bumped(old: str, new: str) -> str | None:
    """Return which part of the version went up; None when none did."""
    was, now = ([int(part) for part in text.split(".")] for text in (old, new))
    if now <= was:
        return None
    return "major" if now[0] > was[0] else "minor" if now[1] > was[1] else "patch"


def drift(released: Snapshot, table: Contract) -> str | None:
    """Return how the contract left its release without the version for it; None when it did not."""
    level = needed(released, snapshot(table))
    made = bumped(released["version"], table.version)
    if level is None or (made is not None and LEVELS.index(made) >= LEVELS.index(level)):
        return None
    return (
        f"{table} differs from its release {released['version']}: that is a {level} change, and the version "
        f"is {table.version}. Raise it, then record the release: python ops/scripts/contract_release.py"
    )


def place(table: Contract) -> Path:
    """Return where the releases of a table's domain are kept."""
    return Path(__file__).parents[1] / "domains" / table.domain / "released.json"


def released(tables: Sequence[Contract]) -> dict[str, Snapshot]:
    """Return the recorded releases by table."""
    known: dict[str, Snapshot] = {}
    for path in {place(table) for table in tables}:
        if path.exists():
            known |= json.loads(path.read_text(encoding="utf-8"))
    return known


def drifts(tables: Sequence[Contract]) -> list[str]:
    """Return which released contracts drifted. A table that was never released may change as it likes."""
    known = released(tables)
    return [told for t in tables if t.path in known and (told := drift(known[t.path], t)) is not None]


def record(tables: Sequence[Contract]) -> None:
    """Record today's contracts, those of each domain in its folder."""
    by_place: dict[Path, dict[str, Snapshot]] = {}
    for table in tables:
        by_place.setdefault(place(table), {})[table.path] = snapshot(table)
    for path, told in by_place.items():
        path.write_text(json.dumps(told, indent=1, sort_keys=True) + "\n", encoding="utf-8")
