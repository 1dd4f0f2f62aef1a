"""What a connection may cost before a request is there, and after its answer is.

Belongs here: the time and size of a request's head, the number of connections, answers that nobody reads, and
the time of bodies that are read whole. Does not: bodies of ingest, which may be large and slow
(ingest/receiving.py), or who may call (access.py).

uvicorn limits none of these: a client that sends a head byte by byte holds its connection for ever. It takes
another class for its connections (`http=`), and this one replaces no method but those that asyncio and the
parser call. What it uses of uvicorn's is pinned with uvicorn's version; test_connections.py names it.
"""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from typing import Any, ClassVar

from httptools import HttpParserError, HttpParserUpgrade, HttpRequestParser
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from serving.problems import Problem

_MOST_HEAD = 64 << 10  # bytes, as of what follows a body
_ABOUT_UPGRADE = (b"upgrade", b"connection", b"http2-settings")
_CLOSE = {"Connection": "close"}


class _Parser(HttpRequestParser):
    """The parser that uvicorn has too, but that it keeps what uvicorn would log and answer in its own way.

    `rest` is what came after the head of a request that asks for another protocol.
    """

    def __init__(self, protocol: Any) -> None:
        super().__init__(protocol)
        self.failed = False
        self.rest: bytes | None = None

    def feed_data(self, data: Any) -> None:
        try:
            super().feed_data(data)
        except HttpParserUpgrade as exc:
            self.rest = data[exc.args[0] :]
        except HttpParserError:
            self.failed = True


class Connection(HttpToolsProtocol):
    """uvicorn's connection, with limits.

    `head_seconds` is the time from the first byte of a head to its end, and that of a new connection to its
    first head; what is left of a body whose answer has gone has as long. `unread_seconds` is the time for
    which a client may take nothing of an answer. Of more than `most` connections, requests are answered 503;
    more than twice as many are closed at once.
    """

    head_seconds: ClassVar[float] = 15.0
    unread_seconds: ClassVar[float] = 120.0
    most: ClassVar[int] = 512

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.parser: _Parser = _Parser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as uvicorn's own has
        self._is_in_head, self._bare_bytes = False, 0  # bytes since the last of a body
        self._late: asyncio.TimerHandle | None = None
        self._unread: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if len(self.connections) > 2 * self.most:
            transport.abort()
            return
        self._late = self.loop.call_later(self.head_seconds, self._too_late)

    def connection_lost(self, exc: Exception | None) -> None:
        self._late, self._unread = self._stopped(self._late), self._stopped(self._unread)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        self._bare_bytes += len(data)
        parser = self.parser
        super().data_received(data)
        if parser.rest is not None:
            self._read_again(parser.rest)
            return
        if parser.failed:
            self._end(Problem(400, "this is no HTTP request"))
        if self.transport.is_closing():
            return
        if self._bare_bytes > _MOST_HEAD:
            self._end(Problem(431, f"the head of a request has at most {_MOST_HEAD} bytes"))
            return
        if self.cycle is not None and not self.cycle.response_complete:
            self._late = self._stopped(self._late)
            return
        if self._late is None:
            self._late = self.loop.call_later(self.head_seconds, self._too_late)

    def on_message_begin(self) -> None:
        self._is_in_head, self._bare_bytes = True, 0
        super().on_message_begin()

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._is_in_head:  # what follows a body would be kept, and be taken for a header
            super().on_header(name, value)

    def on_body(self, body: bytes) -> None:
        self._bare_bytes = 0
        super().on_body(body)

    def on_headers_complete(self) -> None:
        self._is_in_head = False
        if self.parser.should_upgrade():
            return
        if self.parser.get_http_version() == "1.0":
            self.expect_100_continue = False  # it knows no such answer (RFC 9110, 10.1.1)
        self.app = _full if len(self.connections) > self.most else self.config.loaded_app
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        if not self.parser.should_upgrade():
            super().on_message_complete()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._unread = self.loop.call_later(self.unread_seconds, self.transport.abort)

    def resume_writing(self) -> None:
        self._unread = self._stopped(self._unread)
        super().resume_writing()

    def _read_again(self, rest: bytes) -> None:
        """Read a request without the protocol that it asks for, which is not spoken here.

        The parser takes what follows the head for that protocol. Java's client asks for HTTP/2 in this way.
        """
        if all(name != b"upgrade" for name, _ in self.headers):  # CONNECT
            self._end(Problem(400, "this is no HTTP request"))
            return
        first = b"%s %s HTTP/1.1" % (self.parser.get_method(), self.url)
        left = [b"%s: %s" % header for header in self.headers if header[0] not in _ABOUT_UPGRADE]
        self.parser = _Parser(self)
        self.data_received(b"\r\n".join([first, *left, b"", b""]) + rest)

    @staticmethod
    def _stopped(timer: asyncio.TimerHandle | None) -> asyncio.TimerHandle | None:
        """Stop a timer; return what stands for no timer."""
        if timer is not None:
            timer.cancel()
        return None

    def _too_late(self) -> None:
        if self._is_in_head:
            self._end(Problem(408, f"the head of a request has {self.head_seconds:g} seconds to come"))
        else:
            self.transport.close()

    def _end(self, problem: Problem) -> None:
        """Answer what is no request, unless it would get into an answer that is under way, and close."""
        cycle = self.cycle
        if cycle is None or cycle.response_complete or not (cycle.response_started or self.pipeline):
            answer = problem.response()
            lines = [f"HTTP/1.1 {problem.status} {HTTPStatus(problem.status).phrase}".encode()]
            lines += [b"%s: %s" % header for header in answer.raw_headers]
            self.transport.write(b"\r\n".join([*lines, b"connection: close", b"", bytes(answer.body)]))
        self.transport.close()


class TimedBodies:
    """Ends requests whose body does not come whole, or not in time, but for those below the path `apart`."""

    def __init__(self, app: ASGIApp, *, seconds: float, apart: str) -> None:
        self._app, self._seconds, self._apart = app, seconds, apart

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"].startswith(self._apart):
            await self._app(scope, receive, send)
            return
        deadline = asyncio.get_running_loop().time() + self._seconds
        is_whole = False

        async def timed() -> Message:
            nonlocal is_whole
            if is_whole:
                return await receive()
            try:
                async with asyncio.timeout_at(deadline):
                    message = await receive()
            except TimeoutError:
                raise Problem(
                    408, f"a body has {self._seconds:g} seconds to come here", headers=_CLOSE
                ) from None
            if message["type"] == "http.disconnect" and scope["method"] == "POST":
                raise Problem(400, "the body was cut short")
            is_whole = not message.get("more_body", False)
            return message

        await self._app(scope, timed, send)


async def _full(scope: Scope, receive: Receive, send: Send) -> None:
    problem = Problem(503, "too many connections are open; try again", headers={"Retry-After": "2", **_CLOSE})
    await problem.response()(scope, receive, send)
