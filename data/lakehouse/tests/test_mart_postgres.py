"""The mart in a real Postgres: exact values, and readers that never see an error, half a table, or a wait."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import lakes
import psycopg
import pytest
from checkouts import wait_until
from conftest_outputs import ADA, EVERY, PEOPLE, ROWS, VISITED, D, at, people, put, small_lake

from lakehouse.contracts import Column, Materialization, Type
from lakehouse.errors import Conflict, DataViolation, StorageUnavailable, Unsupported
from lakehouse.outputs import postgres_mart
from lakehouse.outputs.mart import refresh_mart
from lakehouse.outputs.settings import OutputSettings
from lakehouse.pipeline import Lake
from lakehouse.provision.postgres import Postgres
from lakehouse.provision.settings import ProvisionSettings, Secret

Made = tuple[Lake, OutputSettings, lakes.Database]


@pytest.fixture
def made(tmp_path: Path) -> Made:
    lake, settings = small_lake(tmp_path)
    database = lakes.database()
    return lake, at(settings, database), database


def connect(database: lakes.Database, user: str | None = None, **more: Any) -> psycopg.Connection[Any]:
    return psycopg.connect(
        host=database.host, port=database.port, dbname=database.name, user=user or database.user,
        password=database.password, autocommit=True, options="-c timezone=UTC", **more,
    )  # fmt: skip


def ask(database: lakes.Database, query: str) -> list[tuple[Any, ...]]:
    with connect(database) as db:
        return db.execute(query).fetchall()  # type: ignore[arg-type]


# Values, types, keys, comments


def nul_shown(found: Any) -> Any:
    return found.replace("\0", "␀") if isinstance(found, str) else found


PLAIN = ["id", "text", "flag", "small", "real", "money", "whole", "raw", "order", "person"]


def test_every_value_is_in_the_mart_as_it_is_in_the_lake(made: Made) -> None:
    lake, settings, database = made
    put(lake, EVERY, ROWS)
    refresh_mart(lake, [EVERY], replace(settings, mart_pii=True))
    names = ", ".join(f'"{name}"' for name in PLAIN)
    found = ask(database, f"SELECT {names} FROM every_type ORDER BY id")
    index = [EVERY.column_names.index(name) for name in PLAIN]
    assert repr(found) == repr([tuple(nul_shown(row[i]) for i in index) for row in ROWS])
    # Times are asked for as text: psycopg has no word for some of them.
    assert ask(database, "SELECT day::text, (at AT TIME ZONE 'UTC')::text FROM every_type ORDER BY id") == [
        ("0001-01-01", "0001-01-01 00:00:00"),
        ("9999-12-31", "9999-12-31 23:59:59.999999"),
        (None, None),
        ("1970-01-01", "2026-01-10 12:00:00"),
        ("0999-02-28", "0999-02-28 01:02:03.000004"),
        (None, None),
    ]
    visited = {"at": "2026-01-10T12:00:00.000000Z", "on": "0001-01-01", "cost": "12.3456",
               "note": VISITED["note"].replace("\0", "␀"), "scan": "AP8=", "score": "NaN"}  # fmt: skip
    assert ask(database, "SELECT tags, visits FROM every_type ORDER BY id") == [
        (["", None, "a␀"], [visited, None, dict.fromkeys(visited)]),
        ([], [{**visited, "score": "-inf"}]),
        (None, None),
        ([None], []),
        (["NULL"], [{**visited, "note": ""}]),
        (None, None),
    ]


def test_types_key_and_comments_are_those_of_the_contract(made: Made) -> None:
    lake, settings, database = made
    put(lake, EVERY, ROWS)
    refresh_mart(lake, [EVERY], settings)
    columns = ask(
        database,
        "SELECT attname, format_type(atttypid, atttypmod), attnotnull, col_description(attrelid, attnum) "
        "FROM pg_attribute WHERE attrelid = 'every_type'::regclass AND attnum > 0 ORDER BY attnum",
    )
    assert columns == [
        ("id", "bigint", True, "Key"),
        ("text", "text", False, "A text; isn't it?"),
        ("flag", "boolean", False, "A boolean"),
        ("small", "integer", False, "A small number (count)"),
        ("real", "double precision", False, "A float"),
        ("day", "date", False, "A date"),
        ("at", "timestamp with time zone", False, "A time"),
        ("money", "numeric(18,2)", False, "An amount (EUR)"),
        ("whole", "numeric(38,0)", False, "All digits"),
        ("raw", "bytea", False, "Bytes"),
        ("tags", "jsonb", False, "Texts"),
        ("visits", "jsonb", False, "Structs"),
        ("order", "bigint", False, "A name that SQL knows"),
    ]
    assert ask(database, "SELECT obj_description('every_type'::regclass)") == [(EVERY.description,)]
    key = "SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE contype = 'p' AND conrelid ="
    assert ask(database, f"{key} 'every_type'::regclass") == [("PRIMARY KEY (id)",)]


def test_a_nul_is_shown_and_counted(made: Made) -> None:
    lake, settings, database = made
    put(lake, EVERY, ROWS)
    [loaded] = refresh_mart(lake, [EVERY], settings).tables
    assert loaded.shown_nul == {"text": 1, "tags": 1, "visits": 2}
    assert ask(database, "SELECT shown_nul FROM _odp_tables") == [({"text": 1, "tags": 1, "visits": 2},)]
    assert refresh_mart(lake, [EVERY], settings).tables[0].shown_nul == loaded.shown_nul


def test_the_mart_says_what_its_tables_are(made: Made) -> None:
    lake, settings, database = made
    put(lake, EVERY, ROWS, run="run-7")
    put(lake, PEOPLE, people(3, 1))
    refresh_mart(lake, [EVERY, PEOPLE], settings)
    assert ask(
        database,
        "SELECT name, lake_table, lake_version, run_id, rows, left_out FROM _odp_tables ORDER BY name",
    ) == [
        ("every_type", "gold/every_type", lake.store.data_version(EVERY), "run-7", 6, ["person"]),
        ("people", "gold/people", lake.store.data_version(PEOPLE), "run-1", 3, ["person"]),
    ]


def test_personal_data_is_in_the_mart_only_where_it_is_asked_for(made: Made) -> None:
    lake, settings, database = made
    put(lake, EVERY, ROWS)
    put(lake, PEOPLE, people(3, 1))
    refresh_mart(lake, [EVERY, PEOPLE], settings)
    everything = str(
        ask(database, "SELECT e::text FROM every_type e") + ask(database, "SELECT p::text FROM people p")
    )
    assert ADA not in everything
    assert ask(database, "SELECT * FROM people") == [(1,)] * 3
    assert all(
        one.changed for one in refresh_mart(lake, [EVERY, PEOPLE], replace(settings, mart_pii=True)).tables
    )
    assert ask(database, "SELECT person FROM people ORDER BY 1") == [(f"{ADA} {n}",) for n in range(3)]
    refresh_mart(lake, [EVERY, PEOPLE], settings)
    assert ask(database, "SELECT * FROM people") == [(1,)] * 3


# Refreshes


def test_nothing_new_changes_nothing(made: Made) -> None:
    lake, settings, database = made
    put(lake, EVERY, ROWS)
    put(lake, PEOPLE, people(3, 1))
    assert refresh_mart(lake, [EVERY, PEOPLE], settings).changed
    query = "SELECT xmin::text, ctid::text FROM {} ORDER BY 2"
    before = [ask(database, query.format(name)) for name in ("every_type", "people", "_odp_tables")]
    again = refresh_mart(lake, [EVERY, PEOPLE], settings)
    assert not again.changed
    assert [(one.table, one.rows) for one in again.tables] == [("gold/every_type", 6), ("gold/people", 3)]
    assert [ask(database, query.format(name)) for name in ("every_type", "people", "_odp_tables")] == before


def test_only_rows_that_differ_are_touched(made: Made) -> None:
    lake, settings, database = made
    put(lake, EVERY, ROWS)
    refresh_mart(lake, [EVERY], settings)
    before = dict(ask(database, "SELECT id, xmin::text FROM every_type"))
    # 0.0 for -0.0, another amount, one row less and one more.
    changed = [(*row[:4], 0.0, *row[5:]) if row[0] == 5 else row for row in ROWS if row[0] != 2]
    changed = [(*row[:7], D("9.99"), *row[8:]) if row[0] == 6 else row for row in changed]
    put(lake, EVERY, [*changed, (7, *ROWS[2][1:])])
    refresh_mart(lake, [EVERY], settings)
    after = dict(ask(database, "SELECT id, xmin::text FROM every_type"))
    assert sorted(after) == [1, 3, 4, 5, 6, 7]
    assert [number for number in (1, 3, 4, 5, 6) if after[number] != before[number]] == [5, 6]
    assert ask(database, "SELECT real::text, money FROM every_type WHERE id IN (5, 6) ORDER BY id") == [
        ("0", D("1.00")),
        ("5e-324", D("9.99")),
    ]


def test_another_shape_replaces_the_table_and_one_declared_no_more_goes(made: Made) -> None:
    lake, settings, database = made
    put(lake, EVERY, ROWS)
    put(lake, PEOPLE, people(3, 1))
    refresh_mart(lake, [EVERY, PEOPLE], settings)
    wider = replace(
        PEOPLE, columns=(*PEOPLE.columns, Column(name="note", type=Type.STRING, description="Added"))
    )
    lake.store.ensure(wider)
    done = refresh_mart(lake, [wider], settings)
    assert (done.removed, [one.changed for one in done.tables]) == (("gold/every_type",), [True])
    assert ask(database, "SELECT * FROM people") == [(1, None)] * 3
    tables = "SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY 1"
    assert ask(database, tables) == [("_odp_tables",), ("people",)]


def test_a_table_that_was_never_written_is_told_and_one_that_is_not_ours_is_left_alone(made: Made) -> None:
    lake, settings, database = made
    put(lake, PEOPLE, people(1, 1))
    assert refresh_mart(lake, [EVERY, PEOPLE], settings).absent == ("gold/every_type",)
    with connect(database) as db:
        db.execute("CREATE TABLE every_type (mine int)")
    put(lake, EVERY, ROWS)
    put(lake, PEOPLE, people(2, 2))
    with pytest.raises(Unsupported, match="has a table every_type that is not ours"):
        refresh_mart(lake, [EVERY, PEOPLE], settings)
    assert ask(database, "SELECT count(*) FROM people") == [(1,)]


def test_a_table_that_somebody_dropped_comes_back(made: Made) -> None:
    lake, settings, database = made
    put(lake, PEOPLE, people(2, 1))
    refresh_mart(lake, [PEOPLE], settings)
    with connect(database) as db:
        db.execute("DROP TABLE people")
    assert refresh_mart(lake, [PEOPLE], settings).changed
    assert ask(database, "SELECT count(*) FROM people") == [(2,)]


def test_a_table_without_a_key_and_one_column_of_nulls(made: Made) -> None:
    lake, settings, database = made
    table = replace(
        PEOPLE, name="plain", key=(), columns=(Column(name="note", type=Type.STRING, description="Note"),)
    )
    put(lake, table, [(None,), ("",), ("a",), ("a",)])
    refresh_mart(lake, [table], settings)
    assert ask(database, "SELECT note FROM plain ORDER BY note NULLS FIRST") == [
        (None,),
        ("",),
        ("a",),
        ("a",),
    ]
    put(lake, table, [("b",), (None,)])
    refresh_mart(lake, [table], settings)
    assert ask(database, "SELECT note FROM plain ORDER BY note NULLS FIRST") == [(None,), ("b",)]


# Errors say which table and column, never a value


def test_an_error_of_postgres_is_told_without_its_text(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    lake, settings, database = made
    put(lake, EVERY, ROWS)
    monkeypatch.setattr(postgres_mart, "copy_chunks", lambda rows, columns: iter([b'"Ada"\n']))
    with pytest.raises(DataViolation) as caught:
        refresh_mart(lake, [EVERY], settings)
    assert "SQLSTATE 22" in str(caught.value)
    assert "Ada" not in str(caught.value)
    assert caught.value.__suppress_context__
    assert ask(database, "SELECT to_regclass('every_type')::text") == [(None,)]


def test_keys_that_differ_in_a_nul_alone_are_told_of(made: Made) -> None:
    lake, settings, _ = made
    table = replace(
        PEOPLE, name="nul_keys", columns=(replace(PEOPLE.columns[0], pii=False), PEOPLE.columns[1])
    )
    put(lake, table, [("a\0", 1), ("a␀", 2)])
    with pytest.raises(DataViolation, match=r"UniqueViolation.*SQLSTATE 23505, table _odp_new_0"):
        refresh_mart(lake, [table], settings)


def test_no_server_and_a_wrong_password_are_an_outage(made: Made) -> None:
    lake, settings, _ = made
    put(lake, PEOPLE, people(1, 1))
    [port] = lakes.free_ports(1)
    nobody = replace(settings, mart=replace(settings.mart, port=port))  # type: ignore[type-var]
    with pytest.raises(StorageUnavailable, match=r"connection refused.*as it was. Is Postgres up"):
        refresh_mart(lake, [PEOPLE], nobody)


def test_a_view_of_somebody_on_a_table_that_changes_its_shape(made: Made) -> None:
    lake, settings, database = made
    put(lake, PEOPLE, people(2, 1))
    refresh_mart(lake, [PEOPLE], settings)
    with connect(database) as db:
        db.execute("CREATE VIEW mine AS SELECT * FROM people")
    put(lake, PEOPLE, people(3, 1))
    refresh_mart(lake, [PEOPLE], settings)  # new rows are no trouble
    assert ask(database, "SELECT count(*) FROM mine") == [(3,)]
    with pytest.raises(Unsupported, match="somebody's view hangs on the old one"):
        refresh_mart(lake, [PEOPLE], replace(settings, mart_pii=True))
    assert ask(database, "SELECT count(*) FROM mine") == [(3,)]


# Readers


@dataclass
class Readers:
    """Ten sessions that read in a loop; what each saw that it must not see, and how long each look took."""

    database: lakes.Database
    query: str
    isolation: str = "read committed"
    errors: list[str] = field(default_factory=list)
    seen: set[Any] = field(default_factory=set)
    seconds: list[float] = field(default_factory=list)
    looks: int = 0

    def __enter__(self) -> Readers:
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._read) for _ in range(10)]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _read(self) -> None:
        try:
            with connect(self.database) as db:
                db.execute(f"SET default_transaction_isolation = '{self.isolation}'")  # type: ignore[arg-type]
                while not self._stop.is_set():
                    begin = time.monotonic()
                    with db.transaction():
                        rows = db.execute(self.query).fetchall()  # type: ignore[arg-type]
                        if self.isolation != "read committed":
                            self._stop.wait(0.02)
                            assert db.execute(self.query).fetchall() == rows  # type: ignore[arg-type]
                    self.seconds.append(time.monotonic() - begin)
                    self.seen.update(rows)
                    self.looks += 1
        except Exception as exc:  # noqa: BLE001  # it is what the test is about
            self.errors.append(repr(exc))


WIDE = replace(
    PEOPLE, name="wide", key=("id",),
    columns=(
        Column(name="id", type=Type.INT64, nullable=False, description="Key"),
        Column(name="round", type=Type.INT64, description="Which refresh"),
        Column(name="text", type=Type.STRING, description="Some text"),
    ),
)  # fmt: skip
ROUNDS, HEIGHT = 25, 4000
# Rows and rounds of one look: all rows must be of one round.
LOOK = "SELECT count(*), min(round), max(round) FROM wide"


def wide(number: int, height: int = HEIGHT) -> list[tuple[Any, ...]]:
    return [(row, number, f"text {row}") for row in range(height)]


def keyless() -> Any:
    return replace(WIDE, key=(), materialization=Materialization.FULL)


@pytest.mark.parametrize("isolation", ["read committed", "repeatable read"])
@pytest.mark.parametrize("table", [WIDE, keyless()], ids=["key", "no key"])
@pytest.mark.slow
def test_ten_readers_see_no_error_and_no_partial_table(made: Made, table: Any, isolation: str) -> None:
    lake, settings, database = made
    put(lake, table, wide(0))
    refresh_mart(lake, [table], settings)
    with Readers(database, LOOK, isolation) as readers:
        for number in range(1, ROUNDS):
            put(lake, table, wide(number))
            assert refresh_mart(lake, [table], settings).changed
    assert readers.errors == []
    assert {(height, least == most) for height, least, most in readers.seen} == {(HEIGHT, True)}
    assert len(readers.seen) > 3, "the readers looked too seldom to see refreshes"
    assert readers.looks > 200
    assert max(readers.seconds) < 5


@pytest.mark.slow
def test_ten_readers_see_no_error_while_a_table_changes_its_shape(made: Made) -> None:
    lake, settings, database = made
    shapes = [
        WIDE,
        replace(WIDE, columns=tuple(replace(c, description=f"{c.description}!") for c in WIDE.columns)),
    ]
    put(lake, WIDE, wide(0))
    refresh_mart(lake, [WIDE], settings)
    with Readers(database, LOOK) as readers:
        for number in range(1, 13):
            assert refresh_mart(lake, [shapes[number % 2]], settings).changed
    assert readers.errors == []
    assert readers.seen == {(HEIGHT, 0, 0)}
    assert max(readers.seconds) < 5


def test_a_reader_within_a_transaction_is_not_in_the_way_of_new_rows(made: Made) -> None:
    lake, settings, database = made
    put(lake, WIDE, wide(0))
    refresh_mart(lake, [WIDE], settings)
    with connect(database) as reader, reader.transaction():
        cursor = reader.cursor(name="open")
        cursor.execute("SELECT round FROM wide")
        assert cursor.fetchone() == (0,)
        put(lake, WIDE, wide(1))
        begin = time.monotonic()
        refresh_mart(lake, [WIDE], settings)
        assert time.monotonic() - begin < 5
        assert set(cursor.fetchall()) == {(0,)}
        assert ask(database, LOOK) == [(HEIGHT, 1, 1)]


def test_a_reader_that_keeps_a_table_of_another_shape_open_is_waited_for_and_then_told_of(
    made: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake, settings, database = made
    put(lake, WIDE, wide(0))
    refresh_mart(lake, [WIDE], settings)
    other = replace(WIDE, description="Another text.")
    monkeypatch.setattr(postgres_mart, "_RENAME_TRIES", 2)
    with connect(database) as reader, reader.transaction():
        reader.execute("SELECT count(*) FROM wide")
        with pytest.raises(Conflict, match="readers keep wide of the mart open"):
            refresh_mart(lake, [other], settings)
        assert ask(database, LOOK) == [(HEIGHT, 0, 0)]
    assert refresh_mart(lake, [other], settings).changed


def test_two_refreshes_at_once_come_one_after_the_other(made: Made) -> None:
    lake, settings, database = made
    put(lake, WIDE, wide(1))
    changed: list[bool] = []

    def go() -> None:
        changed.append(refresh_mart(lake, [WIDE], settings).changed)

    threads = [threading.Thread(target=go) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(changed) == [False, False, False, True]
    assert ask(database, LOOK) == [(HEIGHT, 1, 1)]


# Killed in the middle


KILLED = """
import sys, time
from conftest_outputs import *
from test_mart_postgres import WIDE
import lakes
from lakehouse.outputs import postgres_mart
from lakehouse.outputs.mart import refresh_mart
from pathlib import Path

