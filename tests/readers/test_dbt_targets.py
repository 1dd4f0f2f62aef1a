"""The dbt project compiles for another warehouse than ours.

Belongs here: compiling by the adapters of the group `readers`. Does not: running anything there.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from checkouts import ROOT, clean_env

pytestmark = [pytest.mark.readers, pytest.mark.timeout(300)]

PROJECT = ROOT / "data" / "dbt"
MODELS = {path.stem for path in (PROJECT / "models").rglob("*.sql")}


def test_every_model_compiles_for_spark(tmp_path: Path) -> None:
    project = tmp_path / "project"
    shutil.copytree(PROJECT, project, ignore=shutil.ignore_patterns("target", "logs", "lake.duckdb*"))
    argv = [sys.executable, "-m", "dbt.cli.main", "compile", "--target", "spark", "--no-introspect"]
    argv += ["--no-populate-cache", "--project-dir", str(project), "--profiles-dir", str(project)]
    done = subprocess.run(argv, cwd=project, env=clean_env(), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    compiled = project / "target" / "compiled" / "odp" / "models"
    # A folder named as a model's YAML file holds that model's tests.
    assert {path.stem for path in compiled.rglob("*.sql") if path.parent.suffix != ".yml"} == MODELS
    marts = (compiled / "marts" / "loan_performance.sql").read_text()
    assert "intermediate.int_loans" in marts
    assert "{{" not in marts
