"""The protocol at `/mcp`: streamable HTTP without sessions, answers in JSON.

Belongs here: requests, keys, errors of tools as the protocol tells them. Does not: tools (catalog.py), or
what is no message of the protocol (faults.py).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any
from urllib.parse import urlsplit

import anyio
import anyio.to_thread
import mcp_types as types
import orjson
from mcp.server.context import ServerRequestContext
from mcp.server.lowlevel import Server
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
from mcp.server.transport_security import TransportSecuritySettings
from pydantic import ValidationError
from starlette.requests import HTTPConnection, Request
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from lakehouse.errors import LakeError, plain
from serving.access import Caller, may
from serving.operations.journal import note_error
from serving.problems import Problem
from serving.settings import ServingSettings
from serving.sql.process import Ticket
from serving.tools import faults
from serving.tools.catalog import Call, Tool, Toolbox

PATH = "/mcp"
_MOST_BODY = 1 << 20
_MOST_ANSWER = 1 << 20
_GONE = "the client has gone before there was an answer"
_reads = may("read")
_INSTRUCTIONS = (
    "Tables of a lakehouse, read-only. Begin with list_tables, then describe_table: contracts say what a row "
    "is, units, keys and rules. Personal data is masked or left out."
)


class ToolServer:
    """The tools of one application at `/mcp`."""

    def __init__(self, toolbox: Toolbox, settings: ServingSettings) -> None:
        self._toolbox = toolbox
        self._server: Server[Any] = Server(
            "odp", version="1", instructions=_INSTRUCTIONS, on_list_tools=self._list, on_call_tool=self._call
        )
        self._settings = settings
        self._manager: StreamableHTTPSessionManager | None = None
        self.route = Route(PATH, self, methods=["GET", "POST", "DELETE"], include_in_schema=False)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Answer while it is open."""
        manager = StreamableHTTPSessionManager(
            app=self._server,
            json_response=True,
            stateless=True,
            security_settings=_security(self._settings),
            max_request_body_size=_MOST_BODY,
        )
        async with manager.run():
            self._manager = manager
            try:
                yield
            finally:
                self._manager = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request. Raises Problem 401, 403, 429 before anything is read."""
        scope["route"] = self.route
        _reads(HTTPConnection(scope))
        if self._manager is None:
            raise Problem(503, "the application is starting or ending")
        if scope["method"] != "POST":
            raise Problem(405, "there are no sessions here: every call is a POST", headers={"Allow": "POST"})
        body = await _body(receive)
        if (wrong := faults.fault(body)) is not None:
            await wrong(scope, receive, send)
            return
        handle = partial(faults.told, self._manager.handle_request)
        await _while_connected(handle, scope, _replayed(body, receive), send)

    async def _list(
        self, _: ServerRequestContext[Any, Request], __: types.PaginatedRequestParams | None
    ) -> types.ListToolsResult:
        return types.ListToolsResult(tools=[_told(tool) for tool in self._toolbox.tools.values()])

    async def _call(
        self, context: ServerRequestContext[Any, Request], asked: types.CallToolRequestParams
    ) -> types.CallToolResult:
        request = context.request
        if request is None:
            return _wrong("this server is asked over HTTP")
        caller: Caller = request.state.caller
        ticket = Ticket()
        try:
            # Of the limiter of SQL statements: see sql/routes.py.
            return await anyio.to_thread.run_sync(
                lambda: self._answer(asked, Call(caller=caller, ticket=ticket), request),
                abandon_on_cancel=True,
                limiter=anyio.CapacityLimiter(1),
            )
        except anyio.get_cancelled_exc_class():
            ticket.give_up()
            raise

    def _answer(
        self, asked: types.CallToolRequestParams, call: Call, request: Request
    ) -> types.CallToolResult:
        tool = self._toolbox.tools.get(asked.name)
        if tool is None:
            return _wrong(f"there is no such tool; there are {', '.join(self._toolbox.tools)}")
        request.state.noted = {"tool": tool.name}
        if missing := [scope for scope in tool.scopes if not call.caller.has(scope)]:
            return _wrong(f"{tool.name} needs a key with the scope {' and '.join(missing)}")
        try:
            said = tool.run(tool.arguments.model_validate(asked.arguments or {}), call)
        except ValidationError as exc:
            # Without the input that was refused: it may be anything.
            return _wrong("; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in exc.errors()))
        except Problem as exc:
            return _wrong(exc.detail)
        except LakeError as exc:
            return _wrong(plain(exc))
        except Exception as exc:  # noqa: BLE001  # an agent is told that it failed, the log where
            note_error(request, plain(exc))
            return _wrong("something failed here that should not have; the API's log says where")
        text = orjson.dumps(said)
        if len(text) > _MOST_ANSWER:
            return _wrong(f"the answer is larger than {_MOST_ANSWER >> 20} MB: ask for fewer rows or columns")
        return types.CallToolResult(
            content=[types.TextContent(type="text", text=text.decode())], structured_content=said
        )


async def _body(receive: Receive) -> bytes:
    """Return what was sent. Raises Problem 400, 413."""
    body, more = b"", True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise Problem(400, _GONE)
        body += message.get("body", b"")
        more = message.get("more_body", False)
        if len(body) > _MOST_BODY:
            raise Problem(413, f"a message has at most {_MOST_BODY >> 20} MB")
    return body


def _replayed(body: bytes, receive: Receive) -> Receive:
    """Return what gives the body that was read already, and then what comes after it."""
    waiting: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def again() -> Message:
        return waiting.pop() if waiting else await receive()

    return again


async def _while_connected(handle: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
    """Let the protocol handle a request, until its client goes: it would not look by itself."""
    is_whole, is_answered = asyncio.Event(), asyncio.Event()

    async def noting() -> Message:
        message = await receive()
        if not message.get("more_body", False):
            is_whole.set()
        return message

    async def answering(message: Message) -> None:
        if message["type"] == "http.response.start":
            is_answered.set()  # the protocol may have more to do after it, as with a notification
        await send(message)

    async def watch(handling: anyio.CancelScope) -> None:
        await is_whole.wait()
        while (await receive())["type"] != "http.disconnect":
            pass
        handling.cancel()

    with anyio.CancelScope() as handling:
        watching = asyncio.create_task(watch(handling))
        try:
            await handle(scope, noting, answering)
        finally:
            watching.cancel()
    if handling.cancelled_caught and not is_answered.is_set():
        raise Problem(400, _GONE)


def _told(tool: Tool) -> types.Tool:
    schema = tool.arguments.model_json_schema()
    return types.Tool(
        name=tool.name,
        description=tool.description,
        input_schema={key: value for key, value in schema.items() if key not in ("title", "description")},
        annotations=types.ToolAnnotations(read_only_hint=True, destructive_hint=False, open_world_hint=False),
    )


def _wrong(says: str) -> types.CallToolResult:
    return types.CallToolResult(content=[types.TextContent(type="text", text=says)], is_error=True)


def _security(settings: ServingSettings) -> TransportSecuritySettings:
    """Return which hosts may be asked for, and which pages of browsers may ask."""
    hosts = [f"[{host}]" if ":" in host else host for host in settings.hosts]
    public = urlsplit(settings.public_url)
    return TransportSecuritySettings(
        allowed_hosts=[*hosts, *(f"{host}:*" for host in hosts)],
        allowed_origins=[
            f"{public.scheme}://{public.netloc}",
            *(f"http://{host}{port}" for host in hosts for port in ("", ":*")),
        ],
    )
