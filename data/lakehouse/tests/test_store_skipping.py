"""Files that a condition leaves out by their least and largest value: fewer are read, and no row is missed.

Belongs here: conditions over tables of several files. Does not: what a condition means
(test_store_contract.py).
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lakehouse.contracts import Column, ColumnType, Contract, Materialization, Type
from lakehouse.settings import Settings
from lakehouse.store import TableStore, Term, Where, open_store

COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    "=": operator.eq, "!=": operator.ne, "<": operator.lt, "<=": operator.le, ">": operator.gt,
    ">=": operator.ge,
}  # fmt: skip
MOST = chr(0x10FFFF)
TEXTS = st.one_of(
    st.text(max_size=3),
    # Writers cut long texts in statistics, here and there.
    st.builds(
        lambda end, n: "ä" * n + end, st.text(max_size=2), st.sampled_from([15, 31, 32, 63, 64, 65, 600])
    ),
    st.builds(lambda end, n: MOST * n + end, st.text(max_size=1), st.sampled_from([1, 16, 40, 80])),
)
VALUES: dict[Type, st.SearchStrategy[Any]] = {
    Type.STRING: TEXTS,
    Type.INT64: st.one_of(
        st.integers(-(2**63), 2**63 - 1), st.integers(-3, 3), st.integers(2**53, 2**53 + 4)
    ),
    Type.INT32: st.integers(-(2**31), 2**31 - 1),
    Type.DATE: st.dates(),
    Type.TIMESTAMP: st.datetimes(timezones=st.just(UTC)),
    Type.BOOL: st.booleans(),
    Type.FLOAT64: st.floats(),
}


def settings_of(folder: Path) -> Settings:
    return Settings(lake_url=str(folder), landing_url=str(folder / "landing"))


def table_of(kind: ColumnType) -> Contract:
    return Contract(
        layer="bronze", name="one", domain="test", description="One row.",
        materialization=Materialization.APPEND,
        columns=(Column(name="v", type=kind, description="Value"),),
    )  # fmt: skip


def filled(folder: Path, kind: ColumnType, parts: Sequence[Sequence[Any]]) -> tuple[TableStore, Contract]:
    store, table = open_store(settings_of(folder)), table_of(kind)
    for part in parts:
        store.append(table, pl.DataFrame({"v": part}, schema=table.polars_schema()))
    return store, table


def texts(values: Iterable[Any]) -> list[str]:
    return sorted(one.isoformat() if isinstance(one, datetime) else repr(one) for one in values)


def found(store: TableStore, table: Contract, *terms: Term) -> list[str]:
    rows = store.scan(table, where=Where(*terms)).collect()["v"]
    return texts(rows.to_list())


@pytest.mark.slow
@pytest.mark.parametrize("kind", VALUES, ids=str)
@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_no_row_is_missed(kind: Type, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    some = st.lists(st.one_of(st.none(), VALUES[kind]), min_size=1, max_size=4)
    parts = data.draw(st.lists(some, min_size=2, max_size=3))
    values = [value for part in parts for value in part if value is not None]
    store, table = filled(tmp_path_factory.mktemp("lake"), kind, parts)
    asked = data.draw(st.lists(st.sampled_from(values), max_size=2) if values else st.just([]))
    asked += [data.draw(VALUES[kind])]
    known = [value for value in asked if value == value]  # a NaN is refused: nothing compares with it
    for value in known:
        for name, compare in COMPARE.items():
            is_number = [one for one in values if one == one]  # a NaN compares with nothing here
            wanted = texts(one for one in is_number if compare(one, value))
            assert found(store, table, Term("v", name, value)) == wanted, (name, value)  # type: ignore[arg-type]
    if known:
        wanted = texts(one for one in values if one in known)
        assert found(store, table, Term("v", "in", tuple(known))) == wanted
    assert len(found(store, table, Term("v", "is null"))) == sum(p.count(None) for p in parts)


@pytest.mark.parametrize(
    ("kind", "parts", "term"),
    [
        (Type.STRING, [["a", "b"], ["c"], ["d"]], Term("v", "=", "c")),
        (Type.STRING, [["a", "b"], ["c"], ["d"]], Term("v", "in", ("c", "cc"))),
        (Type.INT64, [[1, 2], [5], [9]], Term("v", "=", 5)),
        (Type.DATE, [[date(2026, 1, day)] for day in (1, 2, 3)], Term("v", ">", date(2026, 1, 2))),
        (Type.TIMESTAMP, [[datetime(2026, 1, d, tzinfo=UTC)] for d in (1, 2, 3)],
         Term("v", "<=", datetime(2026, 1, 1, 12, tzinfo=UTC))),
    ],
)  # fmt: skip
def test_files_without_such_rows_are_not_opened(
    tmp_path: Path, kind: Type, parts: list[list[Any]], term: Term
) -> None:
    store, table = filled(tmp_path, kind, parts)
    plan = store.scan(table, where=Where(term)).explain()
    assert len(re.findall(r"\.parquet", plan)) == 1
    assert "other sources" not in plan


@pytest.mark.parametrize("name", COMPARE)
def test_times_that_another_program_cut_to_milliseconds_hide_no_row(tmp_path: Path, name: str) -> None:
    at = datetime(2026, 1, 1, 12, 0, 0, 123_456, tzinfo=UTC)
    moments = [at - timedelta(days=1), at, at + timedelta(microseconds=600)]
    store, table = filled(tmp_path, Type.TIMESTAMP, [[moment] for moment in moments])
    for log in (tmp_path / "bronze" / "one" / "_delta_log").glob("*.json"):
        lines = [orjson.loads(line) for line in log.read_bytes().splitlines()]
        for add in (line["add"] for line in lines if "add" in line):
            told = orjson.loads(add["stats"])
            for bound in ("minValues", "maxValues"):
                told[bound]["v"] = re.sub(r"\.(\d{3})\d*", r".\1", told[bound]["v"])
            add["stats"] = orjson.dumps(told).decode()
        log.write_bytes(b"\n".join(map(orjson.dumps, lines)) + b"\n")
    store = open_store(settings_of(tmp_path))
    for value in (*moments, at + timedelta(microseconds=1), at - timedelta(microseconds=456)):
        wanted = texts(one for one in moments if COMPARE[name](one, value))
        assert found(store, table, Term("v", name, value)) == wanted  # type: ignore[arg-type]
