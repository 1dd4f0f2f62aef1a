"""For all shipped tables: what grew step by step equals what is computed at once, to the byte."""

from __future__ import annotations

import json
import random
from datetime import UTC, date, datetime, timedelta
from fractions import Fraction
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from conftest_landing import gold
from hypothesis import given, settings
from hypothesis import strategies as st
from test_flow import lake_at

from lakehouse.contracts import Contract
from lakehouse.domains.clinical import sample as clinical
from lakehouse.domains.pipelines.contracts import CRAWLER_RESULTS, PIPELINE_EVENTS
from lakehouse.domains.pipelines.transforms import pipeline_metrics, user_profiles
from lakehouse.pipeline import Lake, ingest, refresh
from lakehouse.quarantine import held_tables
from lakehouse.registry import contracts, sources, transform_of
from lakehouse.verify import content_hash

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
BRONZE = [table for table in contracts() if not table.sources]
COMPUTED = [table for table in contracts() if table.sources]


def frame(table: Contract, rows: list[dict[str, Any]]) -> pl.DataFrame:
    schema = table.polars_schema()
    return pl.DataFrame([{**dict.fromkeys(schema), **row} for row in rows], schema=schema)


# Small ones, as tests write them; large ones, whose sums do not fit 53 or even 64 bits.
durations = st.none() | st.integers(0, 10**5) | st.integers(0, 10**18)
ended = st.tuples(st.sampled_from("abc"), st.integers(0, 3), st.integers(0, 99), durations)


def events(rows: list[tuple[str, int, int, int | None]]) -> pl.DataFrame:
    return frame(
        PIPELINE_EVENTS,
        [
            {"workspace_id": w, "pipeline_id": f"p{n}", "event_type": "completed", "status": "completed",
             "event_id": "", "duration_ms": ms, "occurred_at": NOON + timedelta(days=day, seconds=n)}
            for w, day, n, ms in rows
        ],
    )  # fmt: skip


@pytest.mark.slow
@settings(max_examples=80, deadline=None)
@given(st.lists(ended, min_size=1, max_size=40, unique_by=lambda e: e[:3]))
def test_a_group_alone_is_as_among_others_and_each_figure_is_the_nearest_double(
    rows: list[tuple[str, int, int, int | None]],
) -> None:
    whole = {(r["workspace_id"], r["date"]): r for r in gold(pipeline_metrics, events(rows)).to_dicts()}
    groups: dict[tuple[str, date], list[tuple[str, int, int, int | None]]] = {}
    for row in rows:
        groups.setdefault((row[0], (NOON + timedelta(days=row[1])).date()), []).append(row)
    for key, group in groups.items():
        assert gold(pipeline_metrics, events(group[::-1])).to_dicts() == [whole[key]]
        took = sorted(ms for *_, ms in group if ms is not None)
        figures = [whole[key][f"{name}_duration_sec"] for name in ("avg", "p50", "p95")]
        assert figures == _exact(took)


def _exact(took: list[int]) -> list[float | None]:
    """Mean and percentiles in whole numbers; the double nearest to each where it fits 53 bits."""
    if not took:
        return [None, None, None]
    made = [_divided(sum(took), len(took) * 1000)]
    for percent in (50, 95):
        below, above = divmod((len(took) - 1) * percent, 100)
        upper = took[min(below + 1, len(took) - 1)]
        made.append(_divided(took[below] * (100 - above) + upper * above, 100_000))
    return made


def _divided(numerator: int, denominator: int) -> float:
    if numerator < 2**53:
        assert numerator / denominator == float(Fraction(numerator, denominator))
    return float(numerator) / float(denominator)


counts = st.none() | st.integers(0, 10**7)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(counts, counts, counts, st.booleans()), min_size=1, max_size=30))
def test_a_profile_alone_is_as_among_others(rows: list[tuple[Any, ...]]) -> None:
    made = frame(
        CRAWLER_RESULTS,
        [
            {"username": f"u{n}", "method_id": "api", "scraped_at": NOON, "completeness_score": 20,
             "followers_count": a, "following_count": b, "posts_count": c, "is_verified": d}
            for n, (a, b, c, d) in enumerate(rows)
        ],
    )  # fmt: skip
    whole = {row["username"]: row for row in gold(user_profiles, made).to_dicts()}
    for name, row in whole.items():
        assert gold(user_profiles, made.filter(pl.col("username") == name)).to_dicts() == [row]
        if row["engagement_rate"] is not None:
            assert (
                row["engagement_rate"]
                == float(repr(row["engagement_rate"]))
                == round(row["engagement_rate"], 2)
            )


# -- every shipped table, through the flow ----------------------------------------------------------------


def bring_up(lake: Lake, *, full: bool = False) -> None:
    for table in BRONZE:
        ingest(lake, table, [source for source in sources() if source.table is table])
    for table in COMPUTED:
        refresh(lake, table, transform_of(table), full=full)


def hashes(lake: Lake) -> dict[str, str]:
    return {t.path: content_hash(t, lake.store.scan(t)) for t in contracts()}


def github(chance: random.Random) -> list[dict[str, Any]]:
    """Runs of a few attempts and their jobs, told in any order, on the days around each other."""
    told: list[dict[str, Any]] = []
    for _ in range(chance.randrange(1, 12)):
        day, hour, minute = chance.randrange(1, 6), chance.choice([0, 23]), chance.randrange(60)
        at = f"2026-01-{day:02d}T{hour:02d}:{minute:02d}:00Z"
        end = chance.choice(["success", "failure", "skipped", "neutral", "new_word", None])
        kind = chance.choice(["workflow_run", "workflow_job"])
        run = chance.randrange(6)
        thing = {"id": run, "run_id": run, "run_attempt": chance.choice([1, 2, 10, None]), "conclusion": end,
                 "updated_at": at, "completed_at": at, "started_at": at, "created_at": at}  # fmt: skip
        action = chance.choice(["completed", "in_progress"])
        told.append({"action": action, kind: thing, "repository": {"full_name": f"o/w{run % 2}"}})
    return told


