"""What Dagster knows of assets: those of a job, and the versions last materialised.

Belongs here: these questions and their answers. Does not: choosing what to run.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from dagster_client.client import Client
from dagster_client.queries import ASSETS, VERSIONS
from dagster_client.readiness import Readiness

Key = tuple[str, ...]


@dataclass(frozen=True)
class JobAssets:
    """The assets of a job: what each depends on, and which were ever materialised (`layer/table`)."""

    dependencies: Mapping[Key, set[Key]]
    materialised: frozenset[str]


def job_assets(client: Client, job: str, ready: Readiness) -> JobAssets:
    """Return the assets of the job. Raises Unreachable."""
    answer = client.ask(ASSETS, job=ready.selector(job))
    nodes = {_key(node): node for node in answer["assetNodes"]}
    return JobAssets(
        dependencies={
            key: {tuple(other["path"]) for other in node["dependencyKeys"]} for key, node in nodes.items()
        },
        materialised=frozenset("/".join(key) for key, node in nodes.items() if node["assetMaterializations"]),
    )


def materialised_versions(client: Client, keys: Iterable[Key]) -> dict[Key, int]:
    """Return the metadata value `version` of each asset's last materialisation; without one, no entry.

    Raises Unreachable.
    """
    answer = client.ask(VERSIONS, keys=[{"path": list(key)} for key in keys])
    found = {}
    for node in answer["assetNodes"]:
        for event in node["assetMaterializations"]:
            entries = {entry["label"]: entry for entry in event["metadataEntries"]}
            if "version" in entries:
                found[_key(node)] = int(entries["version"]["intValue"])
    return found


def _key(node: dict[str, Any]) -> Key:
    return tuple(node["assetKey"]["path"])
