"""Every check that is made before anything is changed. `start` refuses on an error; `doctor` prints them
all.
"""

from __future__ import annotations

import os
import re
import socket
import stat
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from . import dotenv, host
from .checkout import DEFAULTS, EXTERNAL, ORCHESTRATOR, OUTPUTS, PLATFORMS, PORTS, Checkout
from .compose import Compose
from .engine import Engine
from .errors import REFUSED, Failure
from .process import run
from .sizes import LARGE_MB, sizes

# What a profile takes at its peak during init, in MB; measured, rounded up.
MEMORY_MB = {"full": 1700, "distributed": 2500, "dev": 1700, "minimal": 400, "embedded": 900}
DISK_MB = {"full": 3000, "distributed": 3500, "dev": 3000, "minimal": 2000, "embedded": 1500}
# Below this a start would fill the disk under a running database.
DISK_FLOOR_MB = 500
# Ports that a process of ours may hold, where no container does.
ON_HOST = ("DAGSTER_PORT", "API_PORT")
# What no lake can lie below (lakehouse.storage.paths), and `:`, which ends an entry of PATH.
NO_PLACE = re.compile(r"[\[\]|\\^=#?:\x00-\x1f\x7f]|%[0-9A-Fa-f]{2}")


def _whole(text: str, least: int) -> bool:
    return text.isascii() and text.isdigit() and int(text) >= least


def _shaped(pattern: str) -> Callable[[str], bool]:
    return lambda text: re.fullmatch(pattern, text) is not None


Check = tuple[Callable[[str], bool], str]  # whether a text is right, and what it must be
_SWITCH: Check = (
    lambda text: text.lower() in {"true", "false", "1", "0", "yes", "no", "on", "off"},
    "true or false",
)
_FROM_0: Check = (lambda text: _whole(text, 0), "a whole number from 0")
_FROM_1: Check = (lambda text: _whole(text, 1), "a whole number from 1")
# As Compose takes a limit: bytes, or with a unit.
_LIMIT: Check = (_shaped(r"(?i)[0-9]+(\.[0-9]+)? ?([kmgtp](i?b)?|b)?"), "a size, as 2g or 512m")
# What can be told of a setting without its reader. The readers are in data/, and check again.
VALUES: dict[str, Check] = {
    **dict.fromkeys((*OUTPUTS, "ODP_SAMPLE_DATA", "API_OPEN_READ", "SPARK_READS_LAKE"), _SWITCH),
    **dict.fromkeys(ORCHESTRATOR, _FROM_0),
    **dict.fromkeys(
        (
            "API_MAX_BODY_MB",
            "API_REQUESTS_PER_MINUTE",
            "API_SQL_SECONDS",
            "API_SQL_ROWS",
            "ODP_DBT_THREADS",
            "PROVISION_DEADLINE_SECONDS",
        ),
        _FROM_1,
    ),
    **dict.fromkeys(
        (
            "DAGSTER_CODE_MEMORY",
            "DAGSTER_MEMORY",
            "DAGSTER_DAEMON_MEMORY",
            "API_MEMORY",
            "MINIO_MEMORY",
            "POSTGRES_MEMORY",
            "TOOLBOX_MEMORY",
            "SPARK_MEMORY",
        ),
        _LIMIT,
    ),
    "API_SQL_MEMORY": (_shaped(r"(?i)[0-9]{1,12} *([kmg]i?)?b"), "a size from 64MB on, as 1GB"),
    "LAKE_FORMAT": (lambda text: text in ("delta", "ducklake"), "delta or ducklake"),
    "ODP_ENGINE": (lambda text: text in ("polars", "duckdb", "spark"), "polars, duckdb or spark"),
    "COMPOSE_PROJECT_NAME": (
        _shaped(r"[a-z0-9][a-z0-9_-]*"),
        "a project's name: small letters, digits, - and _, a letter or digit first",
    ),
}


@dataclass(frozen=True)
class Finding:
    """One check: its name, how it went, what was seen, and what to type if it is not well."""

    name: str
    level: Literal["ok", "warning", "error"]
    text: str
    fix: str = ""


def check(checkout: Checkout, profile: str, engine: Engine) -> list[Finding]:
    """All checks of one profile, in the order a person would fix them."""
    findings = [python(), place(checkout)]
    if profile != "embedded":
        findings.append(docker(engine))
    binding = bind(checkout)
    wrong = list(values(checkout))
    if wrong or binding.level == "error":
        return [*findings, binding, *wrong]  # what follows would ask with them
    if profile == "embedded" or engine.usable:
        compose = Compose(checkout) if engine.usable else None
        findings += ports(checkout, profile, compose)
        findings += identity(checkout, compose) if compose and profile != "embedded" else []
    findings += [binding, memory(profile), *disk(checkout, profile), *env_file(checkout, profile)]
    if checkout.external and profile != "embedded":
        findings += external(checkout, profile)
    return findings


