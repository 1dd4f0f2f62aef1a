"""Several tables at once, each in a lake of its own.

Belongs here: threads, and one lake a thread. Does not: what is done with a table.
Frames and commits run outside of Python's lock: two threads use two cores, and one computes while the other
waits for the store. A lake's clients are not shared: each thread opens its own.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from lakehouse.pipeline.lake import Lake

Item = TypeVar("Item")
T = TypeVar("T")
_MOST = 4


def together(
    tables: Sequence[Item], do: Callable[[Lake, Item], T], *, open_: Callable[[], Lake]
) -> list[T | Exception]:
    """Return what `do` gives for each table, or what it raised, in the order of the tables.

    No table may be made of another one of them.
    """
    own = threading.local()

    def one(table: Item) -> T | Exception:
        if not hasattr(own, "lake"):
            own.lake = open_()
        try:
            return do(own.lake, table)
        except Exception as exc:  # noqa: BLE001  # told to the caller, who knows which of them may pass
            return exc

    with ThreadPoolExecutor(max_workers=min(_MOST, max(len(tables), 1))) as threads:
        return list(threads.map(one, tables))