lake, settings = small_lake(Path(sys.argv[1]))
settings = at(settings, lakes.Database(sys.argv[2], int(sys.argv[3]), sys.argv[4], sys.argv[5], None))
def slow(db, lake, one, loaded):
    print("loaded", flush=True)
    time.sleep(600)
postgres_mart._record = slow
refresh_mart(lake, [WIDE], settings)
"""


def test_a_kill_in_the_middle_leaves_the_mart_as_it_was(made: Made, tmp_path: Path) -> None:
    lake, settings, database = made
    put(lake, WIDE, wide(0))
    refresh_mart(lake, [WIDE], settings)
    put(lake, WIDE, wide(1))
    place = [str(tmp_path), database.host, str(database.port), database.name, database.user]
    child = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(KILLED), *place],
        stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )  # fmt: skip
    assert child.stdout is not None
    assert child.stdout.readline() == "loaded\n"
    assert ask(database, LOOK) == [(HEIGHT, 0, 0)]
    child.send_signal(signal.SIGKILL)
    child.wait()
    assert ask(database, LOOK) == [(HEIGHT, 0, 0)]
    begin = time.monotonic()
    assert refresh_mart(lake, [WIDE], settings).changed  # the lock has ended with its session
    assert time.monotonic() - begin < 30
    assert ask(database, LOOK) == [(HEIGHT, 1, 1)]
    wait_until("no session is left", lambda: _sessions(database) == 0, 10)


def _sessions(database: lakes.Database) -> int:
    return int(
        ask(database, "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'odp mart'")[0][0]
    )


# Roles


@pytest.fixture
def provisioned(made: Made) -> Iterator[Made]:
    """The databases and roles that `lake-init` makes, on a server whose passwords are not asked for."""
    lake, settings, database = made
    passwords = {name: Secret(user=name, password="x") for name in
                 ("dagster", "lake", "lake_readonly", "ducklake", "mart", "mart_reader")}  # fmt: skip
    given = ProvisionSettings(
        s3_endpoint="", s3_region="", s3_bucket_prefix="", s3_root=Secret(user="", password=""), s3_keys={},
        pg_host=database.host, pg_port=database.port,
        pg_root=Secret(user=database.user, password=database.password or ""),
        pg_roles=passwords, deadline_seconds=10, sample=False,
    )  # fmt: skip
    for _ in range(2):  # at any time again
        for step in Postgres(given).steps():
            step.work()
    mart = replace(database, name="mart", user="mart")
    yield lake, at(settings, mart), mart
    with connect(database) as db:  # other tests of this process have the same server
        db.execute("DROP DATABASE mart")


def test_the_reader_reads_every_table_and_can_do_nothing_else(provisioned: Made) -> None:
    lake, settings, mart = provisioned
    put(lake, WIDE, wide(0, 3))
    refresh_mart(lake, [WIDE], settings)
    again = replace(WIDE, description="Another text.")
    refresh_mart(lake, [again], settings)  # a new table, with equal rights
    put(lake, WIDE, wide(1, 3))
    refresh_mart(lake, [again], settings)
    with connect(mart) as owner:
        assert owner.execute("SHOW log_error_verbosity").fetchone() == ("terse",)
    with connect(mart, "mart_reader") as reader:
        assert reader.execute("SELECT count(*) FROM wide").fetchone() == (3,)
        assert reader.execute("SELECT name FROM _odp_tables").fetchone() == ("wide",)
        reader.execute("SET default_transaction_read_only = off")  # whoever tries is refused all the same
        for refused in (
            "INSERT INTO wide VALUES (9, 9, '')", "UPDATE wide SET round = 9", "DELETE FROM wide",
            "TRUNCATE wide", "DROP TABLE wide", "CREATE TABLE mine (i int)", "CREATE TEMP TABLE mine (i int)",
            "CREATE SCHEMA mine", "CREATE VIEW mine AS SELECT 1", "COPY wide TO PROGRAM 'true'",
            "LOCK TABLE wide IN EXCLUSIVE MODE", "CREATE ROLE other", "SET ROLE mart",
        ):  # fmt: skip
            with pytest.raises(psycopg.errors.InsufficientPrivilege), reader.transaction():
                reader.execute(refused)
    for other in ("postgres", "dagster", "lake", "ducklake", "template1"):
        with pytest.raises(psycopg.OperationalError, match="permission denied for database"):
            connect(replace(mart, name=other), "mart_reader")
    for role in ("lake_readonly", "dagster", "lake", "ducklake"):
        with pytest.raises(psycopg.OperationalError, match="permission denied for database"):
            connect(mart, role)


def test_what_json_says_can_be_asked_for(made: Made) -> None:
    lake, settings, database = made
    put(lake, EVERY, ROWS)
    refresh_mart(lake, [EVERY], settings)
    query = "SELECT id, visits->0->>'cost' FROM every_type WHERE jsonb_array_length(visits) > 0 ORDER BY id"
    assert ask(database, query) == [(1, "12.3456"), (2, "12.3456"), (5, "12.3456")]
    assert json.loads(ask(database, "SELECT tags::text FROM every_type WHERE id = 5")[0][0]) == ["NULL"]
