"""Any CSV or Parquet file into a Bronze table: what is matched, what is refused, and how it is told."""

from __future__ import annotations

import gzip
import io
import json
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest

from lakehouse.contracts import Column, Contract, Materialization, Type, bronze_columns
from lakehouse.errors import ContractError, SourceError, UnknownShape
from lakehouse.landing import CHUNK_ROWS, Source, Unexpected, open_landing
from lakehouse.landing.tabular import column_name, tabular


def table(*columns: Column) -> Contract:
    return Contract(layer="bronze", name="raw_orders", domain="test", description="One order.",
                    materialization=Materialization.APPEND,
                    columns=(*columns, *bronze_columns()))  # fmt: skip


def text(name: str) -> Column:
    return Column(name=name, type=Type.STRING, description=name)


ORDERS = table(text("order_id"), text("price_eur"))


def source(*without: str) -> Source:
    return tabular(folder="shop", table=ORDERS, description="Orders", without=without)


def read(tmp_path: Path, name: str, body: str | bytes, made: Source | None = None) -> pl.DataFrame:
    raw = body.encode() if isinstance(body, str) else body
    file = open_landing(str(tmp_path)).put(f"shop/{name}", raw)
    return pl.concat(list((made or source()).read(file)))


def parquet(frame: pl.DataFrame) -> bytes:
    out = io.BytesIO()
    frame.write_parquet(out)
    return out.getvalue()


WANTED = pl.DataFrame({"order_id": ["007", "8"], "price_eur": ["3.50", None]})


@pytest.mark.parametrize(
    "body",
    [
        "order_id,price_eur\n007,3.50\n8,\n",
        "price_eur;order_id\r\n3.50;007\r\n;8\r\n",
        "\ufeffOrder ID\tPrice (EUR)\n007\t3.50\n8\t\n",
        gzip.compress(b"order_id,price_eur\n007,3.50\n8,\n"),
        parquet(WANTED),
    ],
    ids=["csv", "other order and separator", "headings of people", "gzip", "parquet"],
)
def test_columns_are_matched_by_name_and_stay_text(tmp_path: Path, body: str | bytes) -> None:
    assert read(tmp_path, "a.csv" if body[:1] != b"P" else "a.parquet", body).equals(WANTED)


def test_parquet_values_become_text(tmp_path: Path) -> None:
    frame = pl.DataFrame({"order_id": [7], "price_eur": [datetime(2026, 3, 2, 9, 15, tzinfo=UTC)]})
    assert read(tmp_path, "a.parquet", parquet(frame)).rows() == [("7", "2026-03-02T09:15:00.000000Z")]


def test_a_header_alone_gives_a_frame_without_rows(tmp_path: Path) -> None:
    assert read(tmp_path, "a.csv", "order_id,price_eur\n").schema == WANTED.schema


@pytest.mark.slow
def test_a_large_file_comes_in_bounded_frames_in_order(tmp_path: Path) -> None:
    rows = CHUNK_ROWS + 3
    body = "order_id,price_eur\n" + "".join(f"{i},1\n" for i in range(rows))
    file = open_landing(str(tmp_path)).put("shop/a.csv", body.encode())
    frames = list(source().read(file))
    assert max(f.height for f in frames) <= CHUNK_ROWS
    assert pl.concat(frames)["order_id"].cast(pl.Int64).equals(pl.Series("order_id", range(rows)))


MORE = "order_id,price_eur,Inner Note,\n007,3.50,x,\n8,,y,\n"


def test_columns_that_nobody_expected_are_counted_and_the_rest_lands(tmp_path: Path) -> None:
    file = open_landing(str(tmp_path)).put("shop/a.csv", MORE.encode())
    assert pl.concat(list(source().read(file))).equals(WANTED)
    assert file.unexpected == {"inner_note": 2, "(others)": 2}


def test_columns_left_out_on_purpose_are_not_counted(tmp_path: Path) -> None:
    file = open_landing(str(tmp_path)).put("shop/a.csv", MORE.encode())
    assert pl.concat(list(source("inner_note", "").read(file))).equals(WANTED)
    assert file.unexpected == {}


