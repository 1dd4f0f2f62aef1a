"""What a read and an ingest over HTTP cost, beside a bare server over the same files, in one run.

Belongs here: both servers, their client, and what is measured. Does not: what else `make bench` prints.
The floor is the least anybody would write by hand: Uvicorn, one route, DuckDB over the table's files; no
keys, no contract, no versions, no paging. Client and server share this machine's cores.

    point    the rows of one pipeline from a table of 1 M rows, one request after the other
    small    a page of a small Gold table, one after the other, then from four connections
    arrow    1 M rows as an Arrow stream
    ingest   one file of NDJSON, from the first byte to the answer 202

    python ops/bench/api.py [--rows 1000000] [--json]
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROWS = 1_000_000
_SILVER, _GOLD, _KEY = "silver/pipeline_events", "gold/pipeline_metrics", "pipeline_id"
_POINTS, _SECONDS, _CONNECTIONS = 60, 4.0, 4
_INGEST_BYTES = 100 << 20
_ARROWS = 3
_READY_SECONDS = 60


def main(argv: list[str] | None = None) -> int:
    if argv is None and len(sys.argv) > 1 and sys.argv[1] == "--floor":
        return _floor(json.loads(sys.argv[2]), int(sys.argv[3]))
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=ROWS)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(argv)
    result = measure(options.rows)
    print(json.dumps(result) if options.json else as_text(result))
    return 0


def measure(rows: int) -> dict[str, Any]:
    """Fill a lake, then ask both servers in turn; return seconds, rates, ratios and peak memory."""
    with tempfile.TemporaryDirectory(prefix="odp-bench-") as folder:
        root = Path(folder)
        lake = _fill(root, rows)
        silver, gold = (next(t for t in _contracts() if t.path == path) for path in (_SILVER, _GOLD))
        keys = lake.store.scan(silver).select(_KEY).collect()[_KEY]
        chosen = [str(keys[int(i * len(keys) / _POINTS)]) for i in range(_POINTS)]
        files = {
            t.path: [f"{lake.store.uri(t)}/{n}" for n in lake.store.file_names(t)] for t in (silver, gold)
        }
        asked = {"files": files, "silver": _SILVER, "gold": _GOLD, "key": _KEY}
        found: dict[str, Any] = {"rows": rows}
        with _server([sys.executable, __file__, "--floor", json.dumps(asked)], {}, "/gold") as (port, pid):
            found["floor"] = _reads(port, pid, lambda k: f"/point?{k}", "/gold", "/arrow", chosen)
        env = {
            "API_STATE": str(root / "api"),
            "API_OPEN_READ": "true",
            "LAKE_URL": str(root / "lake"),
            "LANDING_URL": str(root / "landing"),
            "ODP_DBT_PROJECT": "off",
        }
        key = _ingest_key(env)
        with _server([sys.executable, "-m", "serving"], env, "/health") as (port, pid):
            found["api"] = _reads(
                port, pid, lambda k: f"/data/{_SILVER}?{_KEY}={k}", f"/data/{_GOLD}",
                f"/data/{_SILVER}?format=arrow", chosen,
            )  # fmt: skip
        with _server([sys.executable, "-m", "serving"], env, "/health") as (port, pid):
            found["ingest"] = _ingest(port, pid, key, _events(root / "events.ndjson"))
    floor, api = found["floor"], found["api"]
    found["ratios"] = {
        "point": api["point_ms"] / floor["point_ms"],
        "small": api["small_ms"] / floor["small_ms"],
        "arrow": floor["arrow_s"] / api["arrow_s"],
    }
    return found


def _contracts() -> Any:
    from lakehouse.registry import contracts

    return contracts()


def _fill(root: Path, rows: int) -> Any:
    from lakehouse.domains.pipelines import sample
    from lakehouse.materialize import materialize
    from lakehouse.pipeline import open_lake
    from lakehouse.registry import tables
    from lakehouse.settings import Settings

    os.environ["ODP_DBT_PROJECT"] = "off"
    lake = open_lake(Settings(lake_url=str(root / "lake"), landing_url=str(root / "landing")))
    file = root / "landing" / "pipeline_events" / "events.parquet"
    file.parent.mkdir(parents=True)
    sample.write(sample.events(rows, seed=1, clock=sample.CLOCK), file)
    for table in tables():
        if table.contract.domain == "pipelines":
            materialize(lake, table, checks=False)
    return lake


def _ingest_key(env: dict[str, str]) -> str:
    argv = [sys.executable, "-m", "serving.keys", "create", "--name", "bench", "--scopes", "ingest"]
    done = subprocess.run(argv, env={**os.environ, **env}, capture_output=True, text=True, check=True)
    return done.stdout.strip()


@contextmanager
def _server(argv: list[str], env: dict[str, str], ready: str) -> Iterator[tuple[int, int]]:
    """Start a server on a free port, wait until it answers, and end it."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    more = [str(port)] if "--floor" in argv else []
    child = subprocess.Popen([*argv, *more], env={**os.environ, **env, "API_PORT": str(port)})
    try:
        deadline = time.monotonic() + _READY_SECONDS
        while True:
            try:
                _get(http.client.HTTPConnection("127.0.0.1", port, timeout=5), ready)
                break
            except OSError:
                if child.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError(f"{argv[1:3]} did not come up") from None
                time.sleep(0.1)
        yield port, child.pid
    finally:
        child.send_signal(signal.SIGTERM)
        try:
            child.wait(20)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()


