"""One checkout: its places, its settings (environment over .env over defaults) and what it remembers of
itself.

Two checkouts on one machine share nothing: project name, image and, once set, ports come from here.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from . import dotenv
from .errors import REFUSED, Failure
from .process import private

DEFAULTS = {
    "BIND_ADDRESS": "127.0.0.1",
    "API_PORT": "18080",
    "DAGSTER_PORT": "18084",
    "MINIO_PORT": "19000",
    "MINIO_CONSOLE_PORT": "19001",
    "POSTGRES_PORT": "15432",
}
CHOICES = {"LAKE_FORMAT": "delta"}
NAMES = ("COMPOSE_PROJECT_NAME", "ODP_IMAGE", "ODP_API_IMAGE")
# The catalog of an embedded lake with LAKE_FORMAT=ducklake: somebody's own Postgres.
CATALOG = ("DUCKLAKE_PG_HOST", "DUCKLAKE_PG_PORT", "DUCKLAKE_PG_DB", "DUCKLAKE_PG_USER")
# Whole numbers that Dagster's processes read, in every profile.
ORCHESTRATOR = ("DAGSTER_RUN_MAX_SECONDS", "DAGSTER_KEEP_DAYS", "DAGSTER_KEEP_RUNS")
# Whether personal data goes out; read wherever outputs are made, in every profile.
OUTPUTS = ("MART_PII", "EXPORTS_PII")
# Where rows are computed, in every profile.
ENGINE = ("ODP_ENGINE", "SPARK_REMOTE", "SPARK_READS_LAKE")
DISTRIBUTED = {"ODP_ENGINE": "spark", "SPARK_REMOTE": "sc://spark:50051", "SPARK_READS_LAKE": "true"}
# What the API reads, in every profile.
API = (
    "API_OPEN_READ",
    "API_HOSTS",
    "API_MAX_BODY_MB",
    "API_REQUESTS_PER_MINUTE",
    "API_SQL_SECONDS",
    "API_SQL_ROWS",
    "API_SQL_MEMORY",
)
# The overlay for real S3 and Postgres, as COMPOSE_FILE names it in .env.
EXTERNAL = "compose.external.yml"
IMAGES = ("MINIO_IMAGE", "POSTGRES_IMAGE", "PYTHON_IMAGE")
PROFILES = ("full", "distributed", "dev", "minimal", "embedded")
PLATFORMS = ("full", "distributed")  # that run everything in containers
_ALL_PORTS = ("DAGSTER_PORT", "API_PORT", "MINIO_PORT", "MINIO_CONSOLE_PORT", "POSTGRES_PORT")
PORTS = {
    "full": _ALL_PORTS,
    "distributed": _ALL_PORTS,
    "dev": _ALL_PORTS,
    "minimal": ("MINIO_PORT", "MINIO_CONSOLE_PORT", "POSTGRES_PORT"),
    "embedded": ("DAGSTER_PORT", "API_PORT"),
}


@dataclass(frozen=True)
class Checkout:
    """The folder everything stays in."""

    root: Path
    environ: Mapping[str, str]

    @classmethod
    def here(cls) -> Checkout:
        """The checkout this file stands in."""
        return cls(Path(__file__).resolve().parents[3], dict(os.environ))

    def of_profile(self, profile: str) -> Checkout:
        """The same, with what a profile sets by itself."""
        if profile != "distributed":
            return self
        return replace(self, environ={**self.environ, **DISTRIBUTED})

    @property
    def data(self) -> Path:
        """Everything that grows: the embedded lake, logs, remembered state."""
        return self.root / ".data"

    @property
    def logs(self) -> Path:
        """Logs of failed starts and of background processes."""
        return self.data / "logs"

    @property
    def ui_pid(self) -> Path:
        """The embedded UI's process group, as orchestration.embedded writes it."""
        return self.data / "ui.pid"

    @property
    def dev_pid(self) -> Path:
        """The process of `dagster dev` in the dev profile."""
        return self.data / "dagster-dev" / "dagster-dev.pid"

    @property
    def api_pid(self) -> Path:
        """The API's process, where it runs on the host."""
        return self.data / "api" / "api.pid"

    @property
    def env_file(self) -> Path:
        """Secrets and settings, 0600."""
        return self.root / ".env"

    @property
    def landing(self) -> Path:
        """Where a user drops files."""
        return self.root / "landing"

    @property
    def venv(self) -> Path:
        """The Python environment of the host."""
        return self.root / ".venv"

    @property
    def default_project(self) -> str:
        """A name no other checkout of this machine has."""
        return f"odp-{hashlib.sha256(str(self.root).encode()).hexdigest()[:8]}"

    @property
    def settings(self) -> dict[str, str]:
        """Defaults, then .env, then the environment: the order Compose itself uses."""
        own = dotenv.read(self.env_file)
        names = {
            *DEFAULTS,
            *CHOICES,
            *NAMES,
            *IMAGES,
            *CATALOG,
            *ORCHESTRATOR,
            *OUTPUTS,
            *ENGINE,
            *API,
            *dotenv.SECRETS,
            *own,
        }
        return {
            **DEFAULTS,
            **CHOICES,
            **own,
            **{key: self.environ[key] for key in names if self.environ.get(key)},
        }

    @property
    def secrets(self) -> list[str]:
        """Values that must never be printed."""
        return [self.settings[key] for key in dotenv.PASSWORDS if self.settings.get(key)]

    @property
    def extras(self) -> list[str]:
        """The optional packages that the host's profiles and the settings ask for."""
        engine = self.settings.get("ODP_ENGINE", "polars")
        return [
            "mart",
            "api",
            *(["ducklake"] if self.settings["LAKE_FORMAT"] == "ducklake" else []),
            *([engine] if engine in ("duckdb", "spark") else []),
        ]

    @property
    def bind(self) -> str:
        """The address every port is published on."""
        return self.settings["BIND_ADDRESS"]

    @property
    def external(self) -> bool:
        """Whether the object store and Postgres are somebody else's. Compose reads this of .env alone."""
        return EXTERNAL in dotenv.read(self.env_file).get("COMPOSE_FILE", "")

    def port(self, name: str) -> int:
        """A published port by the name of its variable."""
        value = self.settings[name]
        if not (value.isascii() and value.isdigit()) or not 1 <= int(value) <= 65535:
            raise Failure(
                f"{name}={value} is no port",
                command=f"set {name} to a number from 1 to 65535 in .env",
                exit_code=REFUSED,
            )
        return int(value)

    def url(self, name: str) -> str:
        """The address a person on this machine opens for a published port."""
        host = "127.0.0.1" if self.bind in ("0.0.0.0", "::") else self.bind
        return f"http://{host}:{self.port(name)}"

    def generated(self) -> dict[str, str]:
        """What a fresh .env gets: names, secrets, and settings that this start was given in its environment.

        The latter are kept because later verbs, typed without them, must still find the same stack.
        """
        project = self.settings.get("COMPOSE_PROJECT_NAME") or self.default_project
        names = {
            "COMPOSE_PROJECT_NAME": project,
            "ODP_IMAGE": f"odp-platform:{project}",
            "ODP_API_IMAGE": f"odp-api:{project}",
        }
        secrets = {key: dotenv.make_secret(key) for key in dotenv.SECRETS}
        given = (*DEFAULTS, *CHOICES, *NAMES, *IMAGES, *CATALOG, *ORCHESTRATOR, *API, *dotenv.SECRETS)
        return {**names, **secrets, **{key: self.environ[key] for key in given if self.environ.get(key)}}

    @cached_property
    def state(self) -> State:
        """What this checkout remembers between two commands."""
        return State(self.data / "state.json")

    def inputs(self) -> str:
        """A hash of everything the platform's code is made of; equal means nothing to build or install."""
        digest = hashlib.sha256()
        singles = ("pyproject.toml", "uv.lock", ".dockerignore", "compose.yml", EXTERNAL)
        files = [self.root / name for name in singles]
        for folder in ("data", "ops/local"):
            found = ((path, path.relative_to(self.root).parts) for path in (self.root / folder).rglob("*"))
            files += [path for path, parts in found if not _is_no_input(parts)]
        for path in sorted(path for path in files if path.is_file()):
            digest.update(f"{path.relative_to(self.root)}\0".encode() + path.read_bytes() + b"\0")
        choices = ("PYTHON_IMAGE", "LAKE_FORMAT", "ODP_ENGINE")
        digest.update("\0".join(self.settings.get(name, "") for name in choices).encode())
        return digest.hexdigest()

    def dropped(self) -> dict[str, list[int]]:
        """The files in landing/, by name: size, time, inode and its time. Compared to say when new ones
        wait.
        """
        return {
            path.relative_to(self.landing).as_posix(): [
                status.st_size,
                status.st_mtime_ns,
                status.st_ino,
                status.st_ctime_ns,
            ]
            for path, status in files_below(self.landing)[0]
        }

    @contextmanager
    def locked(self) -> Iterator[None]:
        """One changing verb at a time; a second one is told so instead of mixing its changes in."""
        private(self.data)
        with open(self.data / "lock", "a+") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                file.seek(0)
                raise Failure(
                    f"another command is changing this checkout (pid {file.read().strip() or 'unknown'})",
                    command="wait for it to end, then run this again",
                    exit_code=REFUSED,
                ) from None
            file.truncate(0)
            file.write(f"{os.getpid()}\n")
            file.flush()
            yield

    @contextmanager
    def without_init(self) -> Iterator[None]:
        """Nothing brings the embedded lake up to date meanwhile: an init that goes on refuses this."""
        path = self.data / "init.lock"  # that of orchestration.embedded
        if not path.exists():
            yield
            return
        with path.open("a") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise Failure(
                    "an init is going on in this checkout; nothing was changed",
                    command="wait for it or end it (Ctrl-C where it runs), then run this again",
                    exit_code=REFUSED,
                ) from None
            yield


