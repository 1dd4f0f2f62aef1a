"""A limit on how long a run in this very process may take.

Belongs here: ending it as Ctrl-C does, and knowing that it was the limit. Does not: runs of the queue
(coordinator.py).
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType


@dataclass
class Limit:
    """A number of seconds, and whether they were up."""

    seconds: int
    struck: bool = False


@contextmanager
def limited(seconds: int) -> Iterator[Limit]:
    """Interrupt what is inside after so many seconds; 0 means never. For the main thread."""
    limit = Limit(seconds)

    def strike(_number: int, _frame: FrameType | None) -> None:
        limit.struck = True
        if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as in the background of a script
            raise KeyboardInterrupt
        signal.raise_signal(signal.SIGINT)

    before = signal.signal(signal.SIGALRM, strike)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield limit
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
