"""Which process may use the store.

Belongs here: noticing a fork. Does not: starting processes.
In a forked child delta-rs panics, with an exception that `except Exception` lets through, and Polars hangs:
what they inherit there is locks and queues without the threads that would serve them.
"""

from __future__ import annotations

import os

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
