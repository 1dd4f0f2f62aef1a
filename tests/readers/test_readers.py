"""Tables written by us are read back, equal, by engines that share no code with us.

delta-kernel, DuckDB and ClickHouse read the log through delta-kernel-rs, and the files each with their own
Parquet reader; Sail, behind Spark Connect, has a reader of the log to itself; Polars and DataFusion read the
log through delta-rs, which also wrote it.
"""

from __future__ import annotations

from collections.abc import Callable

import polars as pl
import pytest
from readers.conftest import ELSEWHERE, Seen, Written
from readers.engines import CANNOT, FILTERS, READS
from readers.matrix import EVERY
from readers.tables import CASES

from lakehouse.contracts import Contract, Type

SURE = [(root, engine, name) for name, root, engine in EVERY]
pytestmark = [pytest.mark.readers, pytest.mark.timeout(300)]
Read = Callable[[str, Written], Seen]

# Where times come back in the zone of the reader; everywhere else, types are the contract's to the letter.
ZONES = {"DuckDB": ELSEWHERE, "ClickHouse": ELSEWHERE}
SAME = pl.Datetime("us", "UTC")


def wanted_schema(engine: str, table: Contract) -> pl.Schema:
    zone = pl.Datetime("us", ZONES.get(engine, "UTC"))
    return pl.Schema({n: zone if t == SAME else t for n, t in table.polars_schema().items()})


def values(table: Contract, rows: pl.DataFrame) -> list[str]:
    """The rows as text in order: so −0.0 is not 0.0, and NaN is itself."""
    times = [c.name for c in table.columns if c.type is Type.TIMESTAMP]
    there = rows.with_columns(pl.col(times).dt.convert_time_zone("UTC")).sort(table.key)
    return [repr(row) for row in there.iter_rows()]


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
