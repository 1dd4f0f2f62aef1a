"""The health checks of compose.yml: each probe against a server that is well, ill, or not there."""

from __future__ import annotations

import http.server
import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent import futures
from contextlib import contextmanager
from pathlib import Path

import grpc
import pytest
from checkouts import ROOT, free_ports
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

PROBE = ROOT / "ops" / "local" / "probe.py"
CHECK = ROOT / "ops" / "local" / "healthcheck.sh"


def probe(*args: str, patience: float = 0) -> tuple[int, str]:
    """Exit code and output, as Docker would see them."""
    argv = [sys.executable, "-I", "-S", str(PROBE), *args]
    env = {"PATIENCE": str(patience)}
    done = subprocess.run(argv, env=env, capture_output=True, text=True, timeout=30, check=False)
    assert done.stderr == ""
    return done.returncode, done.stdout


@contextmanager
def web(status: int, body: bytes) -> Iterator[int]:
    """A server that gives one answer to everything."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_POST = do_GET  # noqa: N815 - the name http.server asks for

        def log_message(self, *args: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_address[1]
        server.shutdown()


def heartbeats(**ages: float | None) -> bytes:
    """What Dagster answers: seconds since each daemon's last heartbeat; a name in capitals is needed."""
    statuses = [
        {"daemonType": name, "required": name.isupper(), "lastHeartbeatTime": age and time.time() - age}
        for name, age in ages.items()
    ]
    return json.dumps({"data": {"instance": {"daemonHealth": {"allDaemonStatuses": statuses}}}}).encode()


@pytest.mark.parametrize(("status", "code"), [(200, 0), (500, 1), (404, 1)])
def test_http(status: int, code: int) -> None:
    with web(status, b"{}") as port:
        assert probe("http", f"http://127.0.0.1:{port}/server_info")[0] == code


@pytest.mark.parametrize(
    ("ages", "says"),
    [
        ({"SENSOR": 1.0, "SCHEDULER": 31.0, "asset": None}, ""),
        ({"SENSOR": 1.0, "SCHEDULER": 60.0}, ""),
        ({"SENSOR": 1.0, "SCHEDULER": 100.0}, "no heartbeat within 90 s: SCHEDULER\n"),
        ({"SENSOR": 50.0, "SCHEDULER": 60.0}, "no heartbeat within 45 s: SENSOR, SCHEDULER\n"),
        ({"SENSOR": None}, "no heartbeat within 45 s: SENSOR\n"),
        ({}, "no heartbeat within 45 s: no daemon at all\n"),
    ],
)
def test_daemon(ages: dict[str, float | None], says: str) -> None:
    with web(200, heartbeats(**ages)) as port:
        url = f"http://127.0.0.1:{port}/graphql"
        assert probe("daemon", url) == ((1, f"daemon {url}: {says}") if says else (0, ""))


@pytest.fixture
def grpc_server() -> Iterator[tuple[health.HealthServicer, str]]:
    server = grpc.server(futures.ThreadPoolExecutor(2))
    servicer = health.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield servicer, f"127.0.0.1:{port}"
    server.stop(0)


@pytest.mark.parametrize(("status", "code"), [("SERVING", 0), ("NOT_SERVING", 1), ("UNKNOWN", 1)])
def test_grpc(grpc_server: tuple[health.HealthServicer, str], status: str, code: int) -> None:
    servicer, address = grpc_server
    servicer.set("DagsterApi", health_pb2.HealthCheckResponse.ServingStatus.Value(status))
    assert probe("grpc", address, "DagsterApi")[0] == code


def test_grpc_of_an_unknown_service(grpc_server: tuple[health.HealthServicer, str]) -> None:
    code, said = probe("grpc", grpc_server[1], "Nobody")
    assert (code, "Nobody" in said) == (1, True)


@pytest.mark.parametrize("kind", ["tcp", "http", "grpc", "daemon"])
def test_nobody_there(kind: str) -> None:
    [port] = free_ports(1)
    where = f"http://127.0.0.1:{port}/x" if kind in ("http", "daemon") else f"127.0.0.1:{port}"
    code, said = probe(kind, where, *(["DagsterApi"] if kind == "grpc" else []))
    assert (code, "Connection refused" in said) == (1, True)


def test_a_probe_waits_as_long_as_it_may() -> None:
    [port] = free_ports(1)
    begin = time.monotonic()
    assert probe("tcp", f"127.0.0.1:{port}", patience=1.0)[0] == 1
    assert time.monotonic() - begin >= 1.0


def test_a_probe_costs_next_to_nothing() -> None:
    """Five of them a minute or so: 0.1 CPU-s each would already be 1 % of a core for an idle stack."""
    import resource

    with web(200, b"{}") as port:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        for _ in range(5):
            assert probe("http", f"http://127.0.0.1:{port}/")[0] == 0
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime) / 5 < 0.15


@pytest.fixture
def check(tmp_path: Path) -> Path:
    """The script with its mark in a folder of this test, and rests of a second."""
    script = tmp_path / "healthcheck"
    text = CHECK.read_text().replace("/tmp/.healthy", str(tmp_path / "seen"))
    script.write_text(text.replace("PATIENCE=30", "PATIENCE=3"))
    assert script.read_text() != CHECK.read_text()
    return script


def run(check: Path, probe: str) -> tuple[int, float]:
    begin = time.monotonic()
    done = subprocess.run(["sh", str(check), "1", "sh", "-c", probe], timeout=30, check=False)
    return done.returncode, time.monotonic() - begin


def test_the_first_check_asks_until_it_hears_and_later_ones_rest_first(check: Path, tmp_path: Path) -> None:
    ready = tmp_path / "ready"
    threading.Timer(1.0, ready.touch).start()
    code, seconds = run(check, f"test -e {ready}")
    assert (code, (tmp_path / "seen").exists()) == (0, True)
    assert 0.9 < seconds < 3
    code, seconds = run(check, f"test -e {ready}")
    assert code == 0
    assert seconds >= 1


def test_a_check_that_never_hears_fails_and_leaves_no_mark(check: Path, tmp_path: Path) -> None:
    assert run(check, "false")[0] == 1
    assert not (tmp_path / "seen").exists()
