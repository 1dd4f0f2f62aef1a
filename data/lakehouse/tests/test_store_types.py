"""Decimals, bytes, lists and structs through everything a store does, on both formats.

Belongs here: promises about these types. Does not: keys and conditions of every type (test_store_values.py),
rules and quarantine (test_flow_types.py). Right values are literals, or what DuckDB and pyarrow read.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import Any

import duckdb
import lakes
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable

from lakehouse.contracts import (
    Column,
    ColumnType,
    Contract,
    DecimalType,
    ListType,
    Materialization,
    StructField,
    StructType,
    Type,
)
from lakehouse.errors import ContractError, DataViolation, SchemaViolation, Unsupported
from lakehouse.settings import Settings
from lakehouse.store import MaintenanceOptions, TableStore, Term, Where, open_store
from lakehouse.store.delta.schema import delta_schema
from lakehouse.verify import content_hash

D = Decimal
MOST = D(10**38 - 1)
LEAST = MOST.copy_negate()  # `-MOST` rounds to the context's 28 digits
NOON = datetime(2024, 5, 1, 12, tzinfo=UTC)


def struct(**fields: ColumnType) -> StructType:
    return StructType(tuple(StructField(name=n, type=t, description=n) for n, t in fields.items()))


VISIT = struct(at=Type.TIMESTAMP, cost=DecimalType(10, 4), note=Type.STRING, scan=Type.BINARY)
PATIENT = struct(zip=Type.STRING, order=Type.INT64, born=Type.DATE, visits=ListType(VISIT))
TYPED = Contract(
    layer="silver", name="typed", domain="test", description="One row of awkward values.",
    materialization=Materialization.INCREMENTAL_BY_KEY,
    key=("id",),
    columns=(
        Column(name="id", type=Type.INT64, nullable=False, description="Key"),
        Column(name="money", type=DecimalType(18, 2), description="An amount"),
        Column(name="whole", type=DecimalType(38, 0), description="All digits before the point"),
        Column(name="part", type=DecimalType(38, 38), description="All digits after the point"),
        Column(name="raw", type=Type.BINARY, description="Bytes"),
        Column(name="tags", type=ListType(Type.STRING), description="Texts"),
        Column(name="grid", type=ListType(ListType(Type.FLOAT64)), description="Lists of numbers"),
        Column(name="patient", type=PATIENT, description="A struct with a list of structs"),
    ),
)  # fmt: skip

EMPTY = {"zip": None, "order": None, "born": None, "visits": None}
VISITS = [
    {"at": NOON, "cost": D("12.3456"), "note": "é\x00\"'\\,~[]{}", "scan": b"\x00\xff"},
    None,
    {"at": None, "cost": None, "note": "", "scan": b""},
]
# Of every column: the largest, the least, null, and what is near to null and is not.
ROWS: list[tuple[Any, ...]] = [
    (1, D("9999999999999999.99"), MOST, D("0.99999999999999999999999999999999999999"), b"\x00\xff\r\n",
     ["", None, "a"], [[1.5, None], None, []], {"zip": "10115", "order": 2**63 - 1, "born": date(1, 1, 1),
                                              "visits": VISITS}),
    (2, D("-9999999999999999.99"), LEAST, D("-0.99999999999999999999999999999999999999"), b"",
     [], [], EMPTY),
    (3, None, None, None, None, None, None, None),
    (4, D("-0.00"), D("-0"), D("-0E-38"), b"\x00", [None], [None], {**EMPTY, "visits": []}),
    (5, D("0.10"), D(1), D("1E-38"), b"\xc3\xa9", ["é", "\x00", "[1:a~]"], [[]],
     {**EMPTY, "zip": "", "visits": [None]}),
    (6, D("-0.01"), D(2**64), D("0.1"), "\U0010ffff".encode(), ["a", "b"], [[float("inf")], [-0.0]],
     {**EMPTY, "visits": [{"at": None, "cost": None, "note": None, "scan": None}]}),
]  # fmt: skip


def rows(*chosen: tuple[Any, ...], table: Contract = TYPED) -> pl.DataFrame:
    return pl.DataFrame(list(chosen), schema=table.polars_schema(), orient="row")


def told(frame: pl.LazyFrame | pl.DataFrame) -> list[tuple[Any, ...]]:
    return frame.lazy().collect().sort("id").rows()


@pytest.fixture(params=["folder", pytest.param("ducklake", marks=pytest.mark.slow)])
def settings(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Settings]:
    with lakes.lake_of(request.param, tmp_path) as found:
        yield found


@pytest.fixture
def store(settings: Settings) -> TableStore:
    return open_store(settings)


def same(store: TableStore, expected: list[tuple[Any, ...]]) -> None:
    """Hold the table against the rows, by value and by type, and its hash against that of the rows."""
    found = store.scan(TYPED).collect()
    assert found.schema == TYPED.polars_schema()
    assert told(found) == told(rows(*expected))
    assert content_hash(TYPED, store.scan(TYPED)) == content_hash(TYPED, rows(*expected).lazy())


def test_every_value_comes_back_through_a_life_of_the_table(store: TableStore) -> None:
    for row in ROWS:
        store.append(TYPED, rows(row))
    same(store, ROWS)
    first = store.snapshot(TYPED).version
    swapped = [(a[0], *b[1:]) for a, b in zip(ROWS[:3], ROWS[3:], strict=True)]
    merged = store.merge(TYPED, rows(*swapped, (7, *ROWS[0][1:])))
    assert (merged.outcome.inserted, merged.outcome.updated) == (1, 3)
    now = [*swapped, *ROWS[3:], (7, *ROWS[0][1:])]
    same(store, now)
    moved = store.changes(TYPED, since=first)
    assert told(moved.added) == told(rows(*swapped, (7, *ROWS[0][1:])))
    assert told(moved.removed) == told(rows(*ROWS[:3]))
    store.maintain(TYPED, MaintenanceOptions(retain=timedelta(days=1)))
    same(store, now)
    assert store.delete(TYPED, Where(Term("id", ">", 5))).outcome.deleted == 2
    same(store, [row for row in now if row[0] <= 5])
    for _ in range(11):  # past a checkpoint
        store.merge(TYPED, rows(ROWS[0]))
    store.restore(TYPED, first)
    same(store, ROWS)
    store.overwrite(TYPED, rows(*now))
    same(store, now)
    same(open_store(store.settings), now)  # type: ignore[attr-defined]
    store.maintain(TYPED, MaintenanceOptions(retain=timedelta(0), orphans=True))
    same(store, now)
    assert not store.check_bytes(TYPED).altered


def test_a_row_changed_within_a_nested_value_is_another_row(store: TableStore) -> None:
    """And a null struct is none of nulls, an empty list no null, empty bytes no null."""
    near = [
        (1, None, None, None, None, None, None, None),
        (1, None, None, None, b"", None, None, None),
        (1, None, None, None, None, [], None, None),
        (1, None, None, None, None, [None], None, None),
        (1, None, None, None, None, [""], None, None),
        (1, None, None, None, None, ["", ""], None, None),
        (1, None, None, None, None, ["1:a", "b"], None, None),
        (1, None, None, None, None, ["1:a1:b"], None, None),
        (1, None, None, None, None, None, [[]], None),
        (1, None, None, None, None, None, [[], []], None),
        (1, None, None, None, None, None, [[0.0]], None),
        (1, None, None, None, None, None, None, EMPTY),
        (1, None, None, None, None, None, None, {**EMPTY, "visits": []}),
        (1, None, None, None, None, None, None, {**EMPTY, "visits": [None]}),
        (1, None, None, None, None, None, None, {**EMPTY, "zip": "~"}),
        (1, D("0.00"), None, None, None, None, None, None),
        (1, None, D("0"), None, None, None, None, None),
    ]
    hashes = {content_hash(TYPED, rows(row).lazy()) for row in near}
    assert len(hashes) == len(near)
    version = store.append(TYPED, rows(near[0])).version
    for before, after in pairwise(near):
        store.merge(TYPED, rows(after))
        moved = store.changes(TYPED, since=version)
        assert (told(moved.removed), told(moved.added)) == (told(rows(before)), told(rows(after)))
        same(store, [after])
        version = store.snapshot(TYPED).version


def test_files_hold_what_other_engines_read(settings: Settings, store: TableStore) -> None:
    """DuckDB and pyarrow, each with a Parquet reader of its own, give back the literals."""
    store.append(TYPED, rows(*ROWS))
    folder = Path(settings.lake_url) / "silver" / "typed"
    files = [str(folder / name) for name in store.file_names(TYPED)]
    right = told(rows(*ROWS))
    read = pa.concat_tables([pq.read_table(name, partitioning=None) for name in files])
    by_arrow = sorted(tuple(row.values()) for row in read.select(TYPED.column_names).to_pylist())
    assert [_plain(row) for row in by_arrow] == [_plain(row) for row in right]
    with duckdb.connect() as db:
        db.execute("SET TimeZone = 'UTC'")
        found = db.execute("SELECT * FROM read_parquet(?) ORDER BY id", [files]).to_arrow_table()
        kinds = dict(db.execute("SELECT column_name, column_type FROM (DESCRIBE FROM read_parquet(?))",
                                [files]).fetchall())  # fmt: skip
    assert [_plain(tuple(row.values())) for row in found.select(TYPED.column_names).to_pylist()] == [
        _plain(row) for row in right
    ]
    assert (kinds["money"], kinds["whole"], kinds["part"]) == (
        "DECIMAL(18,2)", "DECIMAL(38,0)", "DECIMAL(38,38)")  # fmt: skip
    assert (kinds["raw"], kinds["tags"], kinds["grid"]) == ("BLOB", "VARCHAR[]", "DOUBLE[][]")
    assert kinds["patient"].replace('"', "") == (
        "STRUCT(zip VARCHAR, order BIGINT, born DATE, visits STRUCT(at TIMESTAMP WITH TIME ZONE, "
        "cost DECIMAL(10,4), note VARCHAR, scan BLOB)[])"
    )


def _plain(value: Any) -> Any:
    """Return a value as nested tuples, with times in UTC: so that repr tells -0.0 from 0.0."""
    if isinstance(value, dict):
        return tuple((name, _plain(one)) for name, one in value.items())
    if isinstance(value, list | tuple):
        return tuple(_plain(one) for one in value)
    return value.astimezone(UTC).isoformat() if isinstance(value, datetime) else repr(value)


def one_column(name: str, type_: ColumnType, **more: Any) -> Contract:
    columns = (
        Column(name="id", type=Type.INT64, nullable=False, description="Key"),
        Column(name="v", type=type_, description="Value"),
    )
    return Contract(layer="silver", name=name, domain="test", description="One row.",
                    materialization=Materialization.INCREMENTAL_BY_KEY, key=("id",),
                    columns=columns, **more)  # fmt: skip


@pytest.mark.parametrize(
    ("type_", "values", "says"),
    [
        (DecimalType(18, 2), pl.Series([D("1.239")]), r"v is Decimal\(precision=38, scale=3\), not Decimal"),
        (DecimalType(18, 2), pl.Series([D("1.2")], dtype=pl.Decimal(18, 1)), "v is Decimal"),
        (DecimalType(18, 2), pl.Series([1.2]), "v is Float64, not Decimal"),
        (DecimalType(18, 2), pl.Series([1]), "v is Int64, not Decimal"),
        (Type.BINARY, pl.Series(["a"]), "v is String, not Binary"),
        (Type.STRING, pl.Series([b"a"]), "v is Binary, not String"),
        (ListType(Type.INT64), pl.Series([[1.0]]), r"v\[\] is Float64, not Int64"),
        (ListType(Type.INT64), pl.Series([[[1]]]), r"v\[\] is List, not Int64"),
        (struct(a=Type.INT64, b=Type.STRING), pl.Series([{"b": "x", "a": 1}]),
         "v has its fields in another order than a, b"),
        (struct(a=Type.INT64, b=Type.STRING), pl.Series([{"a": 1}]), "v has no field b"),
        (struct(a=Type.INT64), pl.Series([{"a": 1, "x": 2}]), "v has a field more: x"),
        (struct(a=Type.INT64), pl.Series([{"a": 1, "Secret Name": 2}]),
         "a column whose name no contract could have"),
        (ListType(struct(a=DecimalType(9, 2))), pl.Series([[{"a": 1}]]), r"v\[\]\.a is Int64, not Decimal"),
    ],
)  # fmt: skip
def test_nothing_is_cast_in_silence(
    store: TableStore, type_: ColumnType, values: pl.Series, says: str
) -> None:
    table = one_column("strict", type_)
    with pytest.raises(SchemaViolation, match=f"silver/strict.*{says}.*Nothing was written"):
        store.append(table, pl.DataFrame({"id": [1], "v": values}))
    assert not store.exists(table)


def test_a_decimal_of_more_digits_than_its_type_is_refused_by_name(store: TableStore) -> None:
    """Arrow carries 128 bits whatever the precision says; no engine but the writer's would read them."""
    raw = pa.array([D("123456.78"), None], pa.decimal128(8, 2))
    narrow = pa.Array.from_buffers(pa.decimal128(5, 2), 2, raw.buffers(), raw.null_count)
    nested = pa.StructArray.from_arrays([narrow], names=["cost"])
    for number, (type_, values) in enumerate(
        [
            (DecimalType(5, 2), narrow),
            (struct(cost=DecimalType(5, 2)), nested),
            (ListType(DecimalType(5, 2)), pa.ListArray.from_arrays(pa.array([0, 1, 2], pa.int32()), narrow)),
        ]
    ):
        table = one_column(f"over_{number}", type_)
        frame = pl.DataFrame(pa.table({"id": pa.array([1, 2]), "v": values}))
        with pytest.raises(DataViolation, match=rf"silver/over_{number}: a decimal of more .*v \(1 rows\)"):
            store.append(table, frame)
        assert not store.exists(table)


