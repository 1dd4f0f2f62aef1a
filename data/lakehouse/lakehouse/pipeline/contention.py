"""Several flows over one table: each is computed again until it lands.

Belongs here: doing a piece of work again when its table has moved, and a turn for who keeps losing.
Does not: noticing it (the store does, at the commit).
The lease is a courtesy. Whoever does not see it, or takes its holder for dead, loses or wins a race like any
other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from datetime import timedelta
from typing import TypeVar

from lakehouse.contracts import Contract
from lakehouse.errors import Conflict, Moved
from lakehouse.pipeline.lake import Lake
from lakehouse.storage.lease import held_by_another, poll, waiting_lease

T = TypeVar("T")
_RACES = 5  # lost, before others are asked to wait
_TRIES = 40
_LENGTH = timedelta(seconds=30)
_WAIT_SECONDS = 20.0
_EVERY = (0.02, 0.1)


def until_it_lands(lake: Lake, table: Contract, work: Callable[[], T]) -> T:
    """Return what `work` gives; it starts over when the table has moved since it looked.

    Raises Conflict when that happens again and again.
    """
    name = f"write/{table.path}"
    for lost in range(_TRIES):
        try:
            if lost < _RACES:
                _give_way(lake, name)
                return work()
            with _turn(lake, name):
                return work()
        except Moved:
            continue
    raise Conflict(f"{table}: others changed it {_TRIES} times while this was computed. Run it again.")


def _give_way(lake: Lake, name: str) -> None:
    """Wait a while for a writer that has lost too often."""
    poll(lambda: not held_by_another(lake.store.files, name), seconds=_WAIT_SECONDS, every=_EVERY)


@contextmanager
def _turn(lake: Lake, name: str) -> Iterator[None]:
    """Hold the lease; go on without it when another writer does not give it back."""
    turn = waiting_lease(lake.store.files, name, length=_LENGTH, seconds=_WAIT_SECONDS, every=_EVERY)
    with ExitStack() as held:
        with suppress(Conflict):
            held.enter_context(turn)
        yield
