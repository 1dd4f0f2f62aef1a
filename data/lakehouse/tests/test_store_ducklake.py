"""DuckLake's own traps: shown in the bare library where they can be, and that the backend does not fall in.

Belongs here: what only this backend can do wrong. Does not: promises all backends share
(test_store_contract.py).
"""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from datetime import timedelta
from multiprocessing import get_context
from pathlib import Path

import duckdb
import lakes
import polars as pl
import pytest
from test_store_contract import EVENTS, LOG, counting, events, stored

from lakehouse import fault_points
from lakehouse.contracts import Column, Contract, Type
from lakehouse.errors import Conflict, SchemaViolation, SettingsError, StorageUnavailable, Unsupported
from lakehouse.settings import Settings
from lakehouse.store import CommitOptions, MaintenanceOptions, Transaction, open_store
from lakehouse.store.ducklake import DuckLakeStore
from lakehouse.store.ducklake.connection import LAKE, DuckLake
from lakehouse.store.ducklake.schema import place, state_place


@pytest.fixture
def settings(tmp_path: Path) -> Iterator[Settings]:
    with lakes.lake_of("ducklake", tmp_path) as found:
        yield found


@pytest.fixture
def store(settings: Settings) -> DuckLakeStore:
    return DuckLakeStore(settings)


class Proxy:
    """Stands before Postgres. `cut` says what is lost of the next COMMIT that writes: it, or its answer."""

    def __init__(self, host: str, port: int) -> None:
        self.cut: str | None = None
        self.cuts = 0
        self._upstream = (host, port)
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._server.getsockname()[1])
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            client, _ = self._server.accept()
            upstream = socket.create_connection(self._upstream)
            muted = threading.Event()
            threading.Thread(target=self._there, args=(client, upstream, muted), daemon=True).start()
            threading.Thread(target=self._back, args=(client, upstream, muted), daemon=True).start()

    def _there(self, client: socket.socket, upstream: socket.socket, muted: threading.Event) -> None:
        writes = False
        while data := _read(client):
            writes |= b"INSERT INTO" in data
            if self.cut is not None and writes and b"COMMIT" in data:
                how, self.cut, self.cuts = self.cut, None, self.cuts + 1
                if how == "there":
                    break
                muted.set()
            writes &= b"COMMIT" not in data
            upstream.sendall(data)
        _close(client, upstream)

    def _back(self, client: socket.socket, upstream: socket.socket, muted: threading.Event) -> None:
        while (data := _read(upstream)) and not muted.is_set():
            client.sendall(data)
        _close(client, upstream)


def _read(end: socket.socket) -> bytes:
    try:
        return end.recv(65536)
    except OSError:
        return b""


def _close(*ends: socket.socket) -> None:
    for end in ends:
        try:
            end.shutdown(socket.SHUT_RDWR)
        except OSError:
            continue  # the other direction was quicker


@pytest.fixture
def proxied(settings: Settings) -> tuple[Settings, Proxy]:
    proxy = Proxy(settings.ducklake_pg_host or "", settings.ducklake_pg_port)
    return replace(settings, ducklake_pg_port=proxy.port), proxy


@pytest.mark.parametrize(
    "statement", ["INSERT INTO {} SELECT * FROM range(9)", "DELETE FROM {} WHERE n % 2 = 0"]
)
@pytest.mark.slow
def test_the_bare_library_loses_the_files_of_a_commit_whose_answer_is_lost(
    proxied: tuple[Settings, Proxy], statement: str
) -> None:
    """The trap: the commit is in, and DuckLake has removed the file that it wrote for it."""
    settings, proxy = proxied
    table = f"{LAKE}.main.bare"
    with DuckLake(settings).cursor() as cursor:
        cursor.execute(f"CREATE TABLE {table} AS SELECT range::INTEGER AS n FROM range(1000)")
        cursor.execute("BEGIN")
        cursor.execute(statement.format(table))
        proxy.cut = "back"
        with pytest.raises(duckdb.Error):
            cursor.execute("COMMIT")
    with DuckLake(settings).cursor() as cursor, pytest.raises(duckdb.IOException, match="No such file"):
        cursor.execute(f"SELECT sum(n) FROM {table}").fetchall()