@pytest.mark.parametrize(
    "type_", [ListType(Type.DATE), struct(born=Type.DATE), ListType(struct(at=Type.DATE))]
)
def test_a_date_beyond_the_calendar_is_found_within_nested_values(
    store: TableStore, type_: ColumnType
) -> None:
    table = one_column("beyond", type_)
    days: list[Any] = [0, 3_000_000]
    if isinstance(type_, StructType):
        days = [{"born": day} for day in days]
    elif isinstance(type_.element, StructType):  # type: ignore[union-attr]
        days = [[{"at": day}, None] for day in days]
    else:
        days = [[day, None] for day in days]
    as_numbers = pl.Series("v", days)
    frame = pl.DataFrame({"id": [1, 2], "v": as_numbers.cast(_numbers(table))}).cast(
        {"v": table.polars_schema()["v"]}
    )
    with pytest.raises(DataViolation, match=r"silver/beyond: a decimal .*or a date or time .*: v \(1 rows\)"):
        store.append(table, frame)


def _numbers(table: Contract) -> pl.DataType:
    """Return the type of `v` with whole numbers in the place of dates."""

    def plain(dtype: Any) -> pl.DataType:
        if isinstance(dtype, pl.List):
            return pl.List(plain(dtype.inner))
        if isinstance(dtype, pl.Struct):
            return pl.Struct({f.name: plain(f.dtype) for f in dtype.fields})
        return pl.Int32()

    return plain(table.polars_schema()["v"])


