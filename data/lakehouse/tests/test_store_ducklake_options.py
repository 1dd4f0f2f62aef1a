"""The options without which DuckLake is silently wrong, and many processes that open one catalog."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import duckdb
import lakes
import polars as pl
import psycopg
import pytest
from test_flow import EVENT_TABLES, event, land, run
from test_store_contract import LOG

from lakehouse.maintenance import maintain_all
from lakehouse.pipeline import open_lake
from lakehouse.settings import Settings
from lakehouse.store import open_store
from lakehouse.store.ducklake.connection import LAKE, DuckLake
from lakehouse.verify import verify


@pytest.fixture
def settings(tmp_path: Path) -> Iterator[Settings]:
    with lakes.lake_of("ducklake", tmp_path) as found:
        yield found


def options(settings: Settings) -> set[tuple[str, str, str | None]]:
    with DuckLake(settings).cursor() as cursor:
        rows = cursor.execute(
            f"SELECT option_name, value, scope_entry FROM ducklake_options('{LAKE}') "
            "WHERE option_name IN ('data_inlining_row_limit', 'write_deletion_vectors')"
        ).fetchall()
    return set(rows)


def set_as_a_stranger(settings: Settings, name: str, value: object, **scope: str) -> None:
    with DuckLake(settings).cursor() as cursor:
        where = "".join(f", {key} => '{one}'" for key, one in scope.items())
        cursor.execute(f"CALL ducklake_set_option('{LAKE}', '{name}', {value}{where})")


RIGHT = {("data_inlining_row_limit", "0", None), ("data_inlining_row_limit", "1000000000", "odp")}
CHANGES = [
    ("data_inlining_row_limit", 10, {}),
    ("data_inlining_row_limit", 7, {"schema": "silver"}),
    ("data_inlining_row_limit", 7, {"schema": "silver", "table_name": "pipeline_events"}),
    ("write_deletion_vectors", "true", {}),
    ("write_deletion_vectors", "true", {"schema": "silver", "table_name": "pipeline_events"}),
]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "value", "scope"), CHANGES)
def test_verify_names_an_option_that_another_program_changed_and_maintenance_sets_it_right(
    settings: Settings, name: str, value: object, scope: dict[str, str]
) -> None:
    lake = open_lake(settings)
    land(lake, "1.ndjson", event("p1"))
    run(lake)
    assert verify(lake, EVENT_TABLES).all_problems == []
    set_as_a_stranger(settings, name, value, **scope)
    for fresh in (lake, open_lake(settings)):
        (problem,) = verify(fresh, EVENT_TABLES).all_problems
        assert (problem.table, problem.check) == ("lake", "settings")
        assert name in problem.message
        assert "odp maintain" in problem.fix
    maintain_all(open_lake(settings), EVENT_TABLES)
    assert verify(open_lake(settings), EVENT_TABLES).all_problems == []


def test_a_writing_process_sets_changed_options_right_before_it_writes(settings: Settings) -> None:
    open_store(settings).append(LOG, pl.DataFrame({"line": [1]}))
    set_as_a_stranger(settings, "data_inlining_row_limit", 10)
    open_store(settings).append(LOG, pl.DataFrame({"line": [2]}))
    assert options(settings) == RIGHT


def snapshots(settings: Settings) -> tuple[int, int]:
    """How often the catalog was written to: its snapshots, and changes of its options."""
    info = (
        f"host={settings.ducklake_pg_host} port={settings.ducklake_pg_port} user={settings.ducklake_pg_user}"
    )
    with psycopg.connect(f"{info} dbname={settings.ducklake_pg_db}") as db:
        rows = db.execute("SELECT count(*) FROM ducklake_snapshot").fetchall()
        # xmin is the transaction that wrote a row of a Postgres table last.
        written = db.execute("SELECT max(xmin::text::bigint) FROM ducklake_metadata").fetchall()
    return int(rows[0][0]), int(written[0][0])


def test_opening_writes_nothing_where_nothing_differs(settings: Settings) -> None:
    open_store(settings).append(LOG, pl.DataFrame({"line": [1]}))
    before = snapshots(settings)
    for _ in range(3):
        store = open_store(settings)
        assert store.scan(LOG).collect().height == 1
    assert snapshots(settings) == before


def opened(settings: Settings, at: float) -> str:
    """Open the catalog at a moment that all processes share; return the error, if there was one."""
    store = open_store(settings)
    time.sleep(max(0.0, at - time.time()))
    try:
        store.found()
        store.append(LOG, pl.DataFrame({"line": [1]}))
    except Exception as exc:  # noqa: BLE001
        return f"{type(exc).__name__}: {exc}"
    return ""


@pytest.mark.slow
@pytest.mark.long
@pytest.mark.timeout(600)
def test_many_processes_that_open_one_catalog_at_once_all_get_in(tmp_path: Path) -> None:
    with ProcessPoolExecutor(8, mp_context=get_context("spawn")) as pool:
        for number in range(4):
            with lakes.lake_of("ducklake", tmp_path / str(number)) as settings:
                for _ in range(3):  # a catalog that is new, then one that is there
                    at = time.time() + (10 if number == 0 else 1)
                    found = list(pool.map(opened, [settings] * 8, [at] * 8))
                    assert found == [""] * 8
                assert options(settings) == RIGHT
                assert open_store(settings).snapshot(LOG).rows == 24


def deleted_twice(settings: Settings) -> tuple[str, int, int]:
    """Two transactions that delete one row, one of them with 29 others: what the second got, and the rows.

    By count and by scan; seventy is right.
    """
    one, two = DuckLake(settings), DuckLake(settings)
    with one.cursor() as first, two.cursor() as second:
        first.execute(f"CREATE SCHEMA IF NOT EXISTS {LAKE}.bare")
        first.execute(f"CREATE TABLE {LAKE}.bare.rows AS SELECT range AS n FROM range(100)")
        first.execute("BEGIN")
        second.execute("BEGIN")
        first.execute(f"DELETE FROM {LAKE}.bare.rows WHERE n < 30")
        second.execute(f"DELETE FROM {LAKE}.bare.rows WHERE n = 2")
        first.execute("COMMIT")
        try:
            second.execute("COMMIT")
            said = "committed"
        except duckdb.Error as exc:
            said = "conflict" if "onflict" in str(exc) else str(exc)
    with DuckLake(settings).cursor() as cursor:
        counted = cursor.execute(f"SELECT count(*) FROM {LAKE}.bare.rows").fetchone()
        scanned = cursor.execute(f"SELECT n FROM {LAKE}.bare.rows").fetchall()
    return said, counted[0] if counted else -1, len(scanned)


def test_two_deletions_of_one_row_conflict_with_our_options(settings: Settings) -> None:
    open_store(settings).found()
    assert deleted_twice(settings) == ("conflict", 70, 70)


def test_with_inlining_at_its_default_both_deletions_are_committed(settings: Settings) -> None:
    """The fault that the option keeps away; when this fails, DuckLake has mended it."""
    open_store(settings).found()
    set_as_a_stranger(settings, "data_inlining_row_limit", 10)
    said, counted, _ = deleted_twice(settings)
    assert (said, counted) == ("committed", 69)
