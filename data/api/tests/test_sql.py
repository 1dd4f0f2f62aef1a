"""SQL: what is answered, what is refused, and what nobody may see."""

from __future__ import annotations

import asyncio
import io
import json
import os
import re
import shutil
import signal
import threading
import time
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pytest
from deltalake import write_deltalake
from doors import key, settings_of
from fastapi import FastAPI
from fastapi.testclient import TestClient
from httpx import Response
from polars.testing import assert_frame_equal

from lakehouse.contracts import Contract
from lakehouse.pipeline import open_lake
from lakehouse.registry import contracts
from lakehouse.settings import Settings
from serving.app import make_app
from serving.problems import Problem
from serving.reader import Reader
from serving.sql import wire
from serving.sql.files import TableFiles
from serving.sql.process import Died, Ticket, Worker, Workers

BY_PATH = {contract.path: contract for contract in contracts()}


@pytest.fixture(scope="module")
def door(sample: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """A door whose worker stays warm for all tests of this file."""
    state = tmp_path_factory.mktemp("state")
    app = make_app(settings_of(sample, state=state, sql_seconds=60.0, sql_memory="256MB"))
    with TestClient(app, headers=key(app, "read", "sql"), raise_server_exceptions=False) as made:
        yield made


@pytest.fixture(scope="module")
def trusted(door: TestClient) -> dict[str, str]:
    """The header of a key that may see personal data."""
    return key(door.app, "read", "sql", "pii")  # type: ignore[arg-type]


def ask(door: TestClient, sql: str, **more: Any) -> Response:
    headers = more.pop("headers", {})
    return door.post("/sql", json={"sql": sql, **more}, headers=headers)


def rows(door: TestClient, sql: str, **more: Any) -> list[dict[str, Any]]:
    answer = ask(door, sql, **more)
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json()["rows"]
    return found


def expected(door: TestClient, path: str) -> pl.DataFrame:
    reader: Reader = door.app.state.reader  # type: ignore[attr-defined]
    table = BY_PATH[path]
    return reader.lake.store.scan(table).select([c.name for c in table.columns if not c.pii]).collect()


@pytest.mark.parametrize("path", sorted(BY_PATH))
def test_every_table_has_the_rows_of_the_store_without_personal_columns(door: TestClient, path: str) -> None:
    wanted = expected(door, path)
    answer = ask(door, f"SELECT * FROM {path.replace('/', '.')}", format="arrow")
    assert answer.status_code == 200, answer.text
    found = pl.read_ipc_stream(io.BytesIO(answer.content))
    assert found.columns == wanted.columns
    assert answer.headers["X-Truncated"] == "false"
    assert answer.headers["X-Versions"].startswith(f"{path}=")
    assert_frame_equal(found, wanted, check_row_order=False, check_exact=True)


def test_an_aggregate_equals_that_of_polars(door: TestClient) -> None:
    found = rows(
        door,
        "SELECT status, count(*) AS n, min(effective_at) AS first FROM silver.observation "
        "GROUP BY ALL ORDER BY status",
    )
    wanted = (
        expected(door, "silver/observation")
        .group_by("status")
        .agg(n=pl.len(), first=pl.col("effective_at").min())
        .sort("status")
        .with_columns(pl.col("first").dt.to_string("%Y-%m-%dT%H:%M:%S%.6fZ"))
    )
    assert found == wanted.to_dicts()


def test_types_of_a_result(door: TestClient) -> None:
    values = [
        ("1::TINYINT", "int32", 1),
        ("2::BIGINT", "int64", 2),
        ("sum(x)", "int64", 6),
        ("18446744073709551615::UBIGINT", "decimal(20, 0)", "18446744073709551615"),
        ("1.50", "decimal(3, 2)", "1.50"),
        ("'inf'::FLOAT", "float64", "inf"),
        ("DATE '2024-02-29'", "date", "2024-02-29"),
        ("DATE '9999-12-31'", "date", "9999-12-31"),
        ("TIMESTAMP '2024-02-29 12:00:00'", "timestamp", "2024-02-29T12:00:00.000000Z"),
        ("TIMESTAMPTZ '2024-02-29 12:00:00+02'", "timestamp", "2024-02-29T10:00:00.000000Z"),
        ("'\\xAA'::BLOB", "binary", "qg=="),
        ("[1, NULL]", "list<int32>", [1, None]),
        ("{'x': 1.5, 'y': 'z'}", "struct<x: decimal(2, 1), y: string>", {"x": "1.5", "y": "z"}),
        ("INTERVAL 1 DAY", "string", "1 day"),
        ("MAP {'k': 1}", "string", "{k=1}"),
        ("{'Odd name': 1}", "string", "{'Odd name': 1}"),
        ("TRUE", "bool", True),
        ("NULL", "int32", None),
    ]
    chosen = ", ".join(f"{sql} AS c{number}" for number, (sql, _, _) in enumerate(values))
    answer = ask(door, f"SELECT {chosen} FROM range(4) t(x)").json()
    assert [c["type"] for c in answer["columns"]] == [type_ for _, type_, _ in values]
    assert answer["rows"] == [{f"c{number}": value for number, (_, _, value) in enumerate(values)}]


@pytest.mark.parametrize(
    ("form", "read"),
    [
        ("ndjson", pl.read_ndjson),
        ("csv", pl.read_csv),
        ("arrow", pl.read_ipc_stream),
        ("parquet", pl.read_parquet),
    ],
)
def test_every_format_has_the_same_rows(door: TestClient, form: str, read: Any) -> None:
    answer = ask(door, "SELECT x, x * 2 AS y FROM range(3000) t(x) ORDER BY x", format=form)
    assert answer.status_code == 200, answer.text
    assert read(io.BytesIO(answer.content)).rows() == [(x, x * 2) for x in range(3000)]


def test_order_is_kept_and_more_rows_are_told(door: TestClient) -> None:
    answer = ask(door, "SELECT x FROM range(10) t(x) ORDER BY x DESC", limit=3).json()
    assert answer["truncated"] is True
    assert [row["x"] for row in answer["rows"]] == [9, 8, 7]
    assert ask(door, "SELECT x FROM range(3) t(x)", limit=3).json()["truncated"] is False
    assert ask(door, "SELECT x FROM range(3) t(x)", limit=0).json()["rows"] == []
    assert ask(door, "SELECT 1", limit=100_001).status_code == 422
    assert ask(door, "SELECT x FROM range(200000) t(x)", format="csv").headers["X-Truncated"] == "true"


def test_rows_stay_below_a_size(door: TestClient) -> None:
    answer = ask(door, "SELECT repeat('x', 1000000) AS x FROM range(200)", format="arrow")
    assert answer.status_code == 200, answer.text
    assert answer.headers["X-Truncated"] == "true"
    assert 30_000_000 < len(answer.content) <= 65 << 20


@pytest.mark.parametrize(
    "sql",
    [
        "/* x; y */ SELECT 1 AS x -- ;",
        "SELECT 1 AS x;",
        "(SELECT 1 AS x)",
        "WITH a AS (SELECT 1 AS x), b AS (FROM a) SELECT * FROM B",
        "VALUES (1)",
        "SELECT length(';') AS x",
        'SELECT 1 AS "Ünï ""quoted"""',
        "SELECT max(y) FROM (SELECT unnest([1, 0]) AS y)",
        "WITH RECURSIVE t AS (SELECT 1 AS x UNION ALL SELECT x + 1 FROM t WHERE x < 3) SELECT min(x) FROM t",
        "SELECT count(DISTINCT 1) OVER () FROM range(1)",
        "SELECT list_sum(list_transform([0], lambda v: v + 1))",
        "SELECT CASE WHEN count(*) > 0 THEN 1 END FROM \"SILVER\".\"Observation\"",
        "SELECT '1'::JSON->>'$'::VARCHAR AS x",
    ],
)  # fmt: skip
def test_what_one_select_may_be(door: TestClient, sql: str) -> None:
    assert [str(value) for row in rows(door, sql) for value in row.values()] == ["1"]


REFUSED = [
    "SELECT 1; SELECT 2",
    "",
    " ",
    "-- nothing",
    ";",
    "SELEC 1",
    "SELECT",
    "SELECT 1 UNION",
    "SELECT (((1)",
    "EXPLAIN SELECT 1",
    "EXPLAIN ANALYZE SELECT 1",
    "DESCRIBE gold.pipeline_metrics",
    "SHOW TABLES",
    "SHOW ALL TABLES",
    "SELECT * FROM (DESCRIBE gold.pipeline_metrics)",
    "SUMMARIZE gold.pipeline_metrics",
    "FROM (SHOW TABLES)",
    "PRAGMA version",
    "PRAGMA database_list",
    "SET memory_limit = '10GB'",
    "RESET memory_limit",
    "COPY (SELECT 1) TO '/tmp/odp-test.csv'",
    "COPY silver.patient FROM '/etc/passwd'",
    "ATTACH '/tmp/odp-test.db'",
    "INSTALL httpfs",
    "LOAD httpfs",
    "CREATE TABLE x AS SELECT 1",
    "CREATE MACRO m() AS 1",
    "DROP VIEW silver.patient",
    "INSERT INTO silver.patient VALUES (1)",
    "DELETE FROM silver.patient",
    "UPDATE silver.patient SET id = 1",
    "WITH x AS (INSERT INTO silver.patient VALUES (1) RETURNING *) SELECT * FROM x",
    "CALL pragma_version()",
    "EXPORT DATABASE '/tmp/odp-test'",
    "IMPORT DATABASE '/tmp'",
    "PREPARE p AS SELECT 1",
    "EXECUTE p",
    "BEGIN",
    "VACUUM",
    "CHECKPOINT",
    "USE memory",
    "PIVOT silver.observation ON status USING count(*)",
    "SELECT ?",
    "SELECT $1",
    "SELECT $a",
    "FROM '/etc/passwd'",
    "SELECT * FROM read_text('/etc/passwd')",
    "SELECT * FROM read_blob('/etc/passwd')",
    "SELECT * FROM read_csv('/etc/passwd')",
    "SELECT * FROM read_csv_auto('/etc/passwd')",
    "SELECT * FROM glob('/*')",
    "SELECT * FROM sniff_csv('/etc/passwd')",
    "SELECT * FROM parquet_scan('/x.parquet')",
    "FROM 'https://x/y.parquet'",
    "SELECT * FROM parquet_metadata('/x.parquet')",
    "SELECT * FROM read_json('/etc/passwd')",
    "FROM 's3://x/y.parquet'",
    "SELECT * FROM query('SELECT 1')",
    "SELECT * FROM query_table('silver.patient')",
    "SELECT * FROM seq_scan('x')",
    "SELECT * FROM duckdb_settings()",
    "SELECT * FROM duckdb_views()",
    "SELECT * FROM duckdb_databases()",
    "SELECT * FROM duckdb_secrets()",
    "SELECT * FROM duckdb_functions()",
    "SELECT * FROM pragma_user_agent()",
    "SELECT * FROM duckdb_external_file_cache()",
    "SELECT * FROM duckdb_logs",
    "SELECT * FROM pandas_scan(1)",
    "SELECT * FROM histogram('silver.patient', 'id')",
    "SELECT sql FROM sqlite_master",
    "FROM pg_catalog.pg_views",
    "FROM information_schema.tables",
    "FROM memory.silver.patient",
    "FROM system.main.duckdb_views",
    "FROM answer",
    "SELECT getenv('PATH')",
    "SELECT current_setting('allowed_paths')",
    "SELECT getvariable('x')",
    "SELECT x.getenv()",
    "SELECT pg_get_viewdef(1)",
    "SELECT pg_catalog.pg_get_viewdef(1)",
    "SELECT system.main.current_setting('threads')",
    "SELECT json_serialize_plan('SELECT * FROM silver.patient')",
    "SELECT write_log('x')",
    "SELECT current_query()",
    "SELECT * FROM json_execute_serialized_sql('{}')",
    "SELECT sleep_ms(100000)",
    "SELECT pg_sleep(100)",
    "SELECT (SELECT max(x) FROM (SELECT 1 WHERE EXISTS (SELECT * FROM read_text('/etc/passwd'))) t(x))",
    'WITH "/etc/passwd" AS (SELECT 1) FROM "/etc/passwd"',
    "SELECT * FROM (WITH \"a.parquet\" AS (SELECT 1) SELECT 1), 'a.parquet'",
    'FROM "silver.patient"',
    'FROM "silver"."../patient"',
    'FROM silver."patient\'"',
    "FROM patient",
    "FROM silver.nobody",
    "FROM gold.pipeline_metrics AT (VERSION => 1)",
    "SELECT nosuch FROM silver.patient",
    "SELECT 'x'::INTEGER",
    'SELECT 1 AS "*"',
    'SELECT 1 AS "^.*$"',
    "SELECT 'infinity'::DATE",
    "SELECT [TIMESTAMP '-infinity']",
    "SELECT {'a': '-290000-01-01'::DATE}",
    "SELECT 'a' AS x\0",
    "SELECT 1e400::DOUBLE::INTEGER",
    "SELECT error('kept' || 'away')",
    "SELECT filename FROM silver.patient",
    "SELECT file_row_number FROM silver.patient",
    "SELECT \ud800",
    "SELECT " + "[" * 900 + "1" + "]" * 900,
    "SELECT " + "NOT " * 20_000 + "TRUE",
    "SELECT " + "+".join(["1"] * 20_000),
    "SELECT repeat('x', 10000000000)",
    "SELECT range(1000000000)",
    "SELECT printf('%1000000000d', 1)",
    "SELECT 170141183460469231731687303715884105727::HUGEINT",
    "SELECT list_resize([1], 1000000000)",
]


@pytest.mark.parametrize("sql", REFUSED, ids=lambda sql: ascii(sql[:40]))
def test_what_is_refused(door: TestClient, sql: str) -> None:
    answer = door.post("/sql", content=body_of(sql))
    assert answer.status_code == 422, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    text = answer.text
    for secret in ("root:", "keptaway", "/lake/"):
        assert secret not in text
    assert not Path("/tmp/odp-test.csv").exists()
    assert not Path("/tmp/odp-test.db").exists()


def body_of(sql: str) -> bytes:
    """Return the body of a question, also for texts that JSON writes only with escapes."""
    return json.dumps({"sql": sql}).encode()


def test_after_all_that_the_same_worker_answers(door: TestClient) -> None:
    rows(door, "SELECT 1")
    (before,) = pids(door)
    for sql in ("SELECT 'x'::INTEGER", "SELECT nosuch", "SELECT range(1000000000)", "FROM nobody.nothing"):
        assert ask(door, sql).status_code == 422
    assert rows(door, "SELECT 1 AS x") == [{"x": 1}]
    assert pids(door) == [before]


def pids(door: TestClient) -> list[int]:
    return [worker.pid for worker in door.app.state.sql.workers._free]  # type: ignore[attr-defined]


PERSONAL = [(contract, column.name) for contract in contracts() for column in contract.columns if column.pii]


@pytest.mark.parametrize(("table", "column"), PERSONAL, ids=lambda one: str(one))
def test_personal_columns_are_not_there(door: TestClient, table: Contract, column: str) -> None:
    name = table.path.replace("/", ".")
    answer = ask(door, f'SELECT "{column}" FROM {name}')
    assert answer.status_code == 422
    assert "not found" in answer.json()["detail"]


def test_no_way_of_taking_all_columns_brings_personal_ones(door: TestClient) -> None:
    hidden = {c.name for c in BY_PATH["silver/patient"].columns if c.pii}
    assert hidden
    for sql in (
        "SELECT * FROM silver.patient",
        "FROM silver.patient",
        "SELECT COLUMNS('.*') FROM silver.patient",
        "SELECT COLUMNS(c -> true) FROM silver.patient",
        "SELECT p.* FROM silver.patient p",
        "SELECT unnest(p) FROM silver.patient p",
        "SELECT * FROM silver.patient p NATURAL JOIN silver.patient q",
    ):
        answer = ask(door, sql).json()
        assert not hidden & {c["name"] for c in answer["columns"]}
        assert answer["withheld"]["silver/patient"] == [
            c.name for c in BY_PATH["silver/patient"].columns if c.pii
        ]
    (whole,) = ask(door, "SELECT p FROM silver.patient p").json()["columns"]
    own = re.sub(r"list<struct<[^<>]*>>", "list", whole["type"])  # the fields of a list are none of the row's
    fields = set(re.findall(r"(\w+):", own))
    assert fields == set(BY_PATH["silver/patient"].column_names) - hidden


def test_a_pinned_file_cannot_be_read_by_its_path(door: TestClient, sample: Path) -> None:
    file = next((sample / "lake" / "silver" / "patient").glob("*.parquet"))
    for sql in (
        f"FROM '{file}'",
        f"FROM silver.patient, '{file}'",
        f"SELECT * FROM silver.patient, read_parquet('{file}')",
        f"SELECT * FROM silver.patient, parquet_schema('{file}')",
        f'WITH "{file}" AS (SELECT 1) FROM silver.patient, (SELECT 1), "{file}"',
    ):
        answer = ask(door, sql)
        assert answer.status_code == 422, sql


def test_personal_data_is_for_keys_with_that_scope(door: TestClient, trusted: dict[str, str]) -> None:
    named = [c["name"] for c in ask(door, "FROM silver.patient", headers=trusted).json()["columns"]]
    assert named == BY_PATH["silver/patient"].column_names
    for table in ("quarantine.patient", "quarantine.landing_files", "system.accepted_rejects"):
        assert ask(door, f"FROM {table}").status_code == 403
        assert ask(door, f"FROM {table}", headers=trusted).status_code in (200, 404)
    wanted = door.app.state.reader.lake.store  # type: ignore[attr-defined]
    for path in ("quarantine/pipeline_events", "quarantine/loans"):
        table = door.app.state.reader.declared[path]  # type: ignore[attr-defined]
        if wanted.exists(table):
            (count,) = rows(door, f"SELECT count(*) AS n FROM {path.replace('/', '.')}", headers=trusted)
            assert count == {"n": wanted.snapshot(table).rows}


def test_values_are_not_told_in_errors(door: TestClient) -> None:
    answer = ask(door, "SELECT CAST(status AS INTEGER) FROM silver.observation")
    assert answer.status_code == 422
    assert answer.json()["kind"] == "Conversion"
    for status in expected(door, "silver/observation")["status"].unique():
        assert status not in answer.text


def test_who_may_ask(app: FastAPI) -> None:
    with TestClient(app, raise_server_exceptions=False) as client:
        body = {"sql": "SELECT 1"}
        assert client.post("/sql", json=body).status_code == 401
        for scopes in (("read",), ("sql",), ("ingest", "share", "pii")):
            assert client.post("/sql", json=body, headers=key(app, *scopes)).status_code == 403


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"SELECT 1",
        b"[]",
        b'{"sql": 1}',
        b'{"sql": ""}',
        b'{"sql": "SELECT 1", "limit": -1}',
        b"\xff",
        b'{"sql": "SELECT 1", "limit": true}',
        b'{"sql": "SELECT 1", "x": 1}',
        b'{"sql": "SELECT 1", "limit": 1.5}',
        b'{"sql": "SELECT 1", "format": "xml"}',
        b'{"sql": "SELECT 1", "limit": 9999999999999999999999}',
    ],
)
def test_bodies_that_are_no_question(door: TestClient, body: bytes) -> None:
    assert door.post("/sql", content=body).status_code == 422