NESTED = ListType(struct(a=Type.INT64, b=struct(c=DecimalType(9, 3))))


def test_a_new_nested_column_is_null_in_old_rows_and_another_type_is_refused(store: TableStore) -> None:
    young = one_column("grows", NESTED)
    old = replace(young, columns=young.columns[:1])
    store.merge(old, pl.DataFrame({"id": [1]}))
    value = [{"a": 1, "b": {"c": D("1.500")}}, None]
    store.merge(young, rows((2, value), table=young))
    assert told(store.scan(young)) == [(1, None), (2, value)]
    before = store.snapshot(young).version
    wider = ListType(struct(a=Type.INT64, b=struct(c=DecimalType(9, 3), d=Type.INT64)))
    other = replace(young, columns=(young.columns[0], replace(young.columns[1], type=wider)))
    with pytest.raises(SchemaViolation, match=r"silver/grows exists with another schema \(v is "):
        store.ensure(other)
    assert store.schema_problems(other) != []
    assert store.schema_problems(young) == []
    assert store.snapshot(young).version == before
    store.redeclare(other)
    store.append(other, rows((3, [{"a": None, "b": {"c": None, "d": 4}}]), table=other))
    assert told(store.scan(other)) == [(3, [{"a": None, "b": {"c": None, "d": 4}}])]


