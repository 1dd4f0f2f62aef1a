"""What several test files need: the scripts on the path, copies of the checkout, free ports, a fake docker.

Fixtures of one subject stand in its own file or folder.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import pytest

T = TypeVar("T")
ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "ops" / "scripts"))


def copy_checkout(target: Path, *folders: str) -> Path:
    """What a clone would have, including files not committed yet; all of it, or only some top-level names."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--", *folders],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    )
    for name in filter(None, listed.stdout.split("\0")):
        if (ROOT / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, target / name)
    return target


def free_ports(count: int) -> list[int]:
    """Ports nobody has now, all different, below the range from which the system takes its own."""
    found: list[int] = []
    for port in range(20000 + os.getpid() % 10000, 32000):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) != 0:
                found.append(port)
        if len(found) == count:
            return found
    raise RuntimeError("no free ports below 32000")


def wait_until(what: str, condition: Callable[[], T], seconds: float) -> T:
    """The condition's first true value; a failure that says what was waited for."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        time.sleep(0.05)
    return value


def clean_env(**extra: str) -> dict[str, str]:
    """This process's environment without settings that belong to some other platform, plus the given ones."""
    foreign = (
        "ODP_",
        "DAGSTER_",
        "MINIO_",
        "POSTGRES_",
        "S3_",
        "LAKE_",
        "LANDING_",
        "COMPOSE_",
        "MAKE",
        "MFLAGS",
    )
    kept = {key: value for key, value in os.environ.items() if not key.startswith(foreign)}
    return {**kept, "NO_COLOR": "1", **extra}


@pytest.fixture
def mini(tmp_path: Path) -> Path:
    """A checkout of the scripts alone: enough for every verb that must not need more."""
    return copy_checkout(tmp_path / "mini", "Makefile", "ops/scripts", ".env.example")


@pytest.fixture
def act_docker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    """Put a `docker` on PATH that runs the given shell lines. Returns the folder it is in."""

    def write(body: str) -> Path:
        folder = tmp_path / "act"
        folder.mkdir(exist_ok=True)
        program = folder / "docker"
        program.write_text(f"#!/bin/sh\n{body}\n")
        program.chmod(0o755)
        monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
        return folder

    return write


@pytest.fixture
def no_docker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A PATH with the everyday tools and no docker."""
    folder = tmp_path / "tools"
    folder.mkdir()
    for name in ("sh", "env", "git", "make", "tail", "ps", "awk", "sed", "dirname", "cat", "uv", "python3"):
        if found := (sys.executable if name == "python3" else shutil.which(name)):
            (folder / name).symlink_to(found)
    monkeypatch.setenv("PATH", str(folder))
    return folder
