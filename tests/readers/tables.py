"""The tables that strangers read: each written by the store in a way that may go wrong, and what is in it.

Belongs here: contracts, writes, and the rows that must come back: from literals, never from a read.
Does not: any engine.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import polars as pl

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
from lakehouse.store import CommitOptions, MaintenanceOptions, TableStore, Term, Transaction, Where

LARGEST, SMALLEST = 2**63 - 1, -(2**63)
# Without bytes, which ClickHouse has no type for: they have a table of their own.
ALL_TYPES = tuple((f"a_{kind}", kind) for kind in Type if kind is not Type.BINARY)
LINE = StructType(tuple(
    StructField(name=name, type=type_, description=name)
    for name, type_ in (("article", Type.STRING), ("price", DecimalType(10, 3)), ("at", Type.TIMESTAMP))
))  # fmt: skip
NESTED: tuple[tuple[str, ColumnType], ...] = (
    ("money", DecimalType(18, 2)), ("tags", ListType(Type.STRING)), ("line", LINE), ("lines", ListType(LINE)),
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Case:
    """One table: how it comes about, and questions whose answers depend on statistics or partitions."""

    contract: Contract
    write: Callable[[TableStore, Contract], pl.DataFrame]
    about: str
    filters: dict[str, Callable[[dict[str, Any]], bool]] = field(default_factory=dict)


def contract(name: str, *columns: tuple[str, ColumnType], **more: Any) -> Contract:
    """A contract whose first column is `id`, which is its key unless another is given."""
    given = {
        "materialization": Materialization.INCREMENTAL_BY_KEY,
        "key": ("id",),
        "domain": "readers",
        "description": "One row.",
    } | more
    made = tuple(
        Column(name=n, type=t, nullable=n not in given["key"], description=n)
        for n, t in (("id", Type.INT64), *columns)
    )
    return Contract(layer="silver", name=name, columns=made, **given)


def rows_of(table: Contract, rows: list[tuple[Any, ...]]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=table.polars_schema(), orient="row")


def at(*parts: int) -> datetime:
    return datetime(*parts, tzinfo=UTC)  # type: ignore[misc,arg-type]


# In the order of Type: text, bool, int32, int64, float64, date, timestamp.
VALUES: list[tuple[Any, ...]] = [
    (1, "", True, -(2**31), SMALLEST, float("nan"), date(1, 1, 1), at(1, 1, 1)),
    (2, "x" * 200, False, 2**31 - 1, LARGEST, float("inf"), date(9999, 12, 31),
     at(9999, 12, 31, 23, 59, 59, 999_999)),
    (3, None, None, None, None, None, None, None),
    (4, "NULL", True, 0, 0, float("-inf"), date(1969, 12, 31), at(1969, 12, 31, 23, 59, 59, 999_999)),
    (5, "ü\U0001f600 e\u0301 \u202e\x00\t\r\n\"'\\", False, -1, -1, -0.0, date(1582, 10, 10),
     at(1582, 10, 10, 1, 2, 3, 4)),
    (6, " \u00a0", True, 1, 2**53 + 1, 5e-324, date(1900, 2, 28), at(1899, 12, 31, 23, 59, 59, 1)),
    (7, "x" * 199 + "y", False, 1, 1, 1.7976931348623157e308, date(2000, 2, 29), at(2024, 3, 31, 1, 30)),
]  # fmt: skip
NASTY = ["it's 100% \"fine\" / a=b; -- ü", "a b", "a%20b", "..", "x/../y", "\\", "#?&+:*|<>^{}[]`~",
         "\U0001f600", "\u00e9", "e\u0301", "null", "a\nb\t\r", " ",
         "' OR 1=1 --", "0", "x" * 150, None]  # fmt: skip


# The largest, the least, null, and what is near to null and is not.
_PACKED = {"article": "ü", "price": Decimal("0.001"), "at": at(2024, 3, 31, 1, 30)}
_NOTHING = dict.fromkeys(_PACKED)
VALUES_NESTED: list[tuple[Any, ...]] = [
    (1, Decimal("9999999999999999.99"), ["", None, "a"], _PACKED, [_PACKED, None]),
    (2, Decimal("-9999999999999999.99"), [], _NOTHING, []),
    (3, None, None, None, None),
    (4, Decimal("0.00"), [None], {**_NOTHING, "article": ""}, [_NOTHING]),
    (5, Decimal("-0.01"), ["x" * 50], {**_NOTHING, "price": Decimal("-1.000")}, [None]),
]
_MOST = Decimal(10**38 - 1)
DECIMALS: list[tuple[Any, ...]] = [
    (1, Decimal("9999999999999999.99"), _MOST), (2, Decimal("-9999999999999999.99"), _MOST.copy_negate()),
    (3, None, None), (4, Decimal("0.00"), Decimal(2**64)), (5, Decimal("-0.01"), Decimal(1)),
]  # fmt: skip
BYTES: list[tuple[Any, ...]] = [
    (1, b"\x00\xff", [b"\x00\xff", None]), (2, b"", [b""]), (3, None, None), (4, b"NULL", []),
    (5, bytes(range(256)), [b"'\"\\"]),
]  # fmt: skip


def decimals(store: TableStore, table: Contract) -> pl.DataFrame:
    """Each in a file of its own, then a merge: what is chosen by statistics is chosen from several."""
    for row in DECIMALS:
        store.merge(table, rows_of(table, [row]))
    store.merge(table, rows_of(table, DECIMALS[:2]))
    return rows_of(table, DECIMALS)


def binary(store: TableStore, table: Contract) -> pl.DataFrame:
    store.append(table, rows_of(table, BYTES))
    return rows_of(table, BYTES)


def nested(store: TableStore, table: Contract) -> pl.DataFrame:
    store.append(table, rows_of(table, VALUES_NESTED))
    return rows_of(table, VALUES_NESTED)


def nested_merged(store: TableStore, table: Contract) -> pl.DataFrame:
    """Nested values in files that merges and a delete have rewritten, past a checkpoint and a compaction."""
    for first, second in zip(VALUES_NESTED, [*VALUES_NESTED[1:], VALUES_NESTED[0]], strict=True):
        store.merge(table, rows_of(table, [(first[0], *second[1:])]))
    store.merge(table, rows_of(table, VALUES_NESTED[:3]))
    for n in range(10):
        store.merge(table, rows_of(table, [(6 + n % 2, *VALUES_NESTED[n % 5][1:])]))
    store.delete(table, Where(Term("id", ">", 5)))
    store.merge(table, rows_of(table, VALUES_NESTED[3:]))
    store.maintain(table, MaintenanceOptions(retain=timedelta(0)))
    return rows_of(table, VALUES_NESTED)


def types(store: TableStore, table: Contract) -> pl.DataFrame:
    store.append(table, rows_of(table, VALUES))
    return rows_of(table, VALUES)


def all_null(store: TableStore, table: Contract) -> pl.DataFrame:
    rows = rows_of(table, [(n, *[None] * len(ALL_TYPES)) for n in range(3)])
    store.append(table, rows)
    return rows


def partitions(store: TableStore, table: Contract) -> pl.DataFrame:
    """Every nasty text, with null in each of the other partition columns in turn."""
    rows = rows_of(table, [
        (n, text, date(1, 1, 1 + n) if n % 4 else None, SMALLEST + n if n % 3 else None,
         bool(n % 2) if n % 5 else None, f"v{n}")
        for n, text in enumerate(NASTY)
    ])  # fmt: skip
    store.append(table, rows)
    return rows


def lived(store: TableStore, table: Contract) -> pl.DataFrame:
    """A life: merges, deletes, replaced partitions, a checkpoint, compaction, clean-up, a new column."""
    young = replace(table, version="1.0.0", columns=tuple(c for c in table.columns if c.name != "extra"))
    held: dict[int, tuple[Any, ...]] = {}

    def merge(of: Contract, *rows: tuple[Any, ...]) -> None:
        store.merge(of, rows_of(of, list(rows)))
        held.update({row[0]: row for row in rows})

    merge(young, *((n, f"r{n % 3}", n) for n in range(600)))
    for step in range(12):
        merge(
            young,
            *((n, f"r{n % 3}", -n) for n in range(step * 10, step * 10 + 25)),
            (1000 + step, None, step),
        )
    store.delete(young, Where(Term("n", "<", -100)))
    store.delete(young, Where(Term("region", "=", "r1"), Term("n", ">", 500)))
    held = {key: row for key, row in held.items() if row[2] >= -100 and not (row[1] == "r1" and row[2] > 500)}
    replaced = [(5000 + n, "r2", n) for n in range(10)]
    store.replace_partitions(young, rows_of(young, replaced))
    held = {k: r for k, r in held.items() if r[1] != "r2"} | {row[0]: row for row in replaced}
    store.maintain(young, MaintenanceOptions(retain=timedelta(0), orphans=True))
    merge(young, (1, "r1", 1), (9000, "r0", 9))
    store.ensure(table)
    held = {key: (*row, None) for key, row in held.items()}
    merge(table, (0, "r0", None, "new"), (9001, "r9", 9, "newer"))
    return rows_of(table, list(held.values()))


def merged(store: TableStore, table: Contract) -> pl.DataFrame:
    """Text that may not be null, in files that a merge has rewritten."""
    store.merge(table, rows_of(table, [(1, "a", "old"), (2, "b", None)]))
    store.merge(table, rows_of(table, [(1, "a", "new"), (4, "d", "")]))
    return rows_of(table, [(1, "a", "new"), (2, "b", None), (4, "d", "")])


def merged_and_deleted(store: TableStore, table: Contract) -> pl.DataFrame:
    rows = merged(store, table)
    store.delete(table, Where(Term("code", "=", "b")))
    return rows.filter(pl.col("code") != "b")


def empty(store: TableStore, table: Contract) -> pl.DataFrame:
    store.ensure(table)
    return rows_of(table, [])


def emptied(store: TableStore, table: Contract) -> pl.DataFrame:
    store.append(table, rows_of(table, VALUES))
    store.overwrite(table, rows_of(table, []))
    return rows_of(table, [])


def zero_rows(store: TableStore, table: Contract) -> pl.DataFrame:
    """Commits that move a position and bring no row, before and after one that does."""
    rows = rows_of(table, [(1, "a")])
    for number, frame in enumerate([rows.clear(), rows, rows.clear()]):
        store.merge(table, frame, CommitOptions(transaction=Transaction("position:bronze/x", number)))
    return rows


def clustered(store: TableStore, table: Contract) -> pl.DataFrame:
    """Many small files, each of a span of days, then late rows."""
    noon = at(2024, 1, 1, 12)
    rows = [(n, noon + timedelta(minutes=n), f"{n * 7919 % 10_007:064d}") for n in range(40_000)]
    late = [(n, noon + timedelta(minutes=n), "late") for n in range(-50, 50)]
    store.merge(table, rows_of(table, rows))
    store.merge(table, rows_of(table, late))
    return rows_of(table, list({row[0]: row for row in [*rows, *late]}.values()))


CASES: dict[str, Case] = {
    case.contract.name: case
    for case in (
        Case(
            contract=contract("types", *ALL_TYPES),
            write=types,
            about="every type: null, strange text, the least and the largest values, NaN, ±∞, −0.0",
            filters={
                "a_string = ''": lambda r: r["a_string"] == "",
                f"a_string = '{'x' * 199}y'": lambda r: r["a_string"] == "x" * 199 + "y",
                f"a_int64 = {LARGEST}": lambda r: r["a_int64"] == LARGEST,
                "a_int32 < 0": lambda r: (r["a_int32"] or 0) < 0,
                "a_bool IS NULL": lambda r: r["a_bool"] is None,
            },
        ),
        Case(
            contract=contract("decimals", ("money", DecimalType(18, 2)), ("whole", DecimalType(38, 0))),
            write=decimals,
            about="exact numbers of 18 and of 38 digits",
            filters={
                "money = CAST('9999999999999999.99' AS DECIMAL(18, 2))": lambda r: r["id"] == 1,
                "money < 0": lambda r: r["id"] in (2, 5),
                f"whole = CAST('{_MOST}' AS DECIMAL(38, 0))": lambda r: r["id"] == 1,
                "whole IS NULL": lambda r: r["id"] == 3,
            },
        ),
        Case(
            contract=contract("bytes", ("raw", Type.BINARY), ("parts", ListType(Type.BINARY))),
            write=binary,
            about="bytes, also such as are no text",
        ),
        Case(
            contract=contract("nested", *NESTED),
            write=nested,
            about="lists, structs and lists of structs; nulls on every level",
        ),
        Case(
            contract=contract("nested_merged", *NESTED),
            write=nested_merged,
            about="the same, after merges, a delete, a checkpoint and compaction",
            filters={"money = 0": lambda r: r["money"] == 0},
        ),
        Case(contract=contract("all_null", *ALL_TYPES), write=all_null, about="every type, only nulls"),
        Case(
            contract=contract("partitions", ("text", Type.STRING), ("day", Type.DATE), ("n", Type.INT64),
                              ("flag", Type.BOOL), ("v", Type.STRING),
                              partition_by=("text", "day", "n", "flag")),
            write=partitions,
            about="partitions by text, date, number and bool; quotes, slashes, percent signs, nulls",
            filters={
                "text = 'a b'": lambda r: r["text"] == "a b",
                "text = 'a%20b'": lambda r: r["text"] == "a%20b",
                "text = 'x/../y'": lambda r: r["text"] == "x/../y",
                "text IS NULL": lambda r: r["text"] is None,
                "n IS NULL": lambda r: r["n"] is None,
            },
        ),
        Case(
            contract=contract("lived", ("region", Type.STRING), ("n", Type.INT64), ("extra", Type.STRING),
                              partition_by=("region",), version="1.1.0"),
            write=lived,
            about="after merge, delete, replaced partitions, checkpoint, compaction, clean-up, a new column",
            filters={
                "extra = 'new'": lambda r: r["extra"] == "new",
                "extra IS NULL AND region = 'r0'": lambda r: r["extra"] is None and r["region"] == "r0",
                "id = 9000": lambda r: r["id"] == 9000,
            },
        ),
        Case(
            contract=contract("merged", ("code", Type.STRING), ("s", Type.STRING), key=("id", "code")),
            write=merged,
            about="text that may not be null, in a file that a merge has rewritten",
            filters={
                "code = 'a'": lambda r: r["code"] == "a",
                "s IS NULL": lambda r: r["s"] is None,
                "s = ''": lambda r: r["s"] == "",
            },
        ),
        Case(
            contract=contract("merged_and_deleted", ("code", Type.STRING), ("s", Type.STRING),
                              key=("id", "code")),
            write=merged_and_deleted,
            about="the same, after a delete in that file",
            filters={"code = 'a'": lambda r: r["code"] == "a"},
        ),
        Case(contract=contract("empty", *ALL_TYPES), write=empty, about="created, never written"),
        Case(contract=contract("emptied", *ALL_TYPES), write=emptied, about="written, then emptied"),
        Case(contract=contract("zero_rows", ("s", Type.STRING)), write=zero_rows,
             about="commits without a row, which carry a position"),
        Case(
            contract=contract("clustered", ("at", Type.TIMESTAMP), ("s", Type.STRING), key=("id", "at"),
                              cluster_by=("at",)),
            write=clustered,
            about="small files in the order of a time, some rewritten by a merge",
            filters={
                "id = -50": lambda r: r["id"] == -50,
                "s = 'late'": lambda r: r["s"] == "late",
                "id >= 39990": lambda r: r["id"] >= 39_990,
            },
        ),
    )
}  # fmt: skip
