"""Which process may use the store, and what memory it holds.

Belongs here: noticing a fork, giving memory back. Does not: starting processes, or how large a batch is
(sizes.py).
In a forked child delta-rs panics, with an exception that `except Exception` lets through, and Polars hangs:
what they inherit there is locks and queues without the threads that would serve them.
"""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Callable
from functools import cache

from lakehouse.errors import Unsupported

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
