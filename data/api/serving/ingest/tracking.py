"""What became of an ingest, as the lake itself says it.

Belongs here: reading it. Does not: changing anything, or what is answered (routes.py). No value of a row gets
in. Dagster is asked for the state of the run alone, and where it is away all else is still told.

    queued    it has landed; no run has come to it
    running   a run carries it, or its rows are in Bronze and not in every table made of that
    refused   landing could not read it: quarantine/landing_files says why
    done      its rows are in Bronze and in every Silver table made of it, merged, or in quarantine
    failed    the run that carried it failed; the next one goes on from there

It reads through a lake of its own, so that a look keeps nobody from reading rows.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, BinaryIO

import polars as pl

from dagster_client.runs import Run
from lakehouse.contracts import LANDING_REJECTS, Contract
from lakehouse.errors import TableNotFound, Unreadable, only_ours
from lakehouse.landing import LandedFile
from lakehouse.pipeline import Lake, lineage, outbox
from lakehouse.pipeline.holds import hold_of
from lakehouse.pipeline.ledger import Ledger, ledger_of
from lakehouse.pipeline.state import FILES, GENERATION, position_key
from lakehouse.quarantine.listing import by_rule, open_rejects
from lakehouse.registry import contracts
from serving.ingest.identity import Ingest
from serving.problems import Problem

RunOf = Callable[[Ingest], Run | None]


@dataclass(frozen=True, kw_only=True)
class _Bronze:
    """The rows of an ingest in Bronze: by source column values, and the batches they came in."""

    rows: int
    groups: pl.DataFrame
    sources: list[str] = field(default_factory=list)
    batches: tuple[int, int] = (0, 0)

    def taken_by(self, table: Contract) -> int:
        """Return how many of them a table takes."""
        found = self.groups
        if table.source_filter is not None:
            found = found.filter(pl.col(table.source_filter[0]) == table.source_filter[1])
        return int(found["len"].sum())


class Tracker:
    """Looks ingests up in one lake."""

    def __init__(self, lake: Lake, reachable: Callable[[], None]) -> None:
        self._lake, self._reachable = lake, reachable
        self._lock = threading.RLock()
        self._ledgers: dict[str, tuple[str, int, Ledger]] = {}

    def landed(self, ingest: Ingest) -> LandedFile | None:
        """Return its file in landing. Raises StorageUnavailable."""
        self._reachable()
        found = (self._lake.landing.find(name) for name in ingest.names)
        return next((file for file in found if file is not None), None)

    def settled(self, ingest: Ingest) -> bool:
        """Return whether no run has anything left to do for it. Raises StorageUnavailable, DamagedTable."""
        return self.look(ingest, lambda _: None)["status"] in ("done", "refused")

    def look(self, ingest: Ingest, run_of: RunOf) -> dict[str, Any]:
        """Return its status and counts. Raises Problem 404, StorageUnavailable, DamagedTable."""
        landed = self.landed(ingest)
        said = self._in_lake(ingest, landed)
        if said is None:
            raise Problem(404, "no ingest has this tracking id")
        if "status" in said:
            return said
        run = run_of(ingest)
        if run is not None:
            said["run"] = {"id": run.id, "status": run.status}
        partly = "rows" in said
        if run is not None and run.failed:
            return {**said, "status": "failed"}
        is_going = run is not None and not run.ended
        return {**said, "status": "running" if partly or is_going else "queued"}

    def _in_lake(self, ingest: Ingest, landed: LandedFile | None) -> dict[str, Any] | None:
        """Return what the lake says, with a status where no run could change it; None: it knows nothing."""
        with self._lock, only_ours("looking up an ingest"), self._lake.store.pinned_reads():
            if self._known(ingest) is not None:
                bronze = self._bronze(ingest)
                tables = [found for t in _made_of(ingest) if (found := self._table(t, ingest, bronze))]
                said = {**_said(ingest, landed), "rows": bronze.rows, "tables": tables}
                waits = any(table["state"] == "waiting" for table in tables)
                return said if waits else {**said, "status": "done"}
            if landed is None:
                return None
            if (reason := self._refusal(ingest, landed)) is not None:
                return {**_said(ingest, landed), "status": "refused", "reason": reason}
            return _said(ingest, landed)

    def _known(self, ingest: Ingest) -> int | None:
        """Return how many rows its file brought to Bronze; None where it is not wholly in."""
        return self._ledger(ingest.source.table).rows(_file(ingest))

    def _ledger(self, table: Contract) -> Ledger:
        try:
            base = self._lake.store.base_version(table, [FILES])
        except TableNotFound:
            return Ledger(table=table)
        number = base.state.get(FILES, 0)
        kept = self._ledgers.get(table.path)
        if kept is None or not number or kept[:2] != (base.identity, number):
            kept = self._ledgers[table.path] = (base.identity, number, ledger_of(self._lake, table, base))
        return kept[2]

    def _refusal(self, ingest: Ingest, landed: LandedFile) -> str | None:
        """Return why its file was refused; None where it was not."""
        table = LANDING_REJECTS
        if not self._ledger(table).knows(landed):
            return None
        rows = self._lake.store.scan(table).filter(pl.col("_fingerprint") == ingest.sha256)
        reasons = rows.sort("_ingested_at").select("reason").tail(1).collect()["reason"].to_list()
        text = str(reasons[0]).strip().splitlines()[0] if reasons else "landing could not read it"
        return text.removeprefix(f"{landed.name}: ")

    def _bronze(self, ingest: Ingest) -> _Bronze:
        table = ingest.source.table
        rows = self._lake.store.scan(table).filter(pl.col("_fingerprint") == ingest.sha256)
        if table.files_within is not None:
            rows = rows.filter(pl.col(table.files_within) == ingest.cohort)
        told = sorted({made.source_filter[0] for made in _made_of(ingest) if made.source_filter})
        groups = (
            rows.group_by("_source", *told)
            .agg(pl.len(), first=pl.col("_batch_id").min(), last=pl.col("_batch_id").max())
            .collect()
        )
        if groups.is_empty():
            return _Bronze(rows=0, groups=groups)
        return _Bronze(
            rows=int(groups["len"].sum()),
            groups=groups,
            sources=groups["_source"].unique().to_list(),
            batches=groups.select(pl.col("first").min(), pl.col("last").max()).row(0),
        )

    def _table(self, table: Contract, ingest: Ingest, bronze: _Bronze) -> dict[str, Any] | None:
        """Return what a table made of the rows; None where it takes none of them."""
        taken = bronze.taken_by(table)
        if not taken:
            return None
        said: dict[str, Any] = {"table": table.path, "taken": taken}
        is_past = self._is_past(table, ingest.source.table, bronze.batches[1])
        if not is_past or outbox.pending(self._lake, table):  # refused rows may be on their way
            return {**said, "state": "waiting"}
        written = self._written(table, ingest, bronze)
        after = (bronze.batches[0] - 1, bronze.batches[1])
        refused = open_rejects(self._lake, table, batches=after, records=False).filter(
            (pl.col("_fingerprint") == ingest.sha256) & pl.col("_source").is_in(bronze.sources)
        )
        merged = max(taken - written - refused.height, 0)
        held = hold_of(self._lake, table) is not None
        return {
            **said,
            "state": "held" if held else "done",
            "written": written,
            "merged": merged,
            "rejected": refused.height,
            "rejects": by_rule(refused),
        }

    def _is_past(self, table: Contract, source: Contract, batch: int) -> bool:
        """Return whether the table has read its source up to the batch."""
        store = self._lake.store
        try:
            state = store.read_state(table, [*lineage.of_consumer(source), GENERATION])
        except TableNotFound:
            return False
        seen = store.base_version(source, lineage.OF_SOURCE)
        return state.get(position_key(source), 0) >= batch and lineage.fits(source, state, seen)

    def _written(self, table: Contract, ingest: Ingest, bronze: _Bronze) -> int:
        is_its = (pl.col("_fingerprint") == ingest.sha256) & pl.col("_source").is_in(bronze.sources)
        return int(self._lake.store.scan(table).filter(is_its).select(pl.len()).collect().item())


def _made_of(ingest: Ingest) -> list[Contract]:
    """Return the tables that take rows of its Bronze table one by one."""
    of = ingest.source.table.path
    return [t for t in contracts() if t.row_wise and t.sources[0].path == of]


def _file(ingest: Ingest) -> LandedFile:
    """Return its file as a ledger is asked for it: by the fingerprint, which needs no look into landing."""

    def no_bytes() -> BinaryIO:
        raise Unreadable("this file is known by its fingerprint alone")

    file = LandedFile(ingest.name("json"), 0, datetime(1970, 1, 1, tzinfo=UTC), no_bytes)
    file = ingest.source.placed(file)
    vars(file)["fingerprint"] = ingest.sha256
    return file


def _said(ingest: Ingest, landed: LandedFile | None) -> dict[str, Any]:
    return {
        "tracking_id": ingest.tracking_id,
        "dataset": ingest.dataset,
        "cohort": ingest.cohort,
        "sha256": ingest.sha256,
        "bytes": landed.size if landed else None,
        "landed_at": landed.modified.astimezone(UTC).isoformat(timespec="milliseconds") if landed else None,
    }
