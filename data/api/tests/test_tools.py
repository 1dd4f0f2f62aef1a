"""The tools of agents, asked by the protocol's own client over a real server."""

from __future__ import annotations

import asyncio
import json
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from checkouts import free_ports, wait_until
from doors import Running, running
from mcp import Client
from mcp.client.streamable_http import streamable_http_client

from lakehouse.contracts import with_side_tables
from lakehouse.masking import MASK
from lakehouse.materialize import materialize
from lakehouse.pipeline import Lake, open_lake
from lakehouse.quarantine.listing import by_rule, open_rejects
from lakehouse.registry import contracts, find
from lakehouse.settings import Settings

BY_PATH = {contract.path: contract for contract in contracts()}


REFUSED_EVENT = (
    b'{"pipeline_id":"refused-1","workspace_id":"ws-kept-away","event_type":"run_started",'
    b'"timestamp":"no time at all","raw_data":{}}\n'
)


@pytest.fixture(scope="module")
def refusing(sample: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the sample with a row that a rule refuses."""
    place = tmp_path_factory.mktemp("refusing") / "odp"
    shutil.copytree(sample, place)
    lake = lake_in(place)
    lake.landing.put("pipeline_events/refused.ndjson", REFUSED_EVENT)
    for path in ("bronze/raw_pipeline_events", "silver/pipeline_events"):
        materialize(lake, find(BY_PATH[path]), checks=False)
    return place


def lake_in(place: Path) -> Lake:
    return open_lake(Settings(lake_url=str(place / "lake"), landing_url=str(place / "landing")))


@pytest.fixture(scope="module")
def server(refusing: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A server of that lake, on a free port of this machine."""
    port, state = free_ports(1)[0], tmp_path_factory.mktemp("state")
    no_dagster = f"http://127.0.0.1:{port}"  # it answers, and is none
    with running(refusing, state=state, port=port, DAGSTER_URL=no_dagster) as made:
        yield made


def call(server: Running, key: str, name: str, **arguments: Any) -> Any:
    """Return what a tool says: its structured content, or the text of its error."""
    return asyncio.run(_call(server, key, name, arguments))


async def _call(server: Running, key: str, name: str, arguments: dict[str, Any]) -> Any:
    async with (
        _http(key) as http,
        Client(streamable_http_client(f"{server.url}/mcp", http_client=http)) as client,
    ):
        result = await client.call_tool(name, arguments)
        (text,) = result.content
        if result.is_error:
            return text.text
        assert json.loads(text.text) == result.structured_content
        return result.structured_content


def _http(key: str) -> httpx2.AsyncClient:
    return httpx2.AsyncClient(headers={"Authorization": f"Bearer {key}"}, timeout=120)


def test_the_tools_are_read_only_and_described(server: Running) -> None:
    async def ask() -> list[Any]:
        transport = streamable_http_client(f"{server.url}/mcp", http_client=_http(server.key("read")))
        async with Client(transport) as client:
            return list((await client.list_tools()).tools)

    tools = asyncio.run(ask())
    assert [tool.name for tool in tools] == [
        "list_tables", "describe_table", "sample_rows", "query", "freshness", "lineage", "recent_runs",
        "reject_counts",
    ]  # fmt: skip
    assert all(tool.annotations.read_only_hint and tool.description for tool in tools)
    assert all(tool.input_schema["type"] == "object" for tool in tools)


def test_every_table_is_listed_and_described_by_its_contract(server: Running) -> None:
    key = server.key("read")
    assert [card["table"] for card in call(server, key, "list_tables")["tables"]] == list(BY_PATH)
    said = call(server, key, "describe_table", table="silver/observation")
    assert [c["name"] for c in said["schema"]] == BY_PATH["silver/observation"].column_names
    assert said["contract"]["key"] == list(BY_PATH["silver/observation"].key)


@pytest.mark.parametrize("scopes", [("read",), ("read", "pii", "sql")])
def test_samples_mask_personal_data_whoever_asks(
    server: Running, refusing: Path, scopes: tuple[str, ...]
) -> None:
    lake = lake_in(refusing)
    key = server.key(*scopes)
    for path in ("silver/patient", "bronze/raw_fhir_resources", "gold/user_profiles"):
        table = BY_PATH[path]
        said = call(server, key, "sample_rows", table=path, rows=3)
        hidden = [c.name for c in table.columns if c.pii]
        assert said["masked"] == hidden
        assert [set(row) for row in said["rows"]] == [set(table.column_names)] * 3
        assert {row[name] for row in said["rows"] for name in hidden} <= {MASK, None}
        stored = lake.store.scan(table).select(hidden).collect()
        texts = {str(v) for name in hidden for v in stored[name].drop_nulls().to_list() if len(str(v)) > 6}
        assert not {text for text in texts if text in json.dumps(said["rows"], ensure_ascii=False)}


@pytest.mark.slow
def test_rows_that_were_refused_are_counted_and_never_shown(server: Running, refusing: Path) -> None:
    key = server.key("read", "sql", "pii")
    lake = lake_in(refusing)
    for table in with_side_tables(contracts()):
        if table.layer == "quarantine":
            assert "refused" in call(server, key, "sample_rows", table=table.path)
            assert "refused" in call(server, key, "query", sql=f"FROM {table.path.replace('/', '.')}")
    assert "refused" in call(server, key, "query", sql="FROM system.accepted_rejects")
    told = {one["table"]: one["rejects_by_rule"] for one in call(server, key, "reject_counts")["tables"]}
    assert told == {t.path: by_rule(open_rejects(lake, t)) for t in contracts() if t.row_wise}
    assert sum(told["silver/pipeline_events"].values()) >= 1
    assert "ws-kept-away" not in json.dumps(told)


def test_a_query_needs_its_scope_and_leaves_personal_columns_out(server: Running) -> None:
    patient = BY_PATH["silver/patient"]
    hidden = [c.name for c in patient.columns if c.pii]
    assert "scope sql" in call(server, server.key("read"), "query", sql="SELECT 1")
    said = call(server, server.key("read", "sql"), "query", sql="FROM silver.patient", limit=2)
    assert [c["name"] for c in said["columns"]] == [c.name for c in patient.columns if not c.pii]
    assert said["withheld"] == {"silver/patient": hidden}
    assert (len(said["rows"]), said["truncated"]) == (2, True)
    trusted = call(
        server, server.key("read", "sql", "pii"), "query", sql=f"SELECT {hidden[0]} FROM silver.patient"
    )
    assert [c["name"] for c in trusted["columns"]] == [hidden[0]]


def test_freshness_and_lineage(server: Running) -> None:
    key = server.key("read")
    (one,) = call(server, key, "freshness", table="silver/observation")["tables"]
    assert one["table"] == "silver/observation"
    assert one["changed_at"]
    assert [card["table"] for card in call(server, key, "freshness")["tables"]] == list(BY_PATH)
    said = call(server, key, "lineage", table="silver/pipeline_events")
    assert said["sources"] == ["bronze/raw_pipeline_events"]
    assert "gold/pipeline_metrics" in said["used_by"]


def test_runs_are_not_told_when_something_else_stands_in_dagsters_place(server: Running) -> None:
    # The server itself stands where Dagster should: it answers, but not as Dagster does.
    assert call(server, server.key("read"), "recent_runs") == (
        "what answers in Dagster's place does not speak as Dagster does"
    )


@pytest.mark.parametrize(
    ("name", "arguments", "says"),
    [
        ("nosuch", {}, "no such tool"),
        ("describe_table", {}, "table: Field required"),
        ("describe_table", {"table": "../../etc/passwd"}, "no such table"),
        ("describe_table", {"table": "silver/patient", "x": 1}, "x: Extra inputs"),
        ("sample_rows", {"table": "silver/patient", "rows": 51}, "less than or equal to 50"),
        ("sample_rows", {"table": "silver/patient", "rows": "3"}, "valid integer"),
        ("sample_rows", {"table": "silver/patient", "columns": ["nosuch"]}, "no such column"),
        ("query", {"sql": "SELECT * FROM read_text('/etc/passwd')"}, "not allowed"),
        ("query", {"sql": "SELECT nosuch"}, "nosuch"),
        ("query", {"sql": "SELECT repeat('x', 2000000)"}, "larger than 1 MB"),
        ("reject_counts", {"table": "gold/pipeline_metrics"}, "refuses no rows"),
    ],
)
def test_errors_are_told_as_errors_of_the_tool(
    server: Running, name: str, arguments: dict[str, Any], says: str
) -> None:
    said = call(server, server.key("read", "sql"), name, **arguments)
    assert isinstance(said, str)
    assert says in said
    assert "Traceback" not in said


def _post(server: Running, **headers: str) -> httpx2.Response:
    body = {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}
    accepted = {"Accept": "application/json, text/event-stream", **headers}
    return httpx2.post(f"{server.url}/mcp", json=body, headers=accepted)


def test_keys_are_those_of_http(server: Running) -> None:
    assert _post(server).status_code == 401
    assert _post(server).headers["www-authenticate"].startswith("Bearer")
    assert _post(server, Authorization="Bearer odp_00000000_no").status_code == 401
    assert _post(server, Authorization=f"Bearer {server.key('ingest')}").status_code == 403
    good = {"Authorization": f"Bearer {server.key('read')}"}
    assert _post(server, **good).status_code == 200
    assert _post(server, **good, Origin="http://evil.example").status_code == 403
    assert _post(server, **good, Origin=server.url).status_code == 200
    assert _post(server, **good, Host="evil.example").status_code == 400
    assert httpx2.get(f"{server.url}/mcp", headers=good).status_code == 405


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b"null", b'{"jsonrpc": "2.0"}', b"\xff", b" " * (2 << 20)]
)
def test_bodies_that_are_no_message(server: Running, body: bytes) -> None:
    answer = httpx2.post(
        f"{server.url}/mcp",
        content=body,
        headers={
            "Authorization": f"Bearer {server.key('read')}",
            "Accept": "application/json, text/event-stream",
            "Content-Type": "application/json",
        },
    )
    assert 400 <= answer.status_code < 500


