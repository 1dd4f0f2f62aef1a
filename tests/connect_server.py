"""A Spark Connect server of this machine for tests: that of PROFILE=distributed, in a process of its own.

Belongs here: starting and ending it. Does not: what is asked of it.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from checkouts import free_ports, wait_until


@contextmanager
def connect_server(folder: Path, **more: str) -> Iterator[str]:
    """Yield the address of a server that keeps what it computes, and its tables, in `folder`; with more
    environment.
    """
    (port,) = free_ports(1)
    env = os.environ | {
        "LAKE_URL": str(folder), "LANDING_URL": str(folder), "ODP_SCRATCH": str(folder),
        "CONNECT_PORT": str(port),
    } | more  # fmt: skip
    with (folder / "server.log").open("wb") as log:
        server = subprocess.Popen(
            [sys.executable, "-m", "lakehouse.engine.spark.server"],
            cwd=folder,
            env=env,
            stdout=log,
            stderr=log,
        )
        try:
            wait_until("Sail takes connections", lambda: server.poll() is not None or _answers(port), 60)
            assert server.poll() is None, (folder / "server.log").read_text()
            yield f"sc://127.0.0.1:{port}"
        finally:
            server.kill()  # with a session open, it does not end at a TERM
            server.wait()


def _answers(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True
