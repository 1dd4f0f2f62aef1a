"""Runs for what has landed: one for many ingests, asked of Dagster over HTTP.

Belongs here: when a run is asked for, of which assets, with which tags; and which run carries an ingest.
Does not: Dagster itself, or what is left to do for an ingest (tracking.py).

One thread does it. While a run is going on, ingests wait and then share the next. Nothing depends on it: a
file that nobody asked a run for is found by the orchestrator's sensor, so that what waits here may be lost.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from dagster_client import Client, Unreachable
from dagster_client.assets import Key, job_assets
from dagster_client.launch import RunRequest, start_run
from dagster_client.progress import RunProgress
from dagster_client.queries import READY
from dagster_client.readiness import NotReady, Readiness, readiness
from dagster_client.runs import Run, newest_run_tagged, run_by_id
from lakehouse.errors import LakeError, plain
from serving.ingest.identity import Ingest
from serving.ingest.pace import DONE, Pace
from serving.ingest.tracking import Tracker
from serving.operations.journal import Journal
from serving.problems import Problem

JOB = "materialize_all"
_BOOT_TAG = "odp/boot"  # of the orchestrator: which start of the code server a run belongs to
_SOURCE_TAGS = {"odp/source": "api"}
_MOST_TAGS = 100  # ingests that a run names
_MOST_WAITING = 10_000
_MOST_KNOWN = 10_000
_POLL_SECONDS, _AWAY_SECONDS, _MOST_AWAY_SECONDS = 1.0, 2.0, 60.0
_ASK_SECONDS = 3.0
_SILENT_SECONDS = 5.0  # for which a webserver that did not answer is not asked again


@dataclass(frozen=True, kw_only=True)
class _Waiting:
    ingest: Ingest
    since: float  # time.monotonic


class Launcher:
    """Asks for runs. Without a webserver it does nothing."""

    def __init__(self, url: str | None, tracker: Tracker, pace: Pace, journal: Journal) -> None:
        self._client = Client(url.rstrip("/"), timeout_seconds=_ASK_SECONDS) if url else None
        self._tracker, self._pace, self._journal = tracker, pace, journal
        self._change = threading.Condition()
        self._ends = threading.Event()
        self._waiting: dict[str, _Waiting] = {}
        self._runs: dict[str, str] = {}
        self._thread: threading.Thread | None = None
        self._silent_until = 0.0

    def start(self) -> None:
        """Begin to work, if there is a webserver to ask."""
        if self._client is not None:
            self._thread = threading.Thread(target=self._work, name="launcher", daemon=True)
            self._thread.start()

    def close(self) -> None:
        """End; a run that is going on goes on."""
        self._ends.set()
        with self._change:
            self._change.notify_all()
        if self._thread is not None:
            self._thread.join(_ASK_SECONDS + _POLL_SECONDS)

    def ask(self, ingest: Ingest) -> None:
        """Ask for a run that carries the ingest; returns at once."""
        if self._client is None:
            return
        with self._change:
            if len(self._waiting) < _MOST_WAITING:
                self._waiting.setdefault(ingest.tracking_id, _Waiting(ingest=ingest, since=time.monotonic()))
            self._change.notify_all()

    def run_of(self, ingest: Ingest) -> Run | None:
        """Return the newest run that carries the ingest; None where there is none, or Dagster is away."""
        if self._client is None or time.monotonic() < self._silent_until:
            return None
        try:
            if (known := self._runs.get(ingest.tracking_id)) is not None:
                return run_by_id(self._client, known)
            return newest_run_tagged(self._client, ingest.tag, ingest.tracking_id)
        except Unreachable:
            self._silent_until = time.monotonic() + _SILENT_SECONDS
            return None

    def _work(self) -> None:
        away = _AWAY_SECONDS
        while not self._ends.is_set():
            with self._change:
                while not self._waiting and not self._ends.is_set():
                    self._change.wait()
            try:
                carried = self._step()
                away = _AWAY_SECONDS
            except (Unreachable, NotReady, LakeError, Problem):
                carried = False
                self._ends.wait(away)
                away = min(2 * away, _MOST_AWAY_SECONDS)
            except Exception as exc:  # noqa: BLE001  # the thread must live on; what it was is kept
                self._journal.write(event="launching failed", error=plain(exc))
                carried = False
                self._ends.wait(away)
                away = min(2 * away, _MOST_AWAY_SECONDS)
            if not carried:
                self._ends.wait(_POLL_SECONDS)

    def _step(self) -> bool:
        """Start one run for all that waits, and stay until it ends; return whether there was one to start."""
        assert self._client is not None  # noqa: S101
        ready = readiness(self._client.ask(READY, job=JOB), JOB, _BOOT_TAG)
        if ready.waiting_for or ready.broken:
            raise NotReady(ready.broken or f"waiting for {ready.waiting_for}")
        if ready.run_in_progress:
            return False
        with self._change:
            batch = list(self._waiting.values())
        left = [one for one in batch if not self._is_settled(one)]
        if not left:
            return False
        run_id = self._launch(ready, [one.ingest for one in left])
        with self._change:
            for one in left:
                self._runs[one.ingest.tracking_id] = run_id
                self._waiting.pop(one.ingest.tracking_id, None)
            while len(self._runs) > _MOST_KNOWN:
                self._runs.pop(next(iter(self._runs)))
        self._journal.write(event="run asked for", run=run_id, ingests=len(left))
        self._await(run_id)
        for one in left:
            self._note_end(one)
        return True

    def _is_settled(self, one: _Waiting) -> bool:
        """Return whether nothing is left to do for it, and let it go then."""
        try:
            settled = self._tracker.settled(one.ingest)
        except Problem:  # its file has been removed
            settled = True
        if settled:
            self._note_end(one)
            with self._change:
                self._waiting.pop(one.ingest.tracking_id, None)
        return settled

    def _launch(self, ready: Readiness, ingests: Collection[Ingest]) -> str:
        assert self._client is not None  # noqa: S101
        assets = job_assets(self._client, JOB, ready).dependencies
        bronze = {ingest.source.table.path for ingest in ingests}
        tags = {one.tag: one.tracking_id for one in list(ingests)[:_MOST_TAGS]}
        chosen = made_of(bronze, assets)
        request = RunRequest(JOB, assets=chosen, tags={**_SOURCE_TAGS, **tags}, alone=True)
        return start_run(self._client, ready, request, RunProgress(quiet=True))

    def _await(self, run_id: str) -> None:
        assert self._client is not None  # noqa: S101
        while not self._ends.wait(_POLL_SECONDS):
            run = run_by_id(self._client, run_id)
            if run is None or run.ended:
                return

    def _note_end(self, one: _Waiting) -> None:
        """Write down how long it took, where it has come to its end."""
        try:
            status = self._tracker.look(one.ingest, lambda _: None)["status"]
        except (LakeError, Problem):
            return
        seconds = round(time.monotonic() - one.since, 3)
        if status == DONE:
            self._pace.add(one.ingest.dataset, seconds)
        if status in (DONE, "refused"):
            note: dict[str, Any] = {"dataset": one.ingest.dataset, "tracking_id": one.ingest.tracking_id}
            self._journal.write(**note, outcome=status, seconds=seconds)


def made_of(bronze: Iterable[str], dependencies: Mapping[Key, Collection[Key]]) -> list[Key]:
    """Return the assets of Bronze tables (`bronze/<name>`) and all that hang on them, directly or not."""
    chosen = {tuple(path.split("/")) for path in bronze} & dependencies.keys()
    while found := {key for key, of in dependencies.items() if key not in chosen and chosen & set(of)}:
        chosen |= found
    return sorted(chosen)
