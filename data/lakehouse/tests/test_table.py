"""A table pairs a contract with what makes it; the registry finds all, also those of a user's own package."""

from __future__ import annotations

import sys
from pathlib import Path

import narwhals.stable.v2 as nw
import pandas as pd
import polars as pl
import pytest

from lakehouse import registry
from lakehouse.contracts import Column, Contract, Materialization, Type, bronze_columns
from lakehouse.errors import ContractError
from lakehouse.landing import Source
from lakehouse.table import Kind, Table

RAW = Contract(
    layer="bronze", name="raw", domain="t", description="One row.",
    materialization=Materialization.APPEND, columns=bronze_columns()
)  # fmt: skip
DOUBLED = Contract(
    layer="gold", name="doubled", domain="t", description="One number.",
    materialization=Materialization.FULL, sources=(RAW,),
    columns=(Column(name="n", type=Type.INT64, description="A number"),),
)  # fmt: skip
HERE = Source(folder="t", table=RAW, read=lambda file: iter(()), description="T")


def in_polars(frame: pl.DataFrame) -> pl.DataFrame:
    return frame.select(pl.col("n") * 2)


def in_pandas(frame: pd.DataFrame) -> pd.DataFrame:
    return frame[["n"]] * 2


def in_narwhals(frame):  # type: ignore[no-untyped-def]
    return frame.select(nw.col("n") * 2)


@pytest.mark.parametrize("transform", [in_polars, in_pandas, in_narwhals])
def test_a_transform_gets_and_gives_the_frames_that_its_annotations_name(transform) -> None:  # type: ignore[no-untyped-def]
    table = Table(contract=DOUBLED, transform=transform)
    made = table.compute(nw.from_native(pl.LazyFrame({"n": [1, 2]})))
    assert nw.to_native(made).collect()["n"].to_list() == [2, 4]
    assert table.compute is table.compute, "its fingerprint is remembered by the function"
    assert table.kind is Kind.PYTHON


@pytest.mark.parametrize(
    ("what", "says"),
    [
        ({"contract": RAW}, "landing sources or a transform"),
        ({"contract": DOUBLED, "sources": (HERE,), "transform": in_polars}, "and not both"),
        ({"contract": DOUBLED, "sources": (HERE,)}, "feeds another table"),
        ({"contract": DOUBLED, "transform": lambda a, b: a}, "takes 2 frames, the contract has 1 sources"),
    ],
)
def test_what_does_not_go_together_is_refused(what, says) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ContractError, match=says):
        Table(**what)


def test_an_annotation_that_names_no_frame_is_refused() -> None:
    def wrong(frame: int) -> int:
        return frame

    with pytest.raises(ContractError, match="not a frame"):
        Table(contract=DOUBLED, transform=wrong)


def test_a_landing_table_is_not_computed() -> None:
    table = Table(contract=RAW, sources=(HERE,))
    assert table.kind is Kind.LANDING
    with pytest.raises(ContractError, match="is not computed"):
        _ = table.compute


def test_each_kind_of_table_is_found_in_dependency_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ODP_DBT_PROJECT", "")  # the shipped one
    registry.clear()
    seen: set[str] = set()
    for table in registry.tables():
        assert {source.path for source in table.contract.sources} <= seen, table.path
        seen.add(table.path)
    assert {table.kind for table in registry.tables()} == set(Kind)
    monkeypatch.undo()
    registry.clear()


OWN = """
from lakehouse.contracts import Column, Contract, Type, Materialization, bronze_columns
from lakehouse.landing.tabular import tabular
from lakehouse.table import Table

NOTES = Contract(
    layer="bronze", name="notes", domain="acme", description="One note.",
    materialization=Materialization.APPEND,
    columns=(Column(name="text", type=Type.STRING, description="Text"), *bronze_columns()),
)
TABLES = (Table(contract=NOTES, sources=(tabular(folder="notes", table=NOTES, description="Notes"),)),)
def sample_files():
    return {"notes/first.csv": b"text\\nhello\\n"}
"""


def test_the_package_of_a_user_is_found_by_its_entry_point(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "acme_lake.py").write_text(OWN)
    meta = tmp_path / "acme_lake-1.0.dist-info"
    meta.mkdir()
    (meta / "METADATA").write_text("Metadata-Version: 2.1\nName: acme-lake\nVersion: 1.0\n")
    (meta / "entry_points.txt").write_text(f"[{registry.ENTRY_POINTS}]\nacme = acme_lake\n")
    monkeypatch.syspath_prepend(tmp_path)
    registry.clear()
    try:
        assert "bronze/notes" in {table.path for table in registry.tables()}
        assert "notes" in {source.folder for source in registry.sources()}
        assert registry.sample_files()["notes/first.csv"] == b"text\nhello\n"
    finally:
        monkeypatch.undo()
        sys.modules.pop("acme_lake", None)
        registry.clear()
    assert "bronze/notes" not in {table.path for table in registry.tables()}


def test_a_module_without_tables_is_refused_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "pipelines_too.py").write_text("TABLES = [1]\n")
    monkeypatch.setattr(registry.domains, "__path__", [*registry.domains.__path__, str(tmp_path)])
    registry.clear()
    try:
        with pytest.raises(ContractError, match="pipelines_too declares no TABLES: a tuple of Table objects"):
            registry.tables()
    finally:
        monkeypatch.undo()
        sys.modules.pop("lakehouse.domains.pipelines_too", None)
        registry.clear()
