"""A table gets other columns: in one commit, with its state; on Delta, older versions can still be read."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import lakes
import polars as pl
import pytest
from test_store_contract import EVENTS, counting, events, stored

from lakehouse.contracts import Column, Contract, Materialization, Type
from lakehouse.errors import Moved, SchemaViolation, Unsupported
from lakehouse.store import CommitOptions, TableStore, open_store
from lakehouse.store.delta import DeltaStore

KINDS = [
    "folder",
    pytest.param("s3", marks=pytest.mark.containers),
    pytest.param("ducklake", marks=pytest.mark.slow),
]


@pytest.fixture(params=KINDS)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[TableStore]:
    with lakes.lake_of(request.param, tmp_path) as settings:
        yield open_store(settings)


def other_columns() -> Contract:
    """EVENTS with a column that may not be null, one of another type, and one less."""
    first, *rest = EVENTS.columns
    place = Column(name="place", type=Type.STRING, nullable=False, description="New")
    changed = Column(name=rest[-1].name, type=Type.FLOAT64, description="Of another type")
    assert rest[-1].name not in EVENTS.key
    return dataclasses.replace(
        EVENTS, columns=(first, place, *rest[:-1], changed), key=(*EVENTS.key, "place"), version="2.0.0"
    )


def test_a_table_takes_other_columns_and_keeps_older_versions(store: TableStore) -> None:
    then = store.merge(EVENTS, events(("a", 1)), counting()).version
    other = other_columns()
    assert store.schema_problems(other) != []
    with pytest.raises(SchemaViolation, match="make odp ARGS=upgrade"):
        store.ensure(other)
    onto = store.base_version(other)
    said = CommitOptions(onto=onto, state=lambda *_: {"rows": -1, "rebuilding": 7}, info={"odp.by": "test"})
    now = store.redeclare(other, said).version
    assert now > then
    assert store.schema_problems(other) == []
    assert store.scan(other).collect().shape == (0, len(other.columns))
    assert store.read_state(other, ["rows", "rebuilding"]) == {"rebuilding": 7}
    assert (store.all_state(other).get("rows", -1), store.foreign_commits(other)) == (-1, [])
    row = {c.name: [None if c.nullable else "x"] for c in other.columns if c.type is Type.STRING}
    frame = pl.DataFrame(row).with_columns(
        *(pl.lit(None if c.nullable else 0).cast(other.polars_schema()[c.name]).alias(c.name)
          for c in other.columns if c.type is not Type.STRING)
    ).select(other.column_names)  # fmt: skip
    store.merge(other, frame)
    assert store.scan(other).collect().height == 1
    assert (store.missing_files(other), store.log_faults(other)) == ([], [])
    old = dataclasses.replace(other, columns=EVENTS.columns, key=EVENTS.key)
    if isinstance(store, DeltaStore):
        assert store.scan(old, version=then).collect().height == 1
    else:  # it is another table to DuckLake
        with pytest.raises(Unsupported, match="no such version any more"):
            store.scan(old, version=then).collect()


def test_what_was_computed_from_an_older_state_is_not_redeclared(store: TableStore) -> None:
    store.merge(EVENTS, events(("a", 1)))
    onto = store.base_version(EVENTS)
    store.merge(EVENTS, events(("b", 2)))
    with pytest.raises(Moved):
        store.redeclare(other_columns(), CommitOptions(onto=onto))
    assert stored(store) == [("a", 1), ("b", 2)]


def test_what_only_grows_is_not_emptied(store: TableStore) -> None:
    bronze = dataclasses.replace(EVENTS, layer="bronze", key=(), materialization=Materialization.APPEND)
    store.append(bronze, events(("a", 1)))
    with pytest.raises(Unsupported, match="append-only"):
        store.redeclare(bronze)
