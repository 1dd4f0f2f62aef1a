"""The dbt project, and what its manifest says of it.

Belongs here: finding the project, and an extract of the manifest that costs nothing to load. Does not: what a
model is to the lake (tables.py), or running it (build.py).

dbt takes seconds to parse a project, so what it finds is kept, with a fingerprint of all its files: in
`manifest.json` of the project as it was committed; one that was edited since is parsed again, once.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import Any

import orjson

from lakehouse.dbt import lineage
from lakehouse.errors import ContractError, Unsupported

_FOLDERS = ("models", "snapshots", "macros", "tests", "seeds", "analyses")
_FILES = ("dbt_project.yml", "packages.yml", "dependencies.yml")
_SUFFIXES = (".sql", ".yml", ".yaml", ".csv", ".md")
OFF = "off"
_OURS = "manifest.json"
_PARSED = "partial_parse.msgpack"
_PARSE_SECONDS = 120
_BESIDE = Path(__file__).resolve().parents[3] / "dbt"  # of a checkout


@dataclass(frozen=True)
class Node:
    """One model, snapshot or test of the project, as far as the lake has to know."""

    id: str
    kind: str
    name: str
    schema: str
    description: str
    columns: tuple[Mapping[str, Any], ...]
    meta: Mapping[str, Any]
    needs: tuple[str, ...]
    checksum: str
    tests: str | None  # of a test: the node that it is a test of
    severity: str
    lineage: Mapping[str, Sequence[tuple[str, str]]] = field(default_factory=dict)
    """Of a model's column, as its SQL has it: ids of nodes that it is made of, with their columns."""


