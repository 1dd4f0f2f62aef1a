"""Health, readiness, numbers and the journal."""

from __future__ import annotations

import json
import shutil
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
import uvicorn
from checkouts import wait_until
from doors import key, settings_of
from fastapi import FastAPI
from fastapi.testclient import TestClient
from starlette.responses import StreamingResponse

from lakehouse.errors import StorageUnavailable
from serving.app import make_app
from serving.operations.health import Endpoint


def test_ready_means_that_the_lake_can_be_read(place: Path) -> None:
    app = make_app(settings_of(place))
    with TestClient(app) as client:
        assert client.get("/health").json() == {
            "status": "ok",
            "components": {"lake": {"ok": True}, "landing": {"ok": True}},
        }
        assert client.get("/ready").status_code == 200
    shutil.rmtree(place / "landing")
    with TestClient(make_app(settings_of(place))) as client:
        (place / "landing").rmdir()
        answer = client.get("/ready")
        assert (answer.status_code, answer.json()["waits_for"]) == (503, ["landing"])
        assert client.get("/health").json()["status"] == "degraded"


def test_dagster_away_is_degraded_and_ready(place: Path) -> None:
    app = make_app(settings_of(place, dagster_url="http://127.0.0.1:9"))
    with TestClient(app) as client:
        assert client.get("/health").json()["components"]["dagster"]["ok"] is False
        assert client.get("/ready").status_code == 200


def test_a_store_that_does_not_answer_is_no_empty_table(place: Path) -> None:
    app = make_app(settings_of(place))
    down = Endpoint("http://127.0.0.1:9")
    with TestClient(app, headers=key(app, "read")) as client:
        assert "odp_lake_up 1.0" in client.get("/metrics").text
        app.state.reader._reachable = app.state.describer._reachable = down.check
        for path in ("/data/gold/pipeline_metrics", "/catalog", "/catalog/gold/pipeline_metrics"):
            answer = client.get(path)
            assert answer.status_code == 503, path
            assert answer.headers["Retry-After"]
        assert "odp_lake_up 0.0" in client.get("/metrics").text
    with pytest.raises(StorageUnavailable):
        down.check()


def test_numbers_are_those_of_the_tables(place: Path) -> None:
    app = make_app(settings_of(place))
    with TestClient(app, headers=key(app, "read")) as client:
        card = client.get("/catalog/silver/pipeline_events").json()
        text = client.get("/metrics").text
    assert f'odp_table_rows{{table="silver/pipeline_events"}} {float(card["rows"])}' in text
    assert f'odp_table_version{{table="silver/pipeline_events"}} {float(card["version"])}' in text
    assert 'odp_requests_total{method="GET",route="/catalog/{layer}/{table}",status="200"} 1.0' in text


def test_the_journal_has_a_line_for_each_request_and_no_payload(place: Path) -> None:
    app = make_app(settings_of(place))
    with TestClient(app, headers=key(app, "read")) as client:
        client.get("/data/silver/patient?gender=VALUE-IN-A-FILTER")
        client.get("/data/gold/nothing-SECRET")
        client.request("SECRETVERB", "/x")
    [log] = (place / "api" / "logs").glob("requests-*.jsonl")
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert [(line["route"], line["status"]) for line in lines] == [
        ("/data/{layer}/{table}", 200),
        ("/data/{layer}/{table}", 404),
        ("(none)", 404),
    ]
    assert "SECRET" not in log.read_text()
    assert "VALUE" not in log.read_text()
    assert log.stat().st_mode & 0o077 == 0


def test_the_journal_starts_a_file_a_day(place: Path) -> None:
    from serving.operations.journal import Journal

    journal = Journal(place / "logs", "x")
    journal.write(one=1)
    journal._day = "2026-01-01"
    journal.write(two=2)
    journal.close()
    [log] = (place / "logs").iterdir()
    assert [json.loads(line).get("two") for line in log.read_text().splitlines()] == [None, 2]


@pytest.mark.parametrize("late", [False, True], ids=["before the answer", "in the middle of it"])
def test_what_fails_unexpectedly_quotes_nothing(
    place: Path, late: bool, capfd: pytest.CaptureFixture[str]
) -> None:
    """Nor does the server print it: a dependency's text may hold a value."""

    def pieces() -> Iterator[bytes]:
        yield b"some"
        raise ValueError("Ada Lovelace")

    def failing() -> StreamingResponse:
        if late:
            return StreamingResponse(pieces())
        raise ValueError("Ada Lovelace")

    app = make_app(settings_of(place))
    app.add_api_route("/failing", failing)
    with serving(app) as url:
        try:
            answer = httpx.get(f"{url}/failing")
            assert (answer.status_code, late) == (500, False)
            assert answer.headers["content-type"] == "application/problem+json"
            assert "Lovelace" not in answer.text
        except httpx.RemoteProtocolError:
            assert late
    [log] = (place / "api" / "logs").glob("requests-*.jsonl")
    line = json.loads(log.read_text().splitlines()[-1])
    assert "ValueError" in line["error"]
    assert line.get("ended") == ("cut" if late else None)
    printed = capfd.readouterr()
    assert "Lovelace" not in printed.out + printed.err + log.read_text()


@contextmanager
def serving(app: FastAPI) -> Iterator[str]:
    """Serve an application by the server itself, in a thread."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        wait_until("the server has started", lambda: server.started, 60)
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        server.should_exit = True
        thread.join(30)
