"""Tables written by us are read back, equal, by engines that share no code with us.

delta-kernel, DuckDB and ClickHouse read the log through delta-kernel-rs, and the files each with their own
Parquet reader; Sail, behind Spark Connect, has a reader of the log to itself; Polars and DataFusion read the
log through delta-rs, which also wrote it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import polars as pl
import pytest
from readers.conftest import ELSEWHERE, Seen, Written
from readers.engines import CANNOT, FILTERS, READS, WITHOUT_NESTED_NULLS
from readers.matrix import EVERY
from readers.tables import CASES

from lakehouse.contracts import ColumnType, Contract, ListType, StructType

SURE = [(root, engine, name) for name, root, engine in EVERY]
pytestmark = [pytest.mark.readers, pytest.mark.timeout(300)]
Read = Callable[[str, Written], Seen]

# Where times come back in the zone of the reader; everywhere else, types are the contract's to the letter.
ZONES = {"DuckDB": ELSEWHERE, "ClickHouse": ELSEWHERE}
SAME, ELSEWHERE_TIME = pl.Datetime("us", "UTC"), pl.Datetime("us", ELSEWHERE)


def wanted_schema(engine: str, table: Contract) -> pl.Schema:
    zone = pl.Datetime("us", ZONES.get(engine, "UTC"))
    return pl.Schema({n: _in_zone(t, zone) for n, t in table.polars_schema().items()})


def _in_zone(dtype: Any, zone: pl.Datetime) -> pl.DataType:
    if isinstance(dtype, pl.List):
        return pl.List(_in_zone(dtype.inner, zone))
    if isinstance(dtype, pl.Struct):
        return pl.Struct({field.name: _in_zone(field.dtype, zone) for field in dtype.fields})
    return zone if dtype == SAME else dtype


def values(table: Contract, rows: pl.DataFrame) -> list[str]:
    """The rows as text in order: so −0.0 is not 0.0, and NaN is itself. Times are in UTC."""
    there = rows.cast({n: t for n, t in table.polars_schema().items() if _in_zone(t, ELSEWHERE_TIME) != t})
    return [repr(row) for row in there.sort(table.key).iter_rows()]


def without_nested_nulls(table: Contract, rows: pl.DataFrame) -> pl.DataFrame:
    """The rows with an empty list in the place of a null one, and a struct of nulls of a null one."""

    def filled(type_: ColumnType, value: Any) -> Any:
        if isinstance(type_, ListType):
            return [filled(type_.element, one) for one in value or []]
        if isinstance(type_, StructType):
            return {f.name: filled(f.type, (value or {}).get(f.name)) for f in type_.fields}
        return value

    made = [tuple(filled(c.type, v) for c, v in zip(table.columns, row, strict=True)) for row in rows.rows()]
    return pl.DataFrame(made, schema=table.polars_schema(), orient="row")


def seen(engine: str, written: Written, read: Read, name: str) -> pl.DataFrame:
    found = read(engine, written)[name]
    assert isinstance(found, pl.DataFrame), found
    return found


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize(("written", "engine"), READS, indirect=["written"])
def test_what_was_written_is_read_back(
    engine: str, name: str, written: Written, read: Read, request: pytest.FixtureRequest
) -> None:
    if words := CANNOT.get((engine, name)):
        assert words in str(read(engine, written)[name])  # when it can, this table goes, and the page says so
        return
    table, found = CASES[name].contract, seen(engine, written, read, name)
    assert found.schema == wanted_schema(engine, table)
    if (engine, name) in WITHOUT_NESTED_NULLS:  # when it can, this goes, and the page says so
        assert values(table, found) == values(table, without_nested_nulls(table, written.rows[name]))
        assert values(table, found) != values(table, written.rows[name])
        return
    assert values(table, found) == values(table, written.rows[name])
    request.node.user_properties.append(("read", (name, written.kind, engine)))


@pytest.mark.parametrize(
    ("written", "engine", "name"),
    [(root, engine, name) for root, engine, name in SURE if engine in FILTERS and CASES[name].filters],
    indirect=["written"],
)
def test_filters_lose_no_row_to_statistics_or_partitions(
    engine: str, name: str, written: Written, read: Read
) -> None:
    case, rows = CASES[name], written.rows[name]
    for number, (where, holds) in enumerate(case.filters.items()):
        right = rows.filter(pl.Series([holds(row) for row in rows.iter_rows(named=True)], dtype=pl.Boolean))
        found = seen(engine, written, read, f"{name}-{number}")
        assert right.height > 0, f"{where} finds nothing, which any reader finds"
        assert values(case.contract, found) == values(case.contract, right), where