def test_a_table_of_nested_columns_alone_and_one_without_rows(store: TableStore) -> None:
    table = Contract(layer="silver", name="keyless", domain="test", description="One row.",
                     materialization=Materialization.APPEND,
                     columns=(Column(name="v", type=NESTED, description="Value"),))  # fmt: skip
    store.ensure(table)
    assert store.scan(table).collect().schema == table.polars_schema()
    store.append(table, pl.DataFrame({"v": [[], None]}, schema=table.polars_schema()))
    store.append(table, pl.DataFrame({"v": [None]}, schema=table.polars_schema()))
    assert store.scan(table).collect()["v"].is_null().sum() == 2
    store.maintain(table, MaintenanceOptions(retain=timedelta(0)))
    assert store.scan(table).collect().height == 3


def test_no_condition_names_a_nested_column_nor_rounds_a_number(store: TableStore) -> None:
    store.append(TYPED, rows(*ROWS))
    for name in ("tags", "patient"):
        with pytest.raises(Unsupported, match=f"silver/typed: {name} is a .*, which no condition can name"):
            store.scan(TYPED, where=Where(Term(name, "is null")))
    for value, says in [
        (D("0.105"), "rounded"), (D("1E16"), "rounded"), (D("NaN"), "rounded"), (D("Infinity"), "rounded"),
        (0.1, "not a value of type decimal"), (True, "not a value of type decimal"),
    ]:  # fmt: skip
        with pytest.raises(Unsupported, match=rf"silver/typed: money.*{says}"):
            store.delete(TYPED, Where(Term("money", "=", value)))
    with pytest.raises(Unsupported, match="raw is compared with a str"):
        store.delete(TYPED, Where(Term("raw", "=", "a")))
    for term, ids in [
        (Term("money", "=", D("0.1")), [5]), (Term("money", "=", 0), [4]), (Term("money", "<", 0), [2, 6]),
        (Term("whole", "=", MOST), [1]), (Term("whole", "<=", LEAST), [2]), (Term("whole", ">", 2**64), [1]),
        (Term("part", ">=", D("0.1")), [1, 6]), (Term("raw", "=", b""), [2]),
        (Term("raw", ">", b"\xc3"), [5, 6]),
        (Term("raw", "in", (b"\x00", b"\x00\xff\r\n")), [1, 4]), (Term("money", "is null"), [3]),
    ]:  # fmt: skip
        assert [row[0] for row in told(store.scan(TYPED, where=Where(term)))] == ids, term
    assert store.delete(TYPED, Where(Term("raw", ">", b"\xc3"))).outcome.deleted == 2
    assert store.delete(TYPED, Where(Term("whole", "in", (MOST, LEAST)))).outcome.deleted == 2
    assert [row[0] for row in told(store.scan(TYPED))] == [3, 4]


