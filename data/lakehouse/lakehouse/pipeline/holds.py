"""A run with too many rejects holds its table: what is made of the table waits until somebody has looked.

Belongs here: how rows are judged, which state entries record a hold, and what ends it. Does not: why rows
were refused, messages and acceptance (quarantine/holding.py).

The rows of a run are judged once, in the commit that brings in the last of them. What a killed run brought in
is judged with the next one. Each function returns the state that changes, from the state as it stood, for a
commit that does something else besides.

    good    at most `max_reject_ratio` of the rows were refused: ends a hold
    few     more, but fewer than ten and not all of them: nothing changes
    bad     more: the table is held, or held on
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from lakehouse.contracts import Contract
from lakehouse.errors import TableNotFound
from lakehouse.pipeline.lake import Lake
from lakehouse.pipeline.state import (
    HELD,
    HELD_AFTER,
    HELD_QUARANTINED,
    HELD_READ,
    HELD_UPTO,
    QUARANTINED,
    READ,
    UNJUDGED_AFTER,
    UNJUDGED_QUARANTINED,
    UNJUDGED_READ,
    WATERMARK,
)

FEWEST = 10  # rejects below which a table is not held, unless nothing else came
HOLD = (HELD, HELD_AFTER, HELD_UPTO, HELD_READ, HELD_QUARANTINED)
_UNJUDGED = (UNJUDGED_AFTER, UNJUDGED_READ, UNJUDGED_QUARANTINED)
STATE = (*HOLD, *_UNJUDGED)
"""What a commit has to read for the functions below."""

Verdict = Literal["good", "few", "bad"]


@dataclass(frozen=True, kw_only=True)
class Hold:
    """Why a table is held: of `read` rows in Bronze batches `after` < n <= `upto`, so many were refused."""

    table: str
    since: datetime
    after: int
    upto: int
    read: int
    quarantined: int


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """What a run found of its own rows, and the hold that this put on the table or left there."""

    verdict: Verdict
    read: int
    quarantined: int
    hold: Hold | None


def verdict(table: Contract, read: int, quarantined: int) -> Verdict:
    """Judge `read` rows, above 0."""
    if quarantined <= table.max_reject_ratio * read:
        return "good"
    return "bad" if quarantined >= FEWEST or quarantined == read else "few"


def from_state(table: Contract, state: Mapping[str, int]) -> Hold | None:
    """Return the hold that a table's state records."""
    if not state.get(HELD, 0):
        return None
    return Hold(
        table=table.path,
        since=datetime.fromtimestamp(state[HELD], UTC),
        after=state.get(HELD_AFTER, 0),
        upto=state.get(HELD_UPTO, 0),
        read=state.get(HELD_READ, 0),
        quarantined=state.get(HELD_QUARANTINED, 0),
    )


def hold_of(lake: Lake, table: Contract) -> Hold | None:
    """Return the hold on a table. One that is not there, or refuses no rows, is not held."""
    if not table.row_wise:
        return None
    try:
        return from_state(table, lake.store.read_state(table, HOLD))
    except TableNotFound:
        return None


def on_sources(lake: Lake, table: Contract) -> tuple[Hold, ...]:
    """Return the holds that `table` waits for."""
    found = (hold_of(lake, source) for source in table.sources)
    return tuple(hold for hold in found if hold is not None)


def judged(
    table: Contract,
    before: Mapping[str, int],
    *,
    upto: int,
    read: int,
    quarantined: int,
    last: bool,
    now: datetime,
) -> tuple[dict[str, int], Judgement | None]:
    """Return the state that a batch changes, and the judgement when it is the `last` one of its run."""
    waiting = bool(before.get(UNJUDGED_READ, 0))
    after = before.get(UNJUDGED_AFTER if waiting else WATERMARK, 0)
    read += before.get(UNJUDGED_READ, 0)
    quarantined += before.get(UNJUDGED_QUARANTINED, 0)
    if not last:
        return dict(zip(_UNJUDGED, (after, read, quarantined), strict=True)), None
    changed = dict.fromkeys(_UNJUDGED, 0) if waiting else {}
    held = from_state(table, before)
    if not read:
        return changed, None
    found = verdict(table, read, quarantined)
    if found == "bad":
        held = _held_on(table, held, now, after=after, upto=upto, read=read, quarantined=quarantined)
        changed |= _state(held)
    elif found == "good" and held is not None:
        held, changed[HELD] = None, 0
    return changed, Judgement(verdict=found, read=read, quarantined=quarantined, hold=held)


def _held_on(
    table: Contract,
    held: Hold | None,
    now: datetime,
    *,
    after: int,
    upto: int,
    read: int,
    quarantined: int,
) -> Hold:
    """Return the hold with these rows added to those that it was put on for."""
    return Hold(
        table=table.path,
        since=held.since if held else now.replace(microsecond=0),
        after=held.after if held else after,
        upto=upto,
        read=read + (held.read if held else 0),
        quarantined=quarantined + (held.quarantined if held else 0),
    )


def _state(hold: Hold) -> dict[str, int]:
    figures = (int(hold.since.timestamp()), hold.after, hold.upto, hold.read, hold.quarantined)
    return dict(zip(HOLD, figures, strict=True))


def rebuilt(
    table: Contract, before: Mapping[str, int], fresh: Mapping[str, int], now: datetime
) -> tuple[dict[str, int], Judgement | None]:
    """Return every state entry of this module after a full refresh, which ends a hold, and what it found.

    Rows that were refused before it have been judged. It holds the table only where it refuses more than were
    refused, as a rule does that became too strict. `before` are the state of the table, `fresh` those of what
    replaces it.
    """
    read = fresh.get(READ, 0)
    more = max(fresh.get(QUARANTINED, 0) - before.get(QUARANTINED, 0), 0)
    changed = dict.fromkeys(STATE, 0)
    if not read:
        return changed, None
    found = verdict(table, read, more)
    held = None
    if found == "bad":
        upto = fresh.get(WATERMARK, 0)
        held = _held_on(table, None, now, after=0, upto=upto, read=read, quarantined=more)
        changed |= _state(held)
    return changed, Judgement(verdict=found, read=read, quarantined=more, hold=held)


def replayed(table: Contract, before: Mapping[str, int], batches: Iterable[int]) -> dict[str, int]:
    """Return the state that a replay changes; `batches` names the Bronze batch of each row that passed."""
    held = from_state(table, before)
    if held is None:
        return {}
    left = max(held.quarantined - sum(held.after < number <= held.upto for number in batches), 0)
    if not held.read or verdict(table, held.read, left) != "bad":
        return {HELD: 0}
    return {HELD_QUARANTINED: left}
