"""Going back to a version, and maintenance: rows and positions together, and no row changed."""

from __future__ import annotations

import os
import time
from datetime import timedelta
from pathlib import Path

import polars as pl
import pytest
from deltalake import CommitProperties, DeltaTable, write_deltalake
from deltalake import Transaction as AppTransaction
from test_store import DAYS, EVENTS, events, store, stored

from lakehouse.contracts import Column, Contract, Materialization, Type
from lakehouse.errors import Unsupported
from lakehouse.store import CommitOptions, MaintenanceOptions, Transaction
from lakehouse.store.delta import DeltaStore

__all__ = ["store"]
AT_ONCE = MaintenanceOptions(retain=timedelta(0))
SERIES = Contract(
    layer="silver", name="series", domain="test", description="One point.",
    materialization=Materialization.INCREMENTAL_BY_KEY,
    key=("n",), cluster_by=("n",),
    columns=(
        Column(name="n", type=Type.INT64, nullable=False, description="Place"),
        Column(name="text", type=Type.STRING, description="Filler"),
    ),
)  # fmt: skip


def step(number: int) -> CommitOptions:
    return CommitOptions(
        transaction=Transaction("position", number),
        state=lambda _o, _b: {"rows": number, f"seen:{number}": 1},
    )


def points(numbers: range) -> pl.DataFrame:
    return pl.DataFrame({"n": list(numbers), "text": [f"{n * 7919 % 10007:05d}" * 4 for n in numbers]})


def test_the_bare_library_restores_rows_and_leaves_positions_ahead_of_them(tmp_path: Path) -> None:
    """The trap: what stands between row and position would never be read again."""
    uri = str(tmp_path / "bare")
    for number in (1, 2):
        mark = CommitProperties(app_transactions=[AppTransaction("position", number)])
        write_deltalake(uri, pl.DataFrame({"n": [number]}).to_arrow(), mode="append", commit_properties=mark)
    DeltaTable(uri).restore(0)
    assert pl.scan_delta(uri).collect()["n"].to_list() == [1]
    assert DeltaTable(uri).transaction_version("position") == 2


def test_a_restored_table_has_the_rows_and_the_marks_of_that_version(store: DeltaStore) -> None:
    first = store.merge(EVENTS, events(("a", 1)), step(1)).version
    store.merge(EVENTS, events(("a", 2), ("b", 2)), step(2))
    back = store.restore(EVENTS, first)
    assert (back.landed, back.outcome.rows, stored(store)) == ("committed", 1, [("a", 1)])
    assert store.all_state(EVENTS) == {"position": 1, "rows": 1, "seen:1": 1}
    assert store.read_state(EVENTS, ["position", "rows", "seen:2"]) == {"position": 1, "rows": 1}
    again = store.merge(EVENTS, events(("a", 2), ("b", 2)), step(2))
    assert (again.landed, stored(store)) == ("committed", [("a", 2), ("b", 2)])
    assert store.all_state(EVENTS) == {"position": 2, "rows": 2, "seen:1": 1, "seen:2": 1}
    changed = store.changes(EVENTS, since=first, until=back.version)
    assert (changed.added.collect().height, changed.removed.collect().height) == (0, 0)


def test_marks_are_listed_as_of_any_version_across_checkpoints(store: DeltaStore) -> None:
    for number in range(1, 25):
        store.merge(EVENTS, events((f"k{number}", number)), step(number))
    for version in (3, 10, 11, 24):
        state = store.all_state(EVENTS, version=version)
        assert state["position"] == version
        assert sum(name.startswith("seen:") for name in state) == version


def test_a_version_whose_files_are_gone_is_refused_before_anything_changes(store: DeltaStore) -> None:
    first = store.merge(EVENTS, events(("a", 1)), step(1)).version
    latest = store.merge(EVENTS, events(("a", 2)), step(2)).version
    gone = next(iter({*files(store, EVENTS, first)} - {*files(store, EVENTS, latest)}))
    Path(gone).unlink()
    with pytest.raises(Unsupported, match=r"silver/events to version 1: 1 of its 1 files are gone"):
        store.restore(EVENTS, first)
    assert store.snapshot(EVENTS).version == latest


