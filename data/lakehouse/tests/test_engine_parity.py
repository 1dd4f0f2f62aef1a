"""One flow and one set of transforms on three engines: they give the same rows as Polars, to the bit.

Belongs here: whatever runs on an engine, on the same input, compared as whole values. Does not: what the
right values are (the tests of the flow and of the domains tell that, on Polars).
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import narwhals.stable.v2 as nw
import polars as pl
import polars.selectors as cs
import pytest
from conftest_landing import shared
from hypothesis import given, settings
from hypothesis import strategies as st
from test_flow import EVENT_SOURCES, event, hashes, land, run

from lakehouse.contracts import (
    Column,
    Contract,
    Materialization,
    RowRule,
    Type,
    bronze_columns,
    quarantine_of,
)
from lakehouse.contracts.model import pointer_columns
from lakehouse.domains.clinical import contracts as clinical
from lakehouse.domains.clinical.transforms import condition_era, fhir_references
from lakehouse.domains.lending import contracts as lending
from lakehouse.domains.lending.transforms import loans
from lakehouse.domains.pipelines import contracts as c
from lakehouse.domains.pipelines.transforms import pipeline_metrics, user_profiles
from lakehouse.engine import xp
from lakehouse.engine.duckdb import DuckDBEngine
from lakehouse.engine.polars import PolarsEngine
from lakehouse.engine.protocol import Engine, Frame
from lakehouse.engine.spark import SparkEngine
from lakehouse.pipeline import Lake, ingest, open_lake, refresh
from lakehouse.pipeline.holds import hold_of
from lakehouse.pipeline.rules import Validated, validate
from lakehouse.quarantine import accept, replay
from lakehouse.registry import contracts, sample_files, sources, transform_of
from lakehouse.settings import Settings
from lakehouse.verify import content_hash, verify

Engines = tuple[Engine, Engine]
TABLES = [table for table in contracts() if table.domain in ("pipelines", "clinical")]


@pytest.fixture(scope="session", params=["duckdb", pytest.param("spark", marks=pytest.mark.readers)])
def engines(request: pytest.FixtureRequest) -> Engines:
    """Polars, and the engine that is to equal it."""
    if request.param == "duckdb":
        return PolarsEngine(), DuckDBEngine()
    return PolarsEngine(), SparkEngine(request.getfixturevalue("spark_remote"))


def exact(frame: pl.DataFrame) -> tuple[pl.Schema, list[str]]:
    """Return types and rows, in no order; -0.0 is not 0.0, and NaN is NaN. Dates may be beyond Python's."""
    return frame.schema, sorted(map(repr, frame.with_columns(cs.temporal().to_physical()).rows()))


def on_both(
    engines: Engines, compute: Callable[..., Frame], *frames: pl.DataFrame
) -> list[tuple[pl.Schema, list[str]]]:
    return [
        exact(engine.stage(compute(*(engine.scan(frame.lazy()) for frame in frames)))) for engine in engines
    ]


# A whole lake


def lake_on(engine: Engine, root: Path) -> Lake:
    opened = open_lake(Settings(lake_url=str(root / "lake"), landing_url=str(root / "landing")))
    return dataclasses.replace(opened, engine=engine, batch_rows=50)


def told(lake: Lake, tables: list[Contract], files: dict[str, bytes]) -> dict[str, Any]:
    """Land files, bring every table up to them; return what each refresh and each table says."""
    for name, body in files.items():
        lake.landing.put(name, body)
    found: dict[str, Any] = {}
    for table in tables:
        if table.layer == "bronze":
            ingest(lake, table, [source for source in sources() if source.table is table])
            continue
        report = refresh(lake, table, transform_of(table))
        found[table.path] = [
            report.read, report.written, report.merged, report.updated, report.quarantined, report.batches,
            report.failures, report.warnings, content_hash(table, lake.store.scan(table)),
        ]  # fmt: skip
        if table.row_wise:
            refused = quarantine_of(table)
            found[refused.path] = content_hash(refused, lake.store.scan(refused))
            found[f"replayed {table}"] = dataclasses.replace(
                replay(lake, table, transform_of(table)), version=0
            )
            if hold_of(lake, table) is not None:
                accept(lake, table, who="test", why="made to be refused")
    return found