@pytest.mark.parametrize("cut", ["there", "back"])
@pytest.mark.slow
def test_a_commit_whose_connection_broke_is_made_once(proxied: tuple[Settings, Proxy], cut: str) -> None:
    settings, proxy = proxied
    store = open_store(settings)
    store.merge(EVENTS, events(("a", 1), ("b", 2)), counting())
    proxy.cut = cut
    result = store.merge(EVENTS, events(("b", 3), ("c", 4)), counting())
    assert (proxy.cuts, result.landed, result.attempts) == (1, "committed", 1 if cut == "back" else 2)
    assert (stored(store), store.read_state(EVENTS, ["rows"])) == (
        [("a", 1), ("b", 3), ("c", 4)],
        {"rows": 3},
    )
    assert store.missing_files(EVENTS) == []
    proxy.cut = cut
    store.append(LOG, pl.DataFrame({"line": [1]}))
    assert store.scan(LOG).collect().rows() == [(1,)]
    proxy.cut = cut
    for number in range(5):
        store.append(LOG, pl.DataFrame({"line": [number]}))
    proxy.cut = cut
    store.maintain(LOG, MaintenanceOptions(retain=timedelta(0)))
    assert sorted(store.scan(LOG).collect()["line"]) == [0, 1, 1, 2, 3, 4]
    assert (store.missing_files(LOG), proxy.cuts >= 4) == ([], True)


def test_a_catalog_that_is_gone_is_said_to_be(settings: Settings) -> None:
    nowhere = replace(settings, ducklake_pg_port=lakes.free_ports(1)[0], ducklake_pg_password="hush-hush")
    with pytest.raises(
        StorageUnavailable, match=f"DuckLake catalog at 127.0.0.1:{nowhere.ducklake_pg_port}"
    ) as e:
        open_store(nowhere).exists(EVENTS)
    assert "hush-hush" not in str(e.value)


def test_rows_lie_in_the_tables_own_place_and_marks_in_the_catalog(store: DuckLakeStore) -> None:
    store.merge(EVENTS, events(("a", 1)), counting())
    store.merge(EVENTS, events(("a", 2)), counting())
    root = Path(store.settings.lake_url)
    found = {file.parent.relative_to(root) for file in root.rglob("*") if file.is_file()}
    assert {folder.as_posix() for folder in found if folder.parts[0] != "_odp"} == {"silver/events"}


def test_names_of_tables() -> None:
    assert place("pipeline_events") == ("main", "pipeline_events")
    assert place("silver/pipeline_events") == ("silver", "pipeline_events")
    assert place("silver/clinical/patient") == ("silver", "clinical_patient")
    assert state_place("silver/pipeline_events") == ("odp", "silver__pipeline_events")


def test_new_columns_that_may_be_null_are_added_and_nothing_else(store: DuckLakeStore) -> None:
    """Rows of before have null in them, also as of a version of before."""
    then = store.merge(EVENTS, events(("a", 1))).version
    note = Column(name="note", type=Type.STRING, description="It's new")
    wider = replace(EVENTS, columns=(*EVENTS.columns[:2], note, EVENTS.columns[2]))
    assert store.schema_problems(wider) == []  # the next write adds it
    store.merge(wider, events(("b", 2)).with_columns(note=pl.lit("x")).select(wider.column_names))
    rows = [("a", 1, None), ("b", 2, "x")]
    assert store.scan(wider).select("id", "n", "note").sort("id").collect().rows() == rows
    assert store.scan(wider, version=then).select("id", "note").collect().rows() == [("a", None)]
    changed = store.changes(wider, since=then)
    assert changed.added.select("id", "note").collect().rows() == [("b", "x")]
    store.restore(wider, then)
    assert store.scan(wider).select("id", "n", "note").collect().rows() == rows[:1]
    required = replace(wider, columns=(*wider.columns, replace(note, name="must", nullable=False)))
    retyped = replace(wider, columns=(*wider.columns[:3], replace(wider.columns[3], type=Type.INT64)))
    for contract, says in (
        (EVENTS, "note is not in"),
        (required, "must is missing"),
        (retyped, "n is INTEGER"),
    ):
        with pytest.raises(SchemaViolation, match=says):
            store.ensure(contract)


def test_another_programs_writes_are_seen_and_named(store: DuckLakeStore) -> None:
    base = store.merge(EVENTS, events(("a", 1), ("b", 2))).version
    with store.lake.cursor() as cursor:
        cursor.execute(f"DELETE FROM {LAKE}.silver.events WHERE id = 'a'")
        cursor.execute(f"INSERT INTO {LAKE}.silver.events VALUES ('x', now(), 9)")
    last = store.history(EVENTS, limit=1)[0]
    assert "odp.commit" not in last.info
    assert (store.snapshot(EVENTS).version, store.data_version(EVENTS)) == (last.version, last.version)
    changed = store.changes(EVENTS, since=base)
    assert changed.added.select("id").collect().rows() == [("x",)]
    assert changed.removed.select("id").collect().rows() == [("a",)]
    store.restore(EVENTS, base)
    assert stored(store) == [("a", 1), ("b", 2)]


