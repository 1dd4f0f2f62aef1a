"""What is wrong with a message of the protocol, in words of ours (JSON-RPC 2.0, 5.1).

Belongs here: checks before the protocol's library reads a message, and its errors told anew: it quotes what
it was sent, and its dependencies' words. Does not: errors of tools (server.py), or handling a message.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import mcp_types as types
import orjson
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serving.problems import TITLES, Problem

_WORDS: Mapping[int, str] = {
    types.PARSE_ERROR: "the body is no JSON",
    types.INVALID_REQUEST: "the message is not one that this server takes",
    types.METHOD_NOT_FOUND: "there is no such method",
    types.INVALID_PARAMS: "the parameters are not as the method, in this version of the protocol, has them",
    types.INTERNAL_ERROR: "something failed here that should not have; the API's log says where",
}
_HEADS = {
    400: "a head of the request is not as the protocol needs it",
    403: "a page of another site may not ask",
    406: "answers are JSON: accept application/json",
    415: "a message is JSON: give the Content-Type application/json",
}


def fault(body: bytes) -> Response | None:
    """Return the answer to a body that is no message; None where it is one, seen from outside."""
    try:
        message = orjson.loads(body)
    except orjson.JSONDecodeError:
        return _answer(types.PARSE_ERROR)
    if not isinstance(message, dict):
        return _answer(types.INVALID_REQUEST, "a body is one message, an object; no list of several")
    if message.get("jsonrpc") != "2.0":
        return _answer(types.INVALID_REQUEST, 'a message states "jsonrpc": "2.0"')
    own = message.get("id")
    if "id" in message and (isinstance(own, bool) or not isinstance(own, str | int)):
        return _answer(types.INVALID_REQUEST, "the id is a text or a whole number")
    if not isinstance(message.get("method", ""), str):
        return _answer(types.INVALID_REQUEST, "the method is a text", own)
    if not isinstance(message.get("params", {}), dict):
        return _answer(types.INVALID_PARAMS, "params is an object", own)
    return None


async def told(handle: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
    """Let `handle` answer; of an error it answers with, status and code stay alone."""
    start: Message | None = None
    parts: list[bytes] = []

    async def sent(message: Message) -> None:
        nonlocal start
        if message["type"] == "http.response.start":
            start = message
            return
        parts.append(message.get("body", b""))
        if message.get("more_body", False) or start is None:
            return
        body = b"".join(parts)
        if (ours := _again(start["status"], body)) is not None:
            await ours(scope, receive, send)
            return
        await send(start)
        await send({"type": "http.response.body", "body": body})

    await handle(scope, receive, sent)


def _again(status: int, body: bytes) -> Response | None:
    """Return an error in our words; None for what is no error."""
    if status < 400 and b'"error":{' not in body:
        return None
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError:
        document = None
    error = document.get("error") if isinstance(document, dict) else None
    if not isinstance(error, dict):
        return None if status < 400 else Problem(status, _head(status)).response()
    code, own = error.get("code"), document.get("id")
    # Of versions and heads: clients agree by it on a version, and it quotes no more.
    if not isinstance(code, int) or code not in _WORDS:
        return None
    if code == types.INVALID_PARAMS and own is None:  # said of the message as a whole
        code = types.INVALID_REQUEST
    return _answer(code, _HEADS[status] if status in (406, 415) else None, own, status=status)


def _head(status: int) -> str:
    return _HEADS.get(status) or TITLES.get(status, "Error").lower()


def _answer(code: int, says: str | None = None, own: Any = None, *, status: int = 400) -> Response:
    document = {"jsonrpc": "2.0", "id": own, "error": {"code": code, "message": says or _WORDS[code]}}
    return JSONResponse(document, status)
