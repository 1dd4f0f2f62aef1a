"""Damage to data files on every kind of lake: the table is named with what to do, all others are judged."""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import lakes
import pytest
from test_flow import EVENT_TABLES, event, land, run
from test_flow_increment import day
from test_store_checksums import KINDS, flip, put

from lakehouse.domains.pipelines import contracts as c
from lakehouse.domains.pipelines import transforms
from lakehouse.errors import LakeError, StorageUnavailable
from lakehouse.maintenance import record_point
from lakehouse.pipeline import Lake, open_lake, refresh
from lakehouse.settings import Settings
from lakehouse.storage.files import BucketFiles, FolderFiles
from lakehouse.store.integrity.damage import readable
from lakehouse.verify import Patience, verify

EVENTS, RAW = c.PIPELINE_EVENTS, c.RAW_PIPELINE_EVENTS
AT_ONCE = Patience(quiet=timedelta(0))


@pytest.fixture(params=KINDS)
def settings(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Settings]:
    with lakes.lake_of(request.param, tmp_path) as found:
        yield found


@pytest.fixture
def lake(settings: Settings) -> Lake:
    lake = open_lake(settings)
    for n in range(3):
        land(lake, f"{n}.ndjson", event(f"p{n}", at=day(n + 1)), event(f"bad{n}", duration_ms=-1))
        run(lake)
        record_point(lake, f"run-{n}", EVENT_TABLES)
    return lake


def remove(lake: Lake, name: str) -> None:
    files = lake.store.files
    if isinstance(files, FolderFiles):
        (files.root / EVENTS.path / name).unlink()
    elif isinstance(files, BucketFiles):
        layer, place = EVENTS.path.split("/", 1)
        files.client.delete_object(Bucket=layer, Key=f"{place}/{name}")


@pytest.mark.slow
@pytest.mark.parametrize("damage", ["gone", "cut short", "noise", "altered"])
def test_a_damaged_data_file_is_named_with_what_to_do_and_that_mends_it(
    lake: Lake, settings: Settings, damage: str
) -> None:
    before = verify(open_lake(settings), EVENT_TABLES, patience=AT_ONCE, deep=True)
    assert before.all_problems == []
    name = lake.store.file_names(EVENTS)[-1]
    body = lake.store.files.read(EVENTS.path, name)
    if damage == "gone":
        remove(lake, name)
    elif damage == "altered":
        flip(lake.store, EVENTS, name, len(body) // 3, 2)
    else:
        put(lake.store, EVENTS, name, body[:500] if damage == "cut short" else os.urandom(len(body)))
    found = verify(open_lake(settings), EVENT_TABLES, patience=AT_ONCE, deep=damage == "altered")
    assert {p.table for p in found.all_problems} == {EVENTS.path}
    assert name in found.all_problems[0].message
    ducklake = settings.lake_format == "ducklake"
    way = (
        f"put {lake.store.uri(EVENTS)}/{name} back"
        if ducklake
        else f"odp refresh {EVENTS.path} --full-refresh"
    )
    assert way in found.all_problems[0].fix
    hashes = {t.table: t.content_hash for t in found.tables if t.table != EVENTS.path}
    assert hashes == {t.table: t.content_hash for t in before.tables if t.table != EVENTS.path}
    again = open_lake(settings)
    if ducklake:
        put(lake.store, EVENTS, name, body)
    else:
        refresh(again, EVENTS, transforms.pipeline_events, full=True)
    run(again)
    after = verify(open_lake(settings), EVENT_TABLES, patience=AT_ONCE, deep=True)
    assert after.all_problems == []
    assert {t.table: t.content_hash for t in after.tables} == {t.table: t.content_hash for t in before.tables}


def test_reading_a_damaged_file_is_an_error_of_ours_that_names_it(lake: Lake, settings: Settings) -> None:
    name = lake.store.file_names(EVENTS)[-1]
    put(lake.store, EVENTS, name, os.urandom(len(lake.store.files.read(EVENTS.path, name))))
    again = open_lake(settings)
    with pytest.raises(LakeError, match=name) as caught, readable(again.store, [EVENTS]):
        again.store.scan(EVENTS).collect()
    assert not isinstance(caught.value, StorageUnavailable)


@pytest.mark.slow
def test_a_foreign_commit_is_named_after_many_of_our_own(lake: Lake, settings: Settings) -> None:
    if settings.lake_format == "ducklake":
        with lake.store.lake.cursor() as cursor:  # type: ignore[attr-defined]
            cursor.execute(
                f"UPDATE lake.silver.{EVENTS.name} SET workspace_id = 'x' WHERE pipeline_id = 'p1'"
            )
    else:
        from deltalake import DeltaTable

        delta = DeltaTable(lake.store.uri(EVENTS), storage_options=settings.storage_options())
        delta.update(updates={"workspace_id": "'x'"}, predicate="pipeline_id = 'p1'")
    for n in range(3, 30):
        land(lake, f"{n}.ndjson", event(f"p{n}", at=day(n % 28 + 1)))
        run(lake)
    (problem,) = [
        p for p in verify(open_lake(settings), EVENT_TABLES, patience=AT_ONCE).all_problems
        if p.check == "version"
    ]  # fmt: skip
    assert (problem.table, "was written by something else" in problem.message) == (EVENTS.path, True)
    again = open_lake(settings)
    refresh(again, EVENTS, transforms.pipeline_events, full=True)
    run(again)
    assert verify(open_lake(settings), EVENT_TABLES, patience=AT_ONCE).all_problems == []
