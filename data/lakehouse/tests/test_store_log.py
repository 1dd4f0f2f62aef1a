"""What a Delta log costs per commit, and that thinned out checkpoints leave every version readable."""

from __future__ import annotations

import shutil
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest
from deltalake import DeltaTable
from hypothesis import given
from hypothesis import strategies as st

from lakehouse.contracts import Column, Contract, Materialization, Type
from lakehouse.domains.pipelines import contracts as c
from lakehouse.settings import Settings
from lakehouse.store import CommitOptions
from lakehouse.store.delta import DeltaStore
from lakehouse.store.delta.checkpoint import superseded
from lakehouse.store.delta.schema import statistics_columns

TABLE = Contract(
    layer="silver",
    name="many_commits",
    domain="tests",
    description="One commit.",
    columns=(
        Column(name="n", type=Type.INT64, nullable=False, description="Its number"),
        Column(name="text", type=Type.STRING, description="Something"),
    ),
    materialization=Materialization.APPEND,
)


def store_at(root: Path) -> DeltaStore:
    return DeltaStore(Settings(lake_url=str(root / "lake"), landing_url=str(root / "landing")))


def append(store: DeltaStore, number: int) -> None:
    frame = pl.DataFrame({"n": [number], "text": ["x" * 20]})
    counting = CommitOptions(reads=("rows",), state=lambda o, b: {"rows": b.get("rows", 0) + o.inserted})
    store.append(TABLE, frame, counting)


def log_of(root: Path) -> Path:
    return root / "lake" / TABLE.path / "_delta_log"


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("many")
    store = store_at(root)
    for number in range(1, 131):
        append(store, number)
    return root


def test_a_commit_takes_few_bytes_of_log_checkpoints_included(many: Path) -> None:
    sizes = [file.stat().st_size for file in log_of(many).iterdir()]
    assert sum(sizes) / 130 < 8_000


def test_checkpoints_are_thinned_out_and_every_version_stays_readable(many: Path) -> None:
    kept = sorted(int(file.name.split(".")[0]) for file in log_of(many).glob("*.checkpoint.parquet"))
    assert kept[-3:] == [110, 120, 130]
    assert len(kept) < 10
    store = store_at(many)
    for version in range(0, 131, 13):
        rows = store.scan(TABLE, version=version).collect()
        assert sorted(rows["n"]) == list(range(1, version + 1))
        assert store.all_state(TABLE, version=version) == ({"rows": version} if version else {})
        assert DeltaTable(store.uri(TABLE), version=version).version() == version


def test_a_table_opened_anew_reads_few_entries(many: Path) -> None:
    newest = max(int(file.name.split(".")[0]) for file in log_of(many).glob("*.checkpoint.parquet"))
    assert 130 - newest <= 30


def test_a_commit_of_another_process_is_seen_by_an_open_handle(tmp_path: Path) -> None:
    one, other = store_at(tmp_path), store_at(tmp_path)
    append(one, 1)
    append(other, 2)
    assert one.base_version(TABLE, ["rows"]).state == {"rows": 2}
    append(one, 3)
    assert other.read_state(TABLE, ["rows"]) == {"rows": 3}
    assert sorted(other.scan(TABLE).collect()["n"]) == [1, 2, 3]


def test_a_table_made_anew_by_another_process_is_seen_by_an_open_handle(tmp_path: Path) -> None:
    one, other = store_at(tmp_path), store_at(tmp_path)
    for number in range(3):
        append(one, number)
    before = one.base_version(TABLE).identity
    shutil.rmtree(tmp_path / "lake" / TABLE.path)
    append(other, 9)
    assert one.base_version(TABLE, ["rows"]).identity != before
    assert one.read_state(TABLE, ["rows"]) == {"rows": 1}
    assert one.scan(TABLE).collect()["n"].to_list() == [9]


def test_a_checkpoint_that_cannot_be_written_fails_no_commit(tmp_path: Path) -> None:
    store = store_at(tmp_path)
    for number in range(1, 10):
        append(store, number)
    (log_of(tmp_path) / f"{10:020d}.checkpoint.parquet").mkdir()
    append(store, 10)
    assert store_at(tmp_path).read_state(TABLE, ["rows"]) == {"rows": 10}


def test_a_table_with_statistics_of_every_column_goes_on(tmp_path: Path) -> None:
    """As older versions made them."""
    from lakehouse.store.delta import schema as delta_schema

    store = store_at(tmp_path)
    known = {**delta_schema.properties(TABLE)}
    del known["delta.dataSkippingStatsColumns"]
    DeltaTable.create(
        store.uri(TABLE), schema=delta_schema.delta_schema(TABLE), name=TABLE.path, configuration=known
    )
    for number in range(25):
        append(store, number)
    assert store.read_state(TABLE, ["rows"]) == {"rows": 25}
    added = pl.DataFrame(DeltaTable(store.uri(TABLE)).get_add_actions(flatten=True))
    assert "min.text" in added.columns


def test_the_log_tells_least_and_greatest_values_of_what_files_are_chosen_by() -> None:
    assert set(statistics_columns(c.RAW_PIPELINE_EVENTS)) == {"_batch_id", "_ingested_at"}
    silver = statistics_columns(c.PIPELINE_EVENTS)
    assert set(c.PIPELINE_EVENTS.key) <= {*silver, *c.PIPELINE_EVENTS.partition_by}
    assert set(c.PIPELINE_EVENTS.cluster_by) <= set(silver)
    assert statistics_columns(replace(TABLE, partition_by=("n",))) == ["text"]


@given(
    versions=st.sets(st.integers(0, 400), max_size=40),
    cut=st.integers(0, 300),
    old=st.integers(0, 300),
)
def test_no_version_is_lost_by_thinning(versions: set[int], cut: int, old: int) -> None:
    """A version can be read from a checkpoint at or before it, or the first entry, and what follows."""
    entries = set(range(cut, 401))
    aged = {version for version in versions if version < old}

    def readable(checkpoints: set[int]) -> set[int]:
        found = set()
        for version in range(401):
            base = max((one for one in checkpoints if one <= version), default=-1)
            if entries.issuperset(range(base + 1, version + 1)):
                found.add(version)
        return found

    gone = superseded(versions, entries, aged)
    assert gone <= versions - aged
    assert readable(versions - gone) == readable(versions)
    assert set(sorted(versions)[-3:]).isdisjoint(gone)


def test_the_clock_of_old_checkpoints(tmp_path: Path) -> None:
    """Checkpoints that clean-up may go by are never removed: they are older than a week."""
    import os

    store = store_at(tmp_path)
    for number in range(1, 71):
        append(store, number)
        if number == 20:
            aged = log_of(tmp_path) / f"{10:020d}.checkpoint.parquet"
            os.utime(aged, (0, datetime(2020, 1, 1, tzinfo=UTC).timestamp()))
    assert aged.exists()