class State:
    """A small JSON file. Losing it costs time, never truth: everything in it is checked against what runs."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self) -> dict[str, Any]:
        """All of it; unreadable counts as empty."""
        try:
            values = json.loads(self.path.read_text())
        except (OSError, ValueError):
            return {}
        return values if isinstance(values, dict) else {}

    def get(self, key: str) -> Any:
        """One remembered value, or None."""
        return self.read().get(key)

    def put(self, **values: Any) -> None:
        """Remember; None forgets."""
        merged = {key: value for key, value in {**self.read(), **values}.items() if value is not None}
        private(self.path.parent)
        dotenv.replace(self.path, json.dumps(merged, indent=1) + "\n")


def files_below(folder: Path) -> tuple[list[tuple[Path, os.stat_result]], list[OSError]]:
    """Every regular file below a folder with its status, sorted; and what could not be looked at.

    What was removed meanwhile, and links that lead nowhere, are neither.
    """
    found: list[tuple[Path, os.stat_result]] = []
    faults: list[OSError] = []
    for parent, _, names in os.walk(folder, onerror=faults.append):
        for path in (Path(parent, name) for name in names):
            try:
                status = path.stat()
            except OSError as exc:
                if not os.path.islink(path):
                    faults.append(exc)
                continue
            if stat.S_ISREG(status.st_mode):
                found.append((path, status))
    return sorted(found), [exc for exc in faults if not isinstance(exc, FileNotFoundError)]


def _is_no_input(parts: tuple[str, ...]) -> bool:
    """Return whether a file below data/ or ops/local decides nothing: a test, or what a run has left."""
    if parts[:2] == ("data", "dbt"):  # its tests are run by every build
        part = parts[2] if len(parts) > 2 else ""
        return part in {"target", "logs", "sources"} or part.startswith("lake.duckdb")
    return bool({"__pycache__", "tests"} & set(parts))
