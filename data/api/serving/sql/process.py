"""Workers as seen from the API: start, time limit, kill, queue.

Belongs here: processes and who waits for one. Does not: what they are asked (room.py).

A worker is kept for the next question. One that was too slow, was given up, or died is replaced.
"""

from __future__ import annotations

import json
import os
import pickle
import select
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import IO, Any

from lakehouse.errors import LakeError
from serving.problems import Problem
from serving.sql import wire

_START_SECONDS = 60.0
_QUEUE_SECONDS = 10.0
_BUSY_HEADERS = {"Retry-After": "2"}


class Died(Exception):
    """The worker's process has ended, or speaks nonsense."""


class DiedBefore(Died):
    """The worker's process had ended before it ran anything of the statement."""


class TooSlow(Exception):
    """The time of a statement is over."""


class Worker:
    """One process."""

    def __init__(self, memory: int, seconds: float) -> None:
        self._process = subprocess.Popen(  # noqa: S603  # our own Python
            [sys.executable, "-P", "-m", "serving.sql.worker", str(memory), str(seconds)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,  # it may quote values
            cwd="/",
            env=_environment(),
            bufsize=0,
        )
        self._deadline = time.monotonic() + _START_SECONDS
        try:
            self._next()
        except (Died, TooSlow):
            self.kill()
            raise Problem(503, "no process for SQL could be started", headers=_BUSY_HEADERS) from None
        except BaseException:
            self.kill()
            raise

    @property
    def is_alive(self) -> bool:
        return self._process.poll() is None

    @property
    def pid(self) -> int:
        return self._process.pid

    def ask(self, question: wire.Parse | wire.Run, deadline: float) -> Iterator[dict[str, Any] | bytes]:
        """Yield what the worker says: JSON objects, and Arrow streams as bytes. The asker knows the last.

        `deadline` is a time of time.monotonic. Raises Died, TooSlow; the worker is of no use after either.
        """
        self._deadline = deadline
        try:
            _pipe(self._process.stdin).write(wire.frame(wire.QUESTION, pickle.dumps(question)))
        except OSError:
            raise DiedBefore from None
        while True:
            yield self._next()

    def kill(self) -> None:
        """End the process at once."""
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            with suppress(OSError):
                _pipe(pipe).close()

    def interrupt(self) -> None:
        """End the process while another thread reads from it, which then finds it dead."""
        self._process.kill()

    def _next(self) -> dict[str, Any] | bytes:
        try:
            got = wire.read_frame(self._read)
        except (EOFError, ValueError, OSError):
            raise Died from None
        if got is None:
            raise Died
        kind, body = got
        if kind == wire.ARROW:
            return body
        said: dict[str, Any] = json.loads(body)
        return said

    def _read(self, size: int) -> bytes:
        source = _pipe(self._process.stdout).fileno()
        poll = select.poll()
        poll.register(source, select.POLLIN | select.POLLHUP)
        parts: list[bytes] = []
        while size:
            left = self._deadline - time.monotonic()
            if left <= 0 or not poll.poll(left * 1000):
                raise TooSlow
            part = os.read(source, min(size, 1 << 20))
            if not part:
                break
            parts.append(part)
            size -= len(part)
        return b"".join(parts)


@dataclass(kw_only=True)
class Ticket:
    """One question's place, so that it can be given up by another thread."""

    given_up: bool = False
    worker: Worker | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def give_up(self) -> None:
        """Nobody waits for the answer any more: end what works on it."""
        with self._lock:
            self.given_up = True
            if self.worker is not None:
                self.worker.interrupt()

    def take(self, worker: Worker | None) -> None:
        """Note which worker works on it; None: no more. Raises Died for a question that was given up."""
        with self._lock:
            self.worker = worker
            if self.given_up and worker is not None:
                raise Died


@dataclass(kw_only=True)
class Workers:
    """At most `size` workers of `memory` bytes each, and at most `waiting` questions that wait for one."""

    memory: int
    seconds: float
    size: int = 2
    waiting: int = 8
    _free: list[Worker] = field(default_factory=list)
    _working: list[Worker] = field(default_factory=list)
    _busy: int = 0
    _queue: int = 0
    _closed: bool = False
    _change: threading.Condition = field(default_factory=threading.Condition)

    @contextmanager
    def one(self, ticket: Ticket) -> Iterator[Worker]:
        """Give a worker for one question. Raises Problem 503 when too many wait already."""
        self._enter()
        worker: Worker | None = None
        is_sound = False
        try:
            worker = self._idle() or Worker(self.memory, self.seconds)
            with self._change:
                self._working.append(worker)
            ticket.take(worker)
            try:
                yield worker
                is_sound = True
            except (Problem, LakeError):  # said of the statement or the lake: the worker waits for the next
                is_sound = True
                raise
            finally:
                ticket.take(None)
                is_sound = is_sound and not ticket.given_up
        finally:
            self._leave(worker, is_sound=is_sound)

    def close(self) -> None:
        """End every worker, also those at work."""
        with self._change:
            self._closed = True
            free, self._free = self._free, []
            for worker in self._working:
                worker.interrupt()
        for worker in free:
            worker.kill()

    def _idle(self) -> Worker | None:
        while True:
            with self._change:
                worker = self._free.pop() if self._free else None
            if worker is None or worker.is_alive:
                return worker
            worker.kill()  # it was ended from outside: only its pipes are left

    def _enter(self) -> None:
        with self._change:
            if self._busy >= self.size and self._queue >= self.waiting:
                raise Problem(503, "too many statements wait already", headers=_BUSY_HEADERS)
            self._queue += 1
            try:
                if not self._change.wait_for(lambda: self._busy < self.size, _QUEUE_SECONDS):
                    raise Problem(503, "other statements are running; try again", headers=_BUSY_HEADERS)
            finally:
                self._queue -= 1
            self._busy += 1

    def _leave(self, worker: Worker | None, *, is_sound: bool) -> None:
        with self._change:
            keep = worker is not None and is_sound and not self._closed
            if worker in self._working:
                self._working.remove(worker)
            if keep and worker is not None:
                self._free.append(worker)
            self._busy -= 1
            self._change.notify()
        if worker is not None and not keep:
            worker.kill()


def _environment() -> dict[str, str]:
    """Return the worker's environment: where packages are, and no secret."""
    return {
        "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
        "PYTHONUTF8": "1",
        "POLARS_MAX_THREADS": "1",
        "ARROW_DEFAULT_MEMORY_POOL": "system",
        "ODP_DBT_PROJECT": "off",
    }


def _pipe(pipe: IO[bytes] | None) -> IO[bytes]:
    assert pipe is not None  # noqa: S101  # both are asked for
    return pipe
