"""What there is to say of a table, as JSON values: for the catalog, the page and the tools of agents.

Belongs here: reading it. Does not: how it is shown. No value of a row gets in, and no text of a commit that
is not ours.

It reads through a lake of its own, so that a look of seconds keeps nobody from reading rows.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from lakehouse.catalog import lineage
from lakehouse.contracts import Column, Contract, quarantine_of
from lakehouse.contracts.checks import specs
from lakehouse.errors import DamagedTable, LakeError, StorageUnavailable, TableNotFound, plain
from lakehouse.outputs.quality import changed_at, checks_of
from lakehouse.pipeline import Lake
from lakehouse.pipeline.holds import hold_of
from lakehouse.quarantine.listing import by_rule, open_rejects
from lakehouse.registry import contracts, find, sources
from lakehouse.store.integrity.foreign_commits import is_ours
from lakehouse.table import Kind

_HISTORY = 50
_COUNTS = {
    "num_added_rows": "added",
    "num_target_rows_inserted": "inserted",
    "num_target_rows_updated": "updated",
    "num_target_rows_deleted": "deleted",
}
_Look = Callable[[Contract], dict[str, Any]]


@dataclass(frozen=True, kw_only=True)
class _Kept:
    """What was found of a table's version."""

    version: tuple[str, int, str]
    said: Mapping[str, Any]


class Describer:
    """Describes the tables of one lake."""

    def __init__(self, lake: Lake, reachable: Callable[[], None] = lambda: None) -> None:
        self._lake, self._reachable = lake, reachable
        self._lock = threading.RLock()
        self._kept: dict[tuple[str, str], _Kept] = {}

    def catalog(self) -> list[dict[str, Any]]:
        """Return a card of each declared table, sources before what is made of them.

        Raises StorageUnavailable.
        """
        return [self.card(table) for table in contracts()]

    def card(self, table: Contract) -> dict[str, Any]:
        """Return what a list of tables shows of one: rows, freshness, refused rows, what is wrong.

        `state` is ok, absent (never written) or damaged (`problem` says how). Raises StorageUnavailable.
        """
        said = {
            "table": table.path,
            "layer": table.layer,
            "name": table.name,
            "domain": table.domain,
            "description": table.description,
            "columns": len(table.columns),
            "pii": any(c.pii for c in table.columns),
        }
        with self._lock:
            found = dict(self._of_version(table, "card", self._counted))
            if found["state"] == "ok" and table.row_wise:
                found |= self._refused(table)
        return {**said, **found, **_freshness(table, found.get("changed_at"))}

    def table(self, table: Contract) -> dict[str, Any]:
        """Return everything the catalog knows of one table. Raises StorageUnavailable."""
        card = self.card(table)
        with self._lock:
            is_ok = card["state"] == "ok"
            checks = self._of_version(table, "checks", self._checked) if is_ok else {}
            history = self._history(table) if is_ok else []
        return {
            **card,
            "contract": contract(table),
            "schema": [column(c) for c in table.columns],
            "lineage": edges(table),
            "checks": checks.get("checks", []),
            "history": history,
        }

    def rejects(self, table: Contract) -> dict[str, int]:
        """Return how many open rejects each rule has; {} for a table that refuses no rows."""
        if not table.row_wise:
            return {}
        with self._lock:
            return dict(self._refused(table)["rejects_by_rule"])

    def _of_version(self, table: Contract, kind: str, look: _Look) -> Mapping[str, Any]:
        """Return what `look` says of the table's version; it is asked once for each."""
        self._reachable()
        try:
            base = self._lake.store.base_version(table)
            version = (base.identity, base.version, base.mark)
            kept = self._kept.get((kind, table.path))
            if kept is None or kept.version != version:
                kept = self._kept[(kind, table.path)] = _Kept(version=version, said=look(table))
        except StorageUnavailable:
            raise
        except TableNotFound:
            return {"state": "absent", **_NOTHING}
        except LakeError as exc:
            wrong = "damaged" if isinstance(exc, DamagedTable) else "unreadable"
            return {"state": wrong, **_NOTHING, "problem": plain(exc)}
        return kept.said

    def _counted(self, table: Contract) -> dict[str, Any]:
        seen = self._lake.store.snapshot(table)
        changed = changed_at(self._lake, table)
        return {
            "state": "ok",
            "rows": seen.rows,
            "size_bytes": seen.size_bytes,
            "files": seen.files,
            "version": seen.version,
            "changed_at": _time(changed) if changed else None,
        }

    def _checked(self, table: Contract) -> dict[str, Any]:
        told = {spec.name: spec.description for spec in specs(table)}
        found = checks_of(self._lake, table)
        return {
            "checks": [
                {"name": f"{table.name}_{name}", "passed": passed, "says": told.get(name, "")}
                for name, passed in found.items()
            ]
        }

    def _refused(self, table: Contract) -> dict[str, Any]:
        def look(_: Contract) -> dict[str, Any]:
            rejects = open_rejects(self._lake, table, records=False)
            return {"open_rejects": rejects.height, "rejects_by_rule": by_rule(rejects)}

        found = self._of_version(quarantine_of(table), "rejects", look)
        return {
            "open_rejects": found.get("open_rejects", 0),
            "rejects_by_rule": found.get("rejects_by_rule", {}),
            "held": hold_of(self._lake, table) is not None,
        }

    def _history(self, table: Contract) -> list[dict[str, Any]]:
        return [
            {
                "version": entry.version,
                "at": _time(entry.at),
                "operation": str(entry.info.get("odp.maintenance") or entry.operation),
                "run": _run(entry.info),
                "by_odp": is_ours(entry),
                "rows": _rows(entry.info),
            }
            for entry in self._lake.store.history(table, limit=_HISTORY)
        ]


