"""Lakes that an earlier version of the library wrote: they open, verify, go on, and can be taken back."""

from __future__ import annotations

import dataclasses
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import lakes
import pytest
from checkouts import ROOT
from test_flow import EVENT_SOURCES, EVENT_TABLES, event, hashes, land, run

from lakehouse.contracts import quarantine_of
from lakehouse.domains.pipelines import contracts as c
from lakehouse.domains.pipelines import transforms
from lakehouse.errors import Unsupported
from lakehouse.maintenance import maintain_all, points, restore_run, upgrade
from lakehouse.pipeline import Lake, open_lake, refresh
from lakehouse.quarantine import replay
from lakehouse.registry import transform_of
from lakehouse.settings import Settings
from lakehouse.storage.s3 import s3_client
from lakehouse.verify import verify

BEFORE = ROOT / "tests" / "lakes_of_before"
KINDS = [
    "folder",
    pytest.param("s3", marks=pytest.mark.containers),
    pytest.param("ducklake", marks=pytest.mark.slow),
]


def unpack(name: str, folder: Path) -> None:
    with tarfile.open(BEFORE / f"{name}.tar.gz") as archive:
        archive.extractall(folder, filter="data")


@contextmanager
def lake_of_before(kind: str, folder: Path, name: str = "delta") -> Iterator[Lake]:
    """Yield an old lake of a kind."""
    unpack({"delta": "ducklake"}.get(name, f"{name}-ducklake") if kind == "ducklake" else name, folder)
    with lakes.lake_of(kind, folder) as settings:
        if kind == "s3":
            put_into_buckets(settings, folder)
        if kind == "ducklake":
            load_catalog(settings, folder)
        yield open_lake(settings)


def put_into_buckets(settings: Settings, folder: Path) -> None:
    client = s3_client(
        endpoint=settings.s3_endpoint,
        access_key=settings.s3_access_key,
        secret_key=settings.s3_secret_key,
        region=settings.s3_region,
    )
    for file in (folder / "lake").rglob("*"):
        if file.is_file():
            layer, key = str(file.relative_to(folder / "lake")).split("/", 1)
            bucket, key = ("system", f"_odp/{key}") if layer == "_odp" else (layer, key)
            client.put_object(Bucket=bucket, Key=key, Body=file.read_bytes())
    for file in (folder / "landing").rglob("*"):
        if file.is_file():
            key = str(file.relative_to(folder / "landing"))
            client.put_object(Bucket="landing", Key=key, Body=file.read_bytes())


def load_catalog(settings: Settings, folder: Path) -> None:
    import psycopg

    dump = (folder / "catalog.sql").read_text().replace("@LAKE@", str(folder / "lake"))
    with psycopg.connect(
        host=settings.ducklake_pg_host,
        port=settings.ducklake_pg_port,
        user=settings.ducklake_pg_user,
        dbname=settings.ducklake_pg_db,
        autocommit=True,
    ) as db:
        db.execute(dump)  # type: ignore[arg-type]


def upgraded(lake: Lake) -> None:
    """Bring it to today's columns: none of its computed tables has them."""
    upgrade(lake, EVENT_TABLES, EVENT_SOURCES, transform_of)


def problems(lake: Lake) -> list[str]:
    found = verify(lake, EVENT_TABLES).all_problems
    return [f"{p.table}: {p.check}: {p.message}" for p in found if p.check != "declared"]


def ids(lake: Lake) -> list[str]:
    return sorted(lake.store.scan(c.PIPELINE_EVENTS).collect()["pipeline_id"].unique().to_list())


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_an_old_lake_verifies_goes_on_and_goes_back(kind: str, tmp_path: Path) -> None:
    with lake_of_before(kind, tmp_path) as lake:
        assert {p.split(": ")[1] for p in problems(lake)} == {"schema"}
        upgraded(lake)
        assert problems(lake) == []
        before = hashes(lake)
        run(lake)
        assert hashes(lake) == before
        land(lake, "4.ndjson", event("new"), event(None, "failed"))
        run(lake)
        assert problems(lake) == []
        assert "new" in ids(lake)
        refused = lake.store.snapshot(quarantine_of(c.PIPELINE_EVENTS)).rows
        assert refused == 7  # two in each of three old files, one in the new one
        assert [p.run_id for p in points(lake) if p.pinned] == ["run-1"]
        maintain_all(lake, EVENT_TABLES)
        if kind == "ducklake":  # a table of other columns is another table there
            with pytest.raises(Unsupported, match=r"no such version any more.*Nothing was changed"):
                restore_run(lake, "run-1", EVENT_TABLES)
            assert problems(lake) == []
            return
        restore_run(lake, "run-1", EVENT_TABLES)
        assert {p.split(": ")[1] for p in problems(lake)} == {"schema"}, "as it was: with the columns of then"
        back = {r for r in lake.store.scan(c.RAW_PIPELINE_EVENTS).collect()["pipeline_id"] if r is not None}
        assert {"again", "p1-0"} <= back
        assert not {r for r in back if r.startswith(("p2", "p3", "new"))}
        upgraded(lake)
        assert problems(lake) == []
        assert {"again", "p1-0", "new"} <= set(ids(lake)), "what landed after it lands again"
        loose = dataclasses.replace(
            c.PIPELINE_EVENTS, rules=tuple(r for r in c.PIPELINE_EVENTS.rules if "negative" not in r.name)
        )
        assert replay(lake, loose, transforms.pipeline_events).written == 3
        refresh(lake, c.PIPELINE_METRICS, transforms.pipeline_metrics)
        assert problems(lake) == []


def test_an_old_lake_killed_between_quarantine_and_table_is_computed_anew(tmp_path: Path) -> None:
    with lake_of_before("folder", tmp_path, "delta-torn") as lake:
        assert problems(lake) != []
        upgraded(lake)
        assert problems(lake) == []
        assert lake.store.snapshot(quarantine_of(c.PIPELINE_EVENTS)).rows == 8
        assert "p4-0" in ids(lake)


def test_an_old_lake_is_computed_anew_on_demand(tmp_path: Path) -> None:
    with lake_of_before("folder", tmp_path) as lake:
        before = lake.store.snapshot(c.PIPELINE_EVENTS).rows
        upgraded(lake)
        refresh(lake, c.PIPELINE_EVENTS, transforms.pipeline_events, full=True)
        refresh(lake, c.PIPELINE_METRICS, transforms.pipeline_metrics, full=True)
        assert lake.store.scan(c.PIPELINE_EVENTS).collect().height == before
        assert problems(lake) == []
