"""A backup of a table comes back beneath a process that lives on, and others commit up to the same number.

Belongs here: what that process knows of the table afterwards. Does not: that versions went back
(test_verify.py), or checksums (test_store_checksums.py).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import lakes
import polars as pl
import pytest

from lakehouse.contracts import Column, Contract, Materialization, Type
from lakehouse.errors import Moved
from lakehouse.settings import Settings
from lakehouse.storage.bucket import BucketFiles
from lakehouse.storage.folder import FolderFiles
from lakehouse.store import CommitOptions, TableStore, open_store
from lakehouse.store.results import Outcome

TABLE = Contract(
    layer="silver", name="one", domain="test", description="One row.",
    materialization=Materialization.INCREMENTAL_BY_KEY, key=("v",),
    columns=(Column(name="v", type=Type.INT64, nullable=False, description="Value"),),
)  # fmt: skip


@pytest.fixture(params=["folder", pytest.param("s3", marks=pytest.mark.containers)])
def settings(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Settings]:
    with lakes.lake_of(request.param, tmp_path) as found:
        yield found


def kept(store: TableStore) -> dict[str, bytes]:
    return {name: store.files.read(TABLE.path, name) for name in store.files.sizes(TABLE.path)}


def put_back(store: TableStore, backup: Mapping[str, bytes]) -> None:
    store.files.remove(TABLE.path, list(store.files.sizes(TABLE.path)))
    for name, body in backup.items():
        if isinstance(store.files, FolderFiles):
            (store.files.root / TABLE.path / name).write_bytes(body)
        else:
            assert isinstance(store.files, BucketFiles)
            layer, place = TABLE.path.split("/", 1)
            bucket = store.files.bucket(layer)
            store.files.client.put_object(Bucket=bucket, Key=f"{place}/{name}", Body=body)


def merge(store: TableStore, number: int, **how: object) -> None:
    def state(outcome: Outcome, before: Mapping[str, int]) -> dict[str, int]:
        return {"position": number, "rows": before.get("rows", 0) + outcome.inserted}

    rows = pl.DataFrame({"v": [number]}, schema=TABLE.polars_schema())
    store.merge(TABLE, rows, CommitOptions(reads=("rows",), state=state, **how))  # type: ignore[arg-type]


def all_known(store: TableStore) -> dict[str, object]:
    base = store.base_version(TABLE, ["position", "rows"])
    seen = store.snapshot(TABLE)
    return {
        "state": store.read_state(TABLE, ["position", "rows"]),
        "base": (base.version, dict(base.state)),
        "rows": sorted(store.scan(TABLE).collect()["v"].to_list()),
        "snapshot": (seen.version, seen.rows),
        "files": sorted(store.file_names(TABLE)),
        "gone": store.missing_files(TABLE),
        "data version": store.data_version(TABLE),
        "history": [entry.info for entry in store.history(TABLE, limit=3)],
    }


LOOKS: dict[str, Callable[[TableStore], object]] = {
    "wrote it": lambda store: None,
    "looked": all_known,
    "looked, pinned": lambda store: _pinned(store),
}


def _pinned(store: TableStore) -> None:
    with store.pinned_reads():
        all_known(store)


@pytest.mark.parametrize("more", [1, 2, 3], ids=["fewer", "as many", "more"])
@pytest.mark.parametrize("last", LOOKS)
def test_a_process_that_lives_on_knows_what_one_that_starts_knows(
    settings: Settings, last: str, more: int
) -> None:
    lives = open_store(settings)
    lives.ensure(TABLE)
    merge(lives, 1)
    backup = kept(lives)
    for number in (2, 3):
        merge(lives, number)
    LOOKS[last](lives)
    put_back(lives, backup)
    other = open_store(settings)
    for number in range(102, 102 + more):
        merge(other, number)
    assert all_known(lives) == all_known(open_store(settings))


def test_nothing_lands_on_what_a_backup_took_back(settings: Settings) -> None:
    lives = open_store(settings)
    lives.ensure(TABLE)
    merge(lives, 1)
    backup = kept(lives)
    merge(lives, 2)
    merge(lives, 3)
    put_back(lives, backup)
    other = open_store(settings)
    merge(other, 102)
    merge(other, 103)
    merge(lives, 4)
    found = open_store(settings)
    assert found.read_state(TABLE, ["position", "rows"]) == {"position": 4, "rows": 4}
    assert sorted(found.scan(TABLE).collect()["v"].to_list()) == [1, 4, 102, 103]
    base = lives.base_version(TABLE, ["position"])
    put_back(lives, backup)
    for number in (202, 203, 204, 205):
        merge(other, number)
    with pytest.raises(Moved):
        merge(lives, 5, onto=base)


@pytest.mark.parametrize("begins", [False, True], ids=["opened", "brought up to date"])
def test_a_process_that_looked_once_notices_it(settings: Settings, begins: bool) -> None:
    other = open_store(settings)
    other.ensure(TABLE)
    merge(other, 1)
    backup = kept(other)
    reads = open_store(settings)
    if begins:
        reads.read_state(TABLE, ["position"])
    merge(other, 2)
    assert reads.read_state(TABLE, ["position"]) == {"position": 2}
    put_back(other, backup)
    merge(open_store(settings), 102)
    assert reads.read_state(TABLE, ["position"]) == {"position": 102}
