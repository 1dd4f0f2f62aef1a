"""Checkouts to test on: copies, ports nobody has, an environment without strangers, waiting with a reason.

Plain functions for every test file; fixtures stand in conftest.py.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")
ROOT = Path(__file__).resolve().parents[1]


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
    """Ports nobody has now, all different, below the range from which the system takes its own.

    Neighbouring processes (the workers of one run) look far from each other: a port is taken only when used.
    """
    found: list[int] = []
    for port in range(20000 + os.getpid() * 101 % 11000, 32000):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) != 0:
                found.append(port)
        if len(found) == count:
            return found
    raise RuntimeError("no free ports below 32000")


def embedded_ports() -> dict[str, str]:
    """The settings by which an embedded platform listens on ports that nobody has now."""
    return dict(zip(("DAGSTER_PORT", "API_PORT"), map(str, free_ports(2)), strict=True))


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
        "DUCKLAKE_PG_",
        "LANDING_",
        "COMPOSE_",
        "MAKE",
        "MFLAGS",
    )
    typed = {"ARGS", "PROFILE", "SERVICE", "FORCE", "FOLLOW", "JSON"}  # make hands its own arguments down
    kept = {
        key: value for key, value in os.environ.items() if not key.startswith(foreign) and key not in typed
    }
    return {**kept, "NO_COLOR": "1", **extra}
