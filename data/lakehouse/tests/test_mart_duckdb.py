"""The mart as a DuckDB file: exact values, and readers that keep what they have open."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import duckdb
import pytest
from conftest_outputs import ADA, EVERY, PEOPLE, ROWS, in_utc, people, put, small_lake

from lakehouse.errors import SettingsError, StorageUnavailable
from lakehouse.outputs.mart import refresh_mart
from lakehouse.outputs.settings import OutputSettings
from lakehouse.pipeline import Lake

Made = tuple[Lake, OutputSettings, Path]


@pytest.fixture
def made(tmp_path: Path) -> Made:
    lake, settings = small_lake(tmp_path)
    assert settings.mart == tmp_path / "mart.duckdb"
    return lake, settings, tmp_path / "mart.duckdb"


def ask(file: Path, query: str) -> list[tuple[Any, ...]]:
    with duckdb.connect(file, read_only=True) as database:
        return database.sql(query).fetchall()


def test_every_value_is_in_the_file_as_it_is_in_the_lake(made: Made) -> None:
    lake, settings, file = made
    put(lake, EVERY, ROWS)
    refresh_mart(lake, [EVERY], replace(settings, mart_pii=True))
    with duckdb.connect(file, read_only=True) as database:
        found = database.sql("FROM every_type ORDER BY id").to_arrow_table().to_pylist()
    assert repr([tuple(row.values()) for row in in_utc(found)]) == repr(ROWS)


def test_types_key_and_comments_are_those_of_the_contract(made: Made) -> None:
    lake, settings, file = made
    put(lake, EVERY, ROWS)
    refresh_mart(lake, [EVERY], settings)
    found = ask(
        file,
        "SELECT column_name, data_type, is_nullable, comment FROM duckdb_columns() "
        "WHERE table_name = 'every_type' ORDER BY column_index",
    )
    visits = "at TIMESTAMP WITH TIME ZONE, on DATE, cost DECIMAL(10,4), note VARCHAR, scan BLOB, score DOUBLE"
    assert [(name, kind.replace('"', "")) for name, kind, _, _ in found] == [
        ("id", "BIGINT"), ("text", "VARCHAR"), ("flag", "BOOLEAN"), ("small", "INTEGER"), ("real", "DOUBLE"),
        ("day", "DATE"), ("at", "TIMESTAMP WITH TIME ZONE"), ("money", "DECIMAL(18,2)"),
        ("whole", "DECIMAL(38,0)"), ("raw", "BLOB"), ("tags", "VARCHAR[]"), ("visits", f"STRUCT({visits})[]"),
        ("order", "BIGINT"),
    ]  # fmt: skip
    assert [(name, nullable, comment) for name, _, nullable, comment in found][:4] == [
        ("id", False, "Key"),
        ("text", True, "A text; isn't it?"),
        ("flag", True, "A boolean"),
        ("small", True, "A small number (count)"),
    ]
    constraint = "SELECT constraint_text FROM duckdb_constraints() WHERE constraint_type = 'PRIMARY KEY'"
    assert ("PRIMARY KEY(id)",) in ask(file, constraint)


def test_nothing_new_leaves_the_file_and_anything_new_replaces_it(made: Made) -> None:
    lake, settings, file = made
    put(lake, EVERY, ROWS)
    put(lake, PEOPLE, people(3, 1))
    assert refresh_mart(lake, [EVERY, PEOPLE], settings).changed
    before = file.stat()
    assert not refresh_mart(lake, [EVERY, PEOPLE], settings).changed
    assert (file.stat().st_ino, file.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    put(lake, PEOPLE, people(4, 2))
    with duckdb.connect(file, read_only=True) as reader:
        assert refresh_mart(lake, [EVERY, PEOPLE], settings).changed
        assert reader.sql("SELECT count(*) FROM people").fetchall() == [(3,)]  # the file it has opened
    assert ask(file, "SELECT count(*) FROM people") == [(4,)]
    assert refresh_mart(lake, [PEOPLE], settings).removed == ("gold/every_type",)
    assert ask(file, "SELECT table_name FROM duckdb_tables() ORDER BY 1") == [("_odp_tables",), ("people",)]


def test_personal_data_is_in_the_file_only_where_it_is_asked_for(made: Made) -> None:
    lake, settings, file = made
    put(lake, EVERY, ROWS)
    put(lake, PEOPLE, people(3, 1))
    refresh_mart(lake, [EVERY, PEOPLE], settings)
    assert ADA.encode() not in file.read_bytes()
    assert ask(file, "SELECT name, rows, left_out FROM _odp_tables ORDER BY name") == [
        ("every_type", 6, ["person"]),
        ("people", 3, ["person"]),
    ]
    refresh_mart(lake, [EVERY, PEOPLE], replace(settings, mart_pii=True))
    assert ask(file, "SELECT min(person) FROM people") == [(f"{ADA} 0",)]


def test_what_another_program_left_beside_the_file_does_not_reach_the_new_one(made: Made) -> None:
    lake, settings, file = made
    put(lake, PEOPLE, people(3, 1))
    refresh_mart(lake, [PEOPLE], settings)
    child = (
        "import duckdb, os, sys\n"
        "database = duckdb.connect(sys.argv[1])\n"
        "database.execute('DELETE FROM people')\n"
        "os._exit(9)"
    )
    subprocess.run([sys.executable, "-c", child, str(file)], check=False)
    assert file.with_name("mart.duckdb.wal").exists()
    put(lake, PEOPLE, people(4, 1))
    refresh_mart(lake, [PEOPLE], settings)
    assert ask(file, "SELECT count(*) FROM people") == [(4,)]
    assert sorted(p.name for p in file.parent.glob("*mart*")) == [".mart.duckdb.lock", "mart.duckdb"]


@pytest.mark.parametrize("folder", ["visits=7", "a*b", "[ab]", "a'b"])
def test_a_folder_is_no_value_and_no_pattern(made: Made, tmp_path: Path, folder: str) -> None:
    lake, settings, _ = made
    put(lake, PEOPLE, people(3, 1))
    file = tmp_path / folder / "mart.duckdb"
    refresh_mart(lake, [PEOPLE], replace(settings, mart=file, mart_pii=True))
    with duckdb.connect(str(file), read_only=True) as mart:
        assert mart.execute("SELECT * FROM people ORDER BY 1").fetchall() == people(3, 1)


def test_a_file_that_is_none_of_ours_is_replaced(made: Made) -> None:
    lake, settings, file = made
    file.write_text("no database")
    put(lake, PEOPLE, people(3, 1))
    assert refresh_mart(lake, [PEOPLE], settings).changed
    assert ask(file, "SELECT count(*) FROM people") == [(3,)]


@pytest.mark.slow
def test_readers_that_open_the_file_during_refreshes_see_whole_tables(made: Made) -> None:
    lake, settings, file = made
    put(lake, PEOPLE, people(100, 0))
    refresh_mart(lake, [PEOPLE], settings)
    child = textwrap.dedent("""
        import duckdb, sys
        seen = set()
        print("reading", flush=True)
        for _ in range(60):
            with duckdb.connect(sys.argv[1], read_only=True) as db:
                seen |= set(db.sql("SELECT count(*), max(visits) - min(visits) FROM people").fetchall())
        print(seen)
    """)
    readers = [subprocess.Popen([sys.executable, "-c", child, str(file)], stdout=subprocess.PIPE, text=True)
               for _ in range(3)]  # fmt: skip
    for reader in readers:
        assert reader.stdout is not None
        assert reader.stdout.readline() == "reading\n"
    stop = threading.Event()
    threading.Timer(60, stop.set).start()
    rounds = 0
    while any(reader.poll() is None for reader in readers) and not stop.is_set():
        rounds += 1
        put(lake, PEOPLE, people(100, rounds))
        refresh_mart(lake, [PEOPLE], settings)
    assert [reader.communicate()[0] for reader in readers] == ["{(100, 0)}\n"] * 3
    assert rounds > 1


KILLED = """
import sys, time
from conftest_outputs import *
from lakehouse.outputs import duckdb_mart
from lakehouse.outputs.mart import refresh_mart
from pathlib import Path