def test_a_large_body_is_not_read(door: TestClient) -> None:
    def endless() -> Iterator[bytes]:
        for _ in range(100):
            yield b" " * 100_000

    assert door.post("/sql", content=endless()).status_code == 413
    assert ask(door, "SELECT '" + "x" * 100_000 + "'").status_code == 422
    (longest,) = rows(door, "SELECT length('" + "ü" * 90_000 + "') AS n")
    assert longest == {"n": 90_000}


def test_the_journal_has_tables_and_no_statement(door: TestClient) -> None:
    rows(door, "SELECT count(*) AS very_secret FROM gold.pipeline_metrics")
    (log,) = (door.app.state.settings.state / "logs").glob("requests-*.jsonl")  # type: ignore[attr-defined]
    last = log.read_text().splitlines()[-1]
    assert "gold/pipeline_metrics" in last
    assert "very_secret" not in log.read_text()


def end_workers(door: TestClient) -> None:
    """Kill the workers that wait for a statement, as the kernel does when memory is short."""
    free = door.app.state.sql.workers._free  # type: ignore[attr-defined]
    for worker in free:
        os.kill(worker.pid, signal.SIGKILL)
    until(lambda: not any(worker.is_alive for worker in free))


def test_a_worker_that_was_killed_is_replaced(door: TestClient) -> None:
    rows(door, "SELECT 1")
    (before,) = pids(door)
    end_workers(door)
    assert rows(door, "SELECT 2 AS x") == [{"x": 2}]
    assert pids(door) != [before]


