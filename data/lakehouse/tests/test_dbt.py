"""Tables that dbt makes: what of the project becomes a table, and what a build may do to the lake.

Belongs here: the seam between dbt and the lake. Does not: figures of real loans (test_dbt_real.py).
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import lakes
import orjson
import polars as pl
import pyarrow as pa
import pytest
from deltalake import write_deltalake
from loans import one_more

from lakehouse import fault_points, registry
from lakehouse.contracts import Contract
from lakehouse.dbt import BuildFailed, Project, refresh_models
from lakehouse.dbt.refresh import NOTE
from lakehouse.domains.lending import contracts as lending
from lakehouse.domains.lending.sample import sample_files
from lakehouse.errors import ContractError, SchemaViolation
from lakehouse.maintenance import upgrade
from lakehouse.materialize import materialize_models
from lakehouse.pipeline import Lake, ingest, open_lake, refresh
from lakehouse.pipeline.plan import plan
from lakehouse.pipeline.state import position_key
from lakehouse.verify import content_hash, verify

PROJECT = Path(__file__).resolve().parents[2] / "dbt"
GOLD = ("borrower_segments", "loan_performance", "vintage_curves", "loan_status_history")


@pytest.fixture
def project(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The shipped project is on."""
    yield from use(monkeypatch, PROJECT)


@pytest.fixture
def edited(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Path]:
    """A copy of the project, to be edited before anything looks at it."""
    copy = tmp_path / "project"
    shutil.copytree(PROJECT, copy, ignore=shutil.ignore_patterns("target", "logs", "lake.duckdb*"))
    yield from use(monkeypatch, copy)


def use(monkeypatch: pytest.MonkeyPatch, folder: Path) -> Iterator[Path]:
    monkeypatch.setenv("ODP_DBT_PROJECT", str(folder))
    registry.clear()
    yield folder
    monkeypatch.undo()
    registry.clear()


def lake_at(folder: Path) -> Lake:
    return open_lake(folder / "lake")


