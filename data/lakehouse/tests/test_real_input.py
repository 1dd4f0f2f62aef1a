"""Real histories and payloads through the whole flow: every event is written, merged or quarantined."""

from __future__ import annotations

import json
import os
from collections import Counter
from pathlib import Path

import pytest

from lakehouse.contracts import LANDING_REJECTS, quarantine_of
from lakehouse.domains.pipelines import contracts as c
from lakehouse.domains.pipelines import transforms
from lakehouse.pipeline import Lake, ingest, open_lake, refresh
from lakehouse.registry import sources
from lakehouse.settings import Settings
from lakehouse.verify import content_hash, verify

ROOT = Path(__file__).resolve().parents[3]
SHARED = Path(os.environ.get("ODP_SHARED_DATA") or ROOT.parent / "shared" / "data")
SOURCES = [s for s in sources() if s.table is c.RAW_PIPELINE_EVENTS]
TABLES = (c.RAW_PIPELINE_EVENTS, c.PIPELINE_EVENTS, c.PIPELINE_METRICS)

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not (SHARED / "temporal_histories").is_dir(),
        reason=f"no real data at {SHARED} (set ODP_SHARED_DATA)",
    ),
]


def histories() -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in sorted((SHARED / "temporal_histories").glob("*.json"))}


def payloads() -> dict[str, bytes]:
    folder = SHARED / "github_events"
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*.json"))}


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return open_lake(Settings(lake_url=str(tmp_path / "lake"), landing_url=str(tmp_path / "landing")))


def run(lake: Lake):  # type: ignore[no-untyped-def]
    landed = ingest(lake, c.RAW_PIPELINE_EVENTS, SOURCES)
    silver = refresh(lake, c.PIPELINE_EVENTS, transforms.pipeline_events)
    refresh(lake, c.PIPELINE_METRICS, transforms.pipeline_metrics)
    return landed, silver


def test_every_event_of_every_history_is_accounted_for(lake: Lake) -> None:
    files = histories()
    for name, body in files.items():
        lake.landing.put(f"temporal/{name}", body)
    first = {body: name for name, body in reversed(files.items())}  # two histories are equal to the byte
    counted = {name: len(json.loads(body)["events"]) for body, name in first.items()}
    landed, silver = run(lake)
    assert landed.refused == []
    assert landed.known == len(files) - len(counted)
    assert landed.rows == silver.read == sum(counted.values())
    assert silver.read == silver.written + silver.merged + silver.quarantined
    per_file = Counter(lake.store.scan(c.RAW_PIPELINE_EVENTS).collect()["_source"].to_list())
    assert per_file == Counter({f"temporal/{name}": count for name, count in counted.items()})
    assert verify(lake, TABLES).all_problems == []


def test_every_payload_lands_or_is_kept_with_a_reason(lake: Lake) -> None:
    files = payloads()
    for name, body in files.items():
        lake.landing.put(f"github/{name}", body)
    landed, silver = run(lake)
    # A deployment's payload mentions the run that made it, but is no event of the run.
    runs = {name for name in files if name.split("/")[-2] in ("workflow_run", "workflow_job")}
    assert landed.files + len(landed.refused) + landed.known == len(files)
    assert {r.file.removeprefix("github/") for r in landed.refused} == set(files) - runs
    assert all("known" in r.reason or "knows" in r.reason for r in landed.refused)
    assert silver.read == landed.rows == len(runs) - landed.known
    assert silver.quarantined == 0
    events = lake.store.scan(c.PIPELINE_EVENTS).collect()
    assert set(events["status"]) == {"completed", "failed", "in_progress"}
    assert lake.store.snapshot(LANDING_REJECTS).rows == len({files[n] for n in set(files) - runs})


def test_the_same_real_input_twice_changes_nothing_and_in_another_order_says_the_same(tmp_path: Path) -> None:
    hashes = []
    for order in (1, -1):
        lake = open_lake(
            Settings(lake_url=str(tmp_path / f"l{order}"), landing_url=str(tmp_path / f"f{order}"))
        )
        # In steps of one file on one side, at once on the other; identical events of other files stay theirs.
        for name, body in list(histories().items())[::order]:
            lake.landing.put(f"temporal/{name}", body)
        run(lake)
        before = [lake.store.snapshot(t).version for t in TABLES]
        run(lake)
        assert [lake.store.snapshot(t).version for t in TABLES] == before
        hashes.append([content_hash(t, lake.store.scan(t)) for t in TABLES])
        assert not lake.store.exists(LANDING_REJECTS)
        assert lake.store.snapshot(quarantine_of(c.PIPELINE_EVENTS)).rows >= 0
    assert hashes[0] == hashes[1]