def measured(checkout: Checkout, profile: str, engine: Engine) -> Iterator[Finding]:
    """Sizes, for `doctor` alone: a start does not wait for them."""
    compose = Compose(checkout) if engine.usable and profile in PLATFORMS else None
    for name, size in sizes(checkout, profile, compose):
        text = f"{name}: {size / 1e6:,.1f} MB"
        large = size > LARGE_MB * 1e6
        yield Finding("size", "warning" if large else "ok", text, "make prune" if large else "")


def values(checkout: Checkout) -> Iterator[Finding]:
    """Settings whose value is none: who reads them would say so after minutes, or in a log."""
    settings = checkout.settings
    for name, (is_right, what) in VALUES.items():
        text = (settings.get(name) or checkout.environ.get(name, "")).strip()
        if text and not is_right(text):
            yield Finding(name, "error", f"{name}={text} is not {what}", "correct it in .env")


def refuse(findings: list[Finding], profile: str) -> None:
    """Raise on the first error, with all of them in the details."""
    errors = [finding for finding in findings if finding.level == "error"]
    if not errors:
        return
    first, *others = errors
    raise Failure(
        f"preflight of {profile}: {first.text}",
        command=first.fix,
        exit_code=REFUSED,
        details=[("also", [f"{finding.text}   ({finding.fix})" for finding in others])] if others else [],
    )


def python() -> Finding:
    """The interpreter of these scripts."""
    return Finding("python", "ok", f"Python {sys.version.split()[0]}")


def place(checkout: Checkout) -> Finding:
    """The checkout's own path: below some, no table can lie, and no program is found."""
    path = str(checkout.root)
    if found := NO_PLACE.search(path):
        return Finding(
            "place",
            "error",
            f"the checkout lies in {path!r}, and {found[0]!r} in a path does not work",
            "move it to a path without [ ] | \\ ^ = # ? : and control characters, and without %-escapes",
        )
    try:
        path.encode()
    except UnicodeEncodeError:
        return Finding("place", "error", f"the checkout's path {path!r} is not UTF-8", "rename the folder")
    return Finding("place", "ok", path)


def external(checkout: Checkout, profile: str) -> Iterator[Finding]:
    """What a start with somebody else's S3 and Postgres needs besides their secrets."""
    settings = checkout.settings
    certificate = checkout.root / (settings.get("POSTGRES_CA_FILE") or "postgres-ca.crt")
    prefixed = settings.get("S3_BUCKET_PREFIX") or settings.get("S3_ENDPOINT")
    wrong = {
        "PROFILE": (
            profile not in PLATFORMS,
            f"{EXTERNAL} is for the profiles {' and '.join(PLATFORMS)}, not {profile}",
            "give PROFILE=full",
        ),
        "POSTGRES_HOST": (not settings.get("POSTGRES_HOST"), "POSTGRES_HOST is not set", "add it to .env"),
        "S3_BUCKET_PREFIX": (
            not prefixed,
            "S3_BUCKET_PREFIX is not set, and on AWS the names of buckets are everybody's",
            "add it to .env",
        ),
        "POSTGRES_CA_FILE": (
            not certificate.is_file(),
            f"there is no file {certificate} with the certificate that vouches for Postgres",
            "put it there, or give POSTGRES_CA_FILE in .env",
        ),
    }
    for name, (is_wrong, text, fix) in wrong.items():
        if is_wrong:
            yield Finding(name, "error", text, fix)


def docker(engine: Engine) -> Finding:
    """The engine and its Compose."""
    if engine.usable:
        return Finding("docker", "ok", f"Engine {engine.version}, Compose {engine.compose}")
    return Finding("docker", "error", engine.reason, engine.fix)


def ports(checkout: Checkout, profile: str, compose: Compose | None) -> Iterator[Finding]:
    """Each port is free, or held by this very stack."""
    ours = {port for one in compose.containers() if one.running for port in one.ports} if compose else set()
    seen: dict[int, str] = {}
    for name in PORTS[profile]:
        port = checkout.port(name)
        if port in seen:
            yield Finding(
                name, "error", f"{name} and {seen[port]} are both {port}", f"{name}=<another port> make start"
            )
            continue
        seen[port] = name
        mine = port in ours or (name in ON_HOST and held_by_us(checkout, port))
        if mine and profile == "embedded" and port in ours:
            yield Finding(
                name, "error", f"port {port} ({name}) is held by this checkout's containers", "make stop"
            )
        elif mine or not host.port_is_busy(checkout.bind if profile != "embedded" else "127.0.0.1", port):
            yield Finding(name, "ok", f"{port} ({name}) is {'ours' if mine else 'free'}")
        else:
            holder = who_holds(port)
            yield Finding(
                name,
                "error",
                f"port {port} ({name}) is taken{f' by {holder}' if holder else ''}",
                f"{name}={suggest(port)} make start",
            )


def held_by_us(checkout: Checkout, port: int) -> bool:
    """Return whether the listener is in a process group that this checkout started on the host."""
    noted = (
        path.read_text().split()
        for path in (checkout.ui_pid, checkout.dev_pid, checkout.api_pid)
        if path.exists()
    )
    ours = {words[0] for words in noted if words}
    holder = host.port_holder(port) if ours else None
    try:
        return holder is not None and str(os.getpgid(holder[0])) in ours
    except ProcessLookupError:
        return False


