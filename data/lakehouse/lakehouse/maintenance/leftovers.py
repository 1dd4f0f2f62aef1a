"""Leftovers of killed runs: rejected rows that no commit names, and staging tables of full refreshes.

Belongs here: finding and removing them. Does not: anything that a commit names.
Nothing reads them; they only take space. One that is younger than a day may belong to a run in progress.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from lakehouse.contracts import Contract
from lakehouse.errors import DamagedTable, TableNotFound
from lakehouse.pipeline import Lake, outbox
from lakehouse.pipeline.rowwise import running_attempt, stages
from lakehouse.pipeline.state import OUTBOX

_YOUNG = timedelta(days=1)
_STAGE = re.compile(r"silver/(?P<name>[a-z0-9_]+)__rebuild(_(?P<attempt>[0-9a-f]+))?")


def remove_leftovers(lake: Lake, tables: Sequence[Contract], *, young: timedelta = _YOUNG) -> list[str]:
    """Remove leftovers that are older than `young`; return their names."""
    before = datetime.now(UTC) - young
    return [*_outboxes(lake, tables, before), *_stages(lake, tables, before)]


def _outboxes(lake: Lake, tables: Sequence[Contract], before: datetime) -> list[str]:
    removed = []
    for table in tables:
        if not table.row_wise:
            continue
        named = lake.store.read_state(table, [OUTBOX]).get(OUTBOX, 0)
        for number, at in outbox.written(lake, table).items():
            if number != named and at < before:
                outbox.forget(lake, table, number)
                removed.append(f"outbox {number:016x} of {table}")
    return removed


def _stages(lake: Lake, tables: Sequence[Contract], before: datetime) -> list[str]:
    known = {table.name: table for table in tables if table.row_wise}
    removed = []
    for path in lake.store.found():
        match = _STAGE.fullmatch(path)
        table = known.get(match["name"]) if match else None
        if match is None or table is None:
            continue
        attempt = int(match["attempt"] or "1", 16)
        fresh, refused = stages(table, attempt)
        if _written_last(lake, fresh) >= before or running_attempt(lake, table) == attempt:
            continue
        for stage in (fresh, refused):
            lake.store.drop(stage)
            removed.append(stage.path)
    return removed


def _written_last(lake: Lake, stage: Contract) -> datetime:
    """Return when a staging table was written last; of one whose log is gone, its newest file says so."""
    try:
        return lake.store.history(stage, limit=1)[0].at
    except (TableNotFound, DamagedTable):
        files = lake.store.files
        times = [*files.written(stage.path).values(), *files.written(f"{stage.path}/_delta_log").values()]
        return max(times, default=datetime.now(UTC))
