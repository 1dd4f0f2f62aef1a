"""What goes over the pipes between the API and a worker.

Belongs here: frames, questions, and how an answer is laid out. Does not: who reads them when.

A frame is one byte (its kind), eight bytes (its length) and the body. The API asks in pickles, since a
worker trusts it; a worker, in which statements of callers run, answers in JSON and Arrow alone.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from lakehouse.contracts import Contract

HEAD = struct.Struct(">cQ")
JSON, ARROW, QUESTION = b"J", b"A", b"Q"
MOST_BYTES = 64 << 20  # of a result's rows in memory
MOST_FRAME = MOST_BYTES + (1 << 20)


@dataclass(frozen=True, kw_only=True)
class Parse:
    """Which tables does this statement read? Answer: {"tables": [[schema, name], …]}."""

    sql: str


@dataclass(frozen=True, kw_only=True)
class View:
    """A table that a statement reads: the columns that the caller may see, its files and its rows."""

    table: Contract
    files: tuple[Path, ...]
    rows: int


@dataclass(frozen=True, kw_only=True)
class Run:
    """Run the statement over these views.

    Answer: {"columns": [[name, type], …]}, frames of rows, {"truncated": bool}; or {"differs": [paths]} where
    files hold other rows than the version has.
    """

    sql: str
    views: tuple[View, ...]
    limit: int


def frame(kind: bytes, body: bytes) -> bytes:
    """Return one frame."""
    return HEAD.pack(kind, len(body)) + body


def read_frame(read: Callable[[int], bytes]) -> tuple[bytes, bytes] | None:
    """Return kind and body of the next frame; None at the end. `read` returns as many bytes as asked for.

    Raises EOFError for half a frame, ValueError for one that is too large.
    """
    head = read(HEAD.size)
    if not head:
        return None
    if len(head) < HEAD.size:
        raise EOFError
    kind, length = HEAD.unpack(head)
    if length > MOST_FRAME:
        raise ValueError(f"a frame of {length} bytes")
    body = read(length)
    if len(body) < length:
        raise EOFError
    return kind, body
