"""Clients that hold connections: slow heads, long heads, rests of bodies, answers that nobody reads.

Belongs here: sockets against a real server. Does not: bodies of ingest (test_ingest_server.py).
"""

from __future__ import annotations

import ast
import asyncio
import inspect
import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from checkouts import wait_until
from doors import Running, running
from uvicorn import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from serving.connections import Connection

# The server as it is, but for clients that it loses patience with sooner, and fewer of them.
SERVER = """
import sys
from serving import app, connections
connections.Connection.head_seconds = 1.5
connections.Connection.unread_seconds = 1.5
connections.Connection.most = 12
app._BODY_SECONDS = 1.5
from serving.__main__ import main
sys.exit(main())
"""
_HEAD = b"GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\n"


@pytest.fixture(scope="module")
def server(sample: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running(sample, "-c", SERVER, state=tmp_path_factory.mktemp("state")) as made:
        yield made


def connect(server: Running) -> socket.socket:
    return socket.create_connection(("127.0.0.1", server.port), timeout=10)


def answer(made: socket.socket) -> bytes:
    """Return all that comes until the server closes; what was sent to a closed connection ends it too."""
    found = b""
    try:
        while piece := made.recv(65_536):
            found += piece
    except ConnectionResetError:
        pass
    return found


def problem(said: bytes) -> tuple[int, str]:
    """Return status and title of an answer that is a problem document."""
    head, _, body = said.partition(b"\r\n\r\n")
    assert b"content-type: application/problem+json" in head
    assert b"connection: close" in head.lower()
    document = json.loads(body)
    assert head.startswith(b"HTTP/1.1 %d " % document["status"])
    return document["status"], document["title"]


def drip(made: socket.socket, text: bytes, ended: threading.Event) -> None:
    try:
        for byte in text:
            if ended.wait(0.1):
                return
            made.sendall(bytes([byte]))
    except OSError:
        pass


def test_only_what_uvicorn_shows_is_used_of_it() -> None:
    """Methods that it calls are there to be replaced, attributes to be read, and none is private."""
    made = HttpToolsProtocol(
        Config(lambda: None, http=Connection), ServerState(), {}, asyncio.new_event_loop()
    )
    (tree,) = ast.parse(inspect.getsource(Connection)).body
    assert isinstance(tree, ast.ClassDef)
    own = {name for name in vars(Connection) if not name.startswith("__")}
    own |= {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store) and node.attr.startswith("_")
    }
    used = {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "self"
    }
    limits = {"head_seconds", "unread_seconds", "most"}
    replaced = {name for name in own if not name.startswith("_")} - limits
    assert replaced == {
        "connection_made", "connection_lost", "data_received", "pause_writing", "resume_writing",
        "on_message_begin", "on_header", "on_headers_complete", "on_body", "on_message_complete",
    }  # fmt: skip
    assert used - own == {
        "app", "config", "connections", "cycle", "expect_100_continue", "headers", "loop", "parser",
        "pipeline", "transport", "url",
    }  # fmt: skip
    missing = [name for name in replaced | (used - own) - {"url"} if not hasattr(made, name)]
    assert not missing
    assert not [name for name in own if name.startswith("_") and hasattr(made, name)]


@pytest.mark.parametrize("before", [b"", _HEAD + b"\r\n"])
def test_a_head_that_comes_byte_by_byte_is_cut(server: Running, before: bytes) -> None:
    """The first of a connection, and one after an answer. It goes on coming until the server closes."""
    with connect(server) as slow:
        slow.sendall(before)
        ended = threading.Event()
        dripping = threading.Thread(target=drip, args=(slow, _HEAD * 100, ended))
        begin = time.monotonic()
        dripping.start()
        try:
            first, mark, last = answer(slow).rpartition(b"HTTP/1.1 ")
            assert problem(mark + last) == (408, "Too slow")
            assert first.startswith(b"HTTP/1.1 200 ") == bool(before)
            assert time.monotonic() - begin > 1  # not at once; 1.5 s are its time
            assert dripping.is_alive()  # it has not waited for the head, which takes longer than any test may
        finally:
            ended.set()
            dripping.join()


