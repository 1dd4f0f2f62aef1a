"""A lake: its tables, its landing area, the engines that compute, and its clock.

Belongs here: putting them together. Does not: any work on them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from lakehouse.contracts import Contract
from lakehouse.engine.choice import open_engine
from lakehouse.engine.polars import PolarsEngine
from lakehouse.engine.protocol import Engine, Frame
from lakehouse.landing import Landing, landing_of
from lakehouse.settings import Settings
from lakehouse.storage.paths import refuse_lake_in_landing
from lakehouse.store import TableStore, open_store, whole_files


def now() -> datetime:
    """Return the present, in UTC."""
    return datetime.now(UTC)


@dataclass(frozen=True, kw_only=True)
class Lake:
    """Everything a flow needs. `batch_rows` bounds the rows held in memory and written by one commit.

    `engine` computes the tables whose contract names none, `other_engine` returns one by its name.
    """

    store: TableStore
    landing: Landing
    engine: Engine = field(default_factory=PolarsEngine)
    other_engine: Callable[[str], Engine] = field(default=open_engine)
    clock: Callable[[], datetime] = field(default=now)
    batch_rows: int = 1_000_000

    def engine_of(self, table: Contract) -> Engine:
        """Return the engine that computes the rows of `table`. Raises SettingsError for one not set up."""
        return self.engine if table.engine is None else self.other_engine(table.engine)

    def frame(self, engine: Engine, table: Contract, *, version: int | None = None) -> Frame:
        """Return a version of a table as a frame of `engine`, which reads the files itself where it can.

        Raises TableNotFound, StorageUnavailable.
        """
        if engine.reads_files:
            found = whole_files(self.store, table, version=version)
            if found is not None and found.files:
                place = self.store.uri(table).rstrip("/")
                read = engine.read([f"{place}/{file.name}" for file in found.files], table)
                if read is not None:
                    return read
        return engine.scan(self.store.scan(table, version=version))


def open_lake(place: Settings | str | Path | None = None) -> Lake:
    """Open the lake of some settings, in a folder or at `s3://`; without, that of the environment.

    Nothing is read yet. Raises SettingsError.
    """
    if place is None:
        settings = Settings.from_env()
    else:
        settings = place if isinstance(place, Settings) else Settings.at(place)
    if not settings.on_s3 and not settings.landing_url.startswith("s3://"):
        refuse_lake_in_landing(settings.lake_url, settings.landing_url)
    named = partial(open_engine, settings=settings)
    return Lake(
        store=open_store(settings),
        landing=landing_of(settings),
        engine=named(settings.engine),
        other_engine=named,
    )