def _get(connection: http.client.HTTPConnection, path: str) -> int:
    connection.request("GET", path)
    answer = connection.getresponse()
    size = 0
    while piece := answer.read(1 << 20):
        size += len(piece)
    if answer.status != 200:
        raise RuntimeError(f"{path.partition('?')[0]} answered {answer.status}")
    return size


def _reads(
    port: int, pid: int, point: Callable[[str], str], small: str, arrow: str, keys: list[str]
) -> dict[str, float]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    for path in (point(keys[0]), small):
        _get(connection, path)  # opens the files once
    points = [_timed(lambda key=key: _get(connection, point(key))) for key in keys]
    smalls = [_timed(lambda: _get(connection, small)) for _ in range(300)]
    rate = _rate(port, small)
    spent = _cpu_seconds(pid)
    arrows = [_timed(lambda: _get(connection, arrow)) for _ in range(_ARROWS)]
    spent = (_cpu_seconds(pid) - spent) / _ARROWS
    return {
        "point_ms": statistics.median(points) * 1000,
        "small_ms": statistics.median(smalls) * 1000,
        "small_per_s": rate,
        "arrow_s": statistics.median(arrows),
        "arrow_cpu_s": spent,
        "peak_mb": _peak(pid),
        "libraries_mb": _libraries(pid),
    }


def _timed(call: Callable[[], Any]) -> float:
    begin = time.perf_counter()
    call()
    return time.perf_counter() - begin


def _rate(port: int, path: str) -> float:
    """Return how many requests in a second are answered to some connections at once."""
    counts = [0] * _CONNECTIONS
    end = time.monotonic() + _SECONDS

    def ask(place: int) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        while time.monotonic() < end:
            _get(connection, path)
            counts[place] += 1

    threads = [threading.Thread(target=ask, args=(place,)) for place in range(_CONNECTIONS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(counts) / _SECONDS


def _cpu_seconds(pid: int) -> float:
    """Return the processor time of a process: what a machine shared with others does not change."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _libraries(pid: int) -> float:
    """Return the part of a process's memory that mapped files are, in megabytes: its libraries' code."""
    text = Path(f"/proc/{pid}/status").read_text()
    return int(next(line for line in text.splitlines() if line.startswith("RssFile")).split()[1]) / 1024


def _peak(pid: int) -> float:
    """Return the most memory that a process has had, in megabytes."""
    text = Path(f"/proc/{pid}/status").read_text()
    line = next(line for line in text.splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) / 1024


def _ingest(port: int, pid: int, key: str, body: Path) -> dict[str, float]:
    """Send a file of NDJSON; return its size, seconds and the server's memory before and at its peak."""
    before = _peak(pid)
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=300, blocksize=1 << 18)
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/x-ndjson",
               "Content-Length": str(body.stat().st_size)}  # fmt: skip
    with body.open("rb") as lines:
        begin, spent = time.perf_counter(), _cpu_seconds(pid)
        connection.request("POST", "/ingest/pipeline_events", body=lines, headers=headers)
        answer = connection.getresponse()
        said = answer.read()
        seconds, spent = time.perf_counter() - begin, _cpu_seconds(pid) - spent
    if answer.status != 202:
        raise RuntimeError(f"ingest answered {answer.status}: {said[:300]!r}")
    size = json.loads(said)["bytes"] / 1e6
    return {
        "mb": size,
        "seconds": seconds,
        "cpu_s": spent,
        "mb_per_s": size / seconds,
        "base_mb": before,
        "peak_mb": _peak(pid),
    }