def silver(lake: Lake, files: dict[str, bytes] | None = None) -> None:
    """Bring silver/loans up to the sample, or to these files beside it."""
    for name, body in (sample_files() if files is None else files).items():
        lake.landing.put(name, body)
    table = registry.find(lending.RAW_LOANS)
    ingest(lake, lending.RAW_LOANS, table.sources)
    refresh(lake, lending.LOANS, registry.transform_of(lending.LOANS))


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a lake whose models are up to the sample; to be copied."""
    folder = tmp_path_factory.mktemp("built")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ODP_DBT_PROJECT", str(PROJECT))
        registry.clear()
        lake = lake_at(folder)
        silver(lake)
        first = refresh_models(lake, registry.models(), registry.models())
        assert first.built is not None
        assert all(report.written for report in first.reports.values())
    registry.clear()
    return folder


@pytest.fixture
def lake(built: Path, project: Path, tmp_path: Path) -> Lake:
    """A lake of its own, built."""
    shutil.copytree(built, tmp_path, dirs_exist_ok=True)
    return lake_at(tmp_path)


def hashes(lake: Lake) -> dict[str, str]:
    return {t.path: content_hash(t.contract, lake.store.scan(t.contract)) for t in registry.models()}


def gold(name: str) -> Contract:
    [found] = [t.contract for t in registry.models() if t.contract.name == name]
    return found


def versions(lake: Lake) -> dict[str, int]:
    return {t.path: lake.store.snapshot(t.contract).version for t in registry.models()}


def test_models_in_schema_gold_are_tables_of_the_registry(project: Path) -> None:
    found = {t.contract.name: t for t in registry.models()}
    assert set(found) == set(GOLD)
    contract = found["loan_performance"].contract
    assert (contract.domain, contract.key) == ("lending", ("issue_month", "grade", "term_months"))
    assert [source.path for source in contract.sources] == ["silver/loans"]
    assert str(contract.by_name["funded_amount"].type) == "decimal(38, 2)"
    assert not contract.by_name["grade"].nullable
    assert contract.by_name["weighted_interest_rate"].sources == ("interest_rate", "funded_amount")
    for one in found.values():  # column lineage names columns that are there
        for column in one.contract.columns:
            assert set(column.sources) <= set(lending.LOANS.column_names), column.name


def test_loading_the_tables_starts_no_dbt(project: Path) -> None:
    kept = orjson.loads((PROJECT / "manifest.json").read_bytes())
    assert kept["fingerprint"] == Project(PROJECT).fingerprint, "run python ops/scripts/dbt_manifest.py"


@pytest.mark.slow
def test_the_kept_manifest_is_what_dbt_parses() -> None:
    assert (PROJECT / "manifest.json").read_bytes() == Project(PROJECT).extract()


@pytest.mark.slow
def test_a_second_run_with_nothing_new_starts_no_build(lake: Lake) -> None:
    before = versions(lake)
    again = refresh_models(lake, registry.models(), registry.models())
    assert again.built is None
    assert versions(lake) == before
    tables = [lending.RAW_LOANS, lending.LOANS, *(t.contract for t in registry.models())]
    assert [p for p in verify(lake, tables).all_problems if p.check != "declared"] == []
    found = plan(
        lake, tables, registry.find(lending.RAW_LOANS).sources, transforms=registry.transform_or_none
    )
    assert found.nothing, found.lines()


@pytest.mark.slow
def test_a_failing_test_leaves_gold_as_it_was_and_quotes_no_row(lake: Lake) -> None:
    before, then = hashes(lake), versions(lake)
    silver(lake, {"loans/late.csv": one_more(total_pymnt="999999.25")})
    with pytest.raises(BuildFailed, match="test payments_add_up: 1 rows fail it") as told:
        refresh_models(lake, registry.models(), registry.models())
    assert "999999" not in str(told.value)
    assert (hashes(lake), versions(lake)) == (before, then)
    assert lake.store.files.read_tagged(NOTE) is None


@pytest.mark.slow
def test_an_upgrade_never_empties_a_history(lake: Lake, edited: Path) -> None:
    history = gold("loan_status_history")
    before = lake.store.scan(history).sort("loan_key").collect()
    yaml = edited / "snapshots/loan_status_history.yml"
    changed = yaml.read_text().replace("data_type: integer", "data_type: varchar")
    assert changed != yaml.read_text()
    yaml.write_text(changed)
    registry.clear()
    with pytest.raises(SchemaViolation, match="loan_status_history"):
        upgrade(lake, registry.contracts(), (), registry.transform_of)
    assert lake.store.scan(history).sort("loan_key").collect().equals(before)


class Killed(BaseException):
    """A process that ends, as far as the lake can tell."""


def killed_at(point: str, times: int) -> None:
    left = [times]

    def action(at: str) -> None:
        if at == point:
            left[0] -= 1
            if not left[0]:
                raise Killed

    fault_points.arm(action)


@pytest.mark.slow
def test_a_kill_in_the_build_changes_nothing(project: Path, tmp_path: Path) -> None:
    lake = lake_at(tmp_path)
    silver(lake)
    killed_at("dbt.built", 1)
    try:
        with pytest.raises(Killed):
            refresh_models(lake, registry.models(), registry.models())
    finally:
        fault_points.arm(None)
    assert {lake.store.snapshot(t.contract).rows for t in registry.models()} == {0}
    assert lake.store.files.read_tagged(NOTE) is None
    refresh_models(lake, registry.models(), registry.models())
    assert all(lake.store.snapshot(t.contract).rows for t in registry.models())


@pytest.mark.slow
@pytest.mark.parametrize("taken", [2])
def test_a_kill_while_tables_are_taken_is_completed_from_the_same_versions(
    project: Path, tmp_path: Path, taken: int
) -> None:
    lake = lake_at(tmp_path)
    silver(lake)
    at_first = lake.store.data_version(lending.LOANS)
    killed_at("dbt.taking", taken + 1)
    try:
        with pytest.raises(Killed):
            refresh_models(lake, registry.models(), registry.models())
    finally:
        fault_points.arm(None)
    filled = [t.path for t in registry.models() if lake.store.snapshot(t.contract).rows]
    assert len(filled) == taken
    silver(lake, {"loans/more.csv": one_more()})
    refresh_models(lake, registry.models(), registry.models())
    key = position_key(lending.LOANS)
    for table in registry.models():
        seen = {
            lake.store.all_state(table.contract, version=entry.version).get(key)
            for entry in lake.store.history(table.contract)
        }
        assert at_first in seen, table.path  # it was of the first build's version, before it was of the next
    assert lake.store.files.read_tagged(NOTE) is None


@pytest.mark.slow
def test_a_source_whose_files_lack_its_partition_column_is_read_whole(lake: Lake, tmp_path: Path) -> None:
    before = hashes(lake)
    rows = lake.store.scan(lending.LOANS).collect().to_arrow()
    nullable = {column.name: column.nullable for column in lending.LOANS.columns}
    schema = pa.schema([field.with_nullable(nullable[field.name]) for field in rows.schema])
    write_deltalake(
        str(tmp_path / "lake" / lending.LOANS.path),
        rows.cast(schema),
        mode="overwrite",
        schema_mode="overwrite",
        partition_by=["state"],
    )
    assert list(lake.store.data_files(lending.LOANS).partition_by) == ["state"]
    assert refresh_models(lake, registry.models(), registry.models()).built is not None
    assert hashes(lake) == before


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["s3", "ducklake"])
def test_every_kind_of_lake_gives_what_a_folder_gives(kind: str, lake: Lake, tmp_path: Path) -> None:
    with lakes.lake_of(kind, tmp_path / kind) as settings:
        other = open_lake(settings)
        silver(other)
        refresh_models(other, registry.models(), registry.models())
        assert hashes(other) == hashes(lake)
        assert refresh_models(other, registry.models(), registry.models()).built is None


@pytest.mark.slow
def test_a_model_of_a_users_own_is_a_table(edited: Path, tmp_path: Path) -> None:
    (edited / "models/marts/loans_by_state.sql").write_text(
        "select count(*) as loan_count, state, cast('2026-03-01 12:00:00+02' as timestamptz) as at_time, "
        "'ab'::blob as bytes, 0.5::double as half, true as is_so, 7::integer as small, "
        "1.25::decimal(9, 3) as exact, date '2026-03-01' as day from {{ ref('int_loans') }} group by state"
    )
    said = {"name": "state", "data_type": "varchar", "description": "State"}
    count = {"name": "loan_count", "data_type": "bigint", "description": "Loans"}
    others = {
        "at_time": "timestamptz",
        "bytes": "blob",
        "half": "double",
        "is_so": "boolean",
        "small": "integer",
        "exact": "decimal(9, 3)",
        "day": "date",
    }
    model = {
        "name": "loans_by_state",
        "description": "The loans of one state.",
        "config": {"meta": {"odp": {"domain": "lending", "key": ["state"]}}},
        "columns": [said, count, *({"name": n, "data_type": t, "description": n} for n, t in others.items())],
    }
    (edited / "models/marts/own.yml").write_bytes(orjson.dumps({"version": 2, "models": [model]}))
    lake = lake_at(tmp_path)
    silver(lake)
    [own] = [t for t in registry.models() if t.contract.name == "loans_by_state"]
    [done] = materialize_models(lake, [own])
    assert all(check.passed for check in done.checks)
    rows = lake.store.scan(own.contract).sort("state").collect()
    expected = lake.store.scan(lending.LOANS).group_by("state").len("loan_count").sort("state").collect()
    assert rows.select("state", pl.col("loan_count").cast(pl.UInt32)).equals(expected)
    assert rows.drop("state", "loan_count").unique().to_dicts() == [
        {
            "at_time": datetime(2026, 3, 1, 10, tzinfo=UTC),
            "bytes": b"ab",
            "half": 0.5,
            "is_so": True,
            "small": 7,
            "exact": Decimal("1.250"),
            "day": date(2026, 3, 1),
        }
    ]
    left = [t for t in registry.models() if t is not own]
    assert not any(lake.store.exists(t.contract) for t in left)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"config": {"meta": {}}}, "give it config.meta.odp with its domain"),
        (
            {"config": {"meta": {"odp": {"domain": "lending", "keys": ["state"]}}}},
            "meta.odp.keys is not known",
        ),
        ({"description": ""}, "say what one row is"),
    ],
)
def test_a_model_that_is_no_table_is_refused_by_name(
    edited: Path, change: dict[str, object], told: str
) -> None:
    (edited / "models/marts/loans_by_state.sql").write_text("select 'a' as state")
    model = {
        "name": "loans_by_state",
        "description": "One state.",
        "config": {"meta": {"odp": {"domain": "lending", "key": ["state"]}}},
        "columns": [{"name": "state", "data_type": "varchar", "description": "State"}],
        **change,
    }
    (edited / "models/marts/own.yml").write_bytes(orjson.dumps({"version": 2, "models": [model]}))
    with pytest.raises(ContractError, match=f"dbt model loans_by_state: .*{told}"):
        registry.tables()


def test_positions_are_those_that_every_aggregate_keeps(project: Path) -> None:
    from lakehouse.pipeline.pins import Pin, state_of

    pins = {"silver/loans": Pin(version=9, position=7, identity=5)}
    assert state_of(gold("vintage_curves"), pins) == {"position:silver/loans": 7, "identity:silver/loans": 5}
