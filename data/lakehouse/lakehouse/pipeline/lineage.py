"""Whether a table was computed from its sources as they are: identity and generation.

Belongs here: the state that a commit carries of the sources it was computed from, and comparing them.
Does not: positions, which say how far (rowwise.py, aggregates.py).

A position counts batches of one history. A source that was made anew has another identity; one that was
restored, rebuilt or replayed has another generation: rows may have come or gone behind the position. A
restore says which generation it went back to, and how far that had come: a consumer that stands no further is
right.
"""

from __future__ import annotations

from collections.abc import Mapping

from lakehouse.contracts import Contract
from lakehouse.pipeline.state import (
    FORKED_AT,
    FORKED_FROM,
    GENERATION,
    generation_key,
    identity_key,
    position_key,
)
from lakehouse.store import BaseVersion

OF_SOURCE = (GENERATION, FORKED_FROM, FORKED_AT)


def number(identity: str) -> int:
    """Return an identity as a state entry, which is a whole number: 60 bits of the table's UUID."""
    return int(identity.replace("-", "")[:15], 16)


def of_consumer(source: Contract) -> tuple[str, str, str]:
    """Return the state in which a consumer keeps what it was computed from."""
    return position_key(source), identity_key(source), generation_key(source)


def recorded(source: Contract, seen: BaseVersion) -> dict[str, int]:
    """Return the state that say which `source` it was; `seen` needs OF_SOURCE."""
    return {
        identity_key(source): number(seen.identity),
        generation_key(source): seen.state.get(GENERATION, 0),
    }


def fits(source: Contract, consumer: Mapping[str, int], seen: BaseVersion) -> bool:
    """Return whether a position in `source` still means what it meant; `consumer` needs its `of_consumer`
    state.

    A consumer of an older version of this library says neither identity nor generation, and is believed.
    """
    position, identity, generation = (consumer.get(name) for name in of_consumer(source))
    if position is None:
        return True
    if identity is not None and identity != number(seen.identity):
        return False
    now = seen.state.get(GENERATION, 0)
    if (generation or 0) == now:
        return True
    return (generation or 0) == seen.state.get(FORKED_FROM, -1) and position <= seen.state.get(FORKED_AT, -1)


def raised(before: Mapping[str, int]) -> dict[str, int]:
    """Return the state of a generation of its own: no position of an earlier one holds in it."""
    return {GENERATION: before.get(GENERATION, 0) + 1, FORKED_FROM: -1, FORKED_AT: -1}


def forked(before: Mapping[str, int], then: Mapping[str, int], position: int) -> dict[str, int]:
    """Return the state of a generation that goes on from state `then`, which had come to `position`."""
    return {
        GENERATION: before.get(GENERATION, 0) + 1,
        FORKED_FROM: then.get(GENERATION, 0),
        FORKED_AT: position,
    }
