"""Bodies sent to the door, and what becomes of them in the lake.

Belongs here: everything that a client inside the process shows. Does not: sockets (test_ingest_server.py).
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import key, settings_of
from fastapi.testclient import TestClient

from lakehouse.pipeline import Lake, open_lake
from lakehouse.registry import tables
from lakehouse.settings import Settings
from serving.app import make_app

SHARED = Path(os.environ.get("ODP_SHARED_DATA", "/work/shared/data"))
NDJSON = {"Content-Type": "application/x-ndjson"}
JSON = {"Content-Type": "application/json"}
CSV = {"Content-Type": "text/csv"}
PARQUET = {"Content-Type": "application/vnd.apache.parquet"}


def event(run: str, **changed: Any) -> dict[str, Any]:
    return {
        "pipeline_id": "p-1", "event_type": "run_started", "workspace_id": "w-1",
        "timestamp": f"2026-01-15T12:00:{run}Z", "raw_data": json.dumps({"run_id": run}), **changed,
    }  # fmt: skip


def lines(*records: dict[str, Any]) -> bytes:
    return b"".join(json.dumps(one).encode() + b"\n" for one in records)


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return open_lake(Settings(lake_url=str(tmp_path / "lake"), landing_url=str(tmp_path / "landing")))


@pytest.fixture
def sender(tmp_path: Path, lake: Lake) -> Iterator[TestClient]:
    """A client with a key of the scope `ingest`, at a door onto an empty lake."""
    app = make_app(settings_of(tmp_path, max_body_bytes=1 << 20))
    with TestClient(app, headers=key(app, "ingest"), raise_server_exceptions=False) as made:
        yield made


def landed(lake: Lake) -> list[str]:
    return [file.name for file in lake.landing.list()]


def bring_in(lake: Lake, domain: str = "pipelines") -> None:
    from lakehouse.materialize import materialize

    for table in tables():
        if table.contract.domain == domain and table.contract.layer in ("bronze", "silver"):
            materialize(lake, table, checks=False)


def test_what_was_sent_comes_to_its_end(sender: TestClient, lake: Lake) -> None:
    body = lines(event("01"), event("02"), event("02"), {"event_type": "run_started"})
    sha = hashlib.sha256(body).hexdigest()
    answer = sender.post("/ingest/pipeline_events", content=body, headers=NDJSON)
    assert answer.status_code == 202, answer.text
    assert answer.json() == {
        "tracking_id": f"pipeline_events~{sha}", "dataset": "pipeline_events", "cohort": None,
        "status": "queued", "bytes": len(body), "sha256": sha,
    }  # fmt: skip
    assert landed(lake) == [f"pipeline_events/api/{sha}.ndjson"]
    where = answer.headers["location"]
    assert sender.get(where).json()["status"] == "queued"
    bring_in(lake)
    found = sender.get(where).json()
    assert (found["status"], found["rows"]) == ("done", 4)
    [silver] = found["tables"]
    assert silver["table"] == "silver/pipeline_events"
    assert silver["taken"] == 4 == silver["written"] + silver["merged"] + silver["rejected"]
    assert silver["merged"] == 1
    assert silver["rejected"] == 1
    assert silver["rejects"]
