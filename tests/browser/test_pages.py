"""The walk of docs/operations/dagster-validation.md, typed on the running stack."""

from __future__ import annotations

import pytest
from checkouts import ROOT
from docs_blocks import Typed, commands, mismatch, steps
from stacks import Stack

pytestmark = [pytest.mark.browser, pytest.mark.timeout(900)]

PAGE = ROOT / "docs" / "operations" / "dagster-validation.md"
EMBEDDED_ONLY = "ls .data/lake/gold/pipeline_metrics"


def test_the_walk_prints_what_the_page_says(stack: Stack) -> None:
    for step in steps(PAGE):
        assert isinstance(step, Typed), "this page has no files to write"
        if EMBEDDED_ONLY in commands(step.commands):
            continue
        done = stack.run("sh", "-ec", step.commands)
        assert done.returncode == 0, f"line {step.line}: {step.commands}{done.stdout}{done.stderr}"
        assert not step.prints or mismatch(step.prints, done.stdout) is None
        if "make credentials" in step.commands:
            assert stack.env["MINIO_ROOT_PASSWORD"] in done.stdout
