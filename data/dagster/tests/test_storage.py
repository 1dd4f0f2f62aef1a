"""The event log asks the database once for what is there, and again for what is not yet."""

from __future__ import annotations

from orchestration.workarounds.asked_once import once_true
from orchestration.workarounds.postgres_storage import PooledPostgresStorage


def test_a_yes_is_remembered_and_a_no_asked_again() -> None:
    tables: set[str] = set()
    asked: list[str] = []

    def has_table(name: str) -> bool:
        asked.append(name)
        return name in tables

    remembers = once_true(has_table)
    assert not remembers("dynamic_partitions")
    tables.add("dynamic_partitions")
    assert remembers("dynamic_partitions")
    assert remembers("dynamic_partitions")
    assert not remembers("other")
    assert asked == ["dynamic_partitions", "dynamic_partitions", "other"]


def test_dagster_still_asks_by_these_names() -> None:
    from dagster._core.storage.event_log.sql_event_log import SqlEventLogStorage

    for question in PooledPostgresStorage.ASKED_ONCE:
        assert callable(getattr(SqlEventLogStorage, question))