def test_a_query_ends_when_its_client_goes(server: Running) -> None:
    """Long before the limit of 30 seconds."""
    statement = {"name": "query", "arguments": {"sql": "SELECT count(*) FROM range(1000000000000)"}}
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": statement}).encode()
    head = (
        f"POST /mcp HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\nContent-Type: application/json\r\n"
        f"Accept: application/json, text/event-stream\r\nContent-Length: {len(body)}\r\n"
        f"Authorization: Bearer {server.key('read', 'sql')}\r\n\r\n"
    )
    call(server, server.key("read", "sql"), "query", sql="SELECT 1")  # a worker has started
    (log,) = (server.state / "logs").glob("requests-*.jsonl")

    def failed() -> list[int]:
        """The statuses of queries that had no success; other requests are logged at any time."""
        lines = [json.loads(line) for line in log.read_text().splitlines()]
        return [line["status"] for line in lines if line.get("tool") == "query" and line["status"] != 200]

    before = len(failed())
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as asker:
        asker.sendall(head.encode() + body)
        asker.settimeout(2)
        with pytest.raises(TimeoutError):
            asker.recv(1)
    assert wait_until("it has ended", lambda: failed()[before:], 10) == [400]
    assert call(server, server.key("read", "sql"), "query", sql="SELECT 1")["truncated"] is False