def test_decimals_that_floats_cannot_tell_apart_are_told_apart_in_every_file(store: TableStore) -> None:
    """Statistics of decimals as floats would pass over the file that holds the key."""
    table = Contract(
        layer="silver", name="exact", domain="test", description="One row.",
        materialization=Materialization.INCREMENTAL_BY_KEY, key=("k",),
        columns=(Column(name="k", type=DecimalType(38, 2), nullable=False, description="Key"),
                 Column(name="id", type=Type.INT64, description="Number")),
    )  # fmt: skip
    near = [D(f"12345678901234567890123456789012345{n % 10}.{n:02d}") for n in range(12)]
    for number, key in enumerate(near):
        store.merge(table, pl.DataFrame({"k": [key], "id": [number]}, schema=table.polars_schema()))
    for number, key in enumerate(near):
        done = store.merge(table, pl.DataFrame({"k": [key], "id": [-number]}, schema=table.polars_schema()))
        assert (done.outcome.inserted, done.outcome.updated) == (0, 1)
        assert told(store.scan(table, where=Where(Term("k", "=", key)))) == [(key, -number)]
    store.maintain(table, MaintenanceOptions(retain=timedelta(0)))
    assert [told(store.scan(table, where=Where(Term("k", "=", key)))) for key in near] == [
        [(key, -number)] for number, key in enumerate(near)
    ]
    assert store.snapshot(table).rows == len(near)
    assert store.delete(table, Where(Term("k", ">", near[5]))).outcome.deleted == len(
        [k for k in near if k > near[5]]
    )


