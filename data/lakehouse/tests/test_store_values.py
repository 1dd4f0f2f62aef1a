"""No value is anything but a value: keys of every type through every write and condition, on both formats.

Belongs here: hostile values at the store. Does not: rows that go to quarantine (test_flow_values.py).
"""

from __future__ import annotations

import dataclasses
import math
import operator
import os
import re
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Context, Decimal
from typing import Any

import lakes
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lakehouse.contracts import (
    POLARS_TYPES,
    Column,
    ColumnType,
    Contract,
    DecimalType,
    Materialization,
    Type,
    polars_type,
)
from lakehouse.errors import DataViolation, Unsupported
from lakehouse.store import TableStore, Term, Where, open_store

TEXTS = ("k", "v", "part", "'k'", '"k"', "it's", "inf", "NaN", "-inf", "null", "true", "0001-01-01", "a\\",
         "\\'",
         "a\nb\t\r\x01\x7f", "%", "${1}", "; drop k", "--", "/*", "", " ", "é", "𐍈", "k\u0000")  # fmt: skip
TIMES = (
    datetime(1, 1, 1, tzinfo=UTC), datetime(1, 1, 1, 1, tzinfo=UTC),
    datetime(999, 12, 31, 23, 59, 59, 1, tzinfo=UTC),
    datetime(1969, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC), datetime(1970, 1, 1, tzinfo=UTC),
    datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC), datetime(9999, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC),
)  # fmt: skip
DATES = (date.min, date(999, 1, 1), date(1582, 10, 15), date(1970, 1, 1), date(2024, 2, 29), date.max)
WHOLE = (-(2**63), -(2**63) + 1, -(2**31), -1, 0, 1, 2**31 - 1, 2**53 + 1, 2**63 - 1)
FLOATS = (float("nan"), float("inf"), float("-inf"), -0.0, 0.0, 5e-324, -1.5, 1e308, 2.0**53)
MONEY, LONG = DecimalType(18, 2), DecimalType(38, 10)
BYTES = (b"", b"\x00", b"k", b"\xff\xff", b"'", b"\\x00", "é".encode())


def decimals(type_: DecimalType) -> st.SearchStrategy[Decimal]:
    """Numbers of all digits that the type has, and those that floats take for each other."""
    most = 10**type_.precision - 1
    edges = st.sampled_from([0, 1, -1, most, -most, most - 1, 10 ** (type_.precision - 1)])
    return (edges | st.integers(-most, most)).map(lambda n: Decimal(n).scaleb(-type_.scale, WIDE))


WIDE = Context(prec=60)
VALUES: dict[ColumnType, st.SearchStrategy[Any]] = {
    Type.STRING: st.sampled_from(TEXTS) | st.text(max_size=6),
    Type.BOOL: st.booleans(),
    Type.INT32: st.sampled_from([n for n in WHOLE if -(2**31) <= n < 2**31]),
    Type.INT64: st.sampled_from(WHOLE) | st.integers(-(2**63), 2**63 - 1),
    Type.FLOAT64: st.sampled_from(FLOATS) | st.floats(),
    Type.DATE: st.sampled_from(DATES) | st.dates(),
    Type.TIMESTAMP: st.sampled_from(TIMES) | st.datetimes(timezones=st.just(UTC)),
    Type.BINARY: st.sampled_from(BYTES) | st.binary(max_size=6),
    MONEY: decimals(MONEY),
    LONG: decimals(LONG),
}
COMPARE: dict[str, Callable[[Any, Any], Any]] = {
    "=": operator.eq, "!=": operator.ne, "<": operator.lt,
    "<=": operator.le, ">": operator.gt, ">=": operator.ge,
}  # fmt: skip
Rows = dict[Any, str]
NAN = ("no number",)  # no text: a text may say NaN
EXAMPLES = int(os.environ.get("ODP_TEST_EXAMPLES", "6"))