def in_two_halves(files: dict[str, bytes]) -> list[dict[str, bytes]]:
    """Every other file, and every other line of NDJSON, first: later ones touch what is there already."""
    halves: list[dict[str, bytes]] = [{}, {}]
    for n, (name, body) in enumerate(sorted(files.items())):
        if not name.endswith(".ndjson"):
            halves[n % 2][name] = body
            continue
        for part, half in enumerate(halves):
            half[f"{name.removesuffix('.ndjson')}-{part}.ndjson"] = b"".join(body.splitlines(True)[part::2])
    return halves


@pytest.mark.parametrize("domain", ["pipelines", "lending", pytest.param("clinical", marks=pytest.mark.slow)])
def test_a_lake_of_the_samples_is_the_same_to_the_byte(engines: Engines, tmp_path: Path, domain: str) -> None:
    tables = [table for table in contracts() if table.domain == domain]
    folders = {source.folder for source in sources() if source.table in tables}
    samples = {name: body for name, body in sample_files().items() if name.split("/")[0] in folders}
    lakes = [lake_on(engine, tmp_path / type(engine).__name__) for engine in engines]
    for half in in_two_halves(samples):
        by_polars, by_other = (told(lake, tables, half) for lake in lakes)
        assert by_other == by_polars
    assert [p for lake in lakes for p in verify(lake, tables).all_problems if p.check != "declared"] == []


@pytest.mark.slow
def test_groups_that_a_change_touches_are_the_same(engines: Engines, tmp_path: Path) -> None:
    """Many groups first, then news of two: these alone are computed anew."""
    found = []
    for engine in engines:
        lake = lake_on(engine, tmp_path / type(engine).__name__)
        land(lake, "1.ndjson", *(event(f"p{n}", at=f"2026-01-{n % 28 + 1:02}T10:00:00Z") for n in range(90)))
        run(lake)
        land(lake, "2.ndjson", event("p1", at="2026-01-02T11:00:00Z"), event("p", at="2020-01-01T00:00:00Z"))
        ingest(lake, c.RAW_PIPELINE_EVENTS, EVENT_SOURCES)
        refresh(lake, c.PIPELINE_EVENTS, transform_of(c.PIPELINE_EVENTS))
        gold = refresh(lake, c.PIPELINE_METRICS, transform_of(c.PIPELINE_METRICS))
        found.append((gold.written, gold.updated, hashes(lake)))
    assert found[0] == found[1]
    assert found[0][:2] == (1, 1)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("folder", "landing", "most"),
    [
        ("temporal_histories", "temporal", 30),
        ("github_events", "github", 60),
        ("fhir_smart_r4", "clinical/smart", 6),
        ("fhir_synthea_hiv", "clinical/hiv", 6),
    ],
)
def test_a_lake_of_real_data_is_the_same_to_the_byte(
    engines: Engines, tmp_path: Path, folder: str, landing: str, most: int
) -> None:
    found = [file for file in shared(folder) if file.suffix in (".json", ".ndjson")][:most]
    files = {f"{landing}/{n:03}-{file.name}": file.read_bytes() for n, file in enumerate(found)}
    lakes = [lake_on(engine, tmp_path / type(engine).__name__) for engine in engines]
    lakes = [dataclasses.replace(lake, batch_rows=2_000) for lake in lakes]
    for half in in_two_halves(files):
        by_polars, by_other = (told(lake, TABLES, half) for lake in lakes)
        assert by_other == by_polars


# Rule split and deduplication, on odd values

