"""The plan before a run: what is new is selected with its reason and its branch, what is not is left alone.

Belongs here: the plan against lakes that were brought up to it. Does not: running it in the orchestrator.
"""

from __future__ import annotations

import dataclasses
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import lakes
import narwhals.stable.v2 as nw
import polars as pl
import pytest

from lakehouse.contracts import Column, Contract, Type
from lakehouse.pipeline import Lake, ingest, open_lake, refresh
from lakehouse.pipeline.ingest import report_undeclared
from lakehouse.pipeline.plan import OLDER, Plan, plan
from lakehouse.pipeline.state import REBUILDING
from lakehouse.registry import contracts, sample_files, sources, transform_of, transform_or_none
from lakehouse.store import CommitOptions

NOON = datetime(2026, 1, 10, 12, tzinfo=UTC)
MORE = (
    b'{"pipeline_id": "late", "event_type": "pipeline.failed", "workspace_id": "w", '
    b'"timestamp": "2026-01-02T03:04:05Z", "raw_data": {"duration_ms": 7}}\n'
)
EVENTS = ("bronze/raw_pipeline_events", "silver/pipeline_events", "gold/pipeline_metrics")
PROFILES = ("bronze/raw_crawler_results", "silver/crawler_results", "gold/user_profiles")
CLINICAL = [table.path for table in contracts() if table.domain == "clinical"]
BY_PATH = {table.path: table for table in contracts()}


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a lake that has taken in the sample."""
    folder = tmp_path_factory.mktemp("full")
    with lakes.lake_of("folder", folder) as settings:
        filled(open_lake(settings))
    return folder


@pytest.fixture
def lake(full: Path, tmp_path: Path) -> Lake:
    """A copy of that lake, files with their times and all."""
    shutil.copytree(full, tmp_path, dirs_exist_ok=True)
    with lakes.lake_of("folder", tmp_path) as settings:
        return dataclasses.replace(open_lake(settings), clock=lambda: NOON)


def filled(lake: Lake) -> Lake:
    for name, body in sample_files().items():
        lake.landing.put(name, body)
    carry_out(lake, look(lake))
    return lake


def look(lake: Lake, **more: object) -> Plan:
    return plan(lake, contracts(), sources(), **more)  # type: ignore[arg-type]


def carry_out(lake: Lake, what: Plan) -> None:
    """Run what a plan names, in its order, and nothing else."""
    for path in what.reasons:
        table = BY_PATH[path]
        if table.layer == "bronze":
            ingest(lake, table, [source for source in sources() if source.table is table])
            report_undeclared(lake, sources())
        else:
            refresh(lake, table, transform_of(table))


def everything_below(folder: Path) -> dict[str, tuple[int, int]]:
    return {str(p): (p.stat().st_size, p.stat().st_mtime_ns) for p in folder.rglob("*") if p.is_file()}


@pytest.mark.slow
def test_an_empty_lake_is_to_be_filled_sources_first(tmp_path: Path) -> None:
    with lakes.lake_of("folder", tmp_path) as settings:
        lake = open_lake(settings)
        found = look(lake)
        assert set(found.reasons) == set(BY_PATH)
        order = list(found.reasons)
        assert all(order.index(s.path) < order.index(t.path) for t in contracts() for s in t.sources)
        assert found.reasons["gold/user_profiles"] == "it was never written"
        assert look(filled(lake)) == Plan(tables=len(BY_PATH))


@pytest.mark.parametrize("kind", ["folder", "ducklake"])
def test_nothing_new_is_nothing_to_do_in_a_lake_opened_anew(kind: str, tmp_path: Path) -> None:
    tables = [table for table in contracts() if table.path in EVENTS]
    feeding = [source for source in sources() if source.table in tables]
    with lakes.lake_of(kind, tmp_path) as settings:
        open_lake(settings).landing.put("pipeline_events/first.ndjson", MORE)
        carry_out(open_lake(settings), plan(open_lake(settings), tables, feeding))
        assert plan(open_lake(settings), tables, feeding).lines() == [
            "✓ nothing new: 3 tables are up to date"
        ]
        open_lake(settings).landing.put("pipeline_events/more.ndjson", MORE.replace(b"late", b"later"))
        assert list(plan(open_lake(settings), tables, feeding).reasons) == list(EVENTS)


def test_a_plan_writes_nothing(lake: Lake, tmp_path: Path) -> None:
    lake.landing.put("pipeline_events/more.ndjson", MORE)
    lake.landing.put("pipeline_events/broken.parquet", b"PAR1 not really")
    before = everything_below(tmp_path)
    look(lake)
    assert everything_below(tmp_path) == before


def test_a_new_file_runs_its_own_branch_alone(lake: Lake) -> None:
    lake.landing.put("pipeline_events/more.ndjson", MORE)
    found = look(lake)
    assert dict(found.reasons) == {
        EVENTS[0]: "new in landing: pipeline_events/more.ndjson",
        EVENTS[1]: "made of bronze/raw_pipeline_events",
        EVENTS[2]: "made of silver/pipeline_events",
    }
    assert found.lines()[0] == "3 of 23 tables have something to do"
    carry_out(lake, found)
    assert look(lake).nothing


@pytest.mark.slow
def test_a_new_cohort_runs_its_domain_alone_and_names_no_person(lake: Lake) -> None:
    body = b'{"resourceType": "Patient", "id": "one-more"}\n'
    lake.landing.put("clinical/other/Ada_Lovelace.ndjson", body)
    found = look(lake)
    assert sorted(found.reasons) == sorted(CLINICAL)
    assert "Ada" not in "".join(found.lines())
    assert found.reasons["bronze/raw_fhir_resources"].startswith("new in landing: clinical/other/")
    carry_out(lake, found)
    assert look(lake).nothing


def test_a_copy_of_known_bytes_is_no_news(lake: Lake) -> None:
    [name] = [name for name in sample_files() if name.startswith("crawler_results/")]
    lake.landing.put("crawler_results/copy.ndjson", sample_files()[name])
    assert look(lake).nothing


def test_a_refused_file_is_news_once_and_a_warning_from_then_on(lake: Lake) -> None:
    lake.landing.put("pipeline_events/broken.parquet", b"PAR1 not really")
    first = look(lake)
    assert first.reasons[EVENTS[0]] == "new in landing: pipeline_events/broken.parquet"
    carry_out(lake, first)
    again = look(lake)
    assert again.nothing
    assert again.warnings == (
        "1 file of landing was refused and stays there (pipeline_events/broken.parquet): "
        "quarantine/landing_files tells why "
        "(`odp head quarantine/landing_files`)",
    )
    lake.landing.put("pipeline_events/broken.parquet", MORE)
    assert list(look(lake).reasons) == list(EVENTS)
    carry_out(lake, look(lake))
    assert look(lake) == Plan(tables=23)


def test_refused_bytes_that_move_to_where_they_can_be_read_are_news(lake: Lake) -> None:
    lake.landing.put("elsewhere/more.ndjson", MORE)
    found = look(lake)
    assert dict(found.reasons) == {
        "bronze/raw_crawler_results": "no source is declared for elsewhere/more.ndjson"
    }
    carry_out(lake, found)
    assert look(lake).nothing
    assert len(look(lake).warnings) == 1
    lake.landing.put("pipeline_events/more.ndjson", MORE)
    assert list(look(lake).reasons) == list(EVENTS)
    carry_out(lake, look(lake))
    assert look(lake).nothing


def test_refused_bytes_under_a_second_name_are_looked_at_once(lake: Lake) -> None:
    for name in ("pipeline_events/a.parquet", "pipeline_events/b.parquet", "github/a.parquet"):
        lake.landing.put(name, b"PAR1 not really")
        assert not look(lake).nothing
        carry_out(lake, look(lake))
        assert look(lake).nothing
    assert (
        look(lake)
        .warnings[0]
        .startswith(
            "3 files of landing were refused and stay there (github/a.parquet, pipeline_events/a.parquet, "
        )
    )


def test_a_refused_file_of_a_person_is_told_by_its_fingerprint(lake: Lake) -> None:
    for name in ("Ada_Lovelace", "Bea", "Carl", "Dora"):
        lake.landing.put(f"clinical/other/{name}.bin", b"\x00\x01" + name.encode())
    carry_out(lake, look(lake))
    [warning] = look(lake).warnings
    assert re.search(r"^4 files of .* \((clinical/other/[0-9a-f]{12}, ){3}…\): ", warning), warning


def test_a_table_behind_its_source_is_chosen_with_what_decides_over_it(lake: Lake) -> None:
    lake.landing.put("pipeline_events/more.ndjson", MORE)
    bronze, silver, gold = (BY_PATH[path] for path in EVENTS)
    ingest(lake, bronze, [source for source in sources() if source.table is bronze])
    assert dict(look(lake).reasons) == {
        silver.path: "1 batches of bronze/raw_pipeline_events are not in yet",
        gold.path: "made of silver/pipeline_events",
    }
    refresh(lake, silver, transform_of(silver))
    found = look(lake)
    assert found.reasons[silver.path] == "its checks decide over gold/pipeline_metrics"
    assert found.reasons[gold.path].startswith("silver/pipeline_events has changed since: it was read at")
    assert len(found.reasons) == 2
    carry_out(lake, found)
    assert look(lake).nothing


def test_a_table_that_is_gone_is_to_be_written(lake: Lake) -> None:
    lake.store.drop(BY_PATH["gold/user_profiles"])
    found = look(lake)
    assert found.reasons["gold/user_profiles"] == "it was never written"
    carry_out(lake, found)
    assert look(lake).nothing


def test_a_source_under_the_same_name_that_is_another_table_is_computed_from_anew(lake: Lake) -> None:
    silver, gold = BY_PATH[PROFILES[1]], BY_PATH[PROFILES[2]]
    rows = lake.store.scan(silver).collect()
    state = lake.store.all_state(silver)
    lake.store.drop(silver)
    lake.store.append(silver, rows, CommitOptions(state=lambda *_: state))
    assert look(lake).reasons[gold.path] == (f"{silver} is another table than the one it was computed from")
    carry_out(lake, look(lake))
    assert look(lake).nothing


def test_an_interrupted_full_refresh_is_gone_on_with(lake: Lake) -> None:
    silver = BY_PATH[EVENTS[1]]
    nothing = pl.DataFrame(schema=silver.polars_schema())
    lake.store.append(silver, nothing, CommitOptions(state=lambda *_: {REBUILDING: 1}))
    assert look(lake).reasons[silver.path] == "a full refresh of it was interrupted"
    carry_out(lake, look(lake))
    assert look(lake).nothing


def test_a_new_nullable_column_is_no_news_and_another_type_is(lake: Lake) -> None:
    """The next write adds the column; rows have nothing in it before."""
    old = BY_PATH["gold/user_profiles"]
    new = dataclasses.replace(
        old, columns=(*old.columns, Column(name="note", type=Type.STRING, description="A note"))
    )
    tables = [new if table is old else table for table in contracts()]
    assert plan(lake, tables, sources()).nothing
    other = dataclasses.replace(old, columns=old.columns[:-1])
    found = plan(lake, [other if table is old else table for table in contracts()], sources())
    assert "stored schema is not the contract's" in found.reasons[old.path]


@pytest.mark.slow
def test_maintenance_is_no_news(lake: Lake) -> None:
    from lakehouse.maintenance import maintain_all

    lake.landing.put("pipeline_events/more.ndjson", MORE)
    carry_out(lake, look(lake))
    maintain_all(lake, contracts())
    assert look(lake).nothing


def test_what_the_orchestrator_has_not_seen_is_run_so_that_it_hears_of_it(lake: Lake) -> None:
    known = set(BY_PATH) - {"gold/user_profiles"}
    assert dict(look(lake, known=known).reasons) == {
        "silver/crawler_results": "its checks decide over gold/user_profiles",
        "gold/user_profiles": "no run has told of it yet",
    }
    assert look(lake, known=set(BY_PATH)).nothing


def test_a_held_table_keeps_back_what_is_made_of_it_until_something_new_comes(lake: Lake) -> None:
    held = {EVENTS[1]: "silver/pipeline_events is held"}
    lake.store.drop(BY_PATH[EVENTS[2]])
    waiting = look(lake, held=held)
    assert waiting == Plan(warnings=("silver/pipeline_events is held",), tables=23)
    assert waiting.lines() == ["! silver/pipeline_events is held", "✓ nothing new: 23 tables are up to date"]
    lake.landing.put("crawler_results/none.ndjson", b"")
    assert EVENTS[2] not in look(lake, held=held).reasons
    lake.landing.put("pipeline_events/more.ndjson", MORE)
    found = look(lake, held=held)
    assert set(EVENTS) <= set(found.reasons)
    assert found.warnings == ()


def test_rows_of_an_older_version_are_run_alone_until_a_full_refresh(lake: Lake) -> None:
    silver = BY_PATH[EVENTS[1]]
    as_ever = transform_of(silver)

    def changed(raw: nw.LazyFrame) -> nw.LazyFrame:
        return as_ever(raw).with_columns(steps=nw.lit(7, nw.Int64))

    def transforms(table: Contract) -> Callable[..., nw.LazyFrame] | None:
        return changed if table is silver else transform_or_none(table)

    assert look(lake, transforms=transform_or_none).nothing
    assert dict(look(lake, transforms=transforms).reasons) == {
        silver.path: "it holds rows made by an older version; --full-refresh computes them anew"
    }
    refresh(lake, silver, changed, full=True)
    assert OLDER not in look(lake, transforms=transforms).reasons.values()


def test_a_plan_imports_no_orchestrator(lake: Lake, tmp_path: Path) -> None:
    code = (
        "import sys\n"
        "from lakehouse.registry import contracts, sources\n"
        "from lakehouse.pipeline import open_lake\n"
        "from lakehouse.pipeline.plan import plan\n"
        "assert plan(open_lake(), contracts(), sources()).nothing\n"
        "assert not [m for m in sys.modules if m.split('.')[0] in ('dagster', 'sqlalchemy', 'boto3')]\n"
    )
    env = {**os.environ, "LAKE_URL": str(tmp_path / "lake"), "LANDING_URL": str(tmp_path / "landing")}
    subprocess.run([sys.executable, "-c", code], env=env, check=True)