@pytest.mark.parametrize(
    ("column", "place", "says"),
    [
        *((kind, place, "'v' is nested")
          for kind in (ListType(Type.STRING), struct(a=Type.INT64))
          for place in ("key", "partition_by", "cluster_by", "sequence_by")),
        (Type.BINARY, "partition_by", "partition column 'v' must be"),
        (DecimalType(9, 2), "partition_by", "partition column 'v' must be"),
        (Type.BINARY, "cluster_by", "clustering column 'v' must be no"),
        (DecimalType(9, 2), "cluster_by", "clustering column 'v' must be no"),
        (Type.BINARY, "sequence_by", "order column 'v' must be no binary"),
    ],
)  # fmt: skip
def test_columns_stand_only_where_formats_can_use_them(column: ColumnType, place: str, says: str) -> None:
    with pytest.raises(ContractError, match=f"contract silver/places: {says}"):
        Contract(
            layer="silver", name="places", domain="test", description="One row.",
            materialization=Materialization.INCREMENTAL_BY_KEY,
            columns=(Column(name="id", type=Type.INT64, nullable=False, description="Key"),
                     Column(name="v", type=column, nullable=False, description="Value")),
            **{"key": ("id",), place: ("v",)},  # type: ignore[arg-type]
        )  # fmt: skip


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: DecimalType(0, 0), "1 to 38 digits"),
        (lambda: DecimalType(39, 0), "1 to 38 digits"),
        (lambda: DecimalType(5, 6), "1 to 38 digits"),
        (lambda: StructType(()), "at least one field"),
        (lambda: struct(Name=Type.INT64), "field 'Name' of a struct must match"),
        (lambda: struct(größe=Type.INT64), "field 'größe' of a struct must match"),
        (
            lambda: StructType((*struct(a=Type.INT64).fields, *struct(a=Type.STRING).fields)),
            "no two of one name",
        ),
    ],
)
def test_a_type_that_no_format_has_is_refused(make: Any, says: str) -> None:
    with pytest.raises(ContractError, match=says):
        make()


def test_a_decimal_that_comes_to_an_older_table_gets_no_statistics(tmp_path: Path) -> None:
    """A table of before has statistics of its first 32 columns, which decimals do not go into."""
    young = one_column("aged", DecimalType(38, 2))
    old = replace(young, columns=young.columns[:1])
    root = str(tmp_path)
    store = open_store(Settings(lake_url=root, landing_url=root))
    DeltaTable.create(store.uri(old), schema=delta_schema(old))
    store.append(old, pl.DataFrame({"id": [1]}))
    store.append(young, rows((2, D(10**30)), table=young))
    told_of = pl.DataFrame(DeltaTable(store.uri(young)).get_add_actions(flatten=True)).columns
    assert {"min.id", "max.id"} <= set(told_of)
    assert not {"min.v", "max.v"} & set(told_of)
    assert told(store.scan(young, where=Where(Term("v", "=", D(10**30))))) == [(2, D(10**30))]