RAW = Contract(
    layer="bronze",
    name="raw",
    domain="test",
    description="One line.",
    materialization=Materialization.APPEND,
    columns=bronze_columns(),
)
READINGS = Contract(
    layer="silver", name="readings", domain="test", description="One reading.",
    materialization=Materialization.INCREMENTAL_BY_KEY,
    key=("id", "place"), partition_by=("place",), sequence_by=("at", "celsius"), sources=(RAW,),
    columns=(
        Column(name="id", type=Type.INT64, nullable=False, description="Identity"),
        Column(name="place", type=Type.STRING, nullable=False, description="Place"),
        Column(name="celsius", type=Type.FLOAT64, description="Temperature"),
        Column(name="at", type=Type.TIMESTAMP, description="When"),
        Column(name="day", type=Type.DATE, description="Day"),
        *pointer_columns(RAW.path),
    ),
    rules=(
        RowRule(name="warm", description="above zero", passes=lambda: nw.col("celsius") > 0,
                values=("celsius", "at", "note")),
        RowRule(name="named", description="no a in it", severity="warn",
                passes=lambda: ~nw.col("note").str.contains("a"), values=("note",)),
        RowRule(name="recent", description="of our time", values=("day",),
                passes=lambda: (nw.col("day") > date(1900, 1, 1)).fill_null(True)),
    ),
)  # fmt: skip
FIRST, LAST = datetime(1, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC)
TICKS = [(at - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1) for at in (FIRST, LAST)]
DAYS = [tick // 86_400_000_000 for tick in TICKS]
instants = st.sampled_from([*TICKS, TICKS[0] - 1, TICKS[1] + 1, 0, -1, 10**15, 2 * 10**17]) | st.integers(
    *TICKS
)
days = st.sampled_from([*DAYS, DAYS[0] - 1, DAYS[1] + 1, 0, 5_000_000]) | st.integers(*DAYS)
floats = st.sampled_from([0.0, -0.0, 1.5, float("nan"), float("inf"), float("-inf"), 5e-324]) | st.floats()
texts = st.sampled_from(
    ["a", "b", "ä", "A", "", "__HIVE_DEFAULT_PARTITION__", "x" * 300, "/" * 90, "a'\"%\n"]
)


@st.composite
def readings(draw: st.DrawFn) -> pl.DataFrame:
    """Rows with few keys and times, so that they tie; each has a place of its own in its file."""
    row = st.tuples(
        st.none() | st.integers(0, 3), st.none() | texts, st.none() | floats, st.none() | instants,
        st.none() | days, st.none() | texts, st.integers(1, 2),
    )  # fmt: skip
    rows = draw(st.lists(row, max_size=25))
    schema = {"id": pl.Int64, "place": pl.String, "celsius": pl.Float64, "at": pl.Int64, "day": pl.Int32,
              "note": pl.String, "_batch_id": pl.Int64}  # fmt: skip
    return pl.DataFrame(rows, schema=schema, orient="row").with_columns(
        pl.col("at").cast(pl.Datetime("us", "UTC")), pl.col("day").cast(pl.Date),
        _source=pl.lit("f"), _fingerprint=pl.lit("h"), _row=pl.int_range(pl.len()),
    )  # fmt: skip


def parts(engine: Engine, frame: pl.DataFrame) -> Validated:
    return validate(READINGS, engine.persist(engine.scan(frame.lazy())), engine=engine)


@settings(max_examples=25, deadline=None)
@given(readings())
def test_rules_split_rows_in_the_same_way(engines: Engines, frame: pl.DataFrame) -> None:
    by_polars, by_other = (
        (exact(engine.stage(found.good)), exact(found.refused), found.read, found.failures, found.warnings)
        for engine in engines
        for found in [parts(engine, frame)]
    )
    assert by_other == by_polars


# Floats that a reader of files or Arrow takes for something else

MEASURES = Contract(
    layer="silver", name="measures", domain="test", description="One measure.",
    materialization=Materialization.INCREMENTAL_BY_KEY, key=("id",), sources=(RAW,),
    columns=(
        Column(name="id", type=Type.INT64, nullable=False, description="Identity"),
        Column(name="value", type=Type.FLOAT64, description="Value"),
    ),
)  # fmt: skip
VALUE = nw.col("value")


@pytest.mark.parametrize(
    "values", [[1.0, math.nan], [-0.0, -0.0], [math.nan], [0.0, -0.0, 1.0, math.inf, None]]
)
def test_a_condition_finds_the_same_rows_wherever_they_lie(
    engines: Engines, tmp_path: Path, values: list[float | None]
) -> None:
    """In memory, kept by the engine, and in files whose least and greatest value are no NaN."""
    rows = pl.DataFrame({"id": range(len(values)), "value": values}, {"id": pl.Int64, "value": pl.Float64})
    lake = lake_on(engines[0], tmp_path)
    lake.store.overwrite(MEASURES, rows)
    files = [f"{lake.store.uri(MEASURES)}/{name}" for name in lake.store.file_names(MEASURES)]
    conditions = [
        VALUE > 5, VALUE >= 0.0, VALUE < 1.5, ~(VALUE < 5), VALUE == 0.0, VALUE.is_in([0.0, 1.0]),
        VALUE.is_nan(), VALUE.is_between(0.0, 7.0),
    ]  # fmt: skip
    by_polars, other = engines
    scanned = other.scan(rows.lazy())
    read = other.read(files, MEASURES)
    assert read is not None
    for condition in conditions:
        right = exact(by_polars.stage(by_polars.scan(rows.lazy()).filter(condition)))
        for frame in (scanned, other.persist(scanned), read):
            assert exact(other.stage(frame.filter(condition))) == right


def test_rows_meet_by_a_float_that_is_zero_or_none(engines: Engines) -> None:
    def joined(left: Frame, right: Frame) -> Frame:
        return left.join(right, on=["value"], how="inner")

    odd = [math.nan, -math.nan, 1.0, math.inf, None]
    by_polars, by_other = on_both(
        engines,
        joined,
        pl.DataFrame({"value": odd, "a": range(5)}),
        pl.DataFrame({"value": odd, "b": range(5)}),
    )
    assert by_other == by_polars


# Operations and transforms, on odd values


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(st.none() | st.integers(*TICKS), st.none() | st.integers(*DAYS)), max_size=9))
def test_spans_of_time_begin_at_once(engines: Engines, rows: list[tuple[int | None, int | None]]) -> None:
    frame = pl.DataFrame(rows, {"at": pl.Int64, "day": pl.Int64}, orient="row").select(
        pl.col("at").cast(pl.Datetime("us", "UTC")), pl.col("day").cast(pl.Int32).cast(pl.Date)
    )
    for column, length, to in (
        ("at", timedelta(days=1), "at"), ("at", timedelta(minutes=15), "to"), ("day", timedelta(days=1), "to")
    ):  # fmt: skip
        by_polars, by_other = on_both(
            engines, partial(xp.span_start, column=column, length=length, to=to), frame
        )
        assert by_other == by_polars


