"""Types docs/operations/api.md on the sample: each command does and prints what the page says."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from checkouts import ROOT
from docs_blocks import Typed, steps
from doors import running

PAGE = ROOT / "docs" / "operations" / "api.md"
ADDRESS = "http://127.0.0.1:18080"


def is_shown(shown: str, printed: str) -> bool:
    """Return whether what was printed is what the page shows, where `…` stands for any text."""
    wanted = ".*".join(re.escape(part) for part in shown.strip().split("…"))
    return re.fullmatch(wanted, printed.strip(), re.DOTALL) is not None


@pytest.mark.skipif(shutil.which("curl") is None, reason="the page types curl, which is not here")
def test_commands_do_and_print_what_the_page_says(place: Path) -> None:
    typed = [step for step in steps(PAGE) if isinstance(step, Typed)]
    assert len(typed) == 4
    with running(place) as server:
        env = {**os.environ, "KEY": "", "API_STATE": str(server.state)}
        for step in typed:
            if step.commands.strip() == "make api-key":
                argv = [
                    sys.executable,
                    "-m",
                    "serving.keys",
                    "create",
                    "--name",
                    "x",
                    "--scopes",
                    "read,ingest,sql",
                ]
                env["KEY"] = subprocess.run(
                    argv, env=env, capture_output=True, text=True, check=True
                ).stdout.strip()
                continue
            done = subprocess.run(
                ["sh", "-ec", step.commands.replace(ADDRESS, server.url)],
                env=env, capture_output=True, text=True, check=True,
            )  # fmt: skip
            assert step.prints is not None
            assert is_shown(step.prints, done.stdout), f"line {step.line}\n{done.stdout}"


def test_every_setting_of_the_page_is_one() -> None:
    named = set(re.findall(r"`(API_[A-Z_]+)=", PAGE.read_text()))
    assert named
    assert named <= set(re.findall(r"^(API_[A-Z_]+)=", (ROOT / ".env.example").read_text(), re.MULTILINE))
