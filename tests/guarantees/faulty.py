"""A store whose answers cannot be trusted: what landed is told from what did not.

Belongs here: a proxy before the object store, and trials through it. Does not: races, kills.
"""

from __future__ import annotations

import http.client
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

import polars as pl
from races import pool
from verdicts import LOG, Verdict, judged

from lakehouse.errors import Conflict, StorageUnavailable
from lakehouse.settings import Settings
from lakehouse.store import CommitOptions, open_store

FAULTS = ("stored, then 503", "stored, then 500", "stored, then dropped", "dropped before", "503 before")
STALL = "stored, then silent"
_STALL_SECONDS = 33.0  # the client gives up after 30


class Proxy(ThreadingHTTPServer):
    """Hands every request on, and spoils the answers of the next commits (`PUT …/_delta_log/….json`)."""

    daemon_threads = True

    def __init__(self, upstream: str) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.upstream = urlsplit(upstream).netloc
        self.fault: str | None = None
        self.left = 0
        self.gate = threading.Lock()
        self.ended = threading.Event()

    def spoil(self, fault: str, times: int = 1) -> None:
        with self.gate:
            self.fault, self.left = fault, times

    def next_fault(self, method: str, path: str) -> str | None:
        is_commit = method == "PUT" and "/_delta_log/" in path and ".json" in path
        with self.gate:
            if not is_commit or not self.left:
                return None
            self.left -= 1
            return self.fault


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Proxy

    def _any(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        fault = self.server.next_fault(self.command, self.path)
        if fault == "dropped before":
            return self._drop()
        if fault == "503 before":
            return self._answer(503, {}, b"")
        status, headers, text = self._ask(body)
        if fault in ("stored, then 503", "stored, then 500"):
            return self._answer(int(fault[-3:]), {}, b"")
        if fault == STALL:
            self.server.ended.wait(_STALL_SECONDS)
            return self._drop()
        if fault == "stored, then dropped":
            return self._drop()
        return self._answer(status, headers, text)

    def _ask(self, body: bytes) -> tuple[int, dict[str, str], bytes]:
        upstream = http.client.HTTPConnection(self.server.upstream, timeout=60)
        upstream.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
        for name, value in self.headers.items():
            upstream.putheader(name, value)
        upstream.endheaders(body)
        answer = upstream.getresponse()
        text = answer.read()
        headers = {
            k: v for k, v in answer.getheaders() if k.lower() not in ("connection", "transfer-encoding")
        }
        upstream.close()
        return answer.status, headers, text

    def _answer(self, status: int, headers: dict[str, str], text: bytes) -> None:
        self.send_response_only(status)
        for name, value in headers.items():
            if name.lower() != "content-length" or self.command == "HEAD":
                self.send_header(name, value)
        if self.command != "HEAD":
            self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(text)

    def _drop(self) -> None:
        self.close_connection = True
        self.connection.shutdown(socket.SHUT_RDWR)

    def log_message(self, *_: object) -> None: ...

    do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = _any  # noqa: N815


@contextmanager
def between(settings: Settings) -> Iterator[tuple[Settings, Proxy]]:
    """Yield settings that reach the object store through a proxy, and the proxy."""
    assert settings.s3_endpoint
    proxy = Proxy(settings.s3_endpoint)
    thread = threading.Thread(target=proxy.serve_forever, daemon=True)
    thread.start()
    try:
        yield replace(settings, s3_endpoint=f"http://127.0.0.1:{proxy.server_port}"), proxy
    finally:
        proxy.ended.set()
        proxy.shutdown()
        proxy.server_close()
        thread.join(10)


def ambiguous(settings: Settings, *, rounds: int = 4, stall: bool = True) -> Verdict:
    """Commit through each fault, with and without state: what is acknowledged is there once, all else is not.

    The writer is another process: the library holds the interpreter while it waits for an answer.
    """
    acked, told, number = [], 0, 0
    open_store(settings).ensure(LOG)
    with between(settings) as (reached, proxy), pool(1) as (writer, _):
        for fault in [*FAULTS * rounds, *([STALL] if stall else [])]:
            for times in (1, 2) if fault != STALL else (1,):
                number += 1
                proxy.spoil(fault, times)
                if writer.submit(_append, reached, number).result(timeout=180):
                    acked.append(number)
                else:
                    told += 1
                proxy.spoil(fault, 0)
    found = [(n,) for n in open_store(settings).scan(LOG).collect()["n"]]
    return judged(found, [(n,) for n in acked], trials=number, told=told)


def _append(settings: Settings, number: int) -> bool:
    """Say whether the commit was acknowledged; an error has to mean that it did not land."""
    counting = CommitOptions(reads=("rows",), state=lambda o, b: {"rows": b.get("rows", 0) + o.inserted})
    row = pl.DataFrame({"writer": [0], "n": [number]})
    try:
        open_store(settings).append(LOG, row, counting if number % 2 else CommitOptions())
    except (Conflict, StorageUnavailable):
        return False
    return True