lake, settings = small_lake(Path(sys.argv[1]))
load = duckdb_mart._load
def slow(*args):
    load(*args)
    print("loaded", flush=True)
    time.sleep(600)
duckdb_mart._load = slow
refresh_mart(lake, [PEOPLE], settings)
"""


def test_a_kill_in_the_middle_leaves_the_old_file(made: Made, tmp_path: Path) -> None:
    lake, settings, file = made
    put(lake, PEOPLE, people(3, 1))
    refresh_mart(lake, [PEOPLE], settings)
    before = file.read_bytes()
    put(lake, PEOPLE, people(4, 1))
    child = subprocess.Popen(
        [sys.executable, "-c", KILLED, str(tmp_path)],
        stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )  # fmt: skip
    assert child.stdout is not None
    assert child.stdout.readline() == "loaded\n"
    child.send_signal(signal.SIGKILL)
    child.wait()
    assert file.read_bytes() == before
    refresh_mart(lake, [PEOPLE], settings)
    assert ask(file, "SELECT count(*) FROM people") == [(4,)]
    assert sorted(p.name for p in file.parent.glob("*mart*")) == [".mart.duckdb.lock", "mart.duckdb"]


def test_a_folder_that_cannot_be_written_is_told(made: Made, tmp_path: Path) -> None:
    lake, settings, _ = made
    put(lake, PEOPLE, people(1, 1))
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageUnavailable, match="what was there before stays"):
        refresh_mart(lake, [PEOPLE], replace(settings, mart=tmp_path / "file/mart.duckdb"))


def test_without_duckdb_the_error_says_what_to_do(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    lake, settings, _ = made
    put(lake, PEOPLE, people(1, 1))
    monkeypatch.setitem(sys.modules, "duckdb", None)
    with pytest.raises(SettingsError, match=r"install `lakehouse\[mart\]`"):
        refresh_mart(lake, [PEOPLE], settings)
