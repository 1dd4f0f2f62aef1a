"""HEAD, answered as GET is, without the body (RFC 9110, 9.3.2).

Belongs here: that middleware. Does not: what a route leaves out where nobody will see its body (`is_bare`).

FastAPI answers GET alone where a route names it alone. A route with an answer of its own to HEAD keeps it:
what is refused as 405, while GET is allowed, is asked as GET.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send


def is_bare(request: Request) -> bool:
    """Return whether only the head of the answer will be sent."""
    return bool(getattr(request.state, "is_bare", False))


class Heads:
    """Asks for what HEAD names as GET does, where no route answers HEAD, and sends the head alone."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "HEAD":
            await self._app(scope, receive, send)
            return
        is_refused = False

        async def unless_refused(message: Message) -> None:
            nonlocal is_refused
            if message["type"] == "http.response.start":
                is_refused = _allows_get(message)
            if not is_refused:
                await send(message)

        await self._app(scope, receive, unless_refused)
        if not is_refused:
            return
        asked = {**scope, "method": "GET", "state": scope.setdefault("state", {})}
        asked["state"]["is_bare"] = True

        async def bare(message: Message) -> None:
            if message["type"] == "http.response.start":
                await send(message)
            elif not message.get("more_body", False):
                await send({"type": "http.response.body", "body": b""})

        try:
            await self._app(asked, receive, bare)
        finally:
            scope["route"] = asked.get("route")  # for who writes down what was asked


def _allows_get(start: Mapping[str, Any]) -> bool:
    allowed = Headers(raw=list(start.get("headers", ()))).get("allow", "")
    return bool(start["status"] == 405) and "GET" in allowed.replace(",", " ").split()