def keyed(type_: ColumnType, name: str, *, clustered: bool, parted: bool = False) -> Contract:
    """A table whose key `k` is of a type; other columns have names that values have too."""
    return Contract(
        layer="silver", name=name, domain="test", description="One row.",
        materialization=Materialization.INCREMENTAL_BY_KEY, key=("k",),
        columns=(
            Column(name="k", type=type_, nullable=False, description="Key"),
            Column(name="v", type=Type.STRING, description="Value"),
            Column(name="part", type=type_ if parted else Type.STRING, description="Part"),
        ),
        cluster_by=("k",) if clustered else (),
        partition_by=("part",) if parted else (),
    )  # fmt: skip


@pytest.fixture(scope="module", params=["folder", pytest.param("ducklake", marks=pytest.mark.slow)])
def store(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TableStore]:
    with lakes.lake_of(request.param, tmp_path_factory.mktemp("values")) as found:
        yield open_store(found)


def frame(table: Contract, rows: Rows) -> pl.DataFrame:
    made = [(key, value, "k") for key, value in rows.items()]
    parts = [keys for keys, _, _ in made] if table.partition_by else ["k"] * len(made)
    return pl.DataFrame(
        {"k": [k for k, _, _ in made], "v": [v for _, v, _ in made], "part": parts},
        schema=table.polars_schema(),
    )


def one(key: Any) -> Any:
    """A key as a table tells it from others: a NaN is like another, -0.0 like 0.0."""
    if isinstance(key, float):
        return NAN if math.isnan(key) else key + 0.0
    return key


def told(rows: pl.LazyFrame | pl.DataFrame) -> dict[Any, str]:
    return {one(key): value for key, value in rows.lazy().select("k", "v").collect().iter_rows()}


def model(rows: Rows) -> Rows:
    return {one(key): value for key, value in rows.items()}


def distinct(keys: list[Any]) -> list[Any]:
    return list({one(key): key for key in keys}.values())


NO_CLUSTERS: tuple[ColumnType, ...] = (Type.BINARY, MONEY, LONG)
LAID_OUT = [(t, laid) for t in VALUES for laid in (True, False) if not (laid and t in NO_CLUSTERS)]


