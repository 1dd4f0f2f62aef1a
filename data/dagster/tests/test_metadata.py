"""What a run shows of a table: a preview without bookkeeping, a chart whose days stand in their order."""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path

import polars as pl

from lakehouse.catalog import chart, preview
from lakehouse.contracts import (
    Chart,
    Column,
    Contract,
    DecimalType,
    ListType,
    Materialization,
    StructField,
    StructType,
    Type,
)
from lakehouse.pipeline import Lake, open_lake
from lakehouse.settings import Settings

DAYS = Contract(
    layer="gold", name="days", domain="test", description="One shop on one day.",
    materialization=Materialization.FULL,
    columns=(
        Column(name="day", type=Type.DATE, nullable=False, description="Day"),
        Column(name="shop", type=Type.STRING, nullable=False, description="Shop"),
        Column(name="orders", type=Type.INT64, description="Orders"),
        Column(name="_source", type=Type.STRING, description="File"),
    ),
)  # fmt: skip
FIRST = date(2026, 3, 1)


def lake(tmp_path: Path, orders: list[int]) -> Lake:
    frame = pl.DataFrame(
        [(FIRST + timedelta(days=i), f"shop {i % 3}", n, "a.csv") for i, n in enumerate(orders)],
        schema=DAYS.polars_schema(),
        orient="row",
    )
    opened = open_lake(Settings(lake_url=str(tmp_path / "lake"), landing_url=str(tmp_path / "landing")))
    opened.store.overwrite(DAYS, frame)
    return opened


def bars(opened: Lake, label: str) -> list[tuple[str, str]]:
    head, rule, *lines = chart(opened, DAYS, Chart(label=label, value="orders", title="Orders")).splitlines()
    assert (head, rule) == (f"| {label} | Orders | |", "|---|---|--:|")
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    assert max(len(bar) for _, bar, _ in cells) == 24
    return [(name, value) for name, _, value in cells]


def test_days_stand_in_their_order_and_the_latest_are_shown(tmp_path: Path) -> None:
    found = bars(lake(tmp_path, [5, 9, 1, *range(20, 31)]), "day")
    assert found[:2] == [("2026-03-03", "1"), ("2026-03-04", "20")]
    assert (len(found), found[-1]) == (12, ("2026-03-14", "30"))


def test_other_labels_stand_by_size(tmp_path: Path) -> None:
    assert bars(lake(tmp_path, [1, 7, 3]), "shop") == [("shop 1", "7"), ("shop 2", "3"), ("shop 0", "1")]


def test_a_preview_leaves_out_where_rows_came_from(tmp_path: Path) -> None:
    assert preview(lake(tmp_path, [4]), DAYS) == (
        "| day | shop | orders |\n|---|---|---|\n| 2026-03-01 | shop 0 | 4 |"
    )


def test_a_chart_and_a_preview_stay_below_what_dagster_shows_in_place(tmp_path: Path) -> None:
    opened = lake(tmp_path, list(range(1, 40)))
    assert len(chart(opened, DAYS, Chart(label="day", value="orders", title="Orders"))) < 1000
    assert len(preview(opened, DAYS)) < 1000


def test_numbers_are_shown_without_the_noise_of_binary_fractions(tmp_path: Path) -> None:
    table = Contract(layer="gold", name="f", domain="t", description="x",
                     materialization=Materialization.FULL,
                     columns=(Column(name="n", type=Type.FLOAT64, description="x"),))  # fmt: skip
    opened = open_lake(Settings(lake_url=str(tmp_path / "lake"), landing_url=str(tmp_path / "landing")))
    opened.store.overwrite(table, pl.DataFrame({"n": [708.4250000000001]}))
    assert preview(opened, table).endswith("| 708.425 |")


def test_nested_values_are_shown_as_json_and_masked_whole(tmp_path: Path) -> None:
    line = StructType((StructField(name="price", type=DecimalType(9, 2), description="Price"),))
    table = Contract(
        layer="gold", name="n", domain="t", description="x", materialization=Materialization.FULL,
        columns=(
            Column(name="total", type=DecimalType(9, 2), description="Sum"),
            Column(name="lines", type=ListType(line), description="Lines"),
            Column(name="seal", type=Type.BINARY, description="Bytes"),
            Column(name="who", type=ListType(Type.STRING), pii=True, description="People"),
        ),
    )  # fmt: skip
    opened = open_lake(Settings(lake_url=str(tmp_path / "lake"), landing_url=str(tmp_path / "landing")))
    row = (Decimal("1.50"), [{"price": Decimal("0.10")}, None], b"\x00\xff", ["Ada"])
    opened.store.overwrite(table, pl.DataFrame([row], schema=table.polars_schema(), orient="row"))
    assert preview(opened, table).endswith('| 1.50 | [{"price":"0.10"},null] | AP8= | ••• |')
