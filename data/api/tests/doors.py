"""Doors onto lakes in folders, and keys for them.

Belongs here: what several test files make. Does not: fixtures (conftest.py).
"""

from __future__ import annotations

import os
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from checkouts import free_ports, wait_until
from fastapi import FastAPI

from lakehouse.materialize import materialize
from lakehouse.pipeline import Lake
from lakehouse.registry import tables
from lakehouse.settings import Settings
from serving.keys import SCOPES, Keys
from serving.settings import ServingSettings


def refresh(lake: Lake) -> None:
    """Bring every table of a lake up to date."""
    for table in tables():
        materialize(lake, table, checks=False)


def settings_of(place: Path, **changed: object) -> ServingSettings:
    """Return the settings of a door onto the lake in a folder."""
    lake = Settings(lake_url=str(place / "lake"), landing_url=str(place / "landing"))
    state = changed.pop("state", place / "api")
    return ServingSettings(lake=lake, state=state, hosts=("testserver", "127.0.0.1"), **changed)  # type: ignore[arg-type]


def key(app: FastAPI, *scopes: str) -> dict[str, str]:
    """Return the header of a new key; without scopes it has all of them."""
    keys: Keys = app.state.gate.keys
    return {"Authorization": f"Bearer {keys.make('test', scopes or tuple(SCOPES))}"}


@dataclass(frozen=True)
class Running:
    """A server in a process of its own."""

    url: str
    state: Path
    process: subprocess.Popen[bytes]

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    def key(self, *scopes: str) -> str:
        """Return a new key."""
        return Keys(self.state / "keys.json").make("test", scopes)


@contextmanager
def running(
    place: Path, *argv: str, state: Path | None = None, port: int | None = None, **env: str
) -> Iterator[Running]:
    """Serve the lake in a folder on a free port, by `python -m serving` or another command of Python's."""
    port, state = port or free_ports(1)[0], state or place / "api"
    url = f"http://127.0.0.1:{port}"
    own = {
        "LAKE_URL": str(place / "lake"),
        "LANDING_URL": str(place / "landing"),
        "API_STATE": str(state),
        "API_PORT": str(port),
        "ODP_DBT_PROJECT": "off",
    }
    command = [sys.executable, *(argv or ("-m", "serving"))]
    process = subprocess.Popen(command, env={**os.environ, **own, **env})
    try:
        wait_until("the server answers", lambda: process.poll() is not None or answers(url), 120)
        assert process.poll() is None
        yield Running(url, state, process)
    finally:
        process.terminate()
        process.wait(60)


def answers(url: str) -> bool:
    """Return whether a server answers there at all."""
    try:
        urllib.request.urlopen(f"{url}/health", timeout=5).close()
    except urllib.error.HTTPError:
        return True
    except OSError:
        return False
    return True