@dataclass(frozen=True)
class Project:
    """A dbt project in a folder. Raises ContractError where dbt cannot parse it."""

    root: Path

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of the names and bytes of every file that decides what the project computes."""
        known = sha256()
        for file in self._files():
            body = file.read_bytes()
            known.update(f"{file.relative_to(self.root).as_posix()}\0{len(body)}\0".encode() + body)
        return known.hexdigest()

    @cached_property
    def nodes(self) -> dict[str, Node]:
        """Return models, snapshots, tests and sources (kind `source`) by their dbt ids."""
        found = self._kept() or self._parsed()
        return {one["id"]: Node(**{**one, "columns": tuple(one["columns"]), "needs": tuple(one["needs"])})
                for one in found["nodes"]}  # fmt: skip

    def above(self, node: Node) -> Iterator[Node]:
        """Yield every node that `node` is made of, however indirectly, each once."""
        seen, waiting = set[str](), [*node.needs]
        while waiting:
            at = waiting.pop()
            if at not in seen and at in self.nodes:
                seen.add(at)
                waiting += self.nodes[at].needs
                yield self.nodes[at]

    def in_order(self, ids: Collection[str]) -> list[Node]:
        """Return nodes so that each comes after those that it is made of."""
        found: dict[str, Node] = {}

        def place(node: Node) -> None:
            for one in node.needs:
                if one in self.nodes and one not in found:
                    place(self.nodes[one])
            found[node.id] = node

        for one in sorted(ids):
            if one not in found:
                place(self.nodes[one])
        return [node for node in found.values() if node.id in set(ids)]

    def tests_of(self, node: Node) -> list[Node]:
        """Return the tests of a node, in the order of their ids."""
        return [one for one in self.nodes.values() if one.kind == "test" and one.tests == node.id]

    def extract(self) -> bytes:
        """Return what `manifest.json` of the project has to be, as dbt parses the project now."""
        return orjson.dumps(self._parsed(), option=orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS) + b"\n"

    def copied(self, place: Path) -> Path:
        """Copy the project into a folder, with what dbt has kept of parsing it; return where it is there.

        dbt parses a project anew when its database has another path, so each build has it beside its copy.
        """
        target = place / "project"
        for file in [*self._files(), self.root / "profiles.yml"]:
            there = target / file.relative_to(self.root)
            there.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(file, there)
        (place / "target").mkdir()
        for kept in self._places(_PARSED):
            if kept.is_file():
                shutil.copy2(kept, place / "target" / _PARSED)
                break
        return target

    def keep_parsed(self, place: Path) -> None:
        """Keep what dbt has kept of parsing the copy in `place`."""
        made = place / "target" / _PARSED
        if made.is_file() and not any(kept.is_file() for kept in self._places(_PARSED)):
            self._keep(_PARSED, made.read_bytes())

    def _places(self, name: str) -> tuple[Path, ...]:
        """Return where something of the project as it is now may be kept: beside it, or for this user."""
        part = self.fingerprint[:16]
        own = Path(tempfile.gettempdir()) / f"odp-dbt-{os.getuid()}"
        return (self.root / "target" / "odp" / part / name, own / part / name)

    def _files(self) -> list[Path]:
        found = [self.root / name for name in _FILES if (self.root / name).is_file()]
        for folder in _FOLDERS:
            found += [p for p in (self.root / folder).rglob("*") if p.is_file() and p.suffix in _SUFFIXES]
        return sorted(found)

    def _kept(self) -> dict[str, Any] | None:
        for place in (self.root / _OURS, *self._places(_OURS)):
            try:
                found = orjson.loads(place.read_bytes())
            except (OSError, ValueError):
                continue
            if isinstance(found, dict) and found.get("fingerprint") == self.fingerprint:
                return found
        return None

    def _parsed(self) -> dict[str, Any]:
        with tempfile.TemporaryDirectory(prefix="odp-dbt-") as folder:
            place = Path(folder)
            done = subprocess.run(  # noqa: S603  # our own Python
                [sys.executable, "-m", "dbt.cli.main", "parse", *dbt_arguments(self.copied(place))],
                env=dbt_environment(place),
                cwd=place / "project",
                capture_output=True,
                text=True,
                check=False,
                timeout=_PARSE_SECONDS,
            )
            file = place / "target" / "manifest.json"
            if done.returncode or not file.is_file():
                told = "\n".join(line for line in done.stdout.splitlines() if line.strip())[-2000:]
                raise ContractError(
                    f"dbt cannot parse the project in {self.root}:\n{told}\nCorrect it there."
                )
            manifest = orjson.loads(file.read_bytes())
            self.keep_parsed(place)
        found = {"fingerprint": self.fingerprint, "nodes": list(_extracted(manifest))}
        self._keep(_OURS, orjson.dumps(found))
        return found

    def _keep(self, name: str, body: bytes) -> None:
        for place in self._places(name):
            try:
                place.parent.mkdir(parents=True, exist_ok=True)
                beside = place.with_name(f"{place.name}.{os.getpid()}")
                beside.write_bytes(body)
                beside.replace(place)
            except OSError:  # a read-only image; then the next place
                continue
            return


def project(env: Mapping[str, str] | None = None) -> Project | None:
    """Return the project of ODP_DBT_PROJECT, else that of the checkout; None where there is none, or `off`.

    Raises ContractError when ODP_DBT_PROJECT names no dbt project.
    """
    named = (os.environ if env is None else env).get("ODP_DBT_PROJECT")
    if named == OFF:
        return None
    root = Path(named) if named else _BESIDE
    if (root / "dbt_project.yml").is_file():
        return Project(root)
    if named:
        raise ContractError(
            f"ODP_DBT_PROJECT={named} holds no dbt_project.yml: name the folder of a dbt project"
        )
    return None


def the_project() -> Project:
    """Return the project. Raises Unsupported where there is none."""
    if (found := project()) is None:
        raise Unsupported("there is no dbt project: set ODP_DBT_PROJECT to its folder")
    return found


def dbt_arguments(root: Path) -> list[str]:
    """Return the arguments of dbt, for the project in a folder, of whichever verb."""
    return ["--project-dir", str(root), "--profiles-dir", str(root), "--quiet"]


def dbt_environment(place: Path, **more: str) -> dict[str, str]:
    """Return all that dbt hears of the environment: no key and no password of the lake is in it."""
    kept = (
        "PATH",
        "LANG",
        "LC_ALL",
        "PYTHONPATH",
        "VIRTUAL_ENV",
        "PYTHONPYCACHEPREFIX",
        "PYTHONDONTWRITEBYTECODE",
    )
    return {
        **{name: os.environ[name] for name in kept if name in os.environ},
        "HOME": str(place),
        "TMPDIR": str(place),
        "DBT_TARGET_PATH": str(place / "target"),
        "DBT_LOG_PATH": str(place / "logs"),
        "DBT_SEND_ANONYMOUS_USAGE_STATS": "false",
        "DO_NOT_TRACK": "1",
        "DBT_VERSION_CHECK": "false",
        "NO_COLOR": "1",
        **more,
    }


def _extracted(manifest: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield what the lake has to know of each node of dbt's own project, in the order of their ids."""
    own = manifest["metadata"]["project_name"]
    macros = sorted(
        f"{one['name']}\0{one['macro_sql']}"
        for one in manifest["macros"].values()
        if one["package_name"] == own
    )
    found = {**manifest["nodes"], **manifest["sources"]}
    models = {name: node for name, node in found.items() if node["resource_type"] == "model"}
    lineages = lineage.of_models(
        {name: node.get("raw_code", "") for name, node in models.items()},
        {name: node["depends_on"]["nodes"] for name, node in models.items()},
    )
    for unique_id, node in sorted(found.items()):
        if node["resource_type"] not in ("model", "snapshot", "test", "source"):
            continue
        config = node.get("config") or {}
        said = {
            "code": node.get("raw_code", ""),
            "config": {
                k: v for k, v in config.items() if k not in ("meta", "tags", "docs", "group", "contract")
            },
        }
        yield {
            "id": unique_id,
            "kind": node["resource_type"],
            "name": node["name"],
            "schema": node["schema"],
            "description": " ".join(node.get("description", "").split()),
            "columns": [_column(one) for one in node.get("columns", {}).values()],
            "meta": ((config.get("meta") or node.get("meta") or {}).get("odp")) or {},
            "needs": sorted((node.get("depends_on") or {}).get("nodes", [])),
            "checksum": sha256(
                orjson.dumps([macros, said], option=orjson.OPT_SORT_KEYS, default=str)
            ).hexdigest(),
            "tests": node.get("attached_node") or _single(node),
            "severity": str(config.get("severity", "error")).lower(),
            "lineage": lineages.get(unique_id, {}),
        }


def _single(node: Mapping[str, Any]) -> str | None:
    """Return what a test of its own SQL is a test of: the one node it reads."""
    if node["resource_type"] != "test":
        return None
    needs = [one for one in node["depends_on"]["nodes"] if not one.startswith("source.")]
    return needs[0] if len(needs) == 1 else None


def _column(column: Mapping[str, Any]) -> dict[str, Any]:
    constraints = {one["type"] for one in column.get("constraints") or ()}
    return {
        "name": column["name"],
        "type": column.get("data_type") or "",
        "description": " ".join(column.get("description", "").split()),
        "not_null": "not_null" in constraints or "primary_key" in constraints,
        "meta": ((column.get("meta") or (column.get("config") or {}).get("meta") or {}).get("odp")) or {},
    }