@pytest.mark.parametrize(("type_", "clustered"), LAID_OUT)
@settings(max_examples=EXAMPLES, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_keys_are_values_in_every_write_and_condition(
    type_: ColumnType, clustered: bool, store: TableStore, data: st.DataObject
) -> None:
    keys = distinct(data.draw(st.lists(VALUES[type_], min_size=1, max_size=8)))
    known = [key for key in keys if data.draw(st.booleans())]
    named = re.sub(r"\W", "_", str(type_))
    table = keyed(type_, f"t_{named}_{clustered}".lower(), clustered=clustered)
    store.drop(table)
    first = store.merge(table, frame(table, dict.fromkeys(keys[:5] + known, "first")))
    held = model(dict.fromkeys(keys[:5] + known, "first"))
    assert first.outcome.inserted == len(held)

    store.merge(table, frame(table, dict.fromkeys(keys, "second")))
    assert told(store.scan(table)) == model(dict.fromkeys(keys, "second"))
    changes = store.changes(table, since=first.version)
    assert told(changes.added) == model(dict.fromkeys(keys, "second"))
    assert told(changes.removed) == held

    held = model(dict.fromkeys(keys, "second"))
    asked = [key for key in keys if one(key) != NAN]
    for value in asked[:2]:
        for name, holds in COMPARE.items():
            right = {k: v for k, v in held.items() if k != NAN and holds(k, one(value))}
            found = told(store.scan(table, where=Where(Term("k", name, value))))  # type: ignore[arg-type]
            assert found == right, (name, value)
    if asked:
        gone = store.delete(table, Where(Term("k", "in", tuple(asked[:3]))))
        assert gone.outcome.deleted == len(asked[:3])
        held = {k: v for k, v in held.items() if k not in map(one, asked[:3])}
        assert told(store.scan(table)) == held
    if asked:
        where = Where(Term("k", ">=", asked[-1]))
        stays = {k: v for k, v in held.items() if k == NAN or not k >= one(asked[-1])}
        assert store.delete(table, where).outcome.deleted == len(held) - len(stays)
        assert told(store.scan(table)) == stays


@pytest.mark.parametrize("type_", [Type.STRING, Type.BOOL, Type.INT32, Type.INT64, Type.DATE])
@settings(max_examples=EXAMPLES, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_partitions_are_values(type_: Type, store: TableStore, data: st.DataObject) -> None:
    keys = distinct(data.draw(st.lists(VALUES[type_], min_size=1, max_size=5)))
    keys = [key for key in keys if key != "" and len(str(key).encode()) < 20]
    table = keyed(type_, f"p_{type_}", clustered=False, parted=True)
    store.drop(table)
    store.merge(table, frame(table, dict.fromkeys(keys, "first")))
    before = store.snapshot(table).version
    store.replace_partitions(table, frame(table, dict.fromkeys(keys[:2], "second")))
    right = {key: "second" if key in keys[:2] else "first" for key in keys}
    assert told(store.scan(table)) == right
    assert told(store.changes(table, since=before).added) == model(dict.fromkeys(keys[:2], "second"))
    assert (
        told(store.scan(table, where=Where(Term("part", "in", tuple(keys[:2])))))
        == dict.fromkeys(keys[:2], "second")
        if keys
        else True
    )


FAR = [timezone(timedelta(hours=14)), timezone(-timedelta(hours=12)), UTC]


@pytest.mark.parametrize("zone", FAR, ids=str)
def test_a_condition_may_name_any_time_python_has(store: TableStore, zone: timezone) -> None:
    table = keyed(Type.TIMESTAMP, f"far_{FAR.index(zone)}", clustered=True)
    store.merge(table, frame(table, dict.fromkeys(TIMES, "v")))
    first, last = (moment.replace(tzinfo=zone) for moment in (datetime.min, datetime.max))
    inside = [moment for moment in TIMES if first <= moment <= last]
    where = Where(Term("k", ">=", first), Term("k", "<=", last))
    assert told(store.scan(table, where=where)) == dict.fromkeys(inside, "v")
    assert store.delete(table, where).outcome.deleted == len(inside)


NUMBERS = (0.0, -1.0, 0.1, 0.1 + 2**-55, 5e-324, 1e308, float("inf"), float("-inf"))


@pytest.mark.parametrize("number", NUMBERS)
@pytest.mark.parametrize("laid", ["", "cluster_by", "partition_by"])
def test_a_merge_takes_no_nan_of_a_key_for_the_only_number_beside_it(
    store: TableStore, number: float, laid: str
) -> None:
    """A file's least and greatest number say nothing of its NaNs."""
    nan = float("nan")
    floats = Contract(
        layer="silver", name=f"floats_{laid}_{NUMBERS.index(number)}", domain="test", description="One row.",
        materialization=Materialization.INCREMENTAL_BY_KEY, key=("n", "k"),
        columns=(
            Column(name="n", type=Type.INT64, nullable=False, description="Number"),
            Column(name="k", type=Type.FLOAT64, nullable=False, description="Key"),
            Column(name="v", type=Type.STRING, description="Value"),
        ),
        cluster_by=("k",) if laid == "cluster_by" else (),
        partition_by=("n",) if laid == "partition_by" else (),
    )  # fmt: skip
    held: dict[Any, str] = {}
    for step, rows in enumerate(
        [
            [(1, number), (1, nan), (2, nan)],
            [(1, nan)],
            [(1, number), (2, nan)],
            [(2, number), (1, nan), (3, nan)],
        ]
    ):
        made = [(n, key, f"{step}") for n, key in rows]
        store.merge(floats, pl.DataFrame(made, schema=floats.polars_schema(), orient="row"))
        held |= {(n, one(key)): value for n, key, value in made}
        stored = store.scan(floats).collect().rows()
        assert len(stored) == len(held)
        assert {(n, one(key)): value for n, key, value in stored} == held


def test_zero_is_one_key_whatever_its_sign(store: TableStore) -> None:
    table = keyed(Type.FLOAT64, "zeros", clustered=False)
    for value, key in enumerate([-0.0, 0.0, -0.0]):
        store.merge(table, frame(table, {key: str(value), 1.0: "1"}))
        stored = store.scan(table).collect()["k"].to_list()
        assert sorted((key, math.copysign(1, key)) for key in stored) == [(0.0, 1.0), (1.0, 1.0)]


def test_a_zero_that_lies_in_a_file_with_its_sign_is_replaced_too(store: TableStore) -> None:
    """Earlier releases wrote it as it came."""
    table = keyed(Type.FLOAT64, "older_zeros", clustered=False)
    keyless = dataclasses.replace(table, key=(), materialization=Materialization.FULL)
    store.append(keyless, frame(table, {-0.0: "old"}))
    store.merge(table, frame(table, {0.0: "new"}))
    assert told(store.scan(table)) == {0.0: "new"}
    assert store.snapshot(table).rows == 1


@pytest.mark.parametrize("days", [-719163, 2932897, 3_000_000, -(2**31), 2**31 - 1])
def test_a_date_that_python_has_not_is_refused_by_name(store: TableStore, days: int) -> None:
    table = keyed(Type.DATE, "beyond", clustered=True)
    store.ensure(table)
    before = store.snapshot(table).version
    rows = pl.DataFrame(
        {"k": pl.Series([0, days], dtype=pl.Int32).cast(pl.Date), "v": ["a", "b"], "part": ["c", "d"]}
    )
    with pytest.raises(DataViolation, match=r"silver/beyond: a date or time outside .*: k \(1 rows\)"):
        store.merge(table, rows)
    assert store.snapshot(table).version == before


@pytest.mark.parametrize(
    ("type_", "value", "says"),
    [
        (Type.FLOAT64, float("nan"), "NaN"),
        (Type.FLOAT64, 10**400, "no float"),
        (Type.FLOAT64, 2**53 + 1, "no float"),
        (Type.INT64, 2**63, "64 bits"),
        (Type.INT32, -(2**63) - 1, "64 bits"),
        (Type.STRING, "\ud800", "Unicode"),
    ],
)
def test_a_value_that_compares_with_nothing_is_refused_by_name(
    store: TableStore, type_: Type, value: Any, says: str
) -> None:
    table = keyed(type_, f"odd_{type_}", clustered=False)
    store.ensure(table)
    with pytest.raises(Unsupported, match=f"silver/odd_{type_}: k, of type {type_}, .*{says}"):
        store.delete(table, Where(Term("k", "=", value)))


def test_a_32_bit_column_compares_with_larger_numbers(store: TableStore) -> None:
    table = keyed(Type.INT32, "narrow", clustered=True)
    store.merge(table, frame(table, {1: "a", 2**31 - 1: "b"}))
    assert told(store.scan(table, where=Where(Term("k", "<", 2**40)))) == {1: "a", 2**31 - 1: "b"}
    assert told(store.scan(table, where=Where(Term("k", "in", (1, 2**40))))) == {1: "a"}
    assert store.delete(table, Where(Term("k", "in", (2**40,)))).outcome.deleted == 0
    assert store.delete(table, Where(Term("k", ">", 2**40))).outcome.deleted == 0
    assert store.delete(table, Where(Term("k", "<", -(2**40)))).outcome.deleted == 0
    assert store.delete(table, Where(Term("k", "<", 2**40))).outcome.deleted == 2


@pytest.mark.parametrize("name", list(COMPARE))
@pytest.mark.parametrize("value", [-1.0, 1.0, 2.0, 3.0, float("inf")])
def test_a_delete_by_a_number_leaves_every_nan_in_its_file(
    store: TableStore, name: str, value: float
) -> None:
    """What stays is read by the opposite condition, past the statistics of a file, which know of no NaN."""
    table = keyed(Type.FLOAT64, "beside", clustered=True)
    store.overwrite(table, frame(table, dict.fromkeys((1.0, 3.0, float("nan")), "v")))
    gone = [key for key in (1.0, 3.0) if COMPARE[name](key, value)]
    done = store.delete(table, Where(Term("k", name, value)))  # type: ignore[arg-type]
    assert done.outcome.deleted == len(gone)
    assert set(told(store.scan(table))) == {1.0, 3.0, NAN} - set(gone)


@pytest.mark.parametrize("type_", list(Type))
def test_every_type_has_hostile_values(type_: Type) -> None:
    assert type_ in VALUES
    assert polars_type(type_) == POLARS_TYPES[type_]
