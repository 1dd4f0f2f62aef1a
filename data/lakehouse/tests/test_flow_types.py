"""Decimals, bytes, lists and structs from landing to Silver: rules, quarantine, replay, answers, schemas.

Belongs here: what a row of these types says and where it goes. Does not: the store (test_store_types.py).
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import jsonschema
import narwhals.stable.v2 as nw
import polars as pl
import pytest

from lakehouse.cli import tables as cli
from lakehouse.contracts import (
    Column,
    Contract,
    DecimalType,
    ListType,
    Materialization,
    RowRule,
    StructField,
    StructType,
    Type,
    bronze_columns,
    pointer_columns,
    quarantine_of,
)
from lakehouse.contracts.release import needed, snapshot
from lakehouse.contracts.rules import non_negative
from lakehouse.contracts.schema import dictionary, json_schema, landing_schema
from lakehouse.landing import LandedFile, Source
from lakehouse.maintenance import diff, record_point, restore_run
from lakehouse.pipeline import Lake, ingest, open_lake, refresh
from lakehouse.quarantine import replay, show
from lakehouse.settings import Settings
from lakehouse.verify import content_hash, verify

LINE = StructType((
    StructField(name="article", type=Type.STRING, description="Article"),
    StructField(name="price", type=DecimalType(10, 3), description="Price of one"),
    StructField(name="scan", type=Type.BINARY, description="Its label"),
    StructField(name="at", type=Type.TIMESTAMP, description="When it was packed"),
))  # fmt: skip
OWN = (
    Column(name="id", type=Type.INT64, nullable=False, description="Order"),
    Column(name="total", type=DecimalType(18, 2), nullable=False, unit="EUR", description="Sum"),
    Column(name="lines", type=ListType(LINE), pii=True, description="What was ordered"),
    Column(name="seal", type=Type.BINARY, description="Signature"),
)
RAW = Contract(
    layer="bronze", name="raw_orders", domain="test", description="One order.",
    materialization=Materialization.APPEND,
    columns=(*(replace(one, nullable=True) for one in OWN), *bronze_columns()),
)  # fmt: skip
ORDERS = Contract(
    layer="silver", name="orders", domain="test", description="One order.",
    materialization=Materialization.INCREMENTAL_BY_KEY, key=("id",),
    sources=(RAW,), max_reject_ratio=1.0, columns=(*OWN, *pointer_columns(RAW.path)),
    rules=(
        non_negative("total"),
        RowRule(name="has_lines", description="an order has lines", values=("lines", "seal"),
                passes=lambda: nw.col("lines").list.len() > 0),
    ),
)  # fmt: skip
NOON = datetime(2026, 1, 10, 12, tzinfo=UTC)
FIRST = {"article": 'a"b', "price": Decimal("1.500"), "scan": b"\x00\xff", "at": NOON}
GOOD = (1, Decimal("9999999999999999.99"), [FIRST, None], b"")
REFUSED = [
    (2, Decimal("-0.01"), [{**FIRST, "scan": None}], b"\x00"),
    (3, Decimal("1.00"), [], b"\xff"),
    (4, None, [FIRST], None),
]


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return open_lake(Settings(lake_url=str(tmp_path / "lake"), landing_url=str(tmp_path / "landing")))


def same(frame: nw.LazyFrame) -> nw.LazyFrame:
    return frame


def land(lake: Lake, name: str, *rows: tuple[Any, ...]) -> None:
    schema = {one.name: RAW.polars_schema()[one.name] for one in OWN}
    frame = pl.DataFrame(list(rows), schema=schema, orient="row")

    def read(_: LandedFile) -> Iterator[pl.DataFrame]:
        yield frame

    lake.landing.put(f"orders/{name}", name.encode())
    report = ingest(lake, RAW, [Source(folder="orders", table=RAW, read=read, description="Orders")])
    assert report.refused == []


def told(lake: Lake) -> list[tuple[Any, ...]]:
    return lake.store.scan(ORDERS).select([one.name for one in OWN]).collect().sort("id").rows()


def test_a_refused_row_is_kept_as_json_with_its_reasons_and_can_be_replayed(lake: Lake) -> None:
    land(lake, "a", GOOD, *REFUSED)
    done = refresh(lake, ORDERS, same)
    assert (done.written, done.quarantined) == (1, 3)
    assert told(lake) == [GOOD]
    kept = lake.store.scan(quarantine_of(ORDERS)).collect().sort("_row")
    assert json.loads(kept["record"][0]) == {
        "id": 2, "total": "-0.01", "seal": "AA==",
        "lines": [{"article": 'a"b', "price": "1.500", "scan": None, "at": "2026-01-10T12:00:00+00:00"}],
    }  # fmt: skip
    assert json.loads(kept["record"][1]) == {"id": 3, "total": "1.00", "lines": [], "seal": "/w=="}
    assert [json.loads(one) for one in kept["reasons"]] == [
        [{"rule": "total_not_negative", "values": {"total": "-0.01"}}],
        [{"rule": "has_lines", "values": {"lines": '{"lines":[]}', "seal": "/w=="}}],
        [{"rule": "total_not_null", "values": {}}],
    ]
    records = [one.record for one in show(lake, ORDERS, reveal_pii=True)]
    assert [dict(one)["seal"] for one in records] == [None, "/w==", "AA=="]  # type: ignore[arg-type]
    looser = replace(ORDERS, rules=())
    again = replay(lake, looser, same)
    assert (again.tried, again.written, again.still_refused) == (3, 2, 1)
    assert [row[0] for row in told(lake)] == [1, 2, 3]


def test_runs_are_compared_taken_back_and_computed_anew(lake: Lake) -> None:
    land(lake, "a", GOOD, (2, Decimal("2.00"), [FIRST], None))
    refresh(lake, ORDERS, same)
    record_point(lake, "first", [RAW, ORDERS])
    before = content_hash(ORDERS, lake.store.scan(ORDERS))
    land(lake, "b", (2, Decimal("2.00"), [{**FIRST, "price": Decimal("1.501")}], None), (5, *GOOD[1:]))
    refresh(lake, ORDERS, same)
    record_point(lake, "second", [RAW, ORDERS])
    after = content_hash(ORDERS, lake.store.scan(ORDERS))
    moved = {one.table: one for one in diff(lake, "first", "second", [ORDERS])}[ORDERS.path]
    assert (moved.added, moved.changed, moved.removed) == (1, 1, 0)
    refresh(lake, ORDERS, same, full=True)
    assert content_hash(ORDERS, lake.store.scan(ORDERS)) == after != before
    assert [p for p in verify(lake, [RAW, ORDERS]).all_problems if p.check != "declared"] == []
    restore_run(lake, "first", [RAW, ORDERS])
    assert content_hash(ORDERS, lake.store.scan(ORDERS)) == before


def test_answers_mask_what_is_personal_and_show_the_rest_as_json(
    lake: Lake, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    land(lake, "a", GOOD, (4, Decimal("-1.00"), None, b"\xff"))
    refresh(lake, replace(ORDERS, rules=()), same)
    monkeypatch.setattr(cli, "lake_of", lambda _: lake)
    monkeypatch.setattr(cli, "table_of", lambda _: ORDERS)

    def head(**more: Any) -> str:
        asked = {"table": "silver/orders", "columns": None, "version": None, "as_of": None, "rows": 5,
                 "reveal_pii": False, "json": True, **more}  # fmt: skip
        assert cli.head(argparse.Namespace(**asked)) == 0
        return capsys.readouterr().out

    shown = sorted(json.loads(head()), key=lambda row: row["id"])
    assert shown == [
        {"id": 1, "total": "9999999999999999.99", "lines": "•••", "seal": ""},
        {"id": 4, "total": "-1.00", "lines": None, "seal": "/w=="},
    ]
    schema = json_schema(ORDERS)
    jsonschema.Draft202012Validator.check_schema(schema)
    for row in json.loads(head(reveal_pii=True, columns=",".join(ORDERS.column_names))):
        jsonschema.validate(row, schema)
    text = head(json=False, reveal_pii=True)
    assert "9,999,999,999,999,999.99" in text
    assert r'[{"article":"a\"b","price":"1.500","scan":"AP8="' in text
    assert "Decimal(" not in text


@pytest.mark.parametrize(
    ("change", "good"),
    [
        ({"total": "0.00"}, True), ({"total": "-0.10"}, True), ({"total": "9999999999999999.99"}, True),
        ({"total": "10000000000000000.00"}, False), ({"total": "0.001"}, False), ({"total": "1"}, False),
        ({"total": 1.5}, False), ({"total": "01.00"}, False), ({"total": None}, False),
        ({"lines": None}, True), ({"lines": [None]}, True), ({"lines": {}}, False), ({"lines": [{}]}, False),
        ({"lines": [{"article": None, "price": None, "scan": None, "at": None}]}, True),
        ({"lines": [{"article": None, "price": None, "scan": None, "at": None, "more": 1}]}, False),
        ({"lines": [{"article": 1, "price": None, "scan": None, "at": None}]}, False),
        ({"seal": "AA=="}, True), ({"seal": 1}, False),
    ],
)  # fmt: skip
def test_the_json_schema_takes_what_the_types_take(change: dict[str, Any], good: bool) -> None:
    schema = json_schema(replace(ORDERS, columns=OWN))
    row = {"id": 1, "total": "1.00", "lines": [], "seal": None, **change}
    assert jsonschema.Draft202012Validator(schema).is_valid(row) == good


@pytest.mark.parametrize(
    ("type_", "texts"),
    [
        (DecimalType(3, 0), {"0": True, "-999": True, "1000": False, "1.0": False}),
        (DecimalType(3, 3), {"0.999": True, "-0.001": True, "1.000": False, ".5": False}),
        (DecimalType(3, 1), {"99.9": True, "0.0": True, "100.0": False, "00.1": False}),
    ],
)
def test_a_decimal_in_json_has_the_digits_of_its_type(type_: DecimalType, texts: dict[str, bool]) -> None:
    table = replace(ORDERS, columns=(OWN[0], replace(OWN[1], type=type_)), rules=())
    valid = jsonschema.Draft202012Validator(json_schema(table)).is_valid
    assert {text: valid({"id": 1, "total": text}) for text in texts} == texts


def test_the_dictionary_names_every_field() -> None:
    said = dictionary([ORDERS])
    assert "| `total` | decimal(18, 2) | EUR |  |  | Sum |  |" in said
    assert "| `lines` | list of struct |  | yes | yes | What was ordered |  |" in said
    assert "| `lines[].price` | decimal(10, 3) |  | yes | yes | Price of one | |" in said
    assert "| `seal` | binary |" in said
    assert set(landing_schema(RAW)["properties"]) == {one.name for one in OWN}


def test_a_change_within_a_type_asks_for_a_new_version() -> None:
    def changed(type_: Any) -> str | None:
        columns = (*OWN[:2], replace(OWN[2], type=type_), OWN[3])
        return needed(snapshot(replace(ORDERS, columns=OWN)), snapshot(replace(ORDERS, columns=columns)))

    renamed = replace(LINE.fields[0], description="What it is")
    assert changed(ListType(LINE)) is None
    assert changed(ListType(StructType((renamed, *LINE.fields[1:])))) == "patch"
    assert changed(ListType(StructType(LINE.fields[:3]))) == "major"
    assert changed(ListType(StructType((LINE.fields[1], LINE.fields[0], *LINE.fields[2:])))) == "major"
    assert changed(LINE) == "major"
    dec = replace(ORDERS, columns=(OWN[0], replace(OWN[1], type=DecimalType(19, 2))), rules=())
    assert needed(snapshot(replace(ORDERS, columns=OWN[:2], rules=())), snapshot(dec)) == "major"


def test_a_time_beyond_the_calendar_within_a_list_goes_to_quarantine_by_a_rule(lake: Lake) -> None:
    days = Column(name="days", type=ListType(Type.DATE), description="Days")
    table = replace(ORDERS, columns=(*OWN[:2], days, *pointer_columns(RAW.path)), rules=())

    def far(frame: nw.LazyFrame) -> nw.LazyFrame:
        numbers = pl.when(pl.col("id") == 2).then(pl.lit([0, 3_000_000])).otherwise(pl.lit([0]))
        native = nw.to_native(frame).with_columns(days=numbers.cast(pl.List(pl.Int32)).cast(pl.List(pl.Date)))
        return nw.from_native(native)

    land(lake, "a", GOOD, (2, *GOOD[1:]))
    assert refresh(lake, table, far).quarantined == 1
    kept = lake.store.scan(quarantine_of(table)).collect().row(0, named=True)
    assert (kept["rules"], json.loads(kept["record"])["id"]) == ("days_in_bounds", 2)
    assert lake.store.scan(table).collect()["days"].to_list() == [[date(1970, 1, 1)]]
