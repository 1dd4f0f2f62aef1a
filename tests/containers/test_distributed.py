"""PROFILE=distributed: Silver and Gold are computed on Spark Connect, and are those of any other profile.

Belongs here: what the profile adds to `full`. Does not: that engines agree on odd values
(test_engine_parity.py). Its own stack, its own image.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from stacks import Stack

from lakehouse.pipeline import ingest, open_lake, refresh
from lakehouse.registry import contracts, sample_files, sources, transform_of
from lakehouse.verify import content_hash

pytestmark = [pytest.mark.containers, pytest.mark.timeout(1200)]


@pytest.fixture(scope="module")
def distributed(new_stack: Callable[..., Stack]) -> Stack:
    made = new_stack()
    done = made.make("start", "PROFILE=distributed")
    assert done.returncode == 0, done.stdout + done.stderr
    return made


def by_polars(folder: Path) -> dict[str, str]:
    """The sample in a folder of this machine, without containers: table to content hash."""
    lake, made = open_lake(folder), {}
    for name, body in sample_files().items():
        lake.landing.put(name, body)
    for table in contracts():  # in the order of their sources
        if table.layer == "bronze":
            ingest(lake, table, [source for source in sources() if source.table is table])
        else:
            refresh(lake, table, transform_of(table))
        made[table.path] = content_hash(table, lake.store.scan(table))
    return made


def logs(stack: Stack, service: str) -> str:
    done = stack.run("docker", "logs", stack.containers()[service]["Name"])
    return done.stdout + done.stderr


def test_every_table_is_the_one_that_polars_makes(
    distributed: Stack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ODP_DBT_PROJECT", "off")
    wanted, found = by_polars(tmp_path), distributed.hashes()
    assert len(wanted) > 20
    assert {name: found.get(name) for name in wanted} == wanted
    assert "creating session" in logs(distributed, "spark")


def test_the_server_can_be_reached_by_the_platform_alone_and_only_reads(distributed: Stack) -> None:
    spark = distributed.containers()["spark"]
    assert not any(spark["NetworkSettings"]["Ports"].values())
    assert [
        name.removeprefix(f"{distributed.project}_") for name in spark["NetworkSettings"]["Networks"]
    ] == ["data"]
    assert distributed.env["S3_ENGINE_SECRET_KEY"] not in str(spark["Config"])
    write = (
        "import polars as pl; from lakehouse.pipeline import open_lake; "
        "open_lake().landing.put('telemetry/x.ndjson', b'{}')"
    )
    denied = distributed.run("docker", "exec", spark["Name"], "python", "-c", write)
    assert denied.returncode != 0
    assert distributed.env["S3_ENGINE_SECRET_KEY"] not in denied.stdout + denied.stderr


@pytest.mark.long  # minutes; test_engine_spark.py shows that a server that is gone is told at once
def test_while_the_server_is_away_nothing_is_lost_and_it_is_named(distributed: Stack) -> None:
    before = distributed.hashes()
    spark = distributed.containers()["spark"]["Name"]
    (name, body), *_ = ((n, b) for n, b in sample_files().items() if n.endswith(".ndjson"))
    (distributed.dir / "landing").mkdir(exist_ok=True)
    again = distributed.dir / "landing" / Path(name).parent / "again.ndjson"
    again.parent.mkdir(parents=True, exist_ok=True)
    again.write_bytes(body + b"\n")
    assert distributed.run("docker", "stop", "-t", "1", spark).returncode == 0
    done = distributed.make("init-data-layers")
    assert done.returncode != 0, done.stdout + done.stderr
    assert "Is its server up, and SPARK_REMOTE its address?" in done.stdout + done.stderr
    assert distributed.run("docker", "start", spark).returncode == 0
    done = distributed.make("start", "PROFILE=distributed")
    assert done.returncode == 0, done.stdout + done.stderr
    assert distributed.hashes().keys() == before.keys()
