"""A received body becomes a file in landing, and a run is asked for it.

Belongs here: the order of the steps, their threads, what is counted and written down. Does not: HTTP
(routes.py), or any of the steps.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from anyio import CapacityLimiter, to_thread

from lakehouse.errors import LakeError
from lakehouse.landing import LandedFile
from lakehouse.pipeline import Lake, open_lake
from serving.ingest.checking import check
from serving.ingest.identity import Ingest
from serving.ingest.launching import Launcher
from serving.ingest.pace import Pace
from serving.ingest.receiving import Patience, Received, Spool
from serving.ingest.remembered import Remembered
from serving.ingest.tracking import Tracker
from serving.operations.journal import Journal
from serving.operations.metrics import Metrics
from serving.problems import Problem
from serving.settings import ServingSettings

_CHECKED_AT_ONCE = 2  # each may take some hundred megabytes
_JUST_NOW = timedelta(minutes=1)


@dataclass(kw_only=True)
class Door:
    """The parts of ingest, for one process."""

    lake: Lake
    reachable: Callable[[], None]
    spool: Spool
    remembered: Remembered
    tracker: Tracker
    pace: Pace
    launcher: Launcher
    journal: Journal
    metrics: Metrics
    _checks: CapacityLimiter | None = field(default=None)

    @classmethod
    def of(
        cls, settings: ServingSettings, *, journal: Journal, metrics: Metrics, reachable: Callable[[], None]
    ) -> Door:
        """Put the parts together. Nothing is read from the lake yet."""
        tracker = Tracker(open_lake(settings.lake), reachable)
        pace = Pace(settings.state / "logs")
        return cls(
            lake=open_lake(settings.lake),
            reachable=reachable,
            spool=Spool(settings.state / "spool", most_bytes=settings.max_body_bytes, patience=Patience()),
            remembered=Remembered(settings.state / "idempotency"),
            tracker=tracker,
            pace=pace,
            launcher=Launcher(settings.dagster_url, tracker, pace, journal),
            journal=journal,
            metrics=metrics,
        )

    def start(self) -> None:
        """Begin to ask for runs."""
        self.launcher.start()

    def close(self) -> None:
        """End what runs beside requests."""
        self.launcher.close()

    async def take(
        self, ingest: Ingest, received: Received, extension: str, *, caller: str, key: str | None
    ) -> tuple[LandedFile, bool]:
        """Return the landed file, and whether it had landed before.

        Raises Problem 413, 422, 503, StorageUnavailable.
        """
        before = await to_thread.run_sync(self.tracker.landed, ingest)
        if before is not None and before.size != received.size:
            before = None  # somebody has cut it short
        if before is None:
            if self._checks is None:
                self._checks = CapacityLimiter(_CHECKED_AT_ONCE)
            name = ingest.name(extension)
            await to_thread.run_sync(check, ingest.source, received, name, limiter=self._checks)
        if key is not None:
            await to_thread.run_sync(self.remembered.use, caller, key, ingest.tracking_id)
        landed = await to_thread.run_sync(self._land, ingest, received, extension, before)
        self.launcher.ask(ingest)
        return landed, before is not None

    def _land(
        self, ingest: Ingest, received: Received, extension: str, before: LandedFile | None
    ) -> LandedFile:
        # One that came this moment may not be safe from a crash yet, unlike what `add` returns.
        if before is not None and datetime.now(UTC) - before.modified > _JUST_NOW:
            return before
        name = before.name if before is not None else ingest.name(extension)
        with received.open() as raw:
            landed = self.lake.landing.add(name, raw)
        if landed.size != received.size:
            with received.open() as raw:
                landed = self.lake.landing.put(name, raw)
        return landed

    def status(self, ingest: Ingest) -> dict[str, Any]:
        """Return what became of an ingest. Raises Problem 404, StorageUnavailable, DamagedTable."""
        said = self.tracker.look(ingest, self.launcher.run_of)
        return {**said, "estimate_seconds": self.pace.estimate(ingest.dataset)}

    def status_in_short(self, ingest: Ingest) -> str:
        """Return the status of one that has landed, of the lake alone; `queued` where that cannot be read."""
        try:
            return str(self.tracker.look(ingest, lambda _: None)["status"])
        except (LakeError, Problem):
            return "queued"

    def note(self, dataset: str, outcome: str, *, size: int = 0, **more: Any) -> None:
        """Count an ingest and write it down."""
        self.metrics.ingests.labels(dataset, outcome).inc()
        if outcome == "accepted":
            self.metrics.ingested_bytes.labels(dataset).inc(size)
        self.journal.write(dataset=dataset, outcome=outcome, bytes=size, **more)
