"""The body of a request into a file, as it comes.

Belongs here: limits of size, time and decompression, the checksum, and files that are left over. Does not:
what the bytes say (checking.py).

At no time more than some hundred kilobytes of a body are in memory. The file holds the bytes that are to
land: decompressed ones, of which the limit counts too.
"""

from __future__ import annotations

import asyncio
import hashlib
import secrets
import time
import zlib
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from anyio import CapacityLimiter, to_thread
from starlette.requests import Request

from lakehouse.errors import plain
from serving.problems import Problem

_WRITTEN_AT_ONCE = 256 << 10  # bytes
_UNFOLDED_AT_ONCE = 1 << 20  # bytes
_READ_AT_ONCE = 1 << 20  # bytes: with Python's 4096, to read lines takes ten times as long
_WRITERS = 8
GZIP = b"\x1f\x8b"


@dataclass(frozen=True, kw_only=True)
class Patience:
    """When a sender is too slow: no byte for `idle_seconds`, or, once `grace_seconds` are over, fewer than
    `bytes_per_second` since it began.
    """

    idle_seconds: float = 20.0
    grace_seconds: float = 30.0
    bytes_per_second: float = 1024.0


@dataclass(frozen=True, kw_only=True)
class Received:
    """A body that has come whole."""

    path: Path
    size: int
    sha256: str

    def open(self) -> BinaryIO:
        """Return its bytes; the caller closes them."""
        return self.path.open("rb", buffering=_READ_AT_ONCE)


class Spool:
    """The folder of bodies that are under way."""

    def __init__(self, folder: Path, *, most_bytes: int, patience: Patience) -> None:
        self._folder, self.most_bytes, self.patience = folder, most_bytes, patience
        self._writers: CapacityLimiter | None = None
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        for left in folder.iterdir():  # of a process that was killed
            left.unlink(missing_ok=True)

    @asynccontextmanager
    async def receive(self, request: Request, *, gzipped: bool) -> AsyncIterator[Received]:
        """Take the body of a request into a file, which is gone when this ends.

        Raises Problem 400 (cut short, or not gzip), 408, 413, 503 (no room) and ClientDisconnect.
        """
        if not gzipped and (length := _length(request)) is not None and length > self.most_bytes:
            raise self.too_large()
        path = self._folder / secrets.token_hex(16)
        try:
            try:
                with path.open("xb", buffering=0) as out:
                    received = await self._taken(request, _Sink(out, path, self, gzipped=gzipped))
            except OSError as exc:
                raise Problem(
                    503, f"the body cannot be kept here: {plain(exc)}", headers={"Retry-After": "30"}
                ) from None
            yield received
        finally:
            path.unlink(missing_ok=True)

    async def _taken(self, request: Request, sink: _Sink) -> Received:
        if self._writers is None:
            self._writers = CapacityLimiter(_WRITERS)
        request.state.body_is_whole = False
        begin, came, waiting = time.monotonic(), 0, bytearray()
        pieces = request.stream().__aiter__()
        while True:
            try:
                async with asyncio.timeout(self.patience.idle_seconds):
                    piece = await anext(pieces)
            except StopAsyncIteration:
                break
            except TimeoutError:
                raise self.too_slow() from None
            came += len(piece)
            spent = time.monotonic() - begin
            if spent > self.patience.grace_seconds and came < self.patience.bytes_per_second * spent:
                raise self.too_slow()
            if came > self.most_bytes:
                raise self.too_large()
            waiting += piece
            if len(waiting) >= _WRITTEN_AT_ONCE:
                await to_thread.run_sync(sink.take, bytes(waiting), limiter=self._writers)
                waiting.clear()
        request.state.body_is_whole = True
        await to_thread.run_sync(sink.take, bytes(waiting), limiter=self._writers)
        return await to_thread.run_sync(sink.end, limiter=self._writers)

    def too_large(self) -> Problem:
        return Problem(413, f"a body may have {self.most_bytes} bytes, decompressed too; send it in parts")

    def too_slow(self) -> Problem:
        return Problem(408, "the body came too slowly, and nothing of it was kept; send it again")


class _Sink:
    """Writes what comes to the file, decompressed in small steps. It runs in threads, one call at a time."""

    def __init__(self, out: Any, path: Path, spool: Spool, *, gzipped: bool) -> None:
        self._out, self._path, self._spool = out, path, spool
        self._digest, self._size = hashlib.sha256(), 0
        self._gzip = _Members() if gzipped else None

    def take(self, piece: bytes) -> None:
        for part in self._gzip.unfolded(piece) if self._gzip else (piece,):
            self._size += len(part)
            if self._size > self._spool.most_bytes:
                raise self._spool.too_large()
            self._digest.update(part)
            view = memoryview(part)
            while view:
                view = view[self._out.write(view) :]

    def end(self) -> Received:
        if self._gzip:
            self._gzip.end()
        return Received(path=self._path, size=self._size, sha256=self._digest.hexdigest())


class _Members:
    """Decompresses gzip (RFC 1952): one member after the other, as a file may have several."""

    def __init__(self) -> None:
        self._member = zlib.decompressobj(wbits=31)
        self._began = False

    def unfolded(self, piece: bytes) -> Iterator[bytes]:
        """Yield what a piece unfolds to, at most a megabyte at once."""
        while piece:
            if self._member.eof:
                self._member, self._began = zlib.decompressobj(wbits=31), False
            self._began = True
            try:
                part = self._member.decompress(piece, _UNFOLDED_AT_ONCE)
            except zlib.error:
                raise Problem(400, "the body is not gzip, as its Content-Encoding says") from None
            piece = self._member.unconsumed_tail or self._member.unused_data
            if part:
                yield part
            while not self._member.eof and not piece and (part := self._rest()):
                yield part

    def _rest(self) -> bytes:
        """Return what is unfolded already and did not fit into the step before."""
        try:
            return self._member.decompress(b"", _UNFOLDED_AT_ONCE)
        except zlib.error:
            raise Problem(400, "the body is not gzip, as its Content-Encoding says") from None

    def end(self) -> None:
        """Raise Problem 400 for gzip that is cut short."""
        if not self._member.eof:
            raise Problem(
                400, "the gzip of the body is cut short" if self._began else "the body has no gzip in it"
            )


def _length(request: Request) -> int | None:
    text = request.headers.get("content-length", "")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 20 else None
