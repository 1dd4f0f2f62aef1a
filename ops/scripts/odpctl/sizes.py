"""How large Dagster's databases and logs are, for `doctor`.

Belongs here: measuring, in every profile. Does not: making them smaller (`make prune`).
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from .checkout import PLATFORMS, Checkout
from .compose import Compose
from .containers import exec_argv
from .process import Done, run

_FOLDERS = {"embedded": "dagster", "dev": "dagster-dev"}
_STATE = "/var/lib/dagster"
_SECONDS = 20
LARGE_MB = 5000


def sizes(checkout: Checkout, profile: str, compose: Compose | None) -> Iterator[tuple[str, int]]:
    """Yield what there is, each with its bytes; nothing for what does not run or was never started."""
    if profile in _FOLDERS:
        home = checkout.data / _FOLDERS[profile]
        if home.is_dir():
            databases = _below(home / "history") + _below(home / "schedules")
            yield "Dagster's databases", databases
            yield "logs of Dagster's runs", _below(home) - databases
    running = {one.service for one in compose.containers() if one.running} if compose else set()
    if compose and profile in PLATFORMS and "postgres" in running:
        asked = "SELECT pg_database_size('dagster')"
        psql = ("psql", "-h", "/var/run/postgresql", "-U", "postgres", "-Atc", asked)
        yield from _told("Dagster's database", _ask(checkout, compose, "postgres", *psql))
    if compose and profile in PLATFORMS and "dagster-code" in running:
        yield from _told(
            "logs of Dagster's runs", _ask(checkout, compose, "dagster-code", "du", "-sb", _STATE)
        )


def _below(folder: Path) -> int:
    found = 0
    for place, _, names in os.walk(folder):
        for name in names:
            path = Path(place, name)
            found += path.lstat().st_size if path.exists() else 0  # Dagster may remove it meanwhile
    return found


def _ask(checkout: Checkout, compose: Compose, service: str, *args: str) -> Done:
    argv = exec_argv(compose, *args, service=service)
    return run(argv, cwd=checkout.root, env=compose.env, timeout=_SECONDS)


def _told(name: str, done: Done) -> Iterator[tuple[str, int]]:
    first = done.text.split()[0] if done.ok and done.text.split() else ""
    if first.isdigit():
        yield name, int(first)
