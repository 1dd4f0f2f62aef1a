"""A contract that only adds nullable columns is applied; every other change is refused with the way on."""

from __future__ import annotations

import dataclasses
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import polars as pl
import pytest
from test_store import EVENTS, NOON, events, store

from lakehouse.contracts import Column, Contract, Type
from lakehouse.errors import SchemaViolation
from lakehouse.settings import Settings
from lakehouse.store.delta import DeltaStore

__all__ = ["store"]


def wider(table: Contract = EVENTS, *, nullable: bool = True, version: str = "1.1.0") -> Contract:
    more = Column(name="more", type=Type.STRING, nullable=nullable, description="New")
    return dataclasses.replace(table, columns=(*table.columns, more), version=version)


def wide(*rows: tuple[str, int, str]) -> pl.DataFrame:
    return pl.DataFrame([(i, NOON, n, m) for i, n, m in rows], schema=wider().polars_schema(), orient="row")


def test_a_new_nullable_column_is_added_and_old_rows_and_versions_read_as_null(store: DeltaStore) -> None:
    first = store.merge(EVENTS, events(("a", 1), ("b", 2))).version
    assert store.scan(wider()).select("id", "more").sort("id").collect().rows() == [("a", None), ("b", None)]
    store.merge(wider(), wide(("b", 3, "x"), ("c", 4, "y")))
    now = store.scan(wider()).select("id", "n", "more").sort("id").collect().rows()
    assert now == [("a", 1, None), ("b", 3, "x"), ("c", 4, "y")]
    assert store.scan(wider(), version=first).collect()["more"].to_list() == [None, None]
    moved = store.changes(wider(), since=first)
    assert moved.added.select("id", "more").sort("id").collect().rows() == [("b", "x"), ("c", "y")]
    assert all("odp.commit" in entry.info for entry in store.history(wider())[:-1])


def test_appends_and_overwrites_go_on_after_it(store: DeltaStore) -> None:
    store.append(EVENTS, events(("a", 1)))
    store.append(wider(), wide(("b", 2, "x")))
    assert store.scan(wider()).collect().height == 2
    store.overwrite(wider(), wide(("c", 3, "z")))
    assert store.scan(wider()).select("id", "more").collect().rows() == [("c", "z")]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (wider(nullable=False), "more is missing"),
        (dataclasses.replace(EVENTS, columns=EVENTS.columns[:2]), "n is not in the contract"),
        (
            dataclasses.replace(
                EVENTS, columns=(*EVENTS.columns[:2], Column(name="n", type=Type.INT64, description="x"))
            ),
            "n is integer, not long",
        ),
    ],
)
def test_any_other_change_is_refused_with_the_migration(
    store: DeltaStore, change: Contract, says: str
) -> None:
    before = store.merge(EVENTS, events(("a", 1))).version
    with pytest.raises(SchemaViolation, match=rf"{says}.*Only new nullable columns.*make odp ARGS=upgrade"):
        store.ensure(change)
    assert store.snapshot(EVENTS).version == before


def _widen(root: str, number: int) -> int:
    lake = DeltaStore(Settings(lake_url=root, landing_url=root))
    lake.merge(wider(), wide((f"k{number}", number, "x")))
    return number


@pytest.mark.slow
def test_two_who_add_the_same_column_at_once_both_succeed(store: DeltaStore, tmp_path: Path) -> None:
    store.merge(EVENTS, events(("a", 1)))
    with ProcessPoolExecutor(3, mp_context=get_context("spawn")) as pool:
        assert sorted(pool.map(_widen, [str(tmp_path)] * 3, range(3))) == [0, 1, 2]
    assert sorted(store.scan(wider()).collect()["id"]) == ["a", "k0", "k1", "k2"]
