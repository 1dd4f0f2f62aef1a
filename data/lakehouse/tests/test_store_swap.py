"""Compare-and-swap: a commit lands on the very base that it was computed from, or not at all."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import lakes
import polars as pl
import pytest
from test_store_contract import EVENTS, events, stored

from lakehouse.errors import Moved
from lakehouse.settings import Settings
from lakehouse.store import CommitOptions, MaintenanceOptions, TableStore, open_store


@pytest.fixture(
    params=[
        "folder",
        pytest.param("s3", marks=pytest.mark.containers),
        pytest.param("ducklake", marks=pytest.mark.slow),
    ],
)
def settings(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Settings]:
    with lakes.lake_of(request.param, tmp_path) as found:
        yield found


@pytest.fixture
def store(settings: Settings) -> TableStore:
    return open_store(settings)


def counted(outcome, before):  # type: ignore[no-untyped-def]
    return {"rows": before.get("rows", 0) + outcome.inserted}


# DuckLake's shortest look with `make test`; the others are slow.
@pytest.mark.parametrize(
    "settings",
    ["folder", "ducklake", pytest.param("s3", marks=pytest.mark.containers)],
    indirect=True,
)
def test_a_commit_lands_on_the_state_it_names_and_says_its_version(store: TableStore) -> None:
    store.ensure(EVENTS)
    base = store.base_version(EVENTS, ["rows"])
    result = store.merge(EVENTS, events(("a", 1)), CommitOptions(onto=base, reads=("rows",), state=counted))
    assert result.version == store.base_version(EVENTS).version
    after = store.base_version(EVENTS, ["rows", "none"])
    assert (after.identity, dict(after.state)) == (base.identity, {"rows": 1})


WRITES = {
    "append": lambda s, c: s.append(EVENTS, events(("z", 9)), c),
    "merge": lambda s, c: s.merge(EVENTS, events(("a", 9)), c),
    "overwrite": lambda s, c: s.overwrite(EVENTS, events(("z", 9)), c),
}
BETWEEN = {
    "an append": lambda s: s.append(EVENTS, events(("b", 2))),
    "a merge": lambda s: s.merge(EVENTS, events(("a", 2))),
    "only state": lambda s: s.append(EVENTS, events(), CommitOptions(state=lambda _o, _b: {"x": 1})),
    "a restore": lambda s: s.restore(EVENTS, s.base_version(EVENTS).version - 1),
}


@pytest.mark.parametrize("write", WRITES)
@pytest.mark.parametrize("between", BETWEEN)
def test_it_does_not_land_on_any_other_state(
    settings: Settings, store: TableStore, write: str, between: str
) -> None:
    store.merge(EVENTS, events(("a", 1)))
    base = store.base_version(EVENTS)
    BETWEEN[between](open_store(settings))
    there = stored(open_store(settings))
    with pytest.raises(Moved, match="Nothing was written"):
        WRITES[write](store, CommitOptions(onto=base))
    assert stored(open_store(settings)) == there
    assert not store.unchanged(EVENTS, base)


def test_another_table_of_the_name_is_another_state(settings: Settings, store: TableStore) -> None:
    store.merge(EVENTS, events(("a", 1)))
    base = store.base_version(EVENTS)
    store.drop(EVENTS)
    store.merge(EVENTS, events(("a", 1)))
    assert (store.base_version(EVENTS).identity == base.identity, store.unchanged(EVENTS, base)) == (
        False,
        False,
    )
    with pytest.raises(Moved):
        open_store(settings).merge(EVENTS, events(("a", 9)), CommitOptions(onto=base))


@pytest.mark.parametrize("write", WRITES)
def test_maintenance_is_no_change(settings: Settings, store: TableStore, write: str) -> None:
    for number in range(3):
        store.merge(EVENTS, events((f"k{number}", 1)))
    base = store.base_version(EVENTS)
    open_store(settings).maintain(EVENTS, MaintenanceOptions(retain=timedelta(days=1)))
    assert store.unchanged(EVENTS, base)
    assert WRITES[write](store, CommitOptions(onto=base)).landed == "committed"
    assert not store.unchanged(EVENTS, base)


def test_states_of_one_writer_follow_each_other(store: TableStore) -> None:
    store.ensure(EVENTS)
    base = store.base_version(EVENTS)
    for number in range(5):
        result = store.merge(EVENTS, events(("a", number)), CommitOptions(onto=base))
        base = store.base_version(EVENTS)
        assert base.version == result.version
    assert stored(store) == [("a", 4)]
    assert store.scan(EVENTS).select(pl.len()).collect().item() == 1