def files(store: DeltaStore, table: Contract, version: int | None = None) -> list[str]:
    return DeltaTable(store.uri(table), version=version).file_uris()


def test_maintenance_joins_files_and_removes_old_ones_and_no_row_changes(store: DeltaStore) -> None:
    for number in range(12):
        store.overwrite(DAYS, pl.DataFrame({"day": ["d"], "n": [number]}))
    before = store.scan(DAYS).collect()
    done = store.maintain(DAYS, AT_ONCE)
    assert store.scan(DAYS).collect().equals(before)
    assert (done.rows, done.files_after, done.removed_files) == (1, 1, 11)
    assert done.reclaimed_bytes > 0
    assert store.missing_files(DAYS) == []
    assert all("odp.commit" in entry.info for entry in store.history(DAYS)[:-1])


def test_a_scattered_table_is_sorted_anew_and_a_sorted_one_is_left_alone(
    store: DeltaStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lakehouse.store.delta.layout._SMALLEST_FILE_BYTES", 20_000)
    for start in range(16):
        store.merge(SERIES, points(range(start, 16_000, 16)))
    before = store.scan(SERIES).collect().sort("n")
    version = store.data_version(SERIES)
    done = store.maintain(SERIES, MaintenanceOptions(retain=timedelta(days=1)))
    spans = pl.DataFrame(DeltaTable(store.uri(SERIES)).get_add_actions(flatten=True)).sort("min.n")
    assert (spans["max.n"].shift(1) < spans["min.n"]).drop_nulls().all()
    assert store.scan(SERIES).collect().sort("n").equals(before)
    assert (done.files_before, store.data_version(SERIES)) == (16, version)
    again = store.maintain(SERIES, MaintenanceOptions(retain=timedelta(days=1)))
    assert again.files_after == done.files_after
    assert store.merge(SERIES, points(range(5))).outcome.updated == 5


def test_a_kept_version_outlives_maintenance(store: DeltaStore) -> None:
    kept = store.merge(EVENTS, events(("a", 1)), step(1)).version
    for number in range(2, 25):
        store.merge(EVENTS, events(("a", number)), step(number))
    age(store, EVENTS)
    store.maintain(EVENTS, MaintenanceOptions(retain=timedelta(0), keep=[kept]))
    assert stored(store, version=kept) == [("a", 1)]
    store.restore(EVENTS, kept)
    assert stored(store) == [("a", 1)]
    assert store.all_state(EVENTS) == {"position": 1, "rows": 1, "seen:1": 1}


def test_an_old_log_is_cleaned_and_the_table_stays(store: DeltaStore) -> None:
    for number in range(1, 25):
        store.merge(EVENTS, events(("a", number)), step(number))
    age(store, EVENTS)
    store.maintain(EVENTS, AT_ONCE)
    logs = list((Path(store.uri(EVENTS)) / "_delta_log").glob("*.json"))
    assert len(logs) < 20
    fresh = DeltaStore(store.settings)
    assert stored(fresh) == [("a", 24)]
    assert fresh.all_state(EVENTS)["position"] == 24
    with pytest.raises(Unsupported, match="silver/events"):
        fresh.restore(EVENTS, 2)


def age(store: DeltaStore, table: Contract) -> None:
    """Make the table's log a year old: clean-up goes by the time of its files."""
    then = time.time() - 365 * 86_400
    for file in (Path(store.uri(table)) / "_delta_log").iterdir():
        os.utime(file, (then, then))


def test_orphans_are_removed_only_when_asked_for(store: DeltaStore) -> None:
    store.merge(EVENTS, events(("a", 1)))
    orphan = Path(store.uri(EVENTS)) / "part-00000-orphan.parquet"
    orphan.write_bytes(b"left by a writer that died")
    os.utime(orphan, (time.time() - 90_000, time.time() - 90_000))
    store.maintain(EVENTS, AT_ONCE)
    assert orphan.exists()
    store.maintain(EVENTS, MaintenanceOptions(retain=timedelta(0), orphans=True))
    assert not orphan.exists()
    assert stored(store) == [("a", 1)]
