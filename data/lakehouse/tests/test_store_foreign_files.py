"""Files as another program writes them into a Delta table: without statistics, with rows masked.

Belongs here: how many rows there are, and which came and went. Does not: that such a commit is named
(test_verify.py), or files that a condition leaves out (test_store_skipping.py).
"""

from __future__ import annotations

import base64
import string
import struct
from datetime import timedelta
from pathlib import Path
from typing import Any

import orjson
import polars as pl
import pytest
from deltalake import DeltaTable

from lakehouse.contracts import Column, Contract, Materialization, Type
from lakehouse.settings import Settings
from lakehouse.store import open_store
from lakehouse.store.protocol import TableStore
from lakehouse.store.results import MaintenanceOptions

TABLE = Contract(
    layer="silver", name="one", domain="test", description="One row.",
    materialization=Materialization.INCREMENTAL_BY_KEY, key=("v",),
    columns=(Column(name="v", type=Type.INT64, nullable=False, description="Value"),),
)  # fmt: skip
_DIGITS = string.digits.encode()
_LOWER, _UPPER = string.ascii_lowercase.encode(), string.ascii_uppercase.encode()
_Z85 = bytes.maketrans(
    _DIGITS + _UPPER + _LOWER + b"!#$%&()*+-;<=>?@^_`{|}~",
    _DIGITS + _LOWER + _UPPER + b".-:+=^!/*?&<>()[]{}@%$#",
)
LATER = {"commitInfo": {"timestamp": 1, "operation": "DELETE", "engineInfo": "Apache-Spark/3.5.1"}}


def store_at(folder: Path) -> TableStore:
    return open_store(Settings(lake_url=str(folder), landing_url=str(folder / "landing")))


def log_of(folder: Path) -> Path:
    return folder / TABLE.path / "_delta_log"


def rows(*values: int) -> pl.DataFrame:
    return pl.DataFrame({"v": values}, schema=TABLE.polars_schema())


def found(store: TableStore, version: int | None = None) -> list[int]:
    return sorted(store.scan(TABLE, version=version).collect()["v"].to_list())


def add_action(folder: Path, version: int) -> dict[str, Any]:
    lines = (log_of(folder) / f"{version:020d}.json").read_bytes().splitlines()
    [file] = [action["add"] for line in lines if "add" in (action := orjson.loads(line))]
    return file  # type: ignore[no-any-return]


def commit(folder: Path, *actions: dict[str, Any]) -> int:
    version = len(list(log_of(folder).glob("*.json")))
    text = b"\n".join(map(orjson.dumps, [*actions, LATER])) + b"\n"
    (log_of(folder) / f"{version:020d}.json").write_bytes(text)
    return version


def added(folder: Path, stats: str | None, *values: int) -> int:
    """Add a file of rows as another program does, which tells `stats` of it."""
    file = folder / TABLE.path / "part-00000-foreign.parquet"
    rows(*values).write_parquet(file)
    told = {} if stats is None else {"stats": stats}
    whole = {"path": file.name, "partitionValues": {}, "size": file.stat().st_size, "dataChange": True}
    return commit(folder, {"add": {**whole, "modificationTime": 1, **told}})


def mask(deleted: list[int]) -> dict[str, Any]:
    """Return a deletion vector in the log itself, a RoaringBitmapArray of one array."""
    bitmap = struct.pack("<IIHHI", 12346, 1, 0, len(deleted) - 1, 16)
    bitmap += struct.pack(f"<{len(deleted)}H", *deleted)
    body = struct.pack("<IQI", 1681511377, 1, 0) + bitmap
    text = base64.b85encode(body + b"\0" * (-len(body) % 4)).translate(_Z85).decode()
    return {
        "storageType": "i",
        "pathOrInlineDv": text,
        "sizeInBytes": len(body),
        "cardinality": len(deleted),
    }


def masked(folder: Path, version: int, deleted: list[int]) -> int:
    """Delete rows of the file of a commit as Spark does, and leave the file as it is."""
    file = add_action(folder, version)
    features = {"readerFeatures": ["deletionVectors"], "writerFeatures": ["deletionVectors", "appendOnly"]}
    return commit(
        folder,
        {"protocol": {"minReaderVersion": 3, "minWriterVersion": 7, **features}},
        {"remove": {"path": file["path"], "deletionTimestamp": 1, "dataChange": True}},
        {"add": {**file, "deletionVector": mask(deleted)}},
    )


@pytest.mark.parametrize("checkpoint", [False, True])
@pytest.mark.parametrize(
    "stats", [None, "{}", '{"minValues":{"v":7},"maxValues":{"v":8},"nullCount":{"v":0}}']
)
def test_rows_are_counted_where_the_log_does_not_tell(
    tmp_path: Path, stats: str | None, checkpoint: bool
) -> None:
    store = store_at(tmp_path)
    store.ensure(TABLE)
    store.append(TABLE, rows(1, 2, 3))
    last = added(tmp_path, stats, 7, 8)
    if checkpoint:
        DeltaTable(str(tmp_path / TABLE.path)).create_checkpoint()
    store = store_at(tmp_path)
    assert store.snapshot(TABLE).rows == 5
    assert found(store) == [1, 2, 3, 7, 8]
    store.append(TABLE, rows(9))
    assert store.snapshot(TABLE).rows == 6
    assert store.snapshot(TABLE, version=last).rows == 5
    assert store.restore(TABLE, version=last).outcome.rows == 5
    assert store.maintain(TABLE, MaintenanceOptions(retain=timedelta(days=30))).rows == 5
    assert found(store) == [1, 2, 3, 7, 8]


def test_a_file_that_is_gone_does_not_keep_the_table_from_being_looked_at(tmp_path: Path) -> None:
    store = store_at(tmp_path)
    store.ensure(TABLE)
    first = store.append(TABLE, rows(1, 2, 3)).version
    added(tmp_path, None, 7, 8)
    (tmp_path / TABLE.path / add_action(tmp_path, first)["path"]).unlink()
    store = store_at(tmp_path)
    assert store.snapshot(TABLE).rows == 3  # as the log tells
    assert len(store.missing_files(TABLE)) == 1


def test_masked_rows_count_no_longer(tmp_path: Path) -> None:
    store = store_at(tmp_path)
    store.ensure(TABLE)
    first = store.append(TABLE, rows(1, 2, 3, 4)).version
    store.append(TABLE, rows(10, 11))
    masked(tmp_path, first, [0, 2])
    assert found(store) == [2, 4, 10, 11]
    assert store.snapshot(TABLE).rows == 4


def test_changes_know_of_rows_that_were_masked(tmp_path: Path) -> None:
    store = store_at(tmp_path)
    store.ensure(TABLE)
    first = store.append(TABLE, rows(1, 2, 3, 4)).version
    last = masked(tmp_path, first, [0, 2])
    for since in (0, first):  # the file came with rows that count no longer; only these went
        changes = store.changes(TABLE, since=since)
        came = sorted(changes.added.collect()["v"].to_list())
        assert (changes.until, changes.complete, changes.compared_rows, came) == (last, False, 2, [2, 4])
    store.append(TABLE, rows(5))
    assert store.changes(TABLE, since=last).added.collect()["v"].to_list() == [5]
