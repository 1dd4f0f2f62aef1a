"""A lake: its tables, its landing area and its clock.

Belongs here: putting the three together. Does not: any work on them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime

from lakehouse.landing import Landing, landing_of
from lakehouse.settings import Settings
from lakehouse.store import TableStore, open_store


def now() -> datetime:
    """Return the present, in UTC."""
    return datetime.now(UTC)


@dataclass(frozen=True, kw_only=True)
class Lake:
    """Everything a flow needs. `batch_rows` bounds the rows held in memory and written by one commit."""

    store: TableStore
    landing: Landing
    clock: Callable[[], datetime] = field(default=now)
    batch_rows: int = 1_000_000


def open_lake(settings: Settings | None = None) -> Lake:
    """Open the lake of `settings` (default: the environment). Nothing is read yet."""
    settings = settings or Settings.from_env()
    return Lake(store=open_store(settings), landing=landing_of(settings))
