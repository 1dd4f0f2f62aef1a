"""Fixtures that several test files need: a bare checkout, a docker that only acts.

Fixtures of one subject stand in its own file or folder.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from checkouts import copy_checkout

# Tables of dbt are made only where a test is about them, a build takes seconds. `clean_env` leaves this out.
os.environ.setdefault("ODP_DBT_PROJECT", "off")

FOLDERS = ("ops/scripts", "ops/local", "data/dagster_client")  # the last two: what the scripts share


@pytest.fixture
def mini(tmp_path: Path) -> Path:
    """A checkout of the scripts alone: enough for every verb that must not need more."""
    return copy_checkout(tmp_path / "mini", "Makefile", *FOLDERS, ".env.example")


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