_NOTHING: Mapping[str, Any] = {"rows": None, "size_bytes": None, "version": None, "changed_at": None}


def contract(table: Contract) -> dict[str, Any]:
    """Return the contract, but for its columns."""
    return {
        "version": table.version,
        "owner": table.owner,
        "materialization": table.materialization.value,
        "key": list(table.key),
        "partition_by": list(table.partition_by),
        "cluster_by": list(table.cluster_by),
        "rules": [
            {"name": r.name, "description": r.description, "severity": r.severity} for r in table.rules
        ],
        "checks": [
            {"name": f"{table.name}_{s.name}", "description": s.description, "blocking": s.blocking}
            for s in specs(table)
        ],
        "max_reject_ratio": table.max_reject_ratio if table.row_wise else None,
    }


def column(of: Column) -> dict[str, Any]:
    """Return one column."""
    return {
        "name": of.name,
        "type": str(of.type),
        "nullable": of.nullable,
        "unit": of.unit,
        "pii": of.pii,
        "description": of.description,
    }


def edges(table: Contract) -> dict[str, Any]:
    """Return what a table is made of, what is made of it, and the source columns of each column."""
    if all(table.path != known.path for known in contracts()):
        return {"kind": None, "sources": [], "used_by": [], "columns": {}}
    declared = find(table)
    above = [source.path for source in table.sources]
    if declared.kind is Kind.LANDING:
        above = [f"landing/{source.folder}" for source in declared.sources]
    return {
        "kind": declared.kind.value,
        "sources": above,
        "used_by": [t.path for t in contracts() if any(s.path == table.path for s in t.sources)],
        "columns": {
            name: [f"{source.path}.{of}" for source, of in found] for name, found in lineage(table).items()
        },
    }


def datasets() -> list[dict[str, Any]]:
    """Return the landing folders that data can be sent to."""
    return [
        {
            "dataset": source.folder,
            "table": source.table.path,
            "description": source.description,
            "partition": source.partition_by.name if source.partition_by else None,
        }
        for source in sources()
    ]


def _freshness(table: Contract, changed: str | None) -> dict[str, Any]:
    most = int(table.max_age.total_seconds()) if table.max_age else None
    age = None
    if changed is not None:
        age = max(0, int((datetime.now(UTC) - datetime.fromisoformat(changed)).total_seconds()))
    fresh = None if most is None or age is None else age <= most
    return {"age_seconds": age, "max_age_seconds": most, "fresh": fresh}


def _run(info: Mapping[str, Any]) -> str | None:
    run = info.get("odp.run") or info.get("odp.restored_run")
    return str(run) if run else None


def _rows(info: Mapping[str, Any]) -> dict[str, int]:
    """Return the rows that a commit counted, where its log says so."""
    metrics = info.get("operationMetrics")
    if not isinstance(metrics, Mapping):
        return {}
    return {name: int(metrics[key]) for key, name in _COUNTS.items() if str(metrics.get(key, "")).isdigit()}


def _time(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="milliseconds")