def temporal(chance: random.Random, step: int) -> list[dict[str, Any]]:
    """A history that grew since the last step, newest or oldest first, all of it in a few nanoseconds."""
    end = chance.choice(["WorkflowExecutionCompleted", "WorkflowExecutionFailed", "SomethingNew"])
    kinds = ["WorkflowExecutionStarted", *["MarkerRecorded"] * (3 * step + 1), "ActivityTaskCompleted", end]
    told = [
        {"eventId": str(n), "eventType": kind, "eventTime": f"2026-01-02T00:00:00.{n // 4:09d}Z"}
        for n, kind in enumerate(kinds, 1)
    ]
    told[0]["workflowExecutionStartedEventAttributes"] = {"workflowId": "wf", "originalExecutionRunId": "r"}
    return told[:: chance.choice([1, -1])]


def telemetry(chance: random.Random, step: int) -> dict[str, bytes]:
    """Events and profiles of one step: new ones, late ones, corrections, some broken."""
    told = [
        {"pipeline_id": f"p{chance.randrange(40)}", "workspace_id": f"w{chance.randrange(3)}",
         "event_type": chance.choice(["completed", "failed", "started", "skipped", "not_completed"]),
         "timestamp": f"2026-01-{chance.randrange(1, 6):02d}T10:{chance.randrange(60):02d}:00Z",
         "raw_data": {
             "duration_ms": -1 if n == 7 else chance.choice([None, chance.randrange(10**6), 10**15 + 7])}}
        for n in range(chance.randrange(2, 40))
    ]  # fmt: skip
    seen = [
        {"crawl_id": f"c{step}", "method_id": "api", "username": f"u{chance.randrange(6)}",
         "timestamp": f"2026-01-0{chance.randrange(1, 9)}T00:00:00Z",
         "raw_json": {"followers_count": chance.randrange(5000), "posts_count": chance.randrange(5000),
                      "following_count": chance.choice([None, 0, chance.randrange(500)])}}
        for _ in range(chance.randrange(1, 12))
    ]  # fmt: skip
    return {
        f"pipeline_events/{step}.ndjson": "".join(json.dumps(e) + "\n" for e in told).encode(),
        f"crawler_results/{step}.ndjson": "".join(json.dumps(e) + "\n" for e in seen).encode(),
        f"github/{step}.ndjson": "".join(json.dumps(e) + "\n" for e in github(chance)).encode(),
        f"temporal/{step}.json": json.dumps({"events": temporal(chance, step)}).encode(),
    }


def corrections(chance: random.Random, step: int) -> dict[str, bytes]:
    """Histories of one step: versions of patients, conditions and visits, some deleted, some negated."""
    made = {}
    for cohort in ("c0", "c1", "reference"):
        entries = []
        for _ in range(chance.randrange(3, 9)):
            kind, own = chance.choice(["Patient", "Condition", "Encounter"]), f"h{chance.randrange(4)}"
            told = (
                {"lastModified": f"2026-01-{chance.randrange(1, 28):02d}T00:00:00Z"}
                if chance.random() < 0.7
                else {}
            )
            meta = {"meta": {"versionId": str(chance.randrange(1, 12))}} if chance.random() < 0.7 else {}
            of = chance.choice(["Patient/h1", "Patient/h2", "Patient?identifier=mrn|h1", "Group/h1"])
            more = {
                "Patient": {
                    "birthDate": f"19{chance.randrange(20, 99)}",
                    "identifier": [{"system": "mrn", "value": own}],
                },
                "Condition": {
                    "subject": {"reference": of},
                    "code": {"coding": [{"code": chance.choice("xy")}]},
                    "onsetAge": {"value": chance.randrange(50), "code": "a"},
                    "verificationStatus": {"coding": [{"code": chance.choice(["confirmed", "refuted"])}]},
                },
                "Encounter": {
                    "status": chance.choice(["finished", "cancelled"]),
                    "class": {"code": "AMB"},
                    "subject": {"reference": of},
                    "period": {"start": "2020-05-05", "end": "2020-05-05"},
                },
            }[kind]
            resource = {"resourceType": kind, "id": own, **meta, **more}
            gone = chance.random() < 0.2
            entries.append(
                {
                    "request": {"method": "DELETE" if gone else "PUT", "url": f"{kind}/{own}"},
                    "response": told,
                    **({} if gone else {"resource": resource}),
                }
            )
        bundle = {"resourceType": "Bundle", "type": "history", "entry": entries}
        made[f"clinical/{cohort}/history-{step}.json"] = json.dumps(bundle).encode()
    return made


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_random_histories_equal_a_full_refresh(tmp_path: Path, seed: int) -> None:
    """Three steps of both domains; so few rejects in each that no table is held."""
    chance, lake = random.Random(seed), lake_at(tmp_path, batch_rows=60)
    cohorts = [
        (f"clinical/c{number}/{name}", body)
        for number in range(2)
        for name, body in clinical.cohort(2, seed=seed * 10 + number).items()
    ]
    chance.shuffle(cohorts)
    for step in range(3):
        told = {**telemetry(chance, step), **corrections(chance, step)}
        for name, body in (*told.items(), *cohorts[step::3]):
            lake.landing.put(name, body)
        bring_up(lake)
        assert held_tables(lake, COMPUTED) == []
    incremental = hashes(lake)
    bring_up(lake, full=True)
    assert hashes(lake) == incremental