def test_a_connection_that_says_nothing_is_closed(server: Running) -> None:
    with connect(server) as silent:
        assert answer(silent) == b""


def send_lines(to: socket.socket) -> None:
    """Send more lines of a head than a server takes, until it has closed."""
    for _ in range(70):
        time.sleep(0.005)
        try:
            to.sendall(b"X-More: " + b"x" * 1000 + b"\r\n")
        except OSError:
            break


def test_a_head_without_end_is_refused(server: Running) -> None:
    with connect(server) as endless:
        endless.sendall(_HEAD)
        send_lines(endless)
        assert answer(endless).startswith(b"HTTP/1.1 431 ")


def test_trailers_without_end_are_refused(server: Running) -> None:
    key = server.key("ingest")
    head = f"POST /ingest/pipeline_events HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {key}"
    rest = "\r\nContent-Type: application/x-ndjson\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n \r\n0\r\n"
    with connect(server) as endless:
        endless.sendall((head + rest).encode())
        send_lines(endless)
        assert answer(endless).startswith(b"HTTP/1.1 431 ")


@pytest.mark.parametrize("cut", [0, 40, 10_000])
def test_who_asks_for_another_protocol_is_answered_in_this_one_with_its_body(
    server: Running, cut: int
) -> None:
    """As Java's client does, which sends the body with the same request."""
    sql = json.dumps({"sql": "SELECT 42 AS x" + " " * 20_000})
    head = (
        f"POST /sql HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {server.key('read', 'sql')}\r\n"
        "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: x\r\n"
        f"Content-Length: {len(sql)}\r\n\r\n"
    )
    whole = (head + sql).encode()
    with connect(server) as java:
        java.sendall(whole[:cut])
        time.sleep(0.1)
        java.sendall(whole[cut:] + _HEAD + b"Connection: close\r\n\r\n")
        said = answer(java)
    assert b'"rows":[{"x":42}]' in said
    assert said.count(b"HTTP/1.1 200 ") == 2


