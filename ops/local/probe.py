#!/usr/bin/env -S python3 -I -S
"""Asks one service whether it works: `probe KIND ADDRESS...`, stdlib only, 0.02 CPU-s.

Belongs here: the questions of the health checks in compose.yml. Does not: what follows from an answer.

    tcp HOST:PORT...        something accepts connections
    http URL                answers GET with 200
    grpc HOST:PORT SERVICE  grpc.health.v1 says SERVING; answered by the server's code, not its socket
    daemon URL              Dagster's GraphQL says that every daemon it needs had a heartbeat lately

Asks again for PATIENCE seconds (environment, default 0), then prints why not and exits 1. Dagster's own
checks do the same for 0.8 to 1.7 CPU-s each. Bare sockets, since importing http.client would double the cost.
"""

import os
import socket
import sys
import time

TIMEOUT = 3.0
PAUSE = 0.2
# A living daemon beats every 30 s; Dagster itself would believe a dead one for half an hour.
SILENT_AFTER = 45.0
# One of its threads may rest longer: the scheduler sleeps to the next full minute between two beats.
THREAD_SILENT_AFTER = 90.0
HEARTBEATS = "{instance{daemonHealth{allDaemonStatuses{daemonType required lastHeartbeatTime}}}}"


def tcp(*addresses: str) -> None:
    """Raise OSError unless every address accepts a connection."""
    for address in addresses:
        host, _, port = address.rpartition(":")
        socket.create_connection((host, int(port)), timeout=TIMEOUT).close()


def http(url: str, body: bytes = b"") -> bytes:
    """Return what the URL answers. Raises OSError unless it answers with 200."""
    host, _, path = url.removeprefix("http://").partition("/")
    name, _, port = host.partition(":")
    head = f"{'POST' if body else 'GET'} /{path} HTTP/1.0\r\nHost: {host}\r\nConnection: close\r\n"
    if body:
        head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
    with socket.create_connection((name, int(port or 80)), timeout=TIMEOUT) as connection:
        connection.sendall(head.encode() + b"\r\n" + body)
        answer = connection.makefile("rb").read()
    status, _, rest = answer.partition(b"\r\n")
    if status.split()[1:2] != [b"200"]:
        raise OSError(f"{url} answered {status.decode(errors='replace') or 'nothing'}")
    return rest.partition(b"\r\n\r\n")[2]


def daemon(url: str) -> None:
    """Raise OSError naming the daemons without a recent heartbeat."""
    import json

    answer = json.loads(http(url, json.dumps({"query": HEARTBEATS}).encode()))
    statuses = answer["data"]["instance"]["daemonHealth"]["allDaemonStatuses"]
    beats = {s["daemonType"]: s["lastHeartbeatTime"] or 0 for s in statuses if s["required"]}
    alive = any(beat >= time.time() - SILENT_AFTER for beat in beats.values())
    patience = THREAD_SILENT_AFTER if alive else SILENT_AFTER
    silent = [name for name, beat in beats.items() if beat < time.time() - patience]
    if silent or not statuses:
        raise OSError(f"no heartbeat within {patience:.0f} s: {', '.join(silent) or 'no daemon at all'}")


def grpc(address: str, service: str) -> None:
    """Raise OSError unless the service's health is SERVING, asked over a bare HTTP/2 connection."""
    host, _, port = address.rpartition(":")
    name = service.encode()
    message = b"\n" + bytes([len(name)]) + name  # HealthCheckRequest{service = 1}
    request = (
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
        + _frame(4, 0, 0)  # SETTINGS, empty
        + _frame(1, 4, 1, _headers(address))  # HEADERS, END_HEADERS
        + _frame(0, 1, 1, b"\0" + len(message).to_bytes(4, "big") + message)  # DATA, END_STREAM
    )
    with socket.create_connection((host, int(port)), timeout=TIMEOUT) as connection:
        connection.sendall(request)
        stream = connection.makefile("rb")
        while head := stream.read(9):
            size, kind, number = int.from_bytes(head[:3], "big"), head[3], int.from_bytes(head[5:9], "big")
            body = stream.read(size)
            if kind == 0 and number == 1:  # DATA: five bytes of length, then HealthCheckResponse{status = 1}
                if body[5:] != b"\x08\x01":
                    raise OSError(f"{service} at {address} is not serving")
                return
            if kind in (3, 7) or (
                kind == 1 and head[4] & 1
            ):  # RST_STREAM, GOAWAY, or trailers without an answer
                break
    raise OSError(f"{address} does not know {service} (or is going away)")


def _frame(kind: int, flags: int, stream: int, body: bytes = b"") -> bytes:
    return len(body).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + body


def _headers(authority: str) -> bytes:
    """Header fields in HPACK's plainest form: literal, not indexed, no Huffman code."""
    fields = {
        ":method": "POST",
        ":scheme": "http",
        ":path": "/grpc.health.v1.Health/Check",
        ":authority": authority,
        "content-type": "application/grpc",
        "te": "trailers",
    }
    texts = (text.encode() for pair in fields.items() for text in pair)
    strings = [bytes([len(text)]) + text for text in texts]
    return b"".join(b"\0" + strings[i] + strings[i + 1] for i in range(0, len(strings), 2))


KINDS = {"tcp": tcp, "http": http, "grpc": grpc, "daemon": daemon}


def main(kind: str, *arguments: str) -> int:
    """Ask until it works or patience ends; return the exit code."""
    end = time.monotonic() + float(os.environ.get("PATIENCE") or 0)
    while True:
        try:
            KINDS[kind](*arguments)  # type: ignore[operator]
        except Exception as exc:  # noqa: BLE001 - any failure to answer is the answer
            if time.monotonic() >= end:
                print(f"{kind} {' '.join(arguments)}: {exc or type(exc).__name__}")
                return 1
            time.sleep(PAUSE)
        else:
            return 0


if __name__ == "__main__":
    if len(sys.argv) < 3 or sys.argv[1] not in KINDS:
        sys.exit(__doc__)
    sys.exit(main(*sys.argv[1:]))
