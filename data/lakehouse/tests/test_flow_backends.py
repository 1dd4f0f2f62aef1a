"""The same files through every backend: equal content, and a lake that verifies.

Belongs here: whole flows on both backends. Does not: what a flow does (test_flow.py).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import lakes
import pytest

from lakehouse.contracts import Contract
from lakehouse.pipeline import Lake, ingest, open_lake, refresh
from lakehouse.registry import contracts, sample_files, sources, transform_of
from lakehouse.verify import content_hash, verify

NOON = datetime(2026, 1, 10, 12, tzinfo=UTC)
LATE = (
    b'{"pipeline_id": "late", "event_type": "pipeline.failed", "workspace_id": "w", '
    b'"timestamp": "2026-01-02T03:04:05Z", "raw_data": {"duration_ms": 7}}\n'
)


@contextmanager
def lake_of(kind: str, folder: Path) -> Iterator[Lake]:
    with lakes.lake_of(kind, folder) as settings:
        yield dataclasses.replace(open_lake(settings), clock=lambda: NOON, batch_rows=20)


def run(lake: Lake, *, full: bool = False) -> dict[str, str]:
    """Every table of every domain, landing to Gold; return the content of each."""
    for table in contracts():
        if table.layer == "bronze":
            ingest(lake, table, [s for s in sources() if s.table is table])
    for table in contracts():
        if table.layer != "bronze":
            refresh(lake, table, transform_of(table), full=full)
    return {t.path: content_hash(t, lake.store.scan(t)) for t in contracts()}


def versions(lake: Lake) -> dict[Contract, int]:
    return {t: lake.store.snapshot(t).version for t in contracts()}


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["ducklake"])
def test_the_sample_gives_what_delta_makes_of_it(kind: str, tmp_path: Path) -> None:
    with lake_of("folder", tmp_path / "delta") as delta, lake_of(kind, tmp_path / kind) as other:
        for lake in (delta, other):
            for name, body in sample_files().items():
                lake.landing.put(name, body)
        assert run(other) == run(delta)
        before = versions(other)
        run(other)
        assert versions(other) == before
        for lake in (delta, other):
            lake.landing.put("pipeline_events/late.ndjson", LATE)
        wanted = run(delta)
        assert run(other) == wanted
        assert verify(other, contracts()).all_problems == []
        assert run(other, full=True) == wanted
        assert verify(other, contracts()).all_problems == []
