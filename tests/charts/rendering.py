"""Helm without a cluster: a chart rendered, and what came of it.

Belongs here: rendering, and picking objects and pods out of it. Does not: any claim about them (test_*.py).
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import yaml
from checkouts import ROOT

HELM = ROOT / "deploy" / "helm"
CHART = HELM / "odp"
# The oldest the chart says it runs on, and the newest that the schemas know.
KUBERNETES = ("1.29", "1.37")
Object = dict[str, Any]


def site(**changes: Any) -> Object:
    """Return the values of site/odp.yaml, with some changed: `lake__s3__region="x"`."""
    values: Object = yaml.safe_load((HELM / "site" / "odp.yaml").read_text(encoding="utf-8"))
    for path, value in changes.items():
        *outer, name = path.split("__")
        place = values
        for part in outer:
            place = place.setdefault(part, {})
        place[name] = value
    return values


def everything(**changes: Any) -> Object:
    """Return values that switch on all there is."""
    monitor = {"enabled": True, "keySecret": "odp-metrics"}
    on = {"spark__enabled": True, "secrets__spark": "odp-secrets", "lake__engine": "spark"}
    return site(**{**on, "serviceMonitor": monitor, **changes})


def render(values: Mapping[str, Any], *, release: str = "odp", upgrade: bool = False) -> list[Object]:
    """Return the objects of a release in namespace `data`. Raises HelmRenderError, HelmValuesError."""
    import helm_python

    with helm_python.Chart.load(CHART) as chart:
        made = chart.render(
            copy.deepcopy(dict(values)),
            name=release,
            namespace="data",
            is_install=not upgrade,
            is_upgrade=upgrade,
        )
    texts = [text for name, text in made.items() if name.endswith(".yaml")]
    return [one for text in texts for one in yaml.safe_load_all(text) if one]


@dataclass(frozen=True)
class Pod:
    """The pod of one object, and its one container."""

    name: str
    spec: Object
    labels: Mapping[str, str]

    @property
    def container(self) -> Object:
        [only] = self.spec["containers"]
        found: Object = only
        return found

    @property
    def env(self) -> dict[str, str]:
        return {one["name"]: one["value"] for one in self.container.get("env", []) if "value" in one}

    @property
    def env_names(self) -> set[str]:
        return {one["name"] for one in self.container.get("env", [])}

    @property
    def secret_keys(self) -> set[str]:
        """Keys of Secrets that it is given, as files or as environment."""
        volumes = [one["secret"] for one in self.spec["volumes"] if "secret" in one]
        files = {item["key"] for one in volumes for item in one["items"]}
        refs = [one["valueFrom"]["secretKeyRef"] for one in self.container["env"] if "valueFrom" in one]
        return files | {one["key"] for one in refs}


def pods(objects: list[Object]) -> dict[str, Pod]:
    """Return every pod that would run, by its component."""
    return {one.labels["app.kubernetes.io/component"]: one for one in _pods(objects)}


def _pods(objects: list[Object]) -> Iterator[Pod]:
    for one in objects:
        if template := one.get("spec", {}).get("template"):
            yield Pod(one["metadata"]["name"], template["spec"], template["metadata"]["labels"])


def of_kind(objects: list[Object], kind: str) -> dict[str, Object]:
    """Return the objects of a kind by name."""
    return {one["metadata"]["name"]: one for one in objects if one["kind"] == kind}


def restricted(pod: Object, container: Object) -> list[str]:
    """Return what is missing of Pod Security's level `restricted`, and of what we add to it."""
    own, outer = container.get("securityContext") or {}, pod.get("securityContext") or {}
    rules = {
        "runAsNonRoot": outer.get("runAsNonRoot") is True,
        "runAsUser": outer.get("runAsUser", 0) > 0,
        "seccompProfile": (outer.get("seccompProfile") or {}).get("type") == "RuntimeDefault",
        "allowPrivilegeEscalation": own.get("allowPrivilegeEscalation") is False,
        "capabilities": (own.get("capabilities") or {}) == {"drop": ["ALL"]},
        "readOnlyRootFilesystem": own.get("readOnlyRootFilesystem") is True,
        "host": not {"hostNetwork", "hostPID", "hostIPC"} & {name for name, value in pod.items() if value},
        "volumes": all(
            set(one) - {"name"} <= {"emptyDir", "secret", "configMap", "persistentVolumeClaim"}
            for one in pod.get("volumes", [])
        ),
        "resources": all(
            {"cpu", "memory"} <= set((container.get("resources") or {}).get(half, {}))
            for half in ("requests", "limits")
        ),
    }
    return [name for name, kept in rules.items() if not kept]
