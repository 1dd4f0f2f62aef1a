"""A small lake with a Gold table of every type, for the tests of outputs."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl

from lakehouse.contracts import (
    Column,
    Contract,
    DecimalType,
    ListType,
    Materialization,
    StructField,
    StructType,
    Type,
)
from lakehouse.outputs.settings import OutputSettings, PostgresPlace
from lakehouse.pipeline import Lake, open_lake
from lakehouse.settings import Settings
from lakehouse.store import CommitOptions

D = Decimal
NOON = datetime(2026, 1, 10, 12, tzinfo=UTC)
ADA = "Ada Lovelace, whose name must not go out"
VISIT = StructType((
    StructField(name="at", type=Type.TIMESTAMP, description="When"),
    StructField(name="on", type=Type.DATE, description="Day"),
    StructField(name="cost", type=DecimalType(10, 4), description="Cost"),
    StructField(name="note", type=Type.STRING, description="Note"),
    StructField(name="scan", type=Type.BINARY, description="Scan"),
    StructField(name="score", type=Type.FLOAT64, description="Score"),
))  # fmt: skip
EVERY = Contract(
    layer="gold", name="every_type", domain="test", description="One row of every type's \"values\".",
    materialization=Materialization.FULL, key=("id",),
    columns=(
        Column(name="id", type=Type.INT64, nullable=False, description="Key"),
        Column(name="text", type=Type.STRING, description="A text; isn't it?"),
        Column(name="flag", type=Type.BOOL, description="A boolean"),
        Column(name="small", type=Type.INT32, unit="count", description="A small number"),
        Column(name="real", type=Type.FLOAT64, description="A float"),
        Column(name="day", type=Type.DATE, description="A date"),
        Column(name="at", type=Type.TIMESTAMP, description="A time"),
        Column(name="money", type=DecimalType(18, 2), unit="EUR", description="An amount"),
        Column(name="whole", type=DecimalType(38, 0), description="All digits"),
        Column(name="raw", type=Type.BINARY, description="Bytes"),
        Column(name="tags", type=ListType(Type.STRING), description="Texts"),
        Column(name="visits", type=ListType(VISIT), description="Structs"),
        Column(name="order", type=Type.INT64, description="A name that SQL knows"),
        Column(name="person", type=Type.STRING, pii=True, description="A person"),
    ),
)  # fmt: skip
PEOPLE = Contract(
    layer="gold", name="people", domain="test", description="One person.",
    materialization=Materialization.FULL, key=("person",),
    columns=(
        Column(name="person", type=Type.STRING, nullable=False, pii=True, description="A person"),
        Column(name="visits", type=Type.INT64, description="Visits"),
    ),
)  # fmt: skip
VISITED = {"at": NOON, "on": date(1, 1, 1), "cost": D("12.3456"), "note": "é\x00\x00\\u0000\"',\n",
           "scan": b"\x00\xff", "score": float("nan")}  # fmt: skip
NOTHING = dict.fromkeys(VISITED)
ROWS: list[tuple[Any, ...]] = [
    (1, "=cmd()", True, -(2**31), 0.1, date(1, 1, 1), datetime(1, 1, 1, tzinfo=UTC), D("9999999999999999.99"),
     D(10**38 - 1), b"\x00\xff\r\n", ["", None, "a\x00"], [VISITED, None, NOTHING], 2**63 - 1, ADA),
    (2, "", False, 2**31 - 1, float("nan"), date(9999, 12, 31),
     datetime(9999, 12, 31, 23, 59, 59, 999999, tzinfo=UTC), D("-0.01"), D(-(10**37)), b"", [],
     [{**VISITED, "score": float("-inf")}], -(2**63), None),
    (3, None, None, None, None, None, None, None, None, None, None, None, None, None),
    (4, 'a"b,\r\nc\td\\N\\.', True, 0, float("-inf"), date(1970, 1, 1), NOON, D("0.10"), D(0), b"\\x", [None],
     [], 0, ""),
    (5, "NUL \x00 within", True, 7, -0.0, date(999, 2, 28), datetime(999, 2, 28, 1, 2, 3, 4, tzinfo=UTC),
     D("1.00"), D(1), b'"', ["NULL"], [{**VISITED, "note": ""}], 1, "x"),
    (6, "\\.", True, 7, 5e-324, None, None, D("2.50"), D(2), b"ab", None, None, 1, "x"),
]  # fmt: skip


def small_lake(folder: Path) -> tuple[Lake, OutputSettings]:
    """Return an empty lake below a folder, and where its outputs go."""
    settings = Settings(lake_url=str(folder / "lake"), landing_url=str(folder / "landing"))
    return open_lake(settings), OutputSettings.from_env(settings, {})


def at(settings: OutputSettings, database: Any, **more: Any) -> OutputSettings:
    """Return the settings with the mart in a database of tests/lakes.py."""
    place = PostgresPlace(
        host=database.host,
        port=database.port,
        database=database.name,
        user=database.user,
        password=database.password,
    )
    return replace(settings, mart=place, **more)


def put(lake: Lake, table: Contract, rows: list[tuple[Any, ...]], run: str = "run-1") -> None:
    """Make the rows those of the table."""
    lake.store.ensure(table)
    frame = pl.DataFrame(rows, schema=table.polars_schema(), orient="row")
    lake.store.overwrite(table, frame, CommitOptions(info={"odp.run": run}))


def people(count: int, visits: int) -> list[tuple[Any, ...]]:
    """Return rows of PEOPLE."""
    return [(f"{ADA} {number}", visits) for number in range(count)]


def in_utc(found: Any) -> Any:
    """Return times with Python's own UTC, whose name is another than pyarrow's."""
    match found:
        case list():
            return [in_utc(one) for one in found]
        case dict():
            return {name: in_utc(one) for name, one in found.items()}
        case datetime():
            return found.astimezone(UTC)
    return found