@pytest.mark.parametrize("question", [wire.Parse, wire.Run])
def test_a_worker_that_is_killed_before_it_hears_a_question_is_replaced(
    door: TestClient, monkeypatch: pytest.MonkeyPatch, question: type
) -> None:
    """It looked alive when it was taken; the statement has done nothing wrong."""
    asked: list[int] = []
    send = Worker.ask

    def ask_the_dead(worker: Worker, what: Any, deadline: float) -> Any:
        if isinstance(what, question):
            if not asked:
                os.kill(worker.pid, signal.SIGKILL)
                until(lambda: not worker.is_alive)
            asked.append(worker.pid)
        return send(worker, what, deadline)

    monkeypatch.setattr(Worker, "ask", ask_the_dead)
    assert rows(door, "SELECT 3 AS x") == [{"x": 3}]
    assert len(set(asked)) == 2


def test_a_statement_that_ends_its_worker_is_asked_once_again_at_most(
    door: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []

    def die(worker: Worker, _: Any, __: float) -> Iterator[dict[str, Any]]:
        asked.append(worker.pid)
        worker.kill()
        raise Died
        yield

    monkeypatch.setattr(Worker, "ask", die)
    assert ask(door, "SELECT 4").status_code == 422
    assert len(asked) == 2


def test_a_query_parameter_is_refused_where_the_body_says_all(door: TestClient) -> None:
    answer = door.post("/sql?format=csv", json={"sql": "SELECT 1"})
    assert (answer.status_code, answer.json()["detail"]) == (422, "of query parameters this call takes none")


def test_the_worker_has_no_secret_in_its_environment(
    door: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    end_workers(door)
    monkeypatch.setenv("S3_SECRET_KEY", "very-secret")
    rows(door, "SELECT 1")
    (pid,) = pids(door)
    environment = Path(f"/proc/{pid}/environ")
    if not environment.exists():
        pytest.skip("only Linux shows the environment of a process")
    names = {part.split(b"=")[0] for part in environment.read_bytes().split(b"\0") if part}
    assert names <= {
        b"PYTHONPATH",
        b"PYTHONUTF8",
        b"POLARS_MAX_THREADS",
        b"ARROW_DEFAULT_MEMORY_POOL",
        b"ODP_DBT_PROJECT",
    }


def until(holds: Any, seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline
        threading.Event().wait(0.02)


def test_a_statement_that_takes_too_long_is_ended(sample: Path, tmp_path: Path) -> None:
    app = make_app(settings_of(sample, state=tmp_path, sql_seconds=2.0))
    with TestClient(app, headers=key(app, "read", "sql"), raise_server_exceptions=False) as client:
        begin = time.monotonic()
        answer = ask(client, "SELECT count(*) FROM range(1000000000000)")
        assert answer.status_code == 504, answer.text
        assert time.monotonic() - begin < 60
        assert pids(client) == []


def test_copies_hold_the_same_rows_and_stay_below_their_limit(sample: Path, tmp_path: Path) -> None:
    lake = open_lake(Settings(lake_url=str(sample / "lake"), landing_url=str(sample / "landing")))
    reader = Reader(lake)
    files = TableFiles(lake, tmp_path / "copies", is_delta=True, most_bytes=60_000)
    for path in ("gold/pipeline_metrics", "silver/observation", "silver/pipeline_events"):
        pinned = reader.pin(BY_PATH[path])
        with files.of(pinned, as_read=True) as (copy,):
            assert copy.is_relative_to(tmp_path)
            assert copy.stat().st_mode & 0o077 == 0
            assert_frame_equal(pl.read_parquet(copy), lake.store.scan(BY_PATH[path]).collect())
        with files.of(pinned) as direct:
            assert all(file.is_relative_to(sample) for file in direct)
    assert sum(file.stat().st_size for file in (tmp_path / "copies").iterdir()) <= 60_000


def test_a_table_that_another_program_partitioned_keeps_its_column(sample: Path, tmp_path: Path) -> None:
    table = BY_PATH["gold/pipeline_metrics"]
    shutil.copytree(sample / "lake", tmp_path / "lake")
    lake = open_lake(Settings(lake_url=str(tmp_path / "lake"), landing_url=str(tmp_path / "landing")))
    wanted = lake.store.scan(table).collect()
    nullable = {column.name: column.nullable for column in table.columns}
    handed = wanted.to_arrow()
    handed = handed.cast(pa.schema([field.with_nullable(nullable[field.name]) for field in handed.schema]))
    write_deltalake(
        str(tmp_path / "lake" / table.path),
        handed,
        mode="overwrite",
        schema_mode="overwrite",
        partition_by=["workspace_id"],
    )
    app = make_app(settings_of(tmp_path))
    with TestClient(app, headers=key(app, "read", "sql")) as door:
        answer = ask(door, "FROM gold.pipeline_metrics", format="arrow")
    assert_frame_equal(pl.read_ipc_stream(io.BytesIO(answer.content)), wanted, check_row_order=False)


def test_decimals_of_a_table_are_exact(door: TestClient) -> None:
    table = BY_PATH["silver/loans"]
    exact = [c.name for c in table.columns if str(c.type).startswith("decimal") and not c.pii]
    assert exact
    (found,) = rows(door, f"SELECT {', '.join(f'sum({n}) AS {n}' for n in exact)} FROM silver.loans")
    wanted = expected(door, "silver/loans").select(pl.col(exact).sum()).row(0, named=True)
    assert {name: Decimal(text) for name, text in found.items()} == wanted


@pytest.fixture
def workers() -> Iterator[Workers]:
    made = Workers(memory=256 << 20, seconds=60.0, size=1, waiting=1)
    yield made
    made.close()


def test_a_statement_that_nobody_waits_for_is_ended(workers: Workers) -> None:
    ticket = Ticket()
    ended: list[BaseException] = []

    def work() -> None:
        try:
            with workers.one(ticket) as worker:
                endless = "SELECT count(*) FROM range(1000000000000)"
                list(worker.ask(wire.Run(sql=endless, views=(), limit=1), time.monotonic() + 60))
        except Died as exc:
            ended.append(exc)

    thread = threading.Thread(target=work)
    thread.start()
    until(lambda: ticket.worker is not None)
    ticket.give_up()
    thread.join(30)
    assert [type(exc) for exc in ended] == [Died]
    with workers.one(Ticket()) as worker:
        assert next(worker.ask(wire.Parse(sql="SELECT 1"), time.monotonic() + 60)) == {"tables": []}


def test_only_so_many_wait_for_a_worker(workers: Workers) -> None:
    entered: list[int] = []

    def wait() -> None:
        with workers.one(Ticket()):
            entered.append(1)

    with workers.one(Ticket()):
        thread = threading.Thread(target=wait)
        thread.start()
        until(lambda: workers._queue == 1)
        with pytest.raises(Problem) as refused, workers.one(Ticket()):
            pass
        assert refused.value.status == 503
        assert "Retry-After" in refused.value.headers
        assert entered == []
    thread.join(30)
    assert entered == [1]


def test_a_caller_who_goes_ends_the_statement(sample: Path, tmp_path: Path) -> None:
    app = make_app(settings_of(sample, state=tmp_path, sql_seconds=120.0))
    room = app.state.sql
    body = body_of("SELECT count(*) FROM range(1000000000000)")
    headers = [(n.lower().encode(), text.encode()) for n, text in key(app, "read", "sql").items()]
    scope = {
        "type": "http", "method": "POST", "path": "/sql", "raw_path": b"/sql", "query_string": b"",
        "root_path": "", "headers": [(b"host", b"testserver"), *headers],
        "scheme": "http", "http_version": "1.1", "server": ("testserver", 80), "client": ("127.0.0.1", 1),
    }  # fmt: skip
    messages = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive() -> dict[str, Any]:
        if messages:
            return messages.pop()
        while not room.workers._working:
            await asyncio.sleep(0.02)
        return {"type": "http.disconnect"}

    sent: list[dict[str, Any]] = []

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    begin = time.monotonic()
    asyncio.run(app(scope, receive, send))  # type: ignore[arg-type]
    assert time.monotonic() - begin < 100
    assert room.workers._working == []
    assert room.workers._free == []


def test_two_callers_see_what_their_own_keys_open(door: TestClient, trusted: dict[str, str]) -> None:
    visible = [c.name for c in BY_PATH["silver/patient"].columns if not c.pii]
    seen: dict[str, set[tuple[str, ...]]] = {"plain": set(), "trusted": set()}

    def look(who: str, headers: dict[str, str]) -> None:
        for _ in range(5):
            answer = ask(door, "FROM silver.patient", headers=headers).json()
            seen[who].add(tuple(c["name"] for c in answer["columns"]))

    threads = [threading.Thread(target=look, args=one) for one in (("plain", {}), ("trusted", trusted))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert seen == {"plain": {tuple(visible)}, "trusted": {tuple(BY_PATH["silver/patient"].column_names)}}