def of(table: Contract, rows: list[dict[str, Any]]) -> pl.DataFrame:
    schema = table.polars_schema()
    return pl.DataFrame([{**dict.fromkeys(schema), **row} for row in rows], schema=schema)


times = st.sampled_from([FIRST, LAST, datetime(2026, 1, 1, tzinfo=UTC)]) | st.datetimes(
    datetime(2026, 1, 1), datetime(2026, 1, 3), timezones=st.just(UTC)
)
whole_numbers = st.none() | st.sampled_from([0, 1, 2**53 + 1, 2**62, 10**18 - 1]) | st.integers(0, 10**6)
events = st.fixed_dictionaries(
    {
        "workspace_id": st.sampled_from(["w", "ä", ""]),
        "pipeline_id": st.sampled_from(["p", "q"]),
        "parent_id": st.sampled_from([None, None, None, "p"]),
        "status": st.sampled_from(["completed", "failed", "skipped", "in_progress"]),
        "event_type": st.sampled_from(["workflow_run_completed", "Z", "a", "ä"]),
        "event_id": st.sampled_from(["", "1/2", "1/10", "1/x", "99/999999999", "1/9999999999"]),
        "occurred_at": times,
        "duration_ms": whole_numbers,
    }
)
profiles = st.fixed_dictionaries(
    {
        "username": st.sampled_from(["u", "v", "ü"]),
        "method_id": st.sampled_from(["api", "html", "Z"]),
        "scraped_at": times,
        "followers_count": whole_numbers,
        "following_count": whole_numbers,
        "posts_count": whole_numbers,
        "is_verified": st.booleans(),
        "completeness_score": st.integers(0, 100),
    }
)


