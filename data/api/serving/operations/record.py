"""One line in the journal and one count for each request.

Belongs here: that middleware. Does not: what a route notes of itself.
"""

from __future__ import annotations

import time
import uuid
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serving.operations.journal import Journal
from serving.operations.metrics import Metrics


class Record:
    """Notes route, status, time and bytes of each request: the route's name, never what was asked of it."""

    def __init__(self, app: ASGIApp, *, journal: Journal, metrics: Metrics) -> None:
        self._app, self._journal, self._metrics = app, journal, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        begin, sent, status = time.monotonic(), 0, 500
        request_id = uuid.uuid4().hex[:16]
        state: dict[str, Any] = scope.setdefault("state", {})

        async def noting(message: Message) -> None:
            nonlocal sent, status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message.get("headers", ()), (b"x-request-id", request_id.encode())]
            elif message["type"] == "http.response.body":
                sent += len(message.get("body", b""))
            await send(message)

        ended = "cut"
        try:
            await self._app(scope, receive, noting)
            ended = "whole"
        finally:
            seconds = time.monotonic() - begin
            route = getattr(scope.get("route"), "path", None) or "(none)"
            method = scope["method"] if scope["method"] in _METHODS else "OTHER"
            self._metrics.requests.labels(method, route, status).inc()
            self._metrics.seconds.labels(route).observe(seconds)
            caller = state.get("caller")
            note = {"error": state["error"]} if "error" in state else {}
            if ended == "cut":
                note["ended"] = ended
            self._journal.write(
                request=request_id, method=method, route=route, status=status, ms=round(seconds * 1000, 1),
                bytes=sent, key=caller.id if caller else None, **note, **state.get("noted", {}),
            )  # fmt: skip


_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
