"""The Makefile is a list of verbs: complete, documented, without logic."""

from __future__ import annotations

import re
import subprocess

import pytest
from checkouts import ROOT, clean_env

TEXT = (ROOT / "Makefile").read_text()
RULES = dict(re.findall(r"^([a-z-]+):.*?## (.+)$", TEXT, re.MULTILINE))
PHONY = re.search(r"^\.PHONY: ([^\\\n]*(?:\\\n[^\\\n]*)*)", TEXT, re.MULTILINE)
PROMISED = [
    "help",
    "start",
    "stop",
    "restart",
    "status",
    "logs",
    "ps",
    "init-data-layers",
    "verify-data-layers",
    "odp",
    "seed",
    "prune",
    "dagster-ui",
    "minio-console",
    "api-key",
    "share-profile",
    "credentials",
    "shell",
    "clean",
    "nuke",
    "doctor",
    "lint",
    "test",
    "test-guarantees",
    "bench",
    "bench-full",
]


def make(*args: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["make", *args], cwd=ROOT, env=clean_env(), capture_output=True, text=True, check=False
    )


def test_every_promised_verb_is_there_documented_and_phony() -> None:
    assert PHONY is not None
    assert list(RULES) == PROMISED
    assert PHONY[1].replace("\\\n", " ").split() == PROMISED


def test_help_is_the_default_and_lists_every_verb() -> None:
    done = make()
    assert done.returncode == 0
    assert done.stdout == make("help").stdout
    assert re.findall(r"^  make ([a-z-]+) ", done.stdout, re.MULTILINE) == PROMISED


@pytest.mark.parametrize("verb", PROMISED)
def test_a_verb_is_at_most_three_lines_without_shell_logic(verb: str) -> None:
    rule = re.search(rf"^{verb}:.*\n((?:\t.*\n?)+)", TEXT, re.MULTILINE)
    assert rule is not None
    lines = rule[1].splitlines()
    assert len(lines) <= 2
    assert not any(word in lines[0] for word in ("if [", "&&", "||", "for ", ";"))


def test_nothing_newer_than_gnu_make_3_81() -> None:
    assert not re.search(r"\.ONESHELL|\$\(file|!=|::=|^undefine|\$\(guile", TEXT, re.MULTILINE)


def test_an_unknown_verb_and_an_unknown_profile_fail() -> None:
    assert make("nonsense").returncode == 2
    done = make("start", "PROFILE=nonsense")
    assert done.returncode == 2
    assert "there are: full, distributed, dev, minimal, embedded" in done.stderr
