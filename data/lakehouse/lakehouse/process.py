"""This process: whether it may use the store, and what memory it may use and holds.

Belongs here: noticing a fork, the limit, giving memory back. Does not: starting processes, or how large a
batch is (sizes.py).
In a forked child delta-rs panics, with an exception that `except Exception` lets through, and Polars hangs:
what they inherit there is locks and queues without the threads that would serve them.
"""

from __future__ import annotations

import ctypes
import gc
import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path

from lakehouse.errors import Unsupported

_CGROUPS = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))

_user: int | None = None


def refuse_fork() -> None:
    """Raise Unsupported in a process that was forked off one that had used the store before."""
    global _user
    if _user is None:
        _user = os.getpid()
    if _user != os.getpid():
        raise Unsupported(
            f"using the lake in process {os.getpid()}: it was forked off {_user}, which had used it before, "
            "and would hang or panic. Start workers by `spawn` or `forkserver` (multiprocessing.get_context)."
        )


_pausing = threading.Lock()
_pauses = 0
_was_enabled = False


@contextmanager
def no_collection() -> Iterator[None]:
    """Pause the garbage collector, in all threads: while very many objects without cycles are made, it walks
    the heap again and again, which takes up to half of the time.
    """
    global _pauses, _was_enabled
    with _pausing:
        if not _pauses:
            _was_enabled = gc.isenabled()
            gc.disable()
        _pauses += 1
    try:
        yield
    finally:
        with _pausing:
            _pauses -= 1
            if not _pauses and _was_enabled:
                gc.enable()


def memory_limit() -> int:
    """Return how many bytes this process may use: its container's limit, or what the machine has."""
    machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for limit in _CGROUPS:
        with suppress(OSError):
            text = limit.read_text(encoding="ascii").strip()
            return min(int(text), machine) if text.isdigit() else machine
    return machine


def panicked(exc: BaseException) -> bool:
    """Return whether `exc` is a panic of Rust code: every extension has a class of its own, and exports
    none."""
    return type(exc).__name__ == "PanicException"


def release_memory() -> None:
    """Give the system back what large batches leave free in the allocators of Arrow and of the C library.

    Polars has a third one: what these two keep, it cannot use, and after a million rows that is 270 MB.
    """
    if (arrow := sys.modules.get("pyarrow")) is not None:
        arrow.default_memory_pool().release_unused()
    if (trim := _malloc_trim()) is not None:
        trim(0)


@cache
def _malloc_trim() -> Callable[[int], int] | None:
    """Return glibc's own, None where there is another C library."""
    if sys.platform != "linux":
        return None
    return getattr(ctypes.CDLL(None), "malloc_trim", None)
