"""The dbt project compiles for another warehouse than ours, and its marts are the same on Spark.

Belongs here: compiling for Spark and for Databricks, and running on Sail what Sail can. Does not: running
anything on Databricks.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from checkouts import ROOT, clean_env
from connect_server import connect_server
from readers.spark_models import MARTS

from lakehouse import registry
from lakehouse.dbt import refresh_models
from lakehouse.domains.lending import contracts as lending
from lakehouse.domains.lending.sample import sample_files
from lakehouse.pipeline import Lake, ingest, open_lake, refresh

pytestmark = [pytest.mark.readers, pytest.mark.timeout(300)]

PROJECT = ROOT / "data" / "dbt"
MODELS = {path.stem for path in (PROJECT / "models").rglob("*.sql")}


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A copy of the project."""
    copy = tmp_path / "project"
    shutil.copytree(PROJECT, copy, ignore=shutil.ignore_patterns("target", "logs", "lake.duckdb*"))
    return copy


@pytest.fixture
def lake(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Lake]:
    """A lake with the sample's loans; its models are not built."""
    monkeypatch.setenv("ODP_DBT_PROJECT", str(PROJECT))
    registry.clear()
    made = open_lake(tmp_path / "lake")
    for name, body in sample_files().items():
        made.landing.put(name, body)
    ingest(made, lending.RAW_LOANS, registry.find(lending.RAW_LOANS).sources)
    refresh(made, lending.LOANS, registry.transform_of(lending.LOANS))
    yield made
    monkeypatch.undo()
    registry.clear()


def on_spark(lake: Lake, project: Path, folder: Path, file_format: str) -> dict[str, tuple[str, str]]:
    """Build the marts on a Sail server over the lake's loans; return status and message of each node."""
    for name in ("loans", "out", "server"):
        (folder / name).mkdir()
    rows = lake.store.scan(lending.LOANS).collect().to_arrow()
    plain = [
        field.with_type(pa.string()) if pa.types.is_large_string(field.type) else field
        for field in rows.schema
    ]
    pq.write_table(rows.cast(pa.schema(plain)), folder / "loans" / "all.parquet")
    with connect_server(folder / "server") as remote:
        paths = [str(path) for path in (project, folder / "loans", folder / "out")]
        done = subprocess.run(
            [
                sys.executable,
                "-W",
                "ignore",
                str(Path(__file__).with_name("spark_models.py")),
                remote,
                *paths,
            ],
            cwd=project,
            env=clean_env() | {"SPARK_REMOTE": remote, "DBT_SPARK_FORMAT": file_format},
            capture_output=True,
            text=True,
            check=False,
        )
    assert done.returncode == 0, done.stdout + done.stderr
    said: dict[str, tuple[str, str]] = json.loads(done.stdout.splitlines()[-1])
    return said


def test_the_marts_of_spark_have_the_values_of_ours(lake: Lake, project: Path, tmp_path: Path) -> None:
    said = on_spark(lake, project, tmp_path, "parquet")
    assert {status for status, _ in said.values()} == {"success", "pass"}, said
    refresh_models(lake, registry.models(), registry.models())
    tables = {table.contract.name: table.contract for table in registry.models()}
    for name in MARTS:
        contract = tables[name]
        ours = lake.store.scan(contract).select(contract.column_names).sort(contract.key).collect()
        theirs = pl.read_parquet(tmp_path / "out" / f"{name}.parquet").select(contract.column_names)
        assert ours.height > 100
        assert theirs.sort(contract.key).equals(ours), name
        assert theirs.schema == ours.schema


def test_sail_cannot_set_what_a_contract_asks_of_a_delta_table(
    lake: Lake, project: Path, tmp_path: Path
) -> None:
    """When this fails, Sail can: DBT_SPARK_FORMAT and its paragraph in docs/operations/dbt.md may go."""
    said = on_spark(lake, project, tmp_path, "delta")
    for name in MARTS:
        status, message = said[name]
        assert status == "error"
        assert message.endswith("unsupported ALTER TABLE operation"), message


def test_every_model_compiles_for_spark(project: Path) -> None:
    compiles(project, Path(sys.executable), "spark", "intermediate.int_loans")


def test_every_model_compiles_for_databricks_as_the_page_says(project: Path, tmp_path: Path) -> None:
    """Its adapter does not stand beside ours, so that it gets an environment of its own."""
    page = (ROOT / "docs" / "operations" / "dbt.md").read_text()
    commands = [line.removeprefix("$ ") for line in page.splitlines() if line.startswith("$ ")]
    make, install, _, compile_ = commands  # a page with other commands needs another test
    own = ROOT / ".tools" / "uv" / "bin"  # where `make` puts uv on a machine that has none
    env = clean_env(PATH=f"{own}:{os.environ['PATH']}", UV_PYTHON=sys.executable)
    for command in (make, install):
        there = command.replace("/tmp/databricks", str(tmp_path / "databricks"))
        run(shlex.split(there), tmp_path, env)
    assert shlex.split(compile_)[1:] == compile_argv("databricks", ".")
    compiles(project, tmp_path / "databricks" / "bin" / "python", "databricks", "`intermediate`.`int_loans`")


def compile_argv(target: str, profiles: str) -> list[str]:
    argv = ["-m", "dbt.cli.main", "compile", "--target", target, "--no-introspect", "--no-populate-cache"]
    return [*argv, "--profiles-dir", profiles]


def run(argv: Sequence[str], cwd: Path, env: dict[str, str]) -> None:
    done = subprocess.run(argv, cwd=cwd, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def compiles(project: Path, python: Path, target: str, names: str) -> None:
    run([str(python), *compile_argv(target, ".")], project, clean_env())
    compiled = project / "target" / "compiled" / "odp" / "models"
    # A folder named as a model's YAML file holds that model's tests.
    assert {path.stem for path in compiled.rglob("*.sql") if path.parent.suffix != ".yml"} == MODELS
    marts = (compiled / "marts" / "loan_performance.sql").read_text()
    assert names in marts
    assert "{{" not in marts
