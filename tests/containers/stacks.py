"""A stack in a copy of the checkout: its verbs, its containers, its store.

Belongs here: reaching a stack and what is in it. What is asserted stands in the test files. Needs a Docker
engine and the images of ops/ci/names.env (ops/ci/engine.sh up && ops/ci/images.sh).
"""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
from checkouts import ROOT, clean_env

from odpctl import dotenv

PORTS = ("DAGSTER_PORT", "API_PORT", "MINIO_PORT", "MINIO_CONSOLE_PORT", "POSTGRES_PORT")
MAKE_SECONDS = 600
Done = subprocess.CompletedProcess[str]


@dataclass(frozen=True)
class Stack:
    """One checkout with its ports and image names; `given` is what its verbs find in their environment."""

    dir: Path
    given: dict[str, str]

    @property
    def env(self) -> dict[str, str]:
        """The .env as it was written, over what was given."""
        return {**self.given, **dotenv.read(self.dir / ".env")}

    @property
    def project(self) -> str:
        """The name of its Compose project."""
        return self.env["COMPOSE_PROJECT_NAME"]

    def port(self, name: str) -> int:
        """A published port by the name of its variable."""
        return int(self.env[name])

    def url(self, name: str) -> str:
        """The address of a published port."""
        return f"http://127.0.0.1:{self.port(name)}"

    def run(self, *argv: str, timeout: float = MAKE_SECONDS, **env: str) -> Done:
        """A command in the checkout; both streams, text, no exception."""
        return subprocess.run(
            argv,
            cwd=self.dir,
            env=clean_env(**{**self.given, **env}),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )

    def make(self, *args: str, **env: str) -> Done:
        """A verb, as a person types it."""
        return self.run("make", *args, **env)

    def compose(self, *args: str) -> Done:
        """`docker compose` on this project, every profile, as a person types it."""
        profiles = [
            part for name in ("minimal", "dev", "full", "distributed") for part in ("--profile", name)
        ]
        return self.run("docker", "compose", *profiles, *args)

    def containers(self) -> dict[str, dict[str, Any]]:
        """Service to what `docker inspect` says, dead ones included."""
        label = "com.docker.compose.project"
        ids = self.run("docker", "ps", "-aq", "--filter", f"label={label}={self.project}").stdout.split()
        found = json.loads(self.run("docker", "inspect", *ids).stdout) if ids else []
        return {one["Config"]["Labels"]["com.docker.compose.service"]: one for one in found}

    def running(self) -> set[str]:
        """Services that run."""
        return {name for name, one in self.containers().items() if one["State"]["Running"]}

    def volumes(self) -> set[str]:
        """Volumes of the project."""
        label = f"label=com.docker.compose.project={self.project}"
        return set(self.run("docker", "volume", "ls", "-q", "--filter", label).stdout.split())

    def verify(self) -> tuple[int, dict[str, Any]]:
        """Exit code and report of `verify-data-layers --json`."""
        done = self.run("ops/scripts/verify-data-layers.sh", "--json")
        assert done.stdout, done.stderr
        return done.returncode, json.loads(done.stdout)

    def hashes(self) -> dict[str, str]:
        """Table to content hash, of a lake that must be sound."""
        code, report = self.verify()
        assert code == 0, report["problems"]
        return {table["table"]: table["content_hash"] for table in report["tables"]}

    def s3(self) -> Any:
        """A client with the store's root key."""
        return boto3.client(
            "s3",
            endpoint_url=self.url("MINIO_PORT"),
            aws_access_key_id=self.env["MINIO_ROOT_USER"],
            aws_secret_access_key=self.env["MINIO_ROOT_PASSWORD"],
            region_name="us-east-1",
        )


def image_names() -> dict[str, str]:
    """The stand-ins of this machine."""
    return dotenv.read(ROOT / "ops" / "ci" / "names.env")


def remove(stack: Stack) -> None:
    """Containers, networks, volumes and the image of one checkout, even if its start failed half-way."""
    if (stack.dir / ".env").exists():
        stack.make("nuke", "FORCE=1")