def test_the_rest_is_kept_where_a_column_is_given_for_it(tmp_path: Path) -> None:
    wide = table(text("order_id"), text("extra"), text("price_eur"))
    made = tabular(folder="shop", table=wide, description="Orders", rest="extra")
    rows = read(tmp_path, "a.csv", MORE, made)
    assert rows.columns == ["order_id", "extra", "price_eur"]
    assert [json.loads(kept) for kept in rows["extra"]] == [
        {"Inner Note": "x", "": None},
        {"Inner Note": "y", "": None},
    ]
    assert read(tmp_path, "b.csv", "price_eur,order_id\n1,2\n", made).rows() == [("2", None, "1")]
    with pytest.raises(ContractError, match="no column 'more' to keep the rest in"):
        tabular(folder="shop", table=wide, description="Orders", rest="more")


def test_what_is_expected_besides_is_kept_and_not_reported(tmp_path: Path) -> None:
    wide = table(text("order_id"), text("price_eur"), text("more"))
    made = tabular(folder="shop", table=wide, description="Orders", rest="more", expected=("inner_note",))
    file = open_landing(str(tmp_path)).put("shop/a.csv", MORE.encode())
    rows = pl.concat(list(made.read(file)))
    assert [json.loads(kept) for kept in rows["more"]] == [
        {"Inner Note": "x", "": None},
        {"Inner Note": "y", "": None},
    ]
    assert dict(file.unexpected) == {"(others)": 2}
    with pytest.raises(ContractError, match="name the column that keeps what is expected"):
        tabular(folder="shop", table=wide, description="Orders", expected=("inner_note",))


def test_names_are_bounded_and_values_are_no_names() -> None:
    met = Unexpected()
    met.met((f"c{i}" for i in range(60)), 2)
    met.met(["ada@example.org", "c1"])
    assert (len(met), met["c1"], met["(others)"]) == (51, 3, 21)
    both = Unexpected()
    both.join(met)
    both.join(met)
    assert (len(both), both["c1"], both["(others)"]) == (51, 6, 42)


def test_a_missing_column_is_named_and_the_content_is_not(tmp_path: Path) -> None:
    with pytest.raises(UnknownShape) as caught:
        read(tmp_path, "no_header.csv", "007,Ada Lovelace\n8,Alan Turing\n")
    assert str(caught.value) == (
        "shop/no_header.csv: it has 2 columns, but not order_id, price_eur; "
        "bronze/raw_orders needs order_id, price_eur"
    )


@pytest.mark.parametrize(
    ("name", "body", "error", "says"),
    [
        ("a.csv", "order_id,price_eur,Price EUR\n1,2,3\n", UnknownShape, "price_eur more than once"),
        ("a.json", '{"order_id": "1"}', UnknownShape, "JSON; this source knows CSV and Parquet"),
        ("a.csv", "", SourceError, "the file is empty"),
        ("a.csv", "order_id,price_eur\n1,2,3\n", SourceError, "line 2 has 3 fields, the header 2"),
        ("a.csv", b"order_id,price_eur\n\xff,1\n", SourceError, "not UTF-8"),
    ],
    ids=["twice", "json", "empty", "long line", "latin-1"],
)
def test_what_does_not_fit_is_refused(
    tmp_path: Path, name: str, body: str | bytes, error: type[SourceError], says: str
) -> None:
    with pytest.raises(error, match=says):
        read(tmp_path, name, body)


def test_a_bronze_column_with_a_type_is_refused_at_import() -> None:
    number = Column(name="quantity", type=Type.INT64, description="How many")
    with pytest.raises(ContractError, match=r"quantity of bronze/raw_orders must be text"):
        tabular(folder="shop", table=table(text("order_id"), number), description="Orders")


@pytest.mark.parametrize(
    ("heading", "name"),
    [("Price (EUR)", "price_eur"), ("  Größe ", "grosse"), ("order_id", "order_id"), ("数", "")],
)
def test_headings_become_column_names(heading: str, name: str) -> None:
    assert column_name(heading) == name
