"""Checksums of data files: altered and exchanged ones are found, on every kind of lake."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import lakes
import polars as pl
import pytest
from test_flow import Killed
from test_store_contract import DAYS, EVENTS, LOG, NOON

from lakehouse import fault_points
from lakehouse.contracts import Contract
from lakehouse.errors import DamagedTable
from lakehouse.settings import Settings
from lakehouse.storage.files import BucketFiles, FolderFiles
from lakehouse.store import MaintenanceOptions, TableStore, open_store
from lakehouse.store.delta import DeltaStore

KINDS = ["folder", pytest.param("s3", marks=pytest.mark.containers),
         pytest.param("ducklake", marks=pytest.mark.slow),
         pytest.param("ducklake-s3", marks=pytest.mark.containers)]  # fmt: skip


@pytest.fixture(params=KINDS)
def lake(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Settings]:
    with lakes.lake_of(request.param, tmp_path) as settings:
        yield settings


@pytest.fixture
def store(lake: Settings) -> TableStore:
    return open_store(lake)


def rows(*ids: int) -> pl.DataFrame:
    return pl.DataFrame(
        {"id": [f"e{n}" for n in ids], "at": [NOON] * len(ids), "n": list(ids)}, schema=EVENTS.polars_schema()
    )


def put(store: TableStore, table: Contract, name: str, body: bytes) -> None:
    """Write a file below a table past the library, as bit rot or another program would."""
    if isinstance(store.files, FolderFiles):
        (store.files.root / table.path / name).write_bytes(body)
        return
    assert isinstance(store.files, BucketFiles)
    layer, place = table.path.split("/", 1)
    store.files.client.put_object(Bucket=layer, Key=f"{place}/{name}", Body=body)


def flip(store: TableStore, table: Contract, name: str, at: int, bit: int) -> bytes:
    """Flip one bit of a file; return the bytes that it had."""
    was = store.files.read(table.path, name)
    now = bytearray(was)
    now[at % len(now)] ^= 1 << bit
    put(store, table, name, bytes(now))
    return was


# DuckLake's shortest look with `make test`; the others are slow.
@pytest.mark.parametrize(
    "lake",
    [
        "folder",
        pytest.param("s3", marks=pytest.mark.containers),
        "ducklake",
        pytest.param("ducklake-s3", marks=pytest.mark.containers),
    ],
    indirect=True,
)
def test_a_sound_table_has_a_checksum_of_every_file(store: TableStore) -> None:
    for n in range(5):
        store.append(EVENTS, rows(n))
    store.merge(EVENTS, rows(1, 7))
    store.overwrite(DAYS, pl.DataFrame({"day": ["a", "b"], "n": [1, 2]}))
    for table in (EVENTS, DAYS):
        found = store.check_bytes(table)
        assert (found.altered, found.unrecorded) == ([], [])
        assert store.file_names(table)


def test_every_single_flipped_bit_is_found(store: TableStore) -> None:
    for n in range(3):
        store.append(EVENTS, rows(*range(n * 50, n * 50 + 50)))
    names, rng = store.file_names(EVENTS), random.Random(7)
    for _ in range(140 if isinstance(store.files, FolderFiles) else 20):
        name = rng.choice(names)
        was = flip(store, EVENTS, name, rng.randrange(10**6), rng.randrange(8))
        assert store.check_bytes(EVENTS).altered == [name]
        put(store, EVENTS, name, was)
    assert store.check_bytes(EVENTS).altered == []


def test_two_files_of_one_size_that_are_exchanged_are_found(store: TableStore) -> None:
    store.append(EVENTS, rows(1))
    store.append(EVENTS, rows(2))
    one, two = store.file_names(EVENTS)
    first, second = (store.files.read(EVENTS.path, name) for name in (one, two))
    assert len(first) == len(second)
    put(store, EVENTS, one, second)
    put(store, EVENTS, two, first)
    assert store.missing_files(EVENTS) == []
    assert store.check_bytes(EVENTS).altered == sorted([one, two])


def test_log_entries_and_checkpoints_are_compared_too(tmp_path: Path) -> None:
    store = DeltaStore(Settings(lake_url=str(tmp_path / "lake"), landing_url=str(tmp_path / "landing")))
    for n in range(12):
        store.append(LOG, pl.DataFrame({"line": [n]}))
    entry = "_delta_log/00000000000000000004.json"
    checkpoints = [n for n in store.files.sizes(LOG.path) if n.endswith(".checkpoint.parquet")]
    assert checkpoints
    for name in (entry, *checkpoints):
        was = flip(store, LOG, name, 700, 0)
        assert store.check_bytes(LOG).altered == [name]
        put(store, LOG, name, was)


def test_a_file_whose_process_died_before_its_checksum_has_none_and_the_next_commit_takes_it_up(
    tmp_path: Path,
) -> None:
    settings = Settings(lake_url=str(tmp_path / "lake"), landing_url=str(tmp_path / "landing"))
    store = DeltaStore(settings)
    store.append(EVENTS, rows(1))

    def kill(point: str) -> None:
        if point == "commit.done":
            raise Killed

    fault_points.arm(kill)
    try:
        with pytest.raises(Killed):
            store.append(EVENTS, rows(2))
    finally:
        fault_points.arm(None)
    store = DeltaStore(settings)
    found = store.check_bytes(EVENTS)
    assert (found.altered, len(found.unrecorded)) == ([], 1)
    store.append(EVENTS, rows(3))
    found = DeltaStore(settings).check_bytes(EVENTS)
    assert (found.altered, found.unrecorded) == ([], [])


def test_a_lake_without_checksums_gets_them_by_maintenance(store: TableStore) -> None:
    for n in range(12):
        store.append(EVENTS, rows(n))
    store.files.forget_folder("checksums")
    assert len(store.check_bytes(EVENTS).unrecorded) == 12
    store.maintain(EVENTS, MaintenanceOptions(retain=timedelta(days=7), compact=False))
    assert store.check_bytes(EVENTS).unrecorded == []


def test_maintenance_joins_the_records_and_forgets_what_is_gone(store: TableStore) -> None:
    for n in range(30):
        store.append(EVENTS, rows(n))
    store.maintain(EVENTS, MaintenanceOptions(retain=timedelta(0)))
    found = store.check_bytes(EVENTS)
    assert (found.altered, found.unrecorded) == ([], [])
    identity = store.snapshot(EVENTS).identity if isinstance(store, DeltaStore) else "ducklake"
    folder = f"checksums/{EVENTS.path}/{identity}"
    assert len([n for n in store.files.own_names(folder) if n.endswith(".json")]) <= 3
    store.append(EVENTS, rows(99))
    assert store.check_bytes(EVENTS).unrecorded == []
    gone = store.checksums.recorded(EVENTS.path, identity) - set(store.files.sizes(EVENTS.path))  # type: ignore[attr-defined]
    assert len([name for name in gone if not name.startswith("_delta_log")]) <= 1  # of the last commit before


def test_maintenance_refuses_to_compact_a_damaged_file_and_names_it(store: TableStore) -> None:
    for n in range(4):
        store.append(EVENTS, rows(*range(n * 100, n * 100 + 100)))
    name = store.file_names(EVENTS)[2]
    was = flip(store, EVENTS, name, len(store.files.read(EVENTS.path, name)) // 3, 3)
    before = store.file_names(EVENTS)
    with pytest.raises(DamagedTable, match=name):
        store.maintain(EVENTS, MaintenanceOptions(retain=timedelta(0)))
    assert store.file_names(EVENTS) == before
    put(store, EVENTS, name, was)
    store.maintain(EVENTS, MaintenanceOptions(retain=timedelta(0)))
    assert store.check_bytes(EVENTS).altered == []


def test_checksums_of_a_table_that_is_dropped_go_with_it(store: TableStore) -> None:
    store.append(EVENTS, rows(1))
    store.drop(EVENTS)
    store.append(EVENTS, rows(2))
    found = store.check_bytes(EVENTS)
    assert (found.altered, found.unrecorded) == ([], [])


def test_a_log_that_a_backup_took_back_and_that_went_on_otherwise_is_sound(tmp_path: Path) -> None:
    store = DeltaStore(Settings(lake_url=str(tmp_path / "lake"), landing_url=str(tmp_path / "landing")))
    for n in range(3):
        store.append(EVENTS, rows(n))
    (tmp_path / "lake" / EVENTS.path / "_delta_log" / f"{3:020d}.json").unlink()
    again = DeltaStore(replace(store.settings))
    again.append(EVENTS, rows(9))
    found = again.check_bytes(EVENTS)
    assert (found.altered, found.unrecorded) == ([], [])