def test_a_table_that_another_program_dropped_is_made_anew_without_its_state(store: DuckLakeStore) -> None:
    store.merge(EVENTS, events(("a", 1)), CommitOptions(transaction=Transaction("position", 7)))
    before = store.snapshot(EVENTS).identity
    with store.lake.cursor() as cursor:
        cursor.execute(f"DROP TABLE {LAKE}.silver.events")
    assert store.read_state(EVENTS, ["position"]) == {}
    store.merge(EVENTS, events(("b", 2)))
    assert (stored(store), store.all_state(EVENTS)) == ([("b", 2)], {})
    assert store.snapshot(EVENTS).identity != before


def test_a_table_that_something_else_made_is_left_alone(store: DuckLakeStore) -> None:
    with store.lake.cursor() as cursor:
        cursor.execute(f"CREATE SCHEMA {LAKE}.silver")
        cursor.execute(f"CREATE TABLE {LAKE}.silver.events (id VARCHAR)")
    with pytest.raises(Unsupported, match="something else made it"):
        store.merge(EVENTS, events(("a", 1)))


def test_orphans_go_once_they_are_old_and_nothing_else(store: DuckLakeStore) -> None:
    for number in range(3):
        store.append(LOG, pl.DataFrame({"line": [number]}))
    orphan = Path(store.uri(LOG)) / "left-by-a-kill.parquet"
    orphan.write_bytes(b"x")
    store.maintain(LOG, MaintenanceOptions(retain=timedelta(hours=1), compact=False, orphans=True))
    assert orphan.exists()
    store.maintain(LOG, MaintenanceOptions(retain=timedelta(0), compact=False, orphans=True))
    assert (orphan.exists(), store.missing_files(LOG)) == (False, [])
    assert store.scan(LOG).collect().height == 3


def test_maintaining_one_table_takes_no_version_of_another(store: DuckLakeStore) -> None:
    then = store.merge(EVENTS, events(("a", 1)), counting()).version
    store.overwrite(EVENTS, events(("b", 2)), counting())
    for number in range(3):
        store.append(LOG, pl.DataFrame({"line": [number]}))
    store.maintain(LOG, MaintenanceOptions(retain=timedelta(0)))
    store.restore(EVENTS, then)
    assert (stored(store), store.read_state(EVENTS, ["rows"])) == ([("a", 1)], {"rows": 1})


class Killed(BaseException):
    """Stands for kill -9: nothing may catch it."""


@pytest.mark.parametrize("point", ["commit.begin", "commit.done"])
def test_killed_at_a_point_the_next_try_ends_with_all_of_it_once(store: DuckLakeStore, point: str) -> None:
    def kill(reached: str) -> None:
        if reached == point:
            raise Killed

    store.ensure(EVENTS)
    commit = replace(counting(), transaction=Transaction("position", 1))
    fault_points.arm(kill)
    try:
        with pytest.raises(Killed):
            store.merge(EVENTS, events(("a", 1)), commit)
    finally:
        fault_points.arm(None)
    again = store.merge(EVENTS, events(("a", 1)), commit)
    assert again.landed == ("committed" if point == "commit.begin" else "duplicate")
    assert (stored(store), store.read_state(EVENTS, ["rows", "position"])) == (
        [("a", 1)],
        {"rows": 1, "position": 1},
    )


def _maintain(settings: Settings) -> str:
    try:
        return str(open_store(settings).maintain(LOG, MaintenanceOptions(retain=timedelta(0))).rows)
    except Conflict as exc:
        return type(exc).__name__


def _append(settings: Settings) -> str:
    store = open_store(settings)
    for number in range(20):
        store.append(
            LOG,
            pl.DataFrame({"line": [1000 + number]}),
            CommitOptions(transaction=Transaction("t", number + 1)),
        )
    return "20"


@pytest.mark.slow
def test_compactions_and_appends_at_once_neither_lose_nor_double_a_row(
    settings: Settings, store: DuckLakeStore
) -> None:
    for number in range(20):
        store.append(LOG, pl.DataFrame({"line": [number]}))
    with ProcessPoolExecutor(3, mp_context=get_context("spawn")) as pool:
        jobs = [pool.submit(work, settings) for work in (_maintain, _append, _maintain)]
        assert [job.result() for job in jobs][1] == "20"
    assert sorted(store.scan(LOG).collect()["line"]) == [*range(20), *range(1000, 1020)]
    assert store.missing_files(LOG) == []


def _first_mark(settings: Settings, table: Contract, name: str) -> int:
    """Set a mark to one more than it was, ten times."""
    store = open_store(settings)
    for _ in range(10):
        store.append(
            table, events(), CommitOptions(reads=(name,), state=lambda _, b: {name: b.get(name, 0) + 1})
        )
    return 10


