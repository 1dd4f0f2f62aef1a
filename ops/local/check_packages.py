"""Uses the packages of the image as the platform uses them; the build runs it, and fails where one is broken.

Belongs here: one use of each package that the Dockerfile takes files from. Does not: the platform's own code,
which the stack's own tests run.

It has a second use: Python leaves the byte code of all that it imports, which is what the platform's
processes import, and of nothing else (50 MB instead of 81).
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
import zoneinfo
from pathlib import Path

IMPORTED = (
    "dagster_postgres",
    "minio",
    "msgspec",
    "narwhals.stable.v2",
    "orjson",
    "pyarrow.compute",
    "pyarrow.fs",
    "pyarrow.parquet",
    "upath",
)
# Only in the image for a cluster.
KUBERNETES = ("dagster_aws.s3.compute_log_manager", "dagster_k8s", "kubernetes.client")
PORT = 3999
SECONDS = 90
# The smallest platform there can be, which runs in Dagster's own processes.
DEFINITIONS = """
import dagster as dg

@dg.asset
def nothing() -> dg.MaterializeResult:
    return dg.MaterializeResult(metadata={"rows": 0})

@dg.asset_check(asset=nothing)
def nothing_is_there() -> dg.AssetCheckResult:
    return dg.AssetCheckResult(passed=True)

everything = dg.define_asset_job("everything", executor_def=dg.in_process_executor)
defs = dg.Definitions(assets=[nothing], asset_checks=[nothing_is_there], jobs=[everything])
"""
LAUNCH = """mutation {launchRun(executionParams: {mode: "default", runConfigData: {}, selector: {
  repositoryLocationName: "smallest", repositoryName: "__repository__", jobName: "everything"
}}) {__typename}}"""
RUNS = "{runsOrError {... on Runs {results {status}}}}"


def frames(folder: str) -> None:
    """Write a Delta table; read it by Polars, by Arrow and by pandas."""
    import deltalake
    import pandas as pd
    import polars as pl
    import pyarrow.dataset

    frame = pl.DataFrame({"id": [1, 2], "text": ["a", None]})
    deltalake.write_deltalake(folder, frame)
    files = deltalake.DeltaTable(folder).file_uris()
    assert pl.scan_parquet(files).collect().equals(frame)
    assert pl.DataFrame(pyarrow.dataset.dataset(files).to_table()).equals(frame)
    assert pl.from_pandas(frame.to_pandas()).shape == frame.shape
    assert pd.Timestamp("2026-07-01", tz="Asia/Tokyo").utcoffset().seconds == 9 * 3600  # type: ignore[union-attr]
    assert zoneinfo.ZoneInfo("Europe/Paris")


def clients() -> None:
    """Make clients of S3, and let both Postgres drivers look for a server where there is none."""
    import boto3
    import psycopg
    import psycopg2  # type: ignore[import-untyped]
    import sqlalchemy

    for service in ("s3", "sts"):
        boto3.client(service, region_name="us-east-1", aws_access_key_id="-", aws_secret_access_key="-")
    sqlalchemy.create_engine("postgresql+psycopg2://none@127.0.0.1:1/none")
    for driver in (psycopg, psycopg2):
        try:
            driver.connect("host=127.0.0.1 port=1 connect_timeout=1")
        except driver.OperationalError:
            continue
        raise AssertionError(f"{driver.__name__} connected to a port where nothing listens")


def duckdb(folder: str) -> None:
    """Load the extensions of an image for DuckLake, and write a table with an embedded catalog."""
    import duckdb

    database = duckdb.connect(config={"autoinstall_known_extensions": "false"})
    for name in ("httpfs", "postgres_scanner", "ducklake"):
        module = importlib.import_module(f"duckdb_extension_{name}")
        (file,) = Path(module.__path__[0]).rglob("*.duckdb_extension")
        database.execute(f"LOAD '{file}'")
    database.execute(f"ATTACH 'ducklake:{folder}/catalog' AS lake (DATA_PATH '{folder}/data')")
    database.execute("CREATE TABLE lake.t AS SELECT * FROM range(1000)")
    assert database.execute("SELECT sum(range) FROM lake.t").fetchall() == [(499500,)]


def dbt(folder: str) -> None:
    """Build one model of a project by dbt, in a DuckDB file, and test it."""
    place = Path(folder)
    (place / "models").mkdir()
    (place / "dbt_project.yml").write_text("name: smallest\nprofile: smallest\nversion: 1.0.0\n")
    outputs = f"{{main: {{type: duckdb, path: '{folder}/file.duckdb'}}}}"
    (place / "profiles.yml").write_text(f"smallest: {{target: main, outputs: {outputs}}}\n")
    (place / "models" / "one.sql").write_text("select 1 as id")
    tests = "{name: id, data_tests: [unique, not_null]}"
    (place / "models" / "one.yml").write_text(f"models: [{{name: one, columns: [{tests}]}}]\n")
    argv = [sys.executable, "-m", "dbt.cli.main", "build", "--project-dir", folder, "--profiles-dir", folder]
    env = {**os.environ, "DBT_SEND_ANONYMOUS_USAGE_STATS": "false", "DBT_LOG_PATH": folder}
    done = subprocess.run(argv, cwd=folder, env=env, capture_output=True, text=True, check=False)
    if done.returncode or "PASS=3" not in done.stdout:
        sys.exit(f"dbt build: {done.stdout}{done.stderr}")


def dagster(folder: str) -> None:
    """Run one job through webserver, daemon and code server, as the stack does, but on SQLite."""
    Path(folder, "smallest.py").write_text(DEFINITIONS)
    Path(folder, "dagster.yaml").write_text("telemetry: {enabled: false}\n")
    argv = [str(Path(sys.executable).with_name("dagster")), "dev", "-m", "smallest", "-p", str(PORT)]
    env = {**os.environ, "DAGSTER_HOME": folder, "PYTHONPATH": folder}
    with Path(folder, "log").open("w+") as log:
        processes = subprocess.Popen(argv, cwd=folder, env=env, stdout=log, stderr=log)
        try:
            wait_for('"LaunchRunSuccess"', LAUNCH)
            wait_for('"SUCCESS"', RUNS)
        except TimeoutError as exc:
            sys.exit(f"{exc}\n{Path(folder, 'log').read_text()}")
        finally:
            processes.send_signal(signal.SIGINT)
            processes.wait()


def wait_for(wanted: str, query: str) -> None:
    """Ask Dagster until `wanted` is in its answer. Raises TimeoutError with the last answer."""
    body, address = json.dumps({"query": query}).encode(), f"http://127.0.0.1:{PORT}/graphql"
    request = urllib.request.Request(address, body, {"Content-Type": "application/json"})
    answer, end = "", time.monotonic() + SECONDS
    while time.monotonic() < end:
        try:
            with urllib.request.urlopen(request, timeout=10) as response:
                answer = response.read().decode()
        except OSError as exc:
            answer = str(exc)
        if wanted in answer:
            return
        time.sleep(0.5)
    raise TimeoutError(f"no {wanted} within {SECONDS} s, but: {answer}")


if __name__ == "__main__":
    cluster = KUBERNETES if importlib.util.find_spec("dagster_k8s") else ()
    for name in (*IMPORTED, *cluster):
        importlib.import_module(name)
    clients()
    ducklake = importlib.util.find_spec("duckdb_extension_ducklake")
    checks = [frames, dagster, dbt, *([duckdb] if ducklake else [])]
    for check in checks:
        with tempfile.TemporaryDirectory() as place:
            check(place)
    print("the packages work")
