"""HEAD on every path that GET is answered on."""

from __future__ import annotations

import json
import socket
from pathlib import Path

import pytest
from doors import key, running
from fastapi import FastAPI
from fastapi.testclient import TestClient

ROWS = "/data/gold/pipeline_metrics"
PATHS = (
    "/", "/tables/gold/pipeline_metrics", "/send", "/query", "/login", "/static/page.css", "/static/none",
    "/health", "/ready", "/openapi.json", "/catalog", "/catalog/gold/pipeline_metrics", "/catalog/gold/none",
    ROWS, f"{ROWS}?format=arrow", f"{ROWS}?format=csv&limit=3", f"{ROWS}?version=999", f"{ROWS}?none=1",
    "/data/gold/none", "/ingest/none/status", "/delta-sharing/shares",
    "/delta-sharing/shares/odp/schemas/gold/tables/pipeline_metrics/version", "/none", "/sql",
)  # fmt: skip
# What is counted or timed anew with each answer, and lengths of what is not read for a head.
_OWN = {"x-request-id", "date"}


@pytest.mark.parametrize("path", PATHS)
def test_head_says_what_get_says_without_its_body(app: FastAPI, path: str) -> None:
    with TestClient(app, headers=key(app), follow_redirects=False) as client:
        get, head = client.get(path), client.head(path)
    assert (head.status_code, head.content) == (get.status_code, b"")
    said, asked = ({k: v for k, v in one.headers.items() if k not in _OWN} for one in (head, get))
    if path.startswith(ROWS) and get.status_code == 200:
        assert "content-length" not in said  # it would be known from the rows alone
        asked.pop("content-length", None)
        assert said["etag"].startswith('W/"')
    if path == "/catalog":  # it tells how old each table is: a second more may be a digit more
        assert said.pop("content-length")
        assert asked.pop("content-length")
    assert said == asked


def test_head_of_rows_that_have_not_changed_is_304_and_reads_none(
    app: FastAPI, client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(app.state.reader, "rows", None)
    tag = client.head(ROWS).headers["etag"]
    again = client.head(ROWS, headers={"If-None-Match": tag})
    assert (again.status_code, again.headers["etag"]) == (304, tag)


def test_head_needs_the_key_that_get_needs(app: FastAPI) -> None:
    with TestClient(app) as nobody:
        assert nobody.head(ROWS).status_code == 401
        assert nobody.head("/ingest/pipeline_events").status_code == 405


@pytest.mark.slow  # a server of its own
def test_a_connection_goes_on_after_a_head(sample: Path, tmp_path: Path) -> None:
    """As a client sees it that takes what follows a head for the next answer; the journal says HEAD."""
    with running(sample, state=tmp_path / "api") as server:
        head = f"HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {server.key('read')}\r\n"
        asked = f"HEAD /catalog {head}\r\nHEAD {ROWS}?format=arrow {head}\r\n"
        asked += f"GET /ready {head}Connection: close\r\n\r\n"
        with socket.create_connection(("127.0.0.1", server.port), timeout=30) as made:
            made.sendall(asked.encode())
            said = b""
            while piece := made.recv(65_536):
                said += piece
        (log,) = (server.state / "logs").glob("requests-*.jsonl")
        noted = [json.loads(line) for line in log.read_text().splitlines()]
    first, second, third = said.split(b"HTTP/1.1 200 OK\r\n")[1:]
    assert first.endswith(b"\r\n\r\n")
    assert second.endswith(b"\r\n\r\n")
    assert third.endswith(b'{"ready":true,"waits_for":[]}')
    assert [(one["method"], one["route"]) for one in noted if one["method"] == "HEAD"] == [
        ("HEAD", "/catalog"), ("HEAD", "/data/{layer}/{table}"),
    ]  # fmt: skip