@settings(max_examples=30, deadline=None)
@given(st.lists(events, max_size=25, unique_by=lambda e: (e["occurred_at"], e["event_type"], e["event_id"])))
def test_pipeline_metrics(engines: Engines, rows: list[dict[str, Any]]) -> None:
    by_polars, by_other = on_both(engines, pipeline_metrics, of(c.PIPELINE_EVENTS, rows))
    assert by_other == by_polars
    assert by_polars[0] == c.PIPELINE_METRICS.polars_schema()


@settings(max_examples=30, deadline=None)
@given(st.lists(profiles, max_size=25, unique_by=lambda p: (p["username"], p["scraped_at"], p["method_id"])))
def test_user_profiles(engines: Engines, rows: list[dict[str, Any]]) -> None:
    by_polars, by_other = on_both(engines, user_profiles, of(c.CRAWLER_RESULTS, rows))
    assert by_other == by_polars
    assert by_polars[0] == c.USER_PROFILES.polars_schema()


odd_texts = st.none() | st.sampled_from(
    ("", " ", "n/a", "NA", "NaN", "inf", "-0", "0.005", "1e5", "1,000", "1000.399999999996", "9" * 40,
     "13.56%", " 36 months", "365 months", "10+ years", "< 1 year", "945xx", "CA", "C", "C1", "Current",
     "Dec-11", "Jan-62", "2011-12-01", "2011-02-30", "\u0661", "ä\x1f'",
     "Does not meet the credit policy. Status:Fully Paid")
)  # fmt: skip


@pytest.mark.slow  # DuckDB binds each step of a long plan anew
@settings(max_examples=10, deadline=None)
@given(st.lists(st.fixed_dictionaries(dict.fromkeys(lending.LENDINGCLUB.values(), odd_texts)), max_size=12))
def test_loans(engines: Engines, rows: list[dict[str, Any]]) -> None:
    more = [{**row, "more": '{"b":"x","a":null,"c":" "}'} for row in rows]
    by_polars, by_other = on_both(engines, loans, of(lending.RAW_LOANS, more))
    assert by_other == by_polars


