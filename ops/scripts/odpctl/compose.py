"""A thin runner of `docker compose` for one checkout, and what it says about our containers.

Nothing here decides anything. Containers are found by Compose's own labels, so no .env is needed to see or
end them.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from .checkout import Checkout
from .process import Done, Journal, run

PROFILES = ("minimal", "dev", "full", "distributed")
PROJECT_LABEL = "com.docker.compose.project"
WORKING_DIR_LABEL = "com.docker.compose.project.working_dir"
SERVICE_LABEL = "com.docker.compose.service"


@dataclass(frozen=True)
class Container:
    """One container as the engine sees it. `health` is '' where it has no check; `once`: made to end."""

    service: str
    id: str
    status: str
    health: str
    exit_code: int
    oom_killed: bool
    started_at: str
    working_dir: str
    health_output: str
    ports: tuple[int, ...]
    once: bool = False

    @property
    def running(self) -> bool:
        """Up, whatever its health."""
        return self.status == "running"

    @property
    def well(self) -> bool:
        """A service that is up and not known to be ill, or a one-shot that has done its work."""
        if self.once:
            return self.status == "exited" and self.exit_code == 0
        return self.running and self.health in ("", "healthy")

    @classmethod
    def parse(cls, raw: Mapping[str, Any]) -> Container:
        """From one element of `docker inspect`."""
        state, labels = raw["State"], raw["Config"].get("Labels") or {}
        health = state.get("Health") or {}
        probes = health.get("Log") or []
        bound = (raw.get("NetworkSettings", {}).get("Ports") or {}).values()
        return cls(
            service=labels.get(SERVICE_LABEL, raw["Name"].lstrip("/")),
            id=raw["Id"],
            status=state["Status"],
            health=health.get("Status", ""),
            exit_code=state["ExitCode"],
            oom_killed=state["OOMKilled"],
            started_at=state["StartedAt"],
            working_dir=labels.get(WORKING_DIR_LABEL, ""),
            health_output=(probes[-1].get("Output") or "").strip() if probes else "",
            once=raw["HostConfig"]["RestartPolicy"]["Name"] in ("", "no"),
            ports=tuple(sorted({int(one["HostPort"]) for many in bound for one in many or []})),
        )


class Compose:
    """`docker compose` with the project and profile of this checkout."""

    def __init__(self, checkout: Checkout, journal: Journal | None = None) -> None:
        self.checkout, self.journal = checkout, journal

    @cached_property
    def project(self) -> str:
        """The name given, else the name of what runs from this folder, else this folder's own name."""
        given = self.checkout.settings.get("COMPOSE_PROJECT_NAME")
        return given or self._project_of_containers() or self.checkout.default_project

    def _project_of_containers(self) -> str:
        name = f'{{{{.Label "{PROJECT_LABEL}"}}}}'
        ours = f"label={WORKING_DIR_LABEL}={self.checkout.root}"
        found = run(["docker", "ps", "-a", "--filter", ours, "--format", name], timeout=15)
        return found.text.split()[0] if found.ok and found.text.strip() else ""

    def argv(self, *args: str, profile: str = "full") -> list[str]:
        """The command line; `profile='*'` means every profile."""
        profiles = PROFILES if profile == "*" else (profile,)
        return [
            "docker",
            "compose",
            "-p",
            self.project,
            *(part for name in profiles for part in ("--profile", name)),
            *args,
        ]

    @property
    def env(self) -> dict[str, str]:
        """The environment without stray choices: this checkout's compose.yml decides."""
        return {
            key: value
            for key, value in self.checkout.environ.items()
            if key not in ("COMPOSE_FILE", "COMPOSE_PROFILES")
        }

    def run(self, *args: str, profile: str = "full", timeout: float | None = None) -> Done:
        """Run quietly; the journal keeps the output."""
        argv = self.argv(*args, profile=profile)
        done = run(argv, cwd=self.checkout.root, env=self.env, timeout=timeout)
        if self.journal:
            self.journal.add(f"{' '.join(argv)} → {done.code}", done.text)
        return done

    def config(self, profile: str) -> dict[str, Any]:
        """The resolved file, or {} when Compose cannot read it."""
        done = run(
            self.argv("config", "--format", "json", profile=profile), cwd=self.checkout.root, env=self.env
        )
        try:
            # Warnings about unset variables come first, on the same stream.
            return dict(
                json.loads(done.text[done.text.index("\n{") + 1 if not done.text.startswith("{") else 0 :])
            )
        except ValueError:
            return {}

    def containers(self) -> list[Container]:
        """All containers of the project, running or not."""
        ids = run(
            ["docker", "ps", "-aq", "--no-trunc", "--filter", f"label={PROJECT_LABEL}={self.project}"],
            timeout=15,
        )
        if not ids.ok or not ids.text.strip():
            return []
        raw = run(["docker", "inspect", *ids.text.split()])
        try:
            return sorted(map(Container.parse, json.loads(raw.text)), key=lambda one: one.service)
        except ValueError:  # one of them was removed between the two calls
            return []

    def volumes(self) -> list[str]:
        """Names of the project's volumes: where the data lives."""
        done = run(["docker", "volume", "ls", "-q", "--filter", f"label={PROJECT_LABEL}={self.project}"])
        return done.text.split() if done.ok else []

    def logs(self, service: str, lines: int = 20) -> str:
        """The last lines of one service."""
        done = run(
            self.argv("logs", "--no-color", "--no-log-prefix", "--tail", str(lines), service, profile="*"),
            cwd=self.checkout.root,
            env=self.env,
        )
        return done.text if done.ok else ""


def image_id(reference: str) -> str:
    """The local image behind a reference, or ''."""
    done = run(["docker", "image", "inspect", "--format", "{{.Id}}", reference])
    return done.text.strip() if done.ok else ""


def fingerprint(value: Any) -> str:
    """A stable hash of anything JSON."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def services_down(config: Mapping[str, Any], containers: Sequence[Container]) -> list[str]:
    """Services of the profile that are not as they should be."""
    well = {one.service for one in containers if one.well}
    return sorted(set(config.get("services", {})) - well)
