"""A door in a process of its own, and senders that behave badly, or die, or find it dead.

Belongs here: sockets, kills, memory. Does not: what a body means (test_ingest.py).
"""

from __future__ import annotations

import gzip
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import polars as pl
import pytest
from test_ingest import NDJSON, bring_in, event, lines
from test_ingest_runs import wait

from lakehouse.pipeline import open_lake
from lakehouse.registry import contracts
from lakehouse.settings import Settings
from serving.keys import Keys

MEGABYTE = 1 << 20
# The server as it is, but for senders that it loses patience with sooner.
SERVER = """
import sys
from serving.ingest import receiving
receiving.Patience.__init__.__kwdefaults__.update(idle_seconds=1.0, grace_seconds=1.5)
from serving.__main__ import main
sys.exit(main())
"""


class Server:
    """A door onto a lake in a folder."""

    def __init__(self, place: Path, *argv: str) -> None:
        self.argv = argv or ("-c", SERVER)
        self.place, self.port = place, _free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        made = Keys(place / "api" / "keys.json").make("test", ["ingest", "read"])
        self.headers = {"Authorization": f"Bearer {made}", **NDJSON}
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        env = {
            **os.environ, "LAKE_URL": str(self.place / "lake"), "LANDING_URL": str(self.place / "landing"),
            "API_STATE": str(self.place / "api"), "API_PORT": str(self.port), "API_MAX_BODY_MB": "64",
            "ODP_DBT_PROJECT": "off",
        }  # fmt: skip
        with (self.place / "log").open("ab") as log:
            self.process = subprocess.Popen([sys.executable, *self.argv], env=env, stdout=log, stderr=log)
        wait("the door answers", self._answers, 120)

    def _answers(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, (self.place / "log").read_text()
        with closing(socket.socket()) as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def kill(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(30)

    def peak(self) -> int:
        """Return the most memory that it ever had, in bytes."""
        assert self.process is not None
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(next(line for line in status.splitlines() if line.startswith("VmHWM")).split()[1]) << 10

    def spooled(self) -> list[Path]:
        return list((self.place / "api" / "spool").iterdir())

    def outcomes(self) -> list[str]:
        files = sorted((self.place / "api" / "logs").glob("ingests-*.jsonl"))
        return [json.loads(line)["outcome"] for file in files for line in file.read_text().splitlines()]

    def send(self, body: Any, **headers: str) -> httpx.Response:
        where = f"{self.url}/ingest/pipeline_events"
        return httpx.post(where, content=body, headers={**self.headers, **headers}, timeout=120)

    def connect(self, *headers: str) -> socket.socket:
        """Return a connection on which the head of an ingest has been sent."""
        made = socket.create_connection(("127.0.0.1", self.port), timeout=30)
        own = [f"{name}: {text}" for name, text in self.headers.items()]
        head = ["POST /ingest/pipeline_events HTTP/1.1", f"Host: 127.0.0.1:{self.port}", *own, *headers]
        made.sendall("\r\n".join([*head, "", ""]).encode())
        return made


def _free_port() -> int:
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    made = Server(tmp_path_factory.mktemp("door"))
    made.start()
    yield made
    made.kill()


def landed(place: Path) -> list[str]:
    return [file.name for file in open_lake(_settings(place)).landing.list()]


def _settings(place: Path) -> Settings:
    return Settings(lake_url=str(place / "lake"), landing_url=str(place / "landing"))


@pytest.mark.slow
def test_large_and_endless_bodies_leave_memory_flat(server: Server) -> None:
    server.send(lines(event("01")))
    before, files = server.peak(), landed(server.place)
    # A length that says so: refused before a byte is sent.
    with server.connect(f"Content-Length: {1 << 40}", "Expect: 100-continue") as sender:
        assert sender.recv(4096).startswith(b"HTTP/1.1 413 ")

    def endless(limit: int = 200) -> Iterator[bytes]:
        for _ in range(limit):
            yield b" " * MEGABYTE

    assert _status(server, endless()) == 413
    bomb = gzip.compress(b"\n" * (300 * MEGABYTE))
    assert len(bomb) < MEGABYTE
    assert _status(server, bomb, **{"Content-Encoding": "gzip"}) == 413
    assert landed(server.place) == files
    wait("nothing is left over", lambda: not server.spooled())
    assert server.peak() - before < 64 * MEGABYTE


def test_a_large_body_of_records_leaves_memory_flat(server: Server) -> None:
    server.send(lines(event("02")))
    before = server.peak()
    body = b"".join(lines(event("03", pipeline_id=f"p-{n}")) for n in range(200_000))
    assert 25 * MEGABYTE < len(body) < 64 * MEGABYTE
    begin = time.monotonic()
    answer = server.send(body)
    assert answer.status_code == 202, answer.text
    print(
        f"{len(body) / MEGABYTE / (time.monotonic() - begin):.0f} MB/s",
        (server.peak() - before) >> 20,
        "MB more",
    )
    assert server.peak() - before < 200 * MEGABYTE


def test_who_sends_too_slowly_is_cut(server: Server) -> None:
    files = landed(server.place)
    with server.connect("Content-Length: 1000") as silent:
        silent.sendall(b"{")
        assert silent.recv(4096).startswith(b"HTTP/1.1 408 ")
    with server.connect("Transfer-Encoding: chunked") as slow:
        ended = threading.Event()

        def drip() -> None:
            try:
                while not ended.wait(0.2):
                    slow.sendall(b"1\r\n \r\n")
            except OSError:
                pass

        dripping = threading.Thread(target=drip)
        dripping.start()
        try:
            assert slow.recv(4096).startswith(b"HTTP/1.1 408 ")
        finally:
            ended.set()
            dripping.join()
    assert landed(server.place) == files
    wait("nothing is left over", lambda: not server.spooled())


def test_who_leaves_in_the_middle_has_sent_nothing(server: Server) -> None:
    files, cut = landed(server.place), server.outcomes().count("cut")
    body = lines(event("04"))
    for how in (f"Content-Length: {len(body) + 1}", "Transfer-Encoding: chunked"):
        with server.connect(how) as sender:
            sender.sendall(body if "Length" in how else b"%x\r\n%s\r\n" % (len(body), body))
    wait("both are noted", lambda: server.outcomes().count("cut") == cut + 2)
    assert landed(server.place) == files
    wait("nothing is left over", lambda: not server.spooled())


def test_a_length_that_lies_is_no_body(server: Server) -> None:
    """Bytes past Content-Length are another request, which is none."""
    body = lines(event("05"))
    with server.connect(f"Content-Length: {len(body)}") as sender:
        sender.sendall(body + body)
        # Whichever is answered first: the one that came whole, or the one that is no HTTP.
        assert sender.recv(65_536).startswith((b"HTTP/1.1 202 ", b"HTTP/1.1 400 "))
    with server.connect("Content-Length: 5", "Transfer-Encoding: chunked") as sender:
        sender.sendall(b"5\r\nhello\r\n0\r\n\r\n")
        assert sender.recv(4096).startswith((b"HTTP/1.1 400 ", b"HTTP/1.1 422 "))


def _status(server: Server, body: Any, **headers: str) -> int:
    return server.send(body, **headers).status_code


@pytest.mark.slow
def test_what_was_answered_202_is_in_exactly_once_whatever_is_killed(tmp_path: Path) -> None:
    server = Server(tmp_path)
    server.start()
    bodies = [lines(event(f"{n:02}", pipeline_id=f"p-{n}")) * 1000 for n in range(30)]
    taken: set[int] = set()

    def send(numbers: list[int]) -> None:
        for number in numbers:
            try:
                if server.send(bodies[number]).status_code == 202:
                    taken.add(number)
            except httpx.HTTPError:
                pass

    senders = [threading.Thread(target=send, args=([*range(k, 30, 5)],)) for k in range(5)]
    for one in senders:
        one.start()
    wait("some are in", lambda: len(taken) >= 8)
    server.kill()
    for one in senders:
        one.join(60)
    assert 8 <= len(taken) < 30
    (tmp_path / "api" / "spool").joinpath("left").write_bytes(b"of a killed process")
    server.start()
    assert server.spooled() == []
    before = set(taken)
    send([*range(30)])
    server.kill()
    assert len(taken) == 30 > len(before)
    lake = open_lake(_settings(tmp_path))
    bring_in(lake)
    [bronze] = [table for table in contracts() if table.path == "bronze/raw_pipeline_events"]
    rows = lake.store.scan(bronze).group_by("pipeline_id").agg(pl.len()).collect()
    assert dict(rows.iter_rows()) == {f"p-{n}": 1000 for n in range(30)}
    assert len(lake.landing.list()) == 30


@pytest.mark.slow
def test_two_hundred_at_once_are_in_exactly_once_though_the_server_dies_twice(tmp_path: Path) -> None:
    """Each sends until it is answered 202; a quarter of them send what somebody else sends too."""
    server = Server(tmp_path, "-m", "serving")
    server.start()
    bodies = [lines(event("01", pipeline_id=f"p-{n}")) * 20 for n in range(150)]
    answers: list[int] = []
    ids: dict[int, set[str]] = {n: set() for n in range(150)}

    def send(number: int) -> None:
        while True:
            try:
                answer = http.post(where, content=bodies[number], headers=server.headers)
            except httpx.HTTPError:
                time.sleep(0.1)
                continue
            answers.append(answer.status_code)
            if answer.status_code == 202:
                ids[number].add(answer.json()["tracking_id"])
                return

    where = f"{server.url}/ingest/pipeline_events"
    senders = [threading.Thread(target=send, args=(n % 150,)) for n in range(200)]
    with httpx.Client(timeout=120, limits=httpx.Limits(max_connections=None)) as http:
        for one in senders:
            one.start()
        for taken in (20, 100):
            wait("some are in", lambda taken=taken: len(answers) >= taken)
            server.kill()
            server.start()
        for one in senders:
            one.join(60)
    server.kill()
    assert answers == [202] * 200
    assert [len(found) for found in ids.values()] == [1] * 150
    lake = open_lake(_settings(tmp_path))
    assert len(lake.landing.list()) == 150
    bring_in(lake)
    for path, each in (("bronze/raw_pipeline_events", 20), ("silver/pipeline_events", 1)):
        [table] = [table for table in contracts() if table.path == path]
        rows = lake.store.scan(table).group_by("pipeline_id").agg(pl.len()).collect()
        assert dict(rows.iter_rows()) == {f"p-{n}": each for n in range(150)}
