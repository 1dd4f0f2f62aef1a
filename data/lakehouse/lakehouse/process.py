"""This process: whether it may use the store, and how much memory it may use.

Belongs here: noticing a fork, and limits. Does not: starting processes.
In a forked child delta-rs panics, with an exception that `except Exception` lets through, and Polars hangs:
what they inherit there is locks and queues without the threads that would serve them.
"""

from __future__ import annotations

import os
from pathlib import Path

from lakehouse.errors import Unsupported

_CGROUP = Path("/sys/fs/cgroup/memory.max")

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


def memory_limit() -> int:
    """Return how many bytes this process may use: its container's limit, or what the machine has."""
    machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    try:
        text = _CGROUP.read_text(encoding="ascii").strip()
    except OSError:
        return machine
    return min(int(text), machine) if text.isdigit() else machine


def panicked(exc: BaseException) -> bool:
    """Return whether `exc` is a panic of Rust code: every extension has a class of its own, and exports
    none."""
    return type(exc).__name__ == "PanicException"
