"""Whether the door can do its work, and which of the things behind it answer.

Belongs here: the probes, `/health`, `/ready`. Does not: numbers (metrics.py).

    lake      the store that holds the tables     needed to read
    landing   where ingested files go             needed to ingest
    dagster   the webserver that starts runs      without it, files wait: the next run takes them
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as TooLate
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from fastapi import APIRouter, Request
from starlette.responses import JSONResponse, Response

from dagster_client import answers
from lakehouse.errors import StorageUnavailable, plain
from lakehouse.pipeline import Lake
from serving.settings import ServingSettings

router = APIRouter(tags=["operations"])
NEEDED = ("lake", "landing")
_PATIENCE_SECONDS = 3.0
_FRESH_SECONDS = 1.0
_CONNECT_SECONDS = 2.0


@dataclass(kw_only=True)
class Health:
    """Asks the components, at most once a second."""

    probes: dict[str, Callable[[], None]]
    _pool: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(4, "health"))
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _found: dict[str, dict[str, Any]] = field(default_factory=dict)
    _at: float = float("-inf")

    def look(self) -> dict[str, dict[str, Any]]:
        """Return `ok` of each component, and where it is false what is wrong."""
        with self._lock:
            if time.monotonic() - self._at > _FRESH_SECONDS:
                asked = {name: self._pool.submit(probe) for name, probe in self.probes.items()}
                deadline = time.monotonic() + _PATIENCE_SECONDS
                self._found = {}
                for name, one in asked.items():
                    self._found[name] = _judged(one, deadline)
                self._at = time.monotonic()
            return self._found

    def close(self) -> None:
        """Wait for nobody."""
        self._pool.shutdown(wait=False, cancel_futures=True)


def _judged(probe: Future[None], deadline: float) -> dict[str, Any]:
    try:
        probe.result(max(0, deadline - time.monotonic()))
    except TooLate:
        return {"ok": False, "says": f"no answer within {_PATIENCE_SECONDS:.0f} s"}
    except Exception as exc:  # noqa: BLE001  # a probe that fails is an answer
        return {"ok": False, "says": plain(exc)}
    return {"ok": True}


class Endpoint:
    """Where an object store listens: asked before each look at it, since its clients wait for minutes."""

    def __init__(self, url: str | None) -> None:
        parts = urlsplit(url or "")
        port = parts.port or (443 if parts.scheme == "https" else 80)
        self._address = (parts.hostname, port) if parts.hostname else None
        self._ok_until = 0.0

    def check(self) -> None:
        """Raise StorageUnavailable when nothing listens there."""
        if self._address is None or time.monotonic() < self._ok_until:
            return
        try:
            socket.create_connection(self._address, timeout=_CONNECT_SECONDS).close()
        except OSError:
            raise StorageUnavailable(
                "the object store does not answer. `make status` tells what runs; nothing is lost."
            ) from None
        self._ok_until = time.monotonic() + _FRESH_SECONDS


def probes_of(settings: ServingSettings, lake: Lake, endpoint: Endpoint) -> dict[str, Callable[[], None]]:
    """Return what asks each component."""

    def tables() -> None:
        endpoint.check()
        lake.store.files.own_names("leases")

    def landing() -> None:
        endpoint.check()
        lake.landing.list(".probe")

    def dagster() -> None:
        if not answers(settings.dagster_url or ""):
            raise StorageUnavailable("Dagster's webserver does not answer; files wait for the next run")

    found = {"lake": tables, "landing": landing}
    return {**found, "dagster": dagster} if settings.dagster_url else found


@router.get("/health", summary="How each component does")
def health(request: Request) -> dict[str, Any]:
    """`degraded` when any of them does not answer. The answer is 200 as long as the door itself runs."""
    found = request.app.state.health.look()
    return {"status": "ok" if all(one["ok"] for one in found.values()) else "degraded", "components": found}


@router.get("/ready", summary="Whether reads and ingests would work now")
def ready(request: Request) -> Response:
    """200 when they would, 503 when not."""
    found = request.app.state.health.look()
    waits = [name for name in NEEDED if not found[name]["ok"]]
    return JSONResponse({"ready": not waits, "waits_for": waits}, 503 if waits else 200)