CLINICAL = {table.name: table for table in clinical.CONTRACTS}
odd_days = st.sampled_from([None, date.min, date.max, date(2024, 2, 29), date(2024, 1, 31)])
written_days = odd_days | st.dates(date(2020, 1, 1), date(2020, 4, 1))
odd_ages = st.sampled_from([None, 0.0, 0.5, 1.5, 2.5, 30, 150.0, 1800.0, 9e9, -1.0, float("nan")])
ages = odd_ages | st.floats()
units = st.sampled_from(["a", "A", "mo", "wk", "d", "min", None])
references = st.fixed_dictionaries(
    {
        "patient_id": st.sampled_from([None, "1", "2"]),
        "patient_type": st.sampled_from([None, "Patient", "Group", ""]),
        "patient_ref": st.sampled_from(
            [None, "", "Patient/1", "http://x/Patient/2/_history/3", "urn:uuid:1", "#1", "Patient/1?x", "x/1"]
            + [f"Patient?identifier={token}" for token in ("s|1", "1", "s%7C1", "%ff", "a\nb")]
        ),
    }
)
conditions = references.flatmap(
    lambda reference: st.fixed_dictionaries(
        {
            **{name: st.just(value) for name, value in reference.items()},
            "cohort": st.sampled_from(["A", "B", "a-reference", "reference"]),
            "id": st.just("c"),
            "code": st.sampled_from(["x", "y", None]),
            "code_system": st.sampled_from(["s", "", None]),
            "code_display": st.sampled_from(["B", "a", "ä", None]),
            "clinical_status": st.sampled_from(["active", "resolved", "odd", None]),
            "kept_out_by": st.sampled_from([None, None, None, ["verificationStatus"]]),
            "onset_at_date": written_days,
            "recorded_at_date": written_days,
            "abated_at_date": written_days,
            "abated_at_precision": st.sampled_from(["year", "month", "day", None]),
            "onset_age": ages,
            "onset_age_unit": units,
            "abatement_age": ages,
            "abatement_age_unit": units,
            "abatement_type": st.sampled_from([None, None, "string"]),
        }
    )
)
persons = st.fixed_dictionaries(
    {
        "cohort": st.sampled_from(["A", "B", "a-reference", "reference"]),
        "id": st.sampled_from(["1", "2"]),
        "birth_date": written_days,
        "kept_out_by": st.sampled_from([None, None, ["x"]]),
    }
)
entries = st.fixed_dictionaries(
    {
        "cohort": st.sampled_from(["A", "B", "a-reference", "reference"]),
        "resource_type": st.sampled_from(["Patient", "Group"]),
        "id": st.sampled_from(["1", "2"]),
        "identifiers": st.sampled_from([None, [], ["s|1"], ["s|1", "t|1", "|"], ["s|\ufffd", "a\nb"]]),
        "is_deleted": st.sampled_from([None, False, False, True]),
    }
)


def clinical_frames() -> st.SearchStrategy[tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]]:
    """Conditions, patients and index: few of each, so that they meet."""
    return st.tuples(
        st.lists(conditions, max_size=12).map(partial(of, CLINICAL["condition"])),
        st.lists(persons, max_size=6, unique_by=lambda p: (p["cohort"], p["id"])).map(
            partial(of, CLINICAL["patient"])
        ),
        st.lists(entries, max_size=8, unique_by=lambda e: (e["cohort"], e["resource_type"], e["id"])).map(
            partial(of, CLINICAL["fhir_index"])
        ),
    )


@pytest.mark.slow  # DuckDB binds each step of a long plan anew: a second an example
@settings(max_examples=25, deadline=None)
@given(clinical_frames())
def test_condition_era(engines: Engines, frames: tuple[pl.DataFrame, ...]) -> None:
    table = clinical.CONDITION_ERA
    by_polars, by_other = on_both(
        engines, lambda *given: condition_era(*given).select(*table.column_names), *frames
    )
    assert by_other == by_polars
    assert by_polars[0] == table.polars_schema()


@pytest.mark.slow  # DuckDB binds each step of a long plan anew: a second an example
@settings(max_examples=5, deadline=None)
@given(clinical_frames())
def test_fhir_references(engines: Engines, frames: tuple[pl.DataFrame, ...]) -> None:
    table, (rows, _, index) = clinical.FHIR_REFERENCES, frames
    silver = [rows if source.name == "condition" else of(source, []) for source in table.sources[1:]]
    by_polars, by_other = on_both(
        engines, lambda *given: fhir_references(*given).select(*table.column_names), index, *silver
    )
    assert by_other == by_polars
    assert by_polars[0] == table.polars_schema()


def test_an_operation_that_differs_would_be_found(engines: Engines) -> None:
    """Bare `round` takes halves to even on Polars, and up on DuckDB."""
    by_polars, by_other = on_both(
        engines, lambda frame: frame.select(nw.col("x").round(0)), pl.DataFrame({"x": [0.5, 1.5, 2.5]})
    )
    assert by_other != by_polars