def _appends(settings: Settings, table: Contract) -> int:
    store = open_store(settings)
    for number in range(60):
        store.append(table, pl.DataFrame({"line": [number]}))
    return 60


@pytest.mark.slow
def test_marks_set_by_several_processes_at_once_count_every_one(settings: Settings) -> None:
    """Others write another table meanwhile: DuckLake retries its commit, and keeps the turn."""
    open_store(settings).ensure(EVENTS)
    open_store(settings).ensure(LOG)
    with ProcessPoolExecutor(6, mp_context=get_context("spawn")) as pool:
        others = [pool.submit(_appends, settings, LOG) for _ in range(2)]
        jobs = [pool.submit(_first_mark, settings, EVENTS, name) for name in ("x", "x", "y", "x")]
        assert [job.result() for job in (*jobs, *others)] == [10] * 4 + [60] * 2
    assert open_store(settings).all_state(EVENTS) == {"x": 30, "y": 10}
    assert open_store(settings).scan(LOG).collect().height == 120


def test_the_turn_is_held_until_the_commit_is_in_though_ducklake_tries_it_again(settings: Settings) -> None:
    """Another table's commit comes in between, so that DuckLake rolls its first try back: nobody gets in."""
    store, other = open_store(settings), open_store(settings)
    store.ensure(EVENTS)
    store.ensure(LOG)
    seen: list[tuple[bool, bool]] = []
    watcher = threading.Thread(target=_watch, args=(settings, EVENTS, seen), daemon=True)

    def hook(point: str) -> None:
        if point == "commit.written":
            fault_points.arm(None)
            other.append(LOG, pl.DataFrame({"line": [1]}))
            watcher.start()

    fault_points.arm(hook)
    try:
        store.merge(EVENTS, events(("a", 1)), counting())
    finally:
        fault_points.arm(None)
    watcher.join(30)
    assert seen[-1] == (True, True), "free in the end, and the commit is in"
    assert len(seen) > 1
    assert set(seen[:-1]) == {(False, False)}, "nobody else could have written amid it"


def _watch(settings: Settings, table: Contract, seen: list[tuple[bool, bool]]) -> None:
    """Note, until the turn is free: whether it is, and whether a snapshot has come since the start."""
    import psycopg

    with psycopg.connect(
        host=settings.ducklake_pg_host,
        port=settings.ducklake_pg_port,
        dbname=settings.ducklake_pg_db,
        user=settings.ducklake_pg_user,
        password=settings.ducklake_pg_password,
        autocommit=True,
    ) as session:
        newest = "SELECT max(snapshot_id) FROM ducklake_snapshot"
        before = session.execute(newest).fetchone()
        free = False
        while not free:
            asked = "SELECT pg_try_advisory_lock(hashtext('odp'), hashtext(%s))"
            free = bool((session.execute(asked, [table.path]).fetchone() or [False])[0])
            seen.append((free, free and session.execute(newest).fetchone() != before))


def test_the_library_imports_no_duckdb_unless_the_format_is_ducklake() -> None:
    code = "import sys, lakehouse.pipeline, lakehouse.verify; assert 'duckdb' not in sys.modules, 'duckdb'"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    ("env", "says"),
    [
        ({"LAKE_FORMAT": "iceberg"}, "LAKE_FORMAT=iceberg is not known: give delta or ducklake"),
        ({"LAKE_FORMAT": "ducklake"}, "DUCKLAKE_PG_HOST is not set"),
        (
            {"LAKE_FORMAT": "ducklake", "DUCKLAKE_PG_HOST": "h", "DUCKLAKE_PG_PORT": "x"},
            "DUCKLAKE_PG_PORT=x is no",
        ),
    ],
)
def test_settings_that_cannot_be_are_refused(env: dict[str, str], says: str) -> None:
    with pytest.raises(SettingsError, match=says):
        Settings.from_env({"LAKE_URL": "/x", "LANDING_URL": "/y", **env})


def test_the_password_of_the_catalog_may_come_from_a_file(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("hush\n")
    env = {
        "LAKE_FORMAT": "ducklake",
        "DUCKLAKE_PG_HOST": "h",
        "DUCKLAKE_PG_PASSWORD_FILE": str(tmp_path / "secret"),
    }
    found = Settings.from_env({"LAKE_URL": "/x", "LANDING_URL": "/y", **env})
    assert (found.ducklake_pg_password, found.ducklake_pg_port, "hush" in repr(found)) == (
        "hush",
        5432,
        False,
    )