def test_a_tunnel_is_no_request(server: Running) -> None:
    with connect(server) as strange:
        strange.sendall(b"CONNECT a:1 HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        assert problem(answer(strange)) == (400, "Bad request")


@pytest.mark.parametrize("hosts", [(), ("127.0.0.1", "evil.example"), ("127.0.0.1", "127.0.0.1")])
def test_a_request_names_one_host(server: Running, hosts: tuple[str, ...]) -> None:
    """RFC 9112, 3.2: a server must refuse a request with none, and one with several."""
    lines = "".join(f"Host: {host}\r\n" for host in hosts)
    with connect(server) as strange:
        strange.sendall(f"GET /health HTTP/1.1\r\n{lines}Connection: close\r\n\r\n".encode())
        assert problem(answer(strange)) == (400, "Bad request")


@pytest.mark.parametrize(("version", "waits"), [("1.1", True), ("1.0", False)])
def test_who_waits_to_be_asked_for_a_body_is_asked(server: Running, version: str, waits: bool) -> None:
    """RFC 9110, 10.1.1: a client of HTTP/1.0 would take `100 Continue` for its answer."""
    body = b'{"pipeline_id":"p-expect"}\n'
    head = (
        f"POST /ingest/pipeline_events HTTP/{version}\r\nHost: 127.0.0.1\r\nConnection: close\r\n"
        f"Authorization: Bearer {server.key('ingest')}\r\nExpect: 100-continue\r\n"
        f"Content-Type: application/x-ndjson\r\nContent-Length: {len(body)}\r\n\r\n"
    ).encode()
    with connect(server) as polite:
        polite.sendall(head if waits else head + body)
        if waits:
            assert polite.recv(65_536) == b"HTTP/1.1 100 Continue\r\n\r\n"
            polite.sendall(body)
        assert answer(polite).startswith(b"HTTP/1.1 202 ")


@pytest.mark.parametrize(
    "path", ["/sql", "/login", "/delta-sharing/shares/odp/schemas/gold/tables/pipeline_metrics/query", "/mcp"]
)
def test_a_body_that_is_cut_short_is_no_failure_of_the_server(server: Running, path: str) -> None:
    key = server.key("read", "sql", "share")
    head = (
        f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {key}\r\nContent-Length: 9\r\n"
        "Origin: http://127.0.0.1\r\nContent-Type: application/json\r\n"
        "Accept: application/json, text/event-stream\r\n\r\n"
    )
    (log,) = (server.state / "logs").glob("requests-*.jsonl")
    before = len(log.read_text().splitlines())
    with connect(server) as gone:
        gone.sendall(head.encode() + b"{")
        time.sleep(0.3)
    wait_until("it is noted", lambda: len(log.read_text().splitlines()) > before, 10)
    assert json.loads(log.read_text().splitlines()[before])["status"] == 400


def test_what_is_no_http_is_told_as_a_problem(server: Running) -> None:
    with connect(server) as strange:
        strange.sendall(b"\x16\x03\x01 no http\r\n\r\n")
        assert problem(answer(strange)) == (400, "Bad request")


def test_the_rest_of_a_body_whose_answer_has_gone_is_not_waited_for(server: Running) -> None:
    with connect(server) as slow:
        slow.sendall(b"POST /nosuch HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 100000\r\n\r\n ")
        ended = threading.Event()
        dripping = threading.Thread(target=drip, args=(slow, b" " * 100, ended))
        dripping.start()
        try:
            assert answer(slow).count(b"HTTP/1.1 ") == 1
        finally:
            ended.set()
            dripping.join()


def test_a_body_that_is_read_whole_has_a_time(server: Running) -> None:
    for path in ("/sql", "/login"):
        key = server.key("read", "sql")
        head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {key}\r\n"
        with connect(server) as slow:
            slow.sendall(f"{head}Origin: http://127.0.0.1\r\nContent-Length: 100\r\n\r\n{{".encode())
            assert answer(slow).startswith(b"HTTP/1.1 408 ")


def test_a_slow_body_of_an_ingest_is_taken(server: Running) -> None:
    body = b'{"pipeline_id":"p"}'
    head = (
        f"POST /ingest/nosuch HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {server.key('ingest')}\r\n"
        f"Content-Type: application/x-ndjson\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    with connect(server) as slow:
        slow.sendall(head.replace("nosuch", "pipeline_events").encode())
        drip(slow, body, threading.Event())  # 1.9 s
        time.sleep(0.5)
        said = slow.recv(65_536)
        assert said.startswith((b"HTTP/1.1 202 ", b"HTTP/1.1 422 ")), said


@pytest.mark.slow
def test_an_answer_that_nobody_reads_is_ended(server: Running) -> None:
    sql = json.dumps({"sql": "SELECT repeat('x', 1000) AS x FROM range(60000)", "format": "ndjson"})
    head = (
        f"POST /sql HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {server.key('read', 'sql')}\r\n"
        f"Content-Length: {len(sql)}\r\n\r\n"
    )
    (log,) = (server.state / "logs").glob("requests-*.jsonl")
    with connect(server) as deaf:
        deaf.sendall((head + sql).encode())
        wait_until("it has ended", lambda: '"/sql", "status": 200' in log.read_text(), 20)
        assert len(answer(deaf)) < 60_000_000


def test_too_many_connections_are_told_so_and_then_served_again(server: Running) -> None:
    with ExitStack() as held:
        silent = [held.enter_context(connect(server)) for _ in range(12)]
        with connect(server) as late:
            late.sendall(_HEAD + b"\r\n")
            assert problem(answer(late)) == (503, "Not available")
        more = [held.enter_context(connect(server)) for _ in range(14)]
        assert answer(more[-1]) == b""
        assert all(answer(one) == b"" for one in silent)
    with connect(server) as later:
        later.sendall(_HEAD + b"\r\n")
        assert later.recv(65_536).startswith(b"HTTP/1.1 200 ")