def suggest(port: int) -> int:
    """A free port that is easy to remember: the same with a leading digit more, if it can be had."""
    return next(
        (
            other
            for other in range(port + 20000 if port < 40000 else port + 1, 65535)
            if not host.port_is_busy("127.0.0.1", other)
        ),
        0,
    )


def who_holds(port: int) -> str:
    """A container by its name, else a process by its pid, else ''."""
    names = run(["docker", "ps", "--filter", f"publish={port}", "--format", "{{.Names}}"], timeout=10)
    if names.ok and names.text.strip():
        return f"container {names.text.split()[0]}"
    holder = host.port_holder(port)
    return f"pid {holder[0]} ({holder[1]})" if holder else ""


def identity(checkout: Checkout, compose: Compose) -> Iterator[Finding]:
    """The project's containers and volumes are this checkout's, and its .env is the one they were made
    with.
    """
    others = {one.working_dir for one in compose.containers()} - {"", str(checkout.root)}
    if others:
        yield Finding(
            "project",
            "error",
            f"the project name {compose.project} belongs to the checkout in {', '.join(sorted(others))}",
            f"set COMPOSE_PROJECT_NAME={checkout.default_project} in .env",
        )
    lost = dotenv.missing(checkout.settings)
    if "POSTGRES_PASSWORD" in lost and compose.volumes():
        yield Finding(
            "volumes",
            "error",
            f"{compose.project} has volumes with data, but .env has not the secrets they were made with",
            "put the old .env back   (or: make nuke, which deletes the data)",
        )


def bind(checkout: Checkout) -> Finding:
    """Who can reach the ports."""
    try:
        socket.getaddrinfo(checkout.bind, None)
    except (OSError, UnicodeError):
        return Finding(
            "bind",
            "error",
            f"BIND_ADDRESS={checkout.bind} is no address",
            "set BIND_ADDRESS=127.0.0.1 in .env",
        )
    if checkout.bind in (DEFAULTS["BIND_ADDRESS"], "::1", "localhost"):
        return Finding("bind", "ok", f"ports are published on {checkout.bind} only")
    return Finding(
        "bind",
        "warning",
        f"BIND_ADDRESS={checkout.bind}: other machines can reach every port, and Dagster has no login",
        "set BIND_ADDRESS=127.0.0.1 in .env",
    )


def memory(profile: str) -> Finding:
    """Free memory; a warning only, since the system may still make room."""
    free, need = host.free_memory_mb(), MEMORY_MB[profile]
    if free is None or free >= need:
        return Finding(
            "memory", "ok", f"{free if free is not None else 'unknown'} MB free, {profile} takes about {need}"
        )
    return Finding(
        "memory",
        "warning",
        f"{free} MB of memory are free, {profile} takes about {need} at its peak",
        "close something large",
    )


def disk(checkout: Checkout, profile: str) -> Iterator[Finding]:
    """Free disk under the checkout and under Docker's own folder, where it can be seen."""
    places = {"the checkout": checkout.root}
    if profile != "embedded" and (folder := docker_folder()):
        places["Docker"] = folder
    for name, place in places.items():
        free, need = host.free_disk_mb(place), DISK_MB[profile]
        if free is None or free >= need:
            yield Finding("disk", "ok", f"{free} MB free for {name}")
            continue
        fix = (
            "docker system df" if name == "Docker" else f"du -sh {checkout.root}/.data {checkout.root}/.venv"
        )
        level: Literal["warning", "error"] = "error" if free < DISK_FLOOR_MB else "warning"
        yield Finding(
            "disk",
            level,
            f"{free} MB are free for {name} ({place}), a first start of {profile} takes about {need}",
            fix,
        )


def docker_folder() -> Path | None:
    """Where the engine keeps images and volumes, if it is on this machine's disk."""
    done = run(["docker", "info", "--format", "{{.DockerRootDir}}"], timeout=10)
    folder = Path(done.text.strip()) if done.ok and done.text.strip() else None
    return folder if folder and folder.exists() else None


def env_file(checkout: Checkout, profile: str) -> Iterator[Finding]:
    """The .env: private, complete, without misspelt keys. A fresh one is written by the start itself."""
    path = checkout.env_file
    if not path.exists():
        yield Finding(".env", "ok", "not there yet" if profile != "embedded" else "not needed")
        return
    if stat.S_IMODE(path.stat().st_mode) & 0o077:
        yield Finding(
            ".env", "warning", ".env can be read by others; the start makes it 0600", f"chmod 600 {path}"
        )
    values = dotenv.read(path)
    for key in dotenv.unknown(values, checkout.root / ".env.example"):
        yield Finding(
            ".env",
            "warning",
            f".env sets {key}, which nothing reads: is it misspelt?",
            "compare with .env.example",
        )
    if profile != "embedded" and (lost := dotenv.missing(values)):
        yield Finding(".env", "warning", f".env lacks {', '.join(lost)}: the start adds them", "make start")
    else:
        yield Finding(
            ".env",
            "ok",
            f"{len(values)} values, all known secrets present" if profile != "embedded" else "present",
        )
