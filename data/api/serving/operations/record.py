"""One line in the journal and one count for each request.

Belongs here: that middleware. Does not: what a route notes of itself.
"""

from __future__ import annotations

import time
import uuid
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from lakehouse.errors import plain
from serving.operations.journal import Journal
from serving.operations.metrics import Metrics
from serving.problems import Problem


class Record:
    """Notes route, status, time and bytes of each request: the route's name, never what was asked of it."""

    def __init__(self, app: ASGIApp, *, journal: Journal, metrics: Metrics) -> None:
        self._app, self._journal, self._metrics = app, journal, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        begin, sent, status, begun = time.monotonic(), 0, 500, False
        request_id = uuid.uuid4().hex[:16]
        state: dict[str, Any] = scope.setdefault("state", {})

        async def noting(message: Message) -> None:
            nonlocal sent, status, begun
            if message["type"] == "http.response.start":
                status, begun = message["status"], True
                message["headers"] = [*message.get("headers", ()), (b"x-request-id", request_id.encode())]
            elif message["type"] == "http.response.body":
                sent += len(message.get("body", b""))
            await send(message)

        error, is_whole = None, False
        try:
            await self._app(scope, receive, noting)
            is_whole = True
        except Exception as exc:  # noqa: BLE001  # the server would print it, and its text may quote a value
            error = plain(exc)
            if not begun:
                await Problem(500, _FAILED).response()(scope, receive, noting)
                is_whole = True
        finally:
            seconds = time.monotonic() - begin
            route = getattr(scope.get("route"), "path", None) or "(none)"
            method = scope["method"] if scope["method"] in _METHODS else "OTHER"
            self._metrics.requests.labels(method, route, status).inc()
            self._metrics.seconds.labels(route).observe(seconds)
            caller = state.get("caller")
            error = error or state.get("error")
            note = {"error": error} if error else {}
            if not is_whole:
                note["ended"] = "cut"
            self._journal.write(
                request=request_id, method=method, route=route, status=status, ms=round(seconds * 1000, 1),
                bytes=sent, key=caller.id if caller else None, **note, **state.get("noted", {}),
            )  # fmt: skip
        if not is_whole:
            raise AnswerCut(f"an answer was cut short: {error}") from None


class AnswerCut(Exception):
    """An answer failed when some of it had gone: the connection ends, so that it is not taken for whole."""


_FAILED = "something failed here that should not have; the log of requests says where"
_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
