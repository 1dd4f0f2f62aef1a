"""What `/mcp` says of messages that are none: a code of JSON-RPC and words of its own."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from doors import key, settings_of
from fastapi.testclient import TestClient
from httpx import Response

from serving.app import make_app

GIVEN = "given-4711"
HEAD = {"jsonrpc": "2.0", "id": 1}
FOREIGN = ("validation error", "input_value", "pydantic", "line 1", "Invalid", "Parse error", GIVEN)


@pytest.fixture
def asked(tmp_path: Path) -> Iterator[TestClient]:
    """A client with a key of the scope `read`, of a lake without tables."""
    app = make_app(settings_of(tmp_path))
    accepted = {"Accept": "application/json, text/event-stream", "Content-Type": "application/json"}
    with TestClient(app, headers={**key(app, "read"), **accepted}) as made:
        yield made


def _message(**more: Any) -> bytes:
    return json.dumps({**HEAD, **more}).encode()


@pytest.mark.parametrize("version", [None, "2025-06-18", "2026-07-28"])
@pytest.mark.parametrize(
    ("body", "code", "own"),
    [
        (b"", -32700, None),
        (b"{", -32700, None),
        (b"\xff", -32700, None),
        (b"[" * 100_000, -32700, None),
        (b"[]", -32600, None),
        (f'"{GIVEN}"'.encode(), -32600, None),
        (b'{"jsonrpc": "2.0"}', -32600, None),
        (_message(jsonrpc=GIVEN, method="tools/list"), -32600, None),
        (_message(id={GIVEN: 1}, method="tools/list"), -32600, None),
        (_message(id=True, method="tools/list"), -32600, None),
        (_message(id=None, method="tools/list"), -32600, None),
        (_message(method=[GIVEN]), -32600, 1),
        (_message(error=GIVEN), -32600, None),
        (_message(method="tools/list", params=[GIVEN]), -32602, 1),
        (_message(method="tools/call", params={"name": [GIVEN]}), -32602, 1),
    ],
)
def test_a_message_that_is_none(
    asked: TestClient, body: bytes, code: int, own: int | None, version: str | None
) -> None:
    said = asked.post("/mcp", content=body, headers={"MCP-Protocol-Version": version} if version else {})
    document = said.json()
    assert (document["jsonrpc"], document["id"], document["error"]["code"]) == ("2.0", own, code)
    assert said.status_code in ((400, 200) if own else (400,))
    assert _own_words(said)


def test_a_method_that_is_none(asked: TestClient) -> None:
    said = asked.post("/mcp", content=_message(method=f"tools/{GIVEN}"))
    assert said.json() == {**HEAD, "error": {"code": -32601, "message": "there is no such method"}}


@pytest.mark.parametrize(
    ("head", "value", "status"),
    [
        ("Origin", f"http://{GIVEN}", 403),
        ("Content-Type", f"text/{GIVEN}", 400),
        ("Accept", f"text/{GIVEN}", 406),
    ],
)
def test_a_head_that_is_refused(asked: TestClient, head: str, value: str, status: int) -> None:
    said = asked.post("/mcp", content=_message(method="tools/list"), headers={head: value})
    assert said.status_code == status
    assert _own_words(said)
    assert "json" in said.headers["content-type"]


def test_what_is_right_is_answered_as_before(asked: TestClient) -> None:
    assert len(asked.post("/mcp", content=_message(method="tools/list")).json()["result"]["tools"]) == 8
    said = asked.post("/mcp", content=json.dumps({"jsonrpc": "2.0", "method": "notifications/initialized"}))
    assert (said.status_code, said.content) == (202, b"")
    assert asked.post("/mcp", content=b" " * (2 << 20)).status_code == 413


def _own_words(said: Response) -> bool:
    return not any(word in said.text for word in FOREIGN)
