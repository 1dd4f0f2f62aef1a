"""The API on a lake of every kind: Delta and DuckLake, in folders and in an object store.

Belongs here: that reads, SQL, tools, sharing and ingest say of each what its store holds. Does not: what each
of them does at its edges, which the lakes in folders show.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import lakes
import orjson
import polars as pl
import pytest
from doors import key
from fastapi.testclient import TestClient

from lakehouse.materialize import materialize
from lakehouse.pipeline import Lake, open_lake
from lakehouse.registry import contracts, sample_files, tables
from lakehouse.settings import Settings
from serving.app import make_app
from serving.settings import ServingSettings

pytestmark = pytest.mark.slow  # each kind has servers of its own

SILVER, GOLD = "silver/pipeline_events", "gold/pipeline_metrics"
BY_PATH = {table.path: table for table in contracts()}
SHARED = "/delta-sharing/shares/odp/schemas"
SEND = {"Content-Type": "application/x-ndjson"}
EVENT = {
    "pipeline_id": "p-kind", "event_type": "pipeline.completed", "workspace_id": "w-kind",
    "timestamp": "2026-03-01T10:00:00Z", "raw_data": {"duration_ms": 7},
}  # fmt: skip


@dataclass(frozen=True)
class Door:
    """An API onto a lake that holds the sample of one domain, and a client that may all."""

    lake: Lake
    client: TestClient
    is_delta: bool
    in_bucket: bool


def bring_in(lake: Lake) -> None:
    for table in tables():
        if table.contract.domain == "pipelines":
            materialize(lake, table, checks=False)


@pytest.fixture(scope="module", params=lakes.KINDS)
def door(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Door]:
    place = tmp_path_factory.mktemp("kind")
    with lakes.lake_of(request.param, place) as settings:
        lake = open_lake(settings)
        for name, body in sample_files().items():
            if name.startswith(("pipeline_events/", "crawler_results/")):
                lake.landing.put(name, body)
        bring_in(lake)
        app = make_app(serving(settings, place))
        with TestClient(app, headers=key(app)) as client:
            yield Door(lake, client, settings.lake_format == "delta", "s3" in request.param)


def serving(settings: Settings, place: Path) -> ServingSettings:
    return ServingSettings(lake=settings, state=place / "api", hosts=("testserver", "127.0.0.1"))


def stored(door: Door, path: str) -> pl.DataFrame:
    return door.lake.store.scan(BY_PATH[path]).collect()


def read(body: bytes, form: str) -> list[dict[str, Any]]:
    match form:
        case "arrow":
            return pl.read_ipc_stream(body).to_dicts()
        case "parquet":
            return pl.read_parquet(io.BytesIO(body)).to_dicts()
    return [orjson.loads(line) for line in body.splitlines()]


def as_json(value: Any) -> Any:
    match value:
        case datetime():
            return value.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        case date() | Decimal():
            return str(value)
    return value


@pytest.mark.parametrize("form", ["ndjson", "arrow", "parquet"])
@pytest.mark.parametrize("path", [SILVER, GOLD])
def test_rows_come_as_the_store_has_them(door: Door, path: str, form: str) -> None:
    wanted = stored(door, path).to_dicts()
    if form == "ndjson":
        wanted = [{name: as_json(value) for name, value in row.items()} for row in wanted]
    answer = door.client.get(f"/data/{path}?format={form}")
    assert answer.status_code == 200
    assert read(answer.content, form) == wanted
    assert wanted


def test_pages_filters_and_order(door: Door) -> None:
    found: list[Any] = []
    cursor: str | None = ""
    while cursor is not None:
        asked = f"/data/{SILVER}?limit=7&order=-pipeline_id,event_type&columns=pipeline_id,event_type"
        answer = door.client.get(f"{asked}{cursor}").json()
        found += [tuple(row.values()) for row in answer["rows"]]
        cursor = f"&cursor={answer['next']}" if answer["next"] else None
    keys = list(stored(door, SILVER).select("pipeline_id", "event_type").iter_rows())
    assert len(set(keys)) == len(keys) > 7
    assert found == sorted(sorted(keys, key=lambda k: k[1]), key=lambda k: k[0], reverse=True)
    pipeline, kind = keys[3]
    one = door.client.get(f"/data/{SILVER}?pipeline_id={pipeline}&event_type={kind}").json()["rows"]
    assert [(row["pipeline_id"], row["event_type"]) for row in one] == [keys[3]]


def test_an_answer_has_the_tag_of_its_version(door: Door) -> None:
    first = door.client.get(f"/data/{GOLD}")
    tag = {"If-None-Match": first.headers["etag"]}
    assert door.client.get(f"/data/{GOLD}", headers=tag).status_code == 304
    assert door.client.head(f"/data/{GOLD}").headers["etag"] == first.headers["etag"]
    assert first.json()["version"] == door.lake.store.snapshot(BY_PATH[GOLD]).version


def test_sql_counts_what_the_store_holds(door: Door) -> None:
    asked = {"sql": "SELECT count(*) AS n, max(pipeline_id) AS last FROM silver.pipeline_events"}
    answer = door.client.post("/sql", json=asked)
    assert answer.status_code == 200, answer.text
    rows = stored(door, SILVER)
    assert answer.json()["rows"] == [{"n": rows.height, "last": rows["pipeline_id"].max()}]
    assert answer.json()["tables"] == {SILVER: door.lake.store.snapshot(BY_PATH[SILVER]).version}


def tool(door: Door, name: str, **arguments: Any) -> Any:
    call = {
        "jsonrpc": "2.0",
        "id": 1,
        "method": "tools/call",
        "params": {"name": name, "arguments": arguments},
    }
    accept = {"Accept": "application/json, text/event-stream"}
    answer = door.client.post("/mcp", json=call, headers=accept)
    assert answer.status_code == 200, answer.text
    lines = answer.text.splitlines()
    data = next((line[6:] for line in lines if line.startswith("data: {")), answer.text)
    return json.loads(data)["result"]


def test_the_tools_say_the_same(door: Door) -> None:
    sample = tool(door, "sample_rows", table=GOLD, rows=3)["structuredContent"]
    assert len(sample["rows"]) == 3
    asked = tool(door, "query", sql="SELECT count(*) AS n FROM gold.pipeline_metrics")["structuredContent"]
    assert asked["rows"] == [{"n": stored(door, GOLD).height}]


def shared(door: Door, path: str) -> pl.DataFrame:
    """Return the rows of the files that a client of Delta Sharing gets."""
    answer = door.client.post(f"{SHARED}/{path.replace('/', '/tables/')}/query", json={})
    assert answer.status_code == 200, answer.text
    files = [json.loads(line)["file"] for line in answer.text.splitlines() if line.startswith('{"file"')]
    get = httpx.get if door.in_bucket else door.client.get
    return pl.concat(pl.read_parquet(io.BytesIO(get(file["url"]).content)) for file in files)


def test_shared_files_hold_the_rows(door: Door) -> None:
    """Also of DuckLake, whose files are as plain as long as no row of them is deleted."""
    wanted = stored(door, GOLD).sort("workspace_id", "date")
    version = door.client.get(f"{SHARED}/gold/tables/pipeline_metrics/version").headers["delta-table-version"]
    assert version == str(door.lake.store.snapshot(BY_PATH[GOLD]).version)
    found = shared(door, GOLD)
    assert found.select(wanted.columns).sort("workspace_id", "date").equals(wanted)


def test_the_catalog_describes_what_is_there(door: Door) -> None:
    cards = {card["table"]: card for card in door.client.get("/catalog").json()["tables"]}
    assert cards[SILVER]["rows"] == stored(door, SILVER).height
    told = door.client.get(f"/catalog/{SILVER}").json()
    assert [column["name"] for column in told["schema"]] == BY_PATH[SILVER].column_names
    assert door.client.get("/ready").json() == {"ready": True, "waits_for": []}
    assert "odp_lake_up 1.0" in door.client.get("/metrics").text


def test_what_is_sent_comes_in_and_an_earlier_version_stays_as_it_was(door: Door) -> None:
    before = door.client.get(f"/data/{SILVER}?format=parquet")
    sent = door.client.post("/ingest/pipeline_events", content=json.dumps(EVENT) + "\n", headers=SEND)
    assert sent.status_code == 202, sent.text
    bring_in(door.lake)
    assert door.client.get(sent.headers["location"]).json()["status"] == "done"
    (row,) = door.client.get(f"/data/{SILVER}?pipeline_id=p-kind").json()["rows"]
    assert (row["workspace_id"], row["duration_ms"]) == ("w-kind", 7)
    version = before.headers["x-version"]
    then = door.client.get(f"/data/{SILVER}?format=parquet&version={version}")
    assert then.headers["etag"] == before.headers["etag"]
    assert read(then.content, "parquet") == read(before.content, "parquet")
    old = door.client.post("/sql", json={"sql": "SELECT count(*) AS n FROM silver.pipeline_events"}).json()
    assert old["rows"] == [{"n": stored(door, SILVER).height}]


def test_a_row_that_another_replaced_is_told_by_nobody(door: Door) -> None:
    """Its bytes may still be in a file: DuckLake notes beside the file that it is deleted."""
    for duration in (1, 2):
        sent = {**EVENT, "pipeline_id": "p-replaced", "raw_data": {"duration_ms": duration}}
        answer = door.client.post("/ingest/pipeline_events", content=json.dumps(sent) + "\n", headers=SEND)
        assert answer.status_code == 202, answer.text
        bring_in(door.lake)
    (row,) = door.client.get(f"/data/{SILVER}?pipeline_id=p-replaced").json()["rows"]
    assert row["duration_ms"] == 2
    sql = "SELECT duration_ms FROM silver.pipeline_events WHERE pipeline_id = 'p-replaced'"
    assert door.client.post("/sql", json={"sql": sql}).json()["rows"] == [{"duration_ms": 2}]
    answer = door.client.post(f"{SHARED}/silver/tables/pipeline_events/query", json={})
    if answer.status_code == 200:
        rows = shared(door, SILVER).filter(pl.col("pipeline_id") == "p-replaced")
        assert rows["duration_ms"].to_list() == [2]
    else:
        assert not door.is_delta
        assert (answer.status_code, "delete" in answer.json()["message"]) == (400, True), answer.text
