"""A lake: its tables, its landing area, the engine that computes, and its clock.

Belongs here: putting them together. Does not: any work on them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from lakehouse.engine.polars import PolarsEngine
from lakehouse.engine.protocol import Engine
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
    engine: Engine = field(default_factory=PolarsEngine)
    clock: Callable[[], datetime] = field(default=now)
    batch_rows: int = 1_000_000


def open_lake(place: Settings | str | Path | None = None) -> Lake:
    """Open the lake of some settings, in a folder or at `s3://`; without, that of the environment.

    Nothing is read yet. Raises SettingsError.
    """
    if place is None:
        settings = Settings.from_env()
    else:
        settings = place if isinstance(place, Settings) else Settings.at(place)
    return Lake(store=open_store(settings), landing=landing_of(settings))