def _events(file: Path) -> Path:
    """Write the lines to send, before what is measured: to make them takes longer than to take them."""
    with file.open("wb") as out:
        number = 0
        while out.tell() < _INGEST_BYTES:
            out.write(b"".join(_line(i) for i in range(number, number + 2000)))
            number += 2000
    return file


def _line(number: int) -> bytes:
    row = {
        "pipeline_id": f"b-{number}",
        "event_type": "pipeline.completed",
        "workspace_id": f"w-{number % 997}",
        "timestamp": f"2026-01-{number % 28 + 1:02d}T00:00:00Z",
        "raw_data": {"duration_ms": number % 10_000, "note": "x" * 120},
    }
    return json.dumps(row).encode() + b"\n"


def _floor(asked: dict[str, Any], port: int) -> int:
    import duckdb
    import pyarrow as pa
    import uvicorn

    database = duckdb.connect()
    tables = {name: f"read_parquet({asked['files'][asked[name]]!r})" for name in ("silver", "gold")}

    async def app(scope: Any, _: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        cursor = database.cursor()
        start = {"type": "http.response.start", "status": 200, "headers": []}
        await send(start)
        if scope["path"] == "/arrow":
            reader = cursor.execute(f"SELECT * FROM {tables['silver']}").to_arrow_reader(65536)
            sink = pa.BufferOutputStream()
            writer = pa.ipc.new_stream(sink, reader.schema)
            for batch in reader:
                writer.write_batch(batch)
                await send(
                    {"type": "http.response.body", "body": sink.getvalue().to_pybytes(), "more_body": True}
                )
                sink = pa.BufferOutputStream()
                writer = pa.ipc.new_stream(sink, reader.schema)
            await send({"type": "http.response.body", "body": b""})
            return
        if scope["path"] == "/gold":
            rows = cursor.execute(f"SELECT * FROM {tables['gold']} LIMIT 100")
        else:
            wanted = scope["query_string"].decode()
            rows = cursor.execute(f"SELECT * FROM {tables['silver']} WHERE {asked['key']} = ?", [wanted])
        names = [column[0] for column in rows.description]
        found = [dict(zip(names, row, strict=True)) for row in rows.fetchall()]
        await send({"type": "http.response.body", "body": json.dumps(found, default=str).encode()})

    uvicorn.run(app, host="127.0.0.1", port=port, log_level="warning", access_log=False, lifespan="off")
    return 0


def as_text(result: dict[str, Any]) -> str:
    """The table of `make bench`."""
    floor, api, ingest, ratios = result["floor"], result["api"], result["ingest"], result["ratios"]

    def line(name: str, key: str, unit: str, digits: int, ratio: float | None = None) -> str:
        figures = " ".join(f"{of[key]:>8.{digits}f} {unit}" for of in (api, floor))
        return f"{name:<24} {figures}" + ("" if ratio is None else f" {ratio:>7.2f}")

    rates = api["small_per_s"] / floor["small_per_s"]
    memory = f"memory {ingest['base_mb']:.0f} → {ingest['peak_mb']:.0f} MB"
    return "\n".join(
        [
            f"{'API, ' + format(result['rows'], ',') + ' rows':<24} {'API':>11} {'floor':>11}   ratio",
            line("point read, median", "point_ms", "ms", 1, ratios["point"]),
            line("small page, median", "small_ms", "ms", 1, ratios["small"]),
            line("small pages", "small_per_s", "/s", 0, rates),
            line("all rows as Arrow", "arrow_s", "s ", 2, ratios["arrow"]),
            line("  of processor time", "arrow_cpu_s", "s ", 2),
            line("peak memory", "peak_mb", "MB", 0),
            line("  libraries' code in it", "libraries_mb", "MB", 0),
            f"{'ingest of NDJSON':<24} {ingest['mb_per_s']:>8.0f} MB/s   {ingest['mb']:.0f} MB, {memory}, "
            f"{ingest['cpu_s']:.2f} s of processor time",
        ]
    )


if __name__ == "__main__":
    sys.exit(main())
