"""The sources of a table that is computed whole, as they were at one look.

Belongs here: the look, and the state that says which one it was. Does not: computing, or a source that is
read batch by batch (rowwise.py) or by groups (aggregates.py).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from lakehouse.contracts import Contract
from lakehouse.pipeline.lake import Lake
from lakehouse.pipeline.lineage import number
from lakehouse.pipeline.state import identity_key, position_key


@dataclass(frozen=True, kw_only=True)
class Pin:
    """A source at one look: version to read, newest version that changed rows, identity."""

    version: int
    position: int
    identity: int


Pins = Mapping[str, Pin]
"""Pins by the paths of their tables."""


def pins_of(lake: Lake, sources: Iterable[Contract]) -> dict[str, Pin]:
    """Look at each source: position before version, so that rows in between come twice, and never not."""
    found: dict[str, Pin] = {}
    for source in sources:
        lake.store.base_version(source)  # a look that is no older than the one at what is made of it
        position, seen = lake.store.data_version(source), lake.store.snapshot(source)
        found[source.path] = Pin(version=seen.version, position=position, identity=number(seen.identity))
    return found


def state_names(table: Contract) -> list[str]:
    """Return the state entries that say of which sources a table was computed."""
    return [key(source) for source in table.sources for key in (position_key, identity_key)]


def state_of(table: Contract, pins: Pins) -> dict[str, int]:
    """Return these entries of a table that was computed from the pins."""
    pairs = [(source, pins[source.path]) for source in table.sources]
    found = {position_key(source): pin.position for source, pin in pairs}
    return found | {identity_key(source): pin.identity for source, pin in pairs}
