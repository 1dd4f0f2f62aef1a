"""The platform on DuckLake: the page is typed, and the lake verifies. Its own stack, its own image."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from checkouts import ROOT
from docs_blocks import Typed, commands, steps
from stacks import Stack

pytestmark = [pytest.mark.containers, pytest.mark.long, pytest.mark.timeout(900)]

_FORMAT = "from lakehouse.pipeline import open_lake; print(type(open_lake().store).__name__)"


def test_the_page_is_typed_and_gives_what_delta_gives(new_stack: Callable[..., Stack], stack: Stack) -> None:
    page = [step for step in steps(ROOT / "docs/operations/ducklake.md") if isinstance(step, Typed)]
    typed = [line for step in page for line in commands(step.commands)]
    other = new_stack()
    for line in typed:
        done = other.run("sh", "-c", line)
        assert done.returncode == 0, f"{line}\n{done.stdout}{done.stderr}"
    toolbox = other.containers()["toolbox"]["Name"]
    assert other.run("docker", "exec", toolbox, "python", "-c", _FORMAT).stdout == "DuckLakeStore\n"
    for one in (stack, other):
        assert one.make("start", "PROFILE=full").returncode == 0
    found, wanted = other.hashes(), stack.hashes()
    assert {name: found[name] for name in wanted if not name.startswith("system/")} == {
        name: content for name, content in wanted.items() if not name.startswith("system/")
    }
    assert other.env["LAKE_FORMAT"] == "ducklake"
    report = json.loads(other.make("verify-data-layers", "ARGS=--json").stdout)
    assert report["problems"] == []
