"""Awkward tables through the official client, each way it reads: every value is the one that was written.

Belongs here: types, nulls, partitions, merges, deletes, added columns, no rows. Does not: the calls
(test_sharing.py).
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import polars as pl
import pytest
from doors import running
from test_sharing import rows_of

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
from lakehouse.settings import Settings
from lakehouse.store import TableStore, Term, Where, open_store
from serving.keys import Keys
from serving.sharing.profile import profile

delta_sharing = pytest.importorskip("delta_sharing", reason="uv sync --group readers brings the client")

pytestmark = pytest.mark.readers

NESTED = ListType(
    StructType(
        (
            StructField(name="a", type=Type.INT64, description="A"),
            StructField(name="b", type=ListType(Type.STRING), description="B"),
        )
    )
)
ODD = Contract(
    layer="gold", name="odd", domain="test", description="One row of awkward values.",
    partition_by=("s", "n", "d", "b"), materialization=Materialization.APPEND,
    columns=(
        Column(name="s", type=Type.STRING, description="Text"),
        Column(name="n", type=Type.INT64, description="Number"),
        Column(name="d", type=Type.DATE, description="Day"),
        Column(name="b", type=Type.BOOL, description="Switch"),
        Column(name="row", type=Type.INT32, nullable=False, description="Row"),
        Column(name="money", type=DecimalType(18, 4), description="Money"),
        Column(name="at", type=Type.TIMESTAMP, description="When"),
        Column(name="share", type=Type.FLOAT64, description="Share"),
        Column(name="text", type=Type.STRING, description="It's \"text\""),
        Column(name="bytes", type=Type.BINARY, description="Bytes"),
        Column(name="nested", type=NESTED, description="Nested"),
    ),
)  # fmt: skip
STRANGE = ["a b", "ä/ö", "50%", "%20", "x=y&z", "#?", "'\"", "2024-01-01", "+", "日本", "null", "true", None]
MOVING = Contract(
    layer="silver", name="moving", domain="test", description="One thing.", key=("id",),
    materialization=Materialization.INCREMENTAL_BY_KEY,
    columns=(
        Column(name="id", type=Type.STRING, nullable=False, description="Identity"),
        Column(name="n", type=Type.INT64, description="Number"),
    ),
)  # fmt: skip
WIDER = replace(
    MOVING, columns=(*MOVING.columns, Column(name="late", type=Type.STRING, description="Came later"))
)
EMPTY = replace(ODD, name="empty")
PRIVATE = replace(
    MOVING, name="private",
    columns=(*MOVING.columns, Column(name="who", type=Type.STRING, pii=True, description="Who")),
)  # fmt: skip
TABLES = [ODD, WIDER, EMPTY, PRIVATE]
_SERVE = (
    "import sys, test_sharing_values as t; from serving.sharing import shares; "
    "from serving.__main__ import main; "
    "shares.contracts = lambda: t.TABLES; sys.exit(main())"
)


def odd_rows() -> pl.DataFrame:
    rows = [
        (
            text, None if n % 4 == 0 else n - 6, None if n % 5 == 0 else date(2024, 2, 29),
            (None, True, False)[n % 3],
            n, None if n % 3 == 0 else Decimal(f"{n - 5}.0{n:03}"[:7]),
            None if n % 4 == 1 else datetime(2024, 5, 1, 12, 0, n, 123456 + n, tzinfo=UTC),
            (None, 0.1 + 0.2, -0.0, 1e300)[n % 4], text, None if n % 2 else bytes([0, n, 255]),
            None if n % 3 == 0 else [{"a": n, "b": ["x", None]}, {"a": None, "b": []}][: n % 3],
        )
        for n, text in enumerate(STRANGE)
    ]  # fmt: skip
    return pl.DataFrame(rows, schema=ODD.polars_schema(), orient="row")


def moving(**rows: int | None) -> pl.DataFrame:
    return pl.DataFrame(list(rows.items()), schema=MOVING.polars_schema(), orient="row")


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[TableStore, Path, list[int]]]:
    """The store, a profile, and the versions of `moving`, of which some are older than a column."""
    place = tmp_path_factory.mktemp("values")
    lake = Settings(lake_url=str(place / "lake with blank"), landing_url=str(place / "landing"))
    store = open_store(lake)
    store.append(ODD, odd_rows())
    store.ensure(EMPTY)
    store.merge(PRIVATE, moving(p=1).with_columns(who=pl.lit("somebody")))
    versions = [store.merge(MOVING, moving(a=1, b=2, c=None)).version]
    versions.append(store.merge(MOVING, moving(b=20, d=4)).version)
    versions.append(store.merge(WIDER, moving(e=5).with_columns(late=pl.lit("x"))).version)
    versions.append(store.delete(WIDER, Where(Term("id", "=", "a"))).version)
    paths = os.pathsep.join([*sys.path, str(Path(__file__).parent)])
    with running(place, "-c", _SERVE, LAKE_URL=lake.lake_url, PYTHONPATH=paths) as server:
        path = place / "odp.share"
        held = Keys(server.state / "keys.json")
        path.write_text(profile(held, "t", endpoint=f"{server.url}/delta-sharing"))
        yield store, path, versions


@pytest.mark.parametrize("delta", [False, True], ids=["parquet", "delta"])
def test_awkward_values_and_partitions(served: tuple[TableStore, Path, list[int]], delta: bool) -> None:
    store, path, _ = served
    got = delta_sharing.load_as_pandas(f"{path}#odp.gold.odd", use_delta_format=delta)
    assert sorted(got.columns) == sorted(ODD.column_names)
    assert rows_of(got[list(ODD.column_names)]) == rows_of(odd_rows())
    assert rows_of(store.scan(ODD).collect()) == rows_of(odd_rows())


@pytest.mark.parametrize("delta", [False, True], ids=["parquet", "delta"])
def test_every_version_through_merges_a_new_column_and_a_delete(
    served: tuple[TableStore, Path, list[int]], delta: bool
) -> None:
    store, path, versions = served
    for version in [*versions, None]:
        got = delta_sharing.load_as_pandas(
            f"{path}#odp.silver.moving", version=version, use_delta_format=delta
        )
        columns = list(store.data_files(WIDER, version=version).columns)
        assert list(got.columns) == columns
        assert rows_of(got) == rows_of(store.scan(WIDER, version=version).collect().select(columns))
    assert len(delta_sharing.load_as_pandas(f"{path}#odp.silver.moving", use_delta_format=delta)) == 4


@pytest.mark.parametrize("delta", [False, True], ids=["parquet", "delta"])
def test_a_table_without_rows(served: tuple[TableStore, Path, list[int]], delta: bool) -> None:
    got = delta_sharing.load_as_pandas(f"{served[1]}#odp.gold.empty", use_delta_format=delta)
    assert (list(got.columns), len(got)) == (list(EMPTY.column_names), 0)


def test_a_partition_hint_brings_fewer_files_and_all_of_its_rows(
    served: tuple[TableStore, Path, list[int]],
) -> None:
    reader = delta_sharing.load_as_pandas
    hint = json.dumps(
        {"op": "equal", "children": [
            {"op": "column", "name": "s", "valueType": "string"},
            {"op": "literal", "value": "50%", "valueType": "string"},
        ]}
    )  # fmt: skip
    got = reader(f"{served[1]}#odp.gold.odd", jsonPredicateHints=hint, use_delta_format=False)
    wanted = odd_rows().filter((pl.col("s") == "50%") | pl.col("s").is_null())
    assert rows_of(got[list(ODD.column_names)]) == rows_of(wanted)


def test_a_key_without_pii_sees_no_private_table(served: tuple[TableStore, Path, list[int]]) -> None:
    names = [t.name for t in delta_sharing.SharingClient(str(served[1])).list_all_tables()]
    assert names == ["empty", "odd", "moving"]
    with pytest.raises(Exception, match="PERMISSION_DENIED"):
        delta_sharing.load_as_pandas(f"{served[1]}#odp.silver.private")
