"""No value stops the pipeline: what is odd lands exactly or goes to quarantine, and the next file goes
through.

Belongs here: hostile values from landing to Gold, for every shipped source. Does not: the store's own
(test_store_values).
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import narwhals.stable.v2 as nw
import polars as pl
import pytest
from conftest_landing import parted
from polars.testing import assert_frame_equal

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
from lakehouse.domains.clinical.dates import moments
from lakehouse.domains.pipelines import contracts as c
from lakehouse.engine import xp
from lakehouse.errors import ContractError, DataViolation, LakeError, SchemaViolation, UnexpectedError
from lakehouse.landing import LandedFile, Source
from lakehouse.pipeline import Lake, open_lake, refresh
from lakehouse.pipeline.holds import hold_of
from lakehouse.pipeline.ingest import ingest
from lakehouse.quarantine import accept
from lakehouse.registry import contracts, sources, transform_of
from lakehouse.settings import Settings
from lakehouse.verify import verify

# Times as they are sent, with what they are in UTC; None for what no table can hold.
EDGES: dict[str, datetime | None] = {
    "0001-01-01T00:00:00Z": datetime(1, 1, 1, tzinfo=UTC),
    "0001-01-01T00:00:00+01:00": None,
    "0001-01-01T00:00:00-01:00": datetime(1, 1, 1, 1, tzinfo=UTC),
    "0000-01-01T00:00:00Z": None,
    "0000-12-31T23:59:59.999999Z": None,
    "0999-12-31T23:59:59Z": datetime(999, 12, 31, 23, 59, 59, tzinfo=UTC),
    "1969-12-31T23:59:59.999999Z": datetime(1969, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC),
    "9999-12-31T23:59:59Z": datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC),
    "9999-12-31T23:59:59-05:00": None,
    "9999-12-31T23:59:59+05:00": datetime(9999, 12, 31, 18, 59, 59, tzinfo=UTC),
}
EPOCHS: dict[str, datetime | None] = {
    "9999999999": datetime(2286, 11, 20, 17, 46, 39, tzinfo=UTC),
    "9999999999999": datetime(2286, 11, 20, 17, 46, 39, 999_000, tzinfo=UTC),
    "253402300800000000": None,
    "10000-01-01T00:00:00Z": None,
    "-0001-01-01T00:00:00Z": None,
    "1e400": None,
    "inf": None,
    "NaN": None,
}
NAMES = (
    "username",
    "scraped_at",
    "k",
    "'",
    '"',
    "inf",
    "NaN",
    "a\\",
    "; drop",
    "null",
    "é\n",
    "influence_score",
)


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return open_lake(Settings(lake_url=str(tmp_path / "lake"), landing_url=str(tmp_path / "landing")))


def run(lake: Lake, domain: str, *, full: bool = False) -> None:
    """Bring every table of a domain up to what has landed."""
    for table in contracts():
        if table.domain != domain:
            continue
        if table.layer == "bronze":
            report = ingest(lake, table, [source for source in sources() if source.table is table])
            assert report.refused == []
        else:
            refresh(lake, table, transform_of(table), full=full)
            if hold_of(lake, table) is not None:
                accept(lake, table, who="test", why="made to be refused")


def domain_of(table: Contract) -> list[Contract]:
    return [one for one in contracts() if one.domain == table.domain]


def sound(lake: Lake, domain: str) -> None:
    tables = [table for table in contracts() if table.domain == domain]
    assert [p for p in verify(lake, tables).all_problems if p.check != "declared"] == []


def same_after_full_refresh(lake: Lake, domain: str, *tables: Contract) -> None:
    before = [lake.store.scan(table).sort(table.key).collect() for table in tables]
    run(lake, domain, full=True)
    for table, frame in zip(tables, before, strict=True):
        after = lake.store.scan(table).sort(table.key).collect()
        volatile = [one.name for one in table.columns if one.volatile]
        assert_frame_equal(frame.drop(volatile), after.drop(volatile))


def lines(*records: Any) -> bytes:
    return b"".join(json.dumps(record).encode() + b"\n" for record in records)


def event(number: int, at: Any, **data: Any) -> dict[str, Any]:
    return {
        "pipeline_id": f"p{number}",
        "event_type": "pipeline.completed",
        "workspace_id": "w",
        "timestamp": at,
        "raw_data": {"duration_ms": 1000, **data},
    }


@pytest.mark.parametrize(("text", "at"), [*EDGES.items(), *EPOCHS.items()])
def test_a_time_at_an_edge_is_read_exactly_or_not_at_all(text: str, at: datetime | None) -> None:
    frame = nw.from_native(pl.LazyFrame({"text": [text, "2026-01-10T10:00:00Z"]}))
    assert nw.to_native(xp.timestamp(frame, "text", to="at")).collect()["at"].to_list()[0] == at
    if text in EDGES:
        assert moments(pl.Series([text]))[0].to_list() == [at]


def test_events_at_the_edges_of_time_land_or_are_refused_and_the_next_file_goes_through(lake: Lake) -> None:
    every = {**EDGES, **EPOCHS}
    records = [event(number, at) for number, at in enumerate(every)]
    right = {f"p{number}": at for number, at in enumerate(every.values())}
    for name in ("a", "b", "c"):
        lake.landing.put(
            f"pipeline_events/{name}.ndjson", lines(*records, event(99, f"2026-01-1{len(name)}T00:00:00Z"))
        )
        run(lake, "pipelines")
    found = lake.store.scan(c.PIPELINE_EVENTS).select("pipeline_id", "occurred_at").collect()
    assert dict(found.iter_rows()) == {
        **{key: at for key, at in right.items() if at is not None},
        "p99": datetime(2026, 1, 11, tzinfo=UTC),
    }
    refused = lake.store.scan(quarantine_of(c.PIPELINE_EVENTS)).collect()
    assert set(refused["rules"]) == {"occurred_at_readable"}
    days = set(lake.store.scan(c.PIPELINE_METRICS).collect()["date"])
    assert days == {at.date() for at in right.values() if at is not None} | {date(2026, 1, 11)}
    sound(lake, "pipelines")
    same_after_full_refresh(lake, "pipelines", c.PIPELINE_EVENTS, c.PIPELINE_METRICS)


@pytest.mark.slow
def test_one_edge_alone_in_a_run_is_corrected_by_the_next(lake: Lake) -> None:
    for text, at in EDGES.items():
        if at is None:
            continue
        for duration in (1000, 3000):
            late = {**event(1, text), "raw_data": {"duration_ms": duration}}
            lake.landing.put(f"pipeline_events/{duration}{text[:7]}.ndjson", lines(late))
            run(lake, "pipelines")
        found = lake.store.scan(c.PIPELINE_METRICS).filter(pl.col("date") == at.date()).collect()
        assert found["avg_duration_sec"].to_list() == [3.0]
    sound(lake, "pipelines")


def profile(name: str, followers: Any, at: str, **more: Any) -> dict[str, Any]:
    return {
        "crawl_id": "x",
        "method_id": name,
        "username": name,
        "timestamp": at,
        "raw_json": {"followers_count": followers, "posts_count": 5, **more},
    }


def test_users_are_updated_whatever_they_are_called(lake: Lake) -> None:
    for number, followers in enumerate((10, 20, 30)):
        at = f"2026-01-1{number}T00:00:00Z"
        lake.landing.put(
            f"crawler_results/{number}.ndjson", lines(*[profile(n, followers, at) for n in NAMES])
        )
        run(lake, "pipelines")
    found = lake.store.scan(c.USER_PROFILES).select("username", "followers_count").collect()
    assert dict(found.iter_rows()) == {name.strip(): 30 for name in NAMES}
    sound(lake, "pipelines")
    same_after_full_refresh(lake, "pipelines", c.USER_PROFILES)


def test_scrapes_at_the_edges_of_time_and_number(lake: Lake) -> None:
    counts = (2**63, -(2**63), 1e308, 10**17, "inf", "NaN", "1e400", -0.0, "９", True, [1], {"a": 1}, "")
    records = [profile(f"u{n}", 7, at, account_created_at=at) for n, at in enumerate(EDGES)]
    records += [profile(f"n{n}", count, "2026-01-10T00:00:00Z") for n, count in enumerate(counts)]
    for name in ("a", "b"):
        lake.landing.put(
            f"crawler_results/{name}.ndjson", lines(*records, profile(name, 1, "2026-01-10T00:00:00Z"))
        )
        run(lake, "pipelines")
    found = (
        lake.store.scan(c.CRAWLER_RESULTS).select("username", "scraped_at", "account_created_at").collect()
    )
    edges = {f"u{n}": (at, at) for n, at in enumerate(EDGES.values()) if at is not None}
    assert {name: (at, made) for name, at, made in found.iter_rows() if name.startswith("u")} == edges
    assert {"a", "b"} <= set(lake.store.scan(c.USER_PROFILES).collect()["username"])
    sound(lake, "pipelines")


def history(*times: Any) -> dict[str, Any]:
    kinds = ("WorkflowExecutionStarted", "WorkflowExecutionCompleted")
    return {
        "events": [
            {"eventId": str(n), "eventTime": at, "eventType": kinds[n % 2]} for n, at in enumerate(times)
        ]
    }


TEMPORAL: list[Any] = [
    *EDGES,
    "2026-13-45T99:99:99Z",
    "0000-00-00T00:00:00Z",
    {"seconds": -62135596800},
    {"seconds": "-62135596800"},
    {"seconds": "253402300799", "nanos": 999999999},
    {"seconds": "253402300800"},
    {"seconds": "²"},
    {"seconds": "9" * 30},
    {"seconds": 1.5},
    {"seconds": None},
    {"nanos": "-1"},
    [],
    12,
    True,
    "",
]


@pytest.mark.parametrize("end", TEMPORAL, ids=repr)
def test_a_history_with_any_time_is_read(lake: Lake, end: Any) -> None:
    for number, start in enumerate((end, "2026-01-10T00:00:00Z")):
        lake.landing.put(f"temporal/{number}.json", json.dumps(history(start, end)).encode())
    report = ingest(lake, c.RAW_PIPELINE_EVENTS, [s for s in sources() if s.folder == "temporal"])
    assert (report.rows, report.refused) == (4, [])


def test_histories_and_runs_at_the_edges_of_time(lake: Lake) -> None:
    for name in ("a", "b"):
        for number, at in enumerate(TEMPORAL):
            body = history("2026-01-10T00:00:00Z", at, at)
            lake.landing.put(
                f"temporal/{name}{number}.json", json.dumps({**body, "namespace": name}).encode()
            )
        runs = [
            {
                "id": n,
                "status": "completed",
                "conclusion": "success",
                "workflow_id": 1,
                "run_number": 1,
                "updated_at": at,
                "run_started_at": "0001-01-01T00:00:00+14:00",
                "created_at": at,
                "name": name,
            }
            for n, at in enumerate(EDGES)
        ]
        lake.landing.put(
            f"github/{name}.json", json.dumps({"total_count": 1, "workflow_runs": runs}).encode()
        )
        run(lake, "pipelines")
    found = lake.store.scan(c.PIPELINE_EVENTS).collect()
    assert datetime(1, 1, 1, tzinfo=UTC) in found["occurred_at"].to_list()
    assert datetime(9999, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC) in found["occurred_at"].to_list()
    sound(lake, "pipelines")


def bundle(*resources: dict[str, Any]) -> bytes:
    entries = [{"fullUrl": f"urn:uuid:{one['id']}", "resource": one} for one in resources]
    return json.dumps({"resourceType": "Bundle", "type": "transaction", "entry": entries}).encode()


def cohort(times: list[str], tag: str) -> Iterator[dict[str, Any]]:
    for n, at in enumerate(times):
        subject = {"reference": f"Patient/{tag}p{n}"}
        meta = {"lastUpdated": at}
        code = {"coding": [{"system": "s", "code": "1"}]}
        yield {
            "resourceType": "Patient",
            "id": f"{tag}p{n}",
            "birthDate": at[:10],
            "deceasedDateTime": at,
            "meta": meta,
        }
        yield {
            "resourceType": "Encounter",
            "id": f"{tag}e{n}",
            "status": "finished",
            "subject": subject,
            "class": {"code": "AMB"},
            "period": {"start": at, "end": "9999-12-31"},
        }
        yield {
            "resourceType": "Condition",
            "id": f"{tag}c{n}",
            "subject": subject,
            "code": code,
            "onsetDateTime": at,
        }
        yield {
            "resourceType": "Condition",
            "id": f"{tag}d{n}",
            "subject": {"reference": "Patient?identifier=s|1"},
            "code": code,
            "onsetDateTime": "9999-12-31",
        }
        yield {
            "resourceType": "MedicationRequest",
            "id": f"{tag}m{n}",
            "status": "completed",
            "intent": "order",
            "subject": subject,
            "authoredOn": at,
            "medicationCodeableConcept": code,
        }
        yield {
            "resourceType": "Observation",
            "id": f"{tag}o{n}",
            "status": "final",
            "code": code,
            "subject": subject,
            "effectiveDateTime": at,
            "valueInteger": 2 ** (n * 9),
            "issued": at,
        }
        yield {
            "resourceType": "ImagingStudy",
            "id": f"{tag}i{n}",
            "status": "available",
            "subject": subject,
            "started": at,
            "numberOfSeries": 10 ** (3 * n),
            "numberOfInstances": -(2**63) - n,
        }


@pytest.mark.slow
def test_a_cohort_at_the_edges_of_time_and_number(lake: Lake) -> None:
    times = [*EDGES, "0001", "0000", "9999", "9999-12", "9999-12-31", "0001-01-01"]
    for tag in ("a", "b"):
        lake.landing.put(f"clinical/x/{tag}.json", bundle(*cohort(times, tag)))
        run(lake, "clinical")
    eras = lake.store.scan(clinical.CONDITION_ERA).collect()
    assert eras["era_end"].max() == date.max
    assert eras.filter(pl.col("era_start") == date.min).height == 8
    assert eras["patient_id"].null_count() == 0
    born = lake.store.scan(contracts_of("silver/patient")).collect()["birth_date"].to_list()
    assert {date.min, date.max} <= set(born)
    lake.landing.put("clinical/x/c.json", bundle(*cohort(["2026-01-10T00:00:00Z"], "c")))
    run(lake, "clinical")
    assert "ce0" in set(lake.store.scan(clinical.ENCOUNTER_SUMMARY).collect()["encounter_id"])
    sound(lake, "clinical")


ODD: tuple[Any, ...] = (
    2**63,
    -(2**64),
    10**400,
    1.5,
    1e308,
    "x\0",
    "",
    True,
    None,
    [],
    {},
    [None],
    [[1]],
    {"a": None},
)


@pytest.mark.slow
@pytest.mark.parametrize(
    "resource", [table.source_filter[1] for table in clinical.SILVER if table.source_filter]
)
def test_no_json_value_in_any_field_stops_a_cohort(lake: Lake, resource: str) -> None:
    from lakehouse.domains.clinical.resources import SHAPES

    shape = next(shape for _, (name, shape, _) in SHAPES.items() if name == resource)
    names = [name for name in shape.__struct_encode_fields__ if name not in ("resourceType", "id")]
    made = [
        {"resourceType": resource, "id": f"{n}-{m}", name: value}
        for n, name in enumerate(names)
        for m, value in enumerate(ODD)
    ]
    lone = b'{"resourceType": "%s", "id": "\\ud800", "status": "\\udfff"}' % resource.encode()
    lake.landing.put("clinical/x/a.ndjson", lines(*made) + lone + b"\n")
    run(lake, "clinical")
    lake.landing.put("clinical/x/b.ndjson", lines({"resourceType": "Patient", "id": "z"}))
    run(lake, "clinical")
    assert "z" in set(lake.store.scan(contracts_of("silver/patient")).collect()["id"])
    sound(lake, "clinical")


def contracts_of(path: str) -> Contract:
    return next(table for table in contracts() if table.path == path)


# --- a user's own tables
# ---------------------------------------------------------------------------------------------

RAW = Contract(
    layer="bronze",
    name="raw_odd",
    domain="test",
    materialization=Materialization.APPEND,
    description="One row.",
    columns=(
        Column(name="k", type=Type.STRING, description="Key"),
        Column(name="day", type=Type.DATE, description="Day"),
        Column(name="x", type=Type.FLOAT64, description="Number"),
        *bronze_columns(),
    ),
)
ODDS = Contract(
    layer="silver",
    name="odd",
    domain="test",
    materialization=Materialization.INCREMENTAL_BY_KEY,
    description="One row.",
    key=("day", "k"),
    sources=(RAW,),
    columns=(
        Column(name="k", type=Type.STRING, nullable=False, description="Key"),
        Column(name="day", type=Type.DATE, nullable=False, description="Day"),
        Column(name="x", type=Type.FLOAT64, description="Number"),
        *pointer_columns(RAW.path),
    ),
    partition_by=("k",),
    cluster_by=("day", "k"),
    rules=(
        RowRule(
            name="x_known",
            description="x is no NaN",
            severity="error",
            values=("x", "wide"),
            passes=lambda: ~nw.col("x").is_nan() | nw.col("x").is_null(),
        ),
    ),
)
TOTAL = Contract(
    layer="gold",
    name="total",
    domain="test",
    materialization=Materialization.FULL,
    description="One key.",
    key=("k",),
    sources=(ODDS,),
    columns=(
        Column(name="k", type=Type.STRING, nullable=False, description="Key"),
        Column(name="x", type=Type.FLOAT64, nullable=False, description="Sum"),
        Column(name="last", type=Type.DATE, description="Last day"),
    ),
)


def odd(frame: nw.LazyFrame) -> nw.LazyFrame:
    days = nw.to_native(frame).with_columns(
        pl.when(pl.col("k") == "far")
        .then(pl.col("day").to_physical() + 3_000_000)
        .when(pl.col("k") == "year 0")
        .then(pl.lit(-719_200))
        .otherwise(pl.col("day").to_physical())
        .cast(pl.Int32)
        .cast(pl.Date)
        .alias("day"),
        wide=pl.lit(2**100),
    )
    return nw.from_native(days)


def source(frame: pl.DataFrame) -> Source:
    def read(_: LandedFile) -> Iterator[pl.DataFrame]:
        yield frame

    return Source(folder="odd", table=RAW, read=read, description="Odd")


def land(lake: Lake, name: str, *rows: tuple[str | None, date | None, float | None]) -> None:
    lake.landing.put(f"odd/{name}", name.encode())
    schema = {"k": pl.String, "day": pl.Date, "x": pl.Float64}
    report = ingest(lake, RAW, [source(pl.DataFrame(list(rows), schema=schema, orient="row"))])
    assert report.refused == []


def test_what_no_table_keeps_goes_to_quarantine_by_a_rule(lake: Lake) -> None:
    day = date(2026, 1, 10)
    long = "é" * 100
    for name in ("a", "b"):
        land(
            lake,
            name,
            ("ok", day, 1.0),
            ("inf", day, float("inf")),
            ("nan", day, float("nan")),
            ("far", day, 1.0),
            ("year 0", day, 1.0),
            ("", day, 1.0),
            (None, day, 1.0),
            (long, day, 1.0),
            ("first", date.min, -0.0),
            ("__HIVE_DEFAULT_PARTITION__", day, 1.0),
            ("last", date.max, float("-inf")),
            ("day", day, 1.0),
        )
        refresh(lake, ODDS, odd)
    found = lake.store.scan(ODDS).select("k", "day", "x").collect()
    assert {k: (d, x) for k, d, x in found.iter_rows()} == {
        "ok": (day, 1.0),
        "inf": (day, float("inf")),
        "first": (date.min, -0.0),
        "last": (date.max, float("-inf")),
        "day": (day, 1.0),
    }
    refused = lake.store.scan(quarantine_of(ODDS)).collect()
    assert sorted(set(refused["rules"])) == ["day_in_calendar", "k_is_partition", "k_not_null", "x_known"]
    nan = refused.filter(pl.col("rules") == "x_known")["reasons"][0]
    assert json.loads(nan) == [{"rule": "x_known", "values": {"x": "nan", "wide": str(2**100)}}]


def total(frame: nw.LazyFrame, **columns: pl.Expr) -> nw.LazyFrame:
    made = nw.to_native(frame).group_by("k").agg(pl.col("x").sum(), pl.col("day").max().alias("last"))
    return nw.from_native(made.with_columns(**columns))


@pytest.mark.parametrize(
    ("columns", "says"),
    [
        ({"x": pl.lit(None, pl.Float64)}, r"x_not_null \(1 row\): x has a value"),
        (
            {"last": pl.col("last") + timedelta(days=3_000_000)},
            r"last_in_calendar \(1 row\): last lies in the years",
        ),
        ({"k": pl.lit(None, pl.String)}, r"k_not_null \(1 row\): k has a value"),
    ],
)
def test_a_gold_frame_that_breaks_a_rule_is_told_by_table_rule_and_what_to_do(
    lake: Lake, columns: dict[str, pl.Expr], says: str
) -> None:
    land(lake, "a", ("ok", date(2026, 1, 10), 1.0))
    refresh(lake, ODDS, odd)
    with pytest.raises(
        DataViolation, match=rf"gold/total: .*{says}.*Nothing was written.*odp refresh gold/total"
    ):
        refresh(lake, TOTAL, lambda frame: total(frame, **columns))


def test_a_gold_frame_without_a_column_is_told_by_name(lake: Lake) -> None:
    land(lake, "a", ("ok", date(2026, 1, 10), 1.0))
    refresh(lake, ODDS, odd)
    with pytest.raises(SchemaViolation, match=r"gold/total: .*missing: last"):
        refresh(lake, TOTAL, lambda frame: nw.from_native(nw.to_native(total(frame)).drop("last")))
    with pytest.raises(SchemaViolation, match=r"gold/total: .*x is String, not Float64"):
        refresh(lake, TOTAL, lambda frame: total(frame, x=pl.lit("secret")))


@pytest.mark.parametrize("passes", [lambda: nw.col("nowhere") > 1, lambda: nw.col("x") + 1, lambda: 1 / 0])
def test_a_rule_that_cannot_be_evaluated_is_told_by_its_name(passes: Any) -> None:
    table = replace(TOTAL, rules=(RowRule(name="odd_one", description="odd", passes=passes),))
    frame = pl.DataFrame({"k": ["a"], "x": [1.0], "last": [date(2026, 1, 1)]})
    with pytest.raises(ContractError, match=r"rule odd_one of gold/total cannot be evaluated"):
        parted(table, frame)


def test_a_bronze_file_that_the_table_cannot_keep_is_refused_and_the_others_land(lake: Lake) -> None:
    table = replace(RAW, columns=tuple(replace(one, nullable=one.name != "k") for one in RAW.columns))
    frames = {
        "a": pl.DataFrame({"k": ["ok"], "day": [date(2026, 1, 1)], "x": [1.0]}),
        "b": pl.DataFrame(
            {"k": [None], "day": [date(2026, 1, 1)], "x": [1.0]}, schema_overrides={"k": pl.String}
        ),
        "c": pl.DataFrame(
            {"k": ["far"], "day": pl.Series([4_000_000], dtype=pl.Int32).cast(pl.Date), "x": [1.0]}
        ),
        "d": pl.DataFrame({"k": ["ok"], "day": [date(2026, 1, 2)], "x": [float("nan")]}),
    }

    def read(file: LandedFile) -> Iterator[pl.DataFrame]:
        yield frames[file.stem]

    for name in frames:
        lake.landing.put(f"odd/{name}.x", name.encode())
    report = ingest(lake, table, [Source(folder="odd", table=table, read=read, description="Odd")])
    assert (report.rows, [one.file for one in report.refused]) == (2, ["odd/b.x", "odd/c.x"])
    assert "bronze/raw_odd cannot keep a null in k (1 rows)" in report.refused[0].reason
    assert "a date or time outside the years 1 to 9999 in UTC in day (1 rows)" in report.refused[1].reason


@pytest.mark.parametrize("kind", ["raises", "computes", "casts", "panics"])
def test_a_transform_that_fails_is_told_by_type_and_place_and_without_a_word_of_data(
    lake: Lake, kind: str
) -> None:
    land(lake, "a", ("secret-k", date(2026, 1, 10), 1.0))
    refresh(lake, ODDS, odd)

    def fails(frame: nw.LazyFrame) -> nw.LazyFrame:
        native = nw.to_native(frame)
        if kind == "raises":
            raise ValueError(f"cannot read {native.collect()['k'][0]}")
        if kind == "computes":
            return nw.from_native(native.select(pl.col(native.collect()["k"][0])))
        return nw.from_native(native.with_columns(pl.col("k").str.to_date()))

    if kind == "panics":
        kind = "raises"
    with pytest.raises(UnexpectedError) as caught:
        refresh(lake, TOTAL, fails)
    text = str(caught.value)
    assert "computing gold/total: its transform" in text
    assert "secret-k" not in "".join(all_told(caught.value))
    if kind == "raises":
        assert "ValueError at test_flow_values:" in text


def all_told(exc: BaseException) -> list[str]:
    import traceback

    return traceback.format_exception(exc)


def test_no_error_of_the_library_shows_another(lake: Lake) -> None:
    with pytest.raises(LakeError) as caught:
        lake.store.scan(ODDS)
    assert caught.value.__suppress_context__
    assert len([line for line in all_told(caught.value) if line.startswith("Traceback")]) == 1
