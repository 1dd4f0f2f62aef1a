"""Types docs/operations/outputs.md, on the sample: each command does and prints what the page says."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from checkouts import ROOT, clean_env
from docs_blocks import Typed, mismatch, steps

pytestmark = pytest.mark.slow

PAGE = ROOT / "docs" / "operations" / "outputs.md"
CHECKOUT = """
import sys
from lakehouse.materialize import materialize, materialize_models
from lakehouse.pipeline import open_lake
from lakehouse.registry import models, sample_files, tables
from lakehouse.settings import Settings

lake = open_lake(Settings(lake_url=sys.argv[1] + "/.data/lake", landing_url=sys.argv[1] + "/landing"))
for name, body in sample_files().items():
    lake.landing.put(name, body)
for table in tables():
    if table not in models():
        materialize(lake, table, checks=False)
materialize_models(lake, models(), checks=False)
"""


def argv(command: str) -> list[str]:
    """`make odp ARGS=…` is `python -m lakehouse.cli …` on the lake of this checkout."""
    words = shlex.split(command)
    if words[:2] == ["make", "odp"]:
        return [sys.executable, "-m", "lakehouse.cli", *words[2].removeprefix("ARGS=").split()]
    assert words[0] == ".venv/bin/python"
    return [sys.executable, *words[1:]]


def test_commands_do_and_print_what_the_page_says(tmp_path: Path) -> None:
    env = clean_env(PYTHONPATH=os.pathsep.join(sys.path))
    env |= {"LAKE_URL": str(tmp_path / ".data/lake"), "LANDING_URL": str(tmp_path / "landing")}
    subprocess.run([sys.executable, "-c", CHECKOUT, str(tmp_path)], env=env, check=True)
    typed = [step for step in steps(PAGE) if isinstance(step, Typed)]
    assert len(typed) == 4
    for step in typed:
        done = subprocess.run(
            argv(step.commands), cwd=tmp_path, env=env, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"line {step.line}\n{done.stdout}{done.stderr}"
        if step.prints:
            assert not mismatch(step.prints, done.stdout), f"line {step.line}\n{done.stdout}"
    made = {p.relative_to(tmp_path).as_posix() for p in (tmp_path / "exports").rglob("*") if p.is_file()}
    named = {"exports/manifest.json", "exports/quality/report.html", "exports/quality/report.json"}
    assert made >= {*named, "exports/gold/pipeline_metrics.csv", "exports/gold/pipeline_metrics.parquet"}
