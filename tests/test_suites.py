"""Every test runs in a suite of `.ci/run`, or is long: what `make test` leaves out is in another one.

What a suite checks is in the other files.
"""

from __future__ import annotations

import re
import shlex
import subprocess
import sys

import pytest
from checkouts import ROOT

from odpctl.quality import groups

QUALITY = ROOT / "ops" / "scripts" / "odpctl" / "quality.py"
CI = ROOT / ".ci" / "run"


def suites() -> dict[str, str]:
    """Return the marker expression of each suite: that of `make test`, and those CI gives to it."""
    found = {
        "long": "long",
        "make test": re.findall(r'^UNIT = "(.+)"$', QUALITY.read_text(), re.MULTILINE)[0],
    }
    for name, args in re.findall(r'^check "(.+?)" make test ARGS="(.+)"$', CI.read_text(), re.MULTILINE):
        words = shlex.split(args)
        found[name] = words[words.index("-m") + 1]
        ignored = [word.removeprefix("--ignore=") for word in words if word.startswith("--ignore=")]
        assert ignored in ([], ["tests/containers"])
    return found


def test_a_suite_of_slow_tests_is_there() -> None:
    found = suites()
    assert set(found) == {
        "long",
        "make test",
        "slow tests",
        "container tests",
        "browser tests",
        "independent readers",
        "charts",
    }
    assert "slow or containers" in found["slow tests"]  # all but tests/containers, which the next one runs


@pytest.mark.slow
def test_no_test_runs_in_no_suite() -> None:
    left_out = " and ".join(f"not ({expression})" for expression in suites().values())
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--collect-only", "-q", "-m", left_out],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert [line for line in done.stdout.splitlines() if "::" in line] == []
    assert done.returncode == pytest.ExitCode.NO_TESTS_COLLECTED, done.stdout[-2000:] + done.stderr[-2000:]
    assert re.search(r"no tests collected \(\d+ deselected\)", done.stdout)


@pytest.mark.parametrize(
    ("args", "wanted"),
    [
        ([], []),
        (["-m", "readers"], ["readers"]),
        (["-m", "readers and not long", "-n", "2"], ["readers"]),
        (["-m", "slow and not browser and not readers"], []),
        (["-m", "browser or charts"], ["browser", "charts"]),
    ],
)
def test_what_a_choice_of_tests_needs_is_installed(args: list[str], wanted: list[str]) -> None:
    assert groups(args) == wanted
