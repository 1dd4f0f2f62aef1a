"""A lake in any folder: its tables are written and read whatever the path holds, or nothing is written."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
from deltalake import DeltaTable

from lakehouse.contracts import Column, Contract, Materialization, Type
from lakehouse.errors import SettingsError, StorageUnavailable
from lakehouse.pipeline import open_lake
from lakehouse.settings import Settings
from lakehouse.storage.objects import locked
from lakehouse.store import CommitOptions, open_store

ROWS = Contract(
    layer="silver", name="rows", domain="test", description="One row.",
    materialization=Materialization.INCREMENTAL_BY_KEY, key=("id",),
    partition_by=("day",),
    columns=(Column(name="id", type=Type.INT64, nullable=False, description="id"),
             Column(name="day", type=Type.STRING, nullable=False, description="day"),
             Column(name="value", type=Type.STRING, description="value")))  # fmt: skip


def settings(place: Path) -> Settings:
    return Settings(lake_url=str(place / "lake"), landing_url=str(place / "landing"))


def frame(*rows: tuple[int, str, str]) -> pl.DataFrame:
    return pl.DataFrame(list(rows), schema=ROWS.polars_schema(), orient="row")


@pytest.mark.parametrize(
    "name",
    ["with blank", "ümläut 日本", "a&b", "50% off", "{a}(b)*", "~$HOME", "a'b\"c<d>", " a ", "a:b;c,d+e"],
)
def test_tables_are_written_and_read_below_any_path(name: str, tmp_path: Path) -> None:
    store = open_store(settings(tmp_path / name))
    store.ensure(ROWS)
    store.merge(ROWS, frame((1, "a b", "x"), (2, "50%", "y"), (3, "ü", "z")), CommitOptions())
    again = open_store(settings(tmp_path / name))
    again.merge(ROWS, frame((1, "a b", "new"), (4, "a b", "w")), CommitOptions())
    assert again.scan(ROWS).collect().sort("id").rows() == [
        (1, "a b", "new"), (2, "50%", "y"), (3, "ü", "z"), (4, "a b", "w")
    ]  # fmt: skip
    assert len(again.history(ROWS)) == 3
    assert again.scan(ROWS, version=1).collect().height == 3
    table = DeltaTable(again.files.uri(ROWS.path))  # type: ignore[attr-defined]
    assert sum(f["num_records"] for f in pl.DataFrame(table.get_add_actions(flatten=True)).to_dicts()) == 4
    assert [p.name for p in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize("name", ["[a]", "a|b", "a\\b", "a%20b", "a%2Fb", "a\nb", "a^b", "a=b", "a#b", "a?b"])
def test_a_path_that_no_table_can_lie_below_is_refused_before_anything_is_written(
    name: str, tmp_path: Path
) -> None:
    with pytest.raises(SettingsError, match="Nothing was written"):
        open_lake(settings(tmp_path / name))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["[a]", "a\\b", "a%20b", "a#b", "a?b"])
def test_it_is_refused_too_where_a_link_or_a_relative_path_leads_there(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / name).mkdir()
    (tmp_path / "link").symlink_to(tmp_path / name)
    monkeypatch.chdir(tmp_path / name)
    for place in (tmp_path / "link", Path()):
        with pytest.raises(SettingsError, match="Nothing was written"):
            open_lake(settings(place))
    assert list((tmp_path / name).iterdir()) == []


@pytest.mark.parametrize("url", ["file:///tmp/lake", "http://lake", "gs://lake", "S3://", "s3://my-lake"])
def test_an_address_of_another_kind_is_refused_and_no_folder_of_that_name(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("S3_ACCESS_KEY", "a")
    monkeypatch.setenv("S3_SECRET_KEY", "a")
    for given in (Settings(lake_url=url, landing_url=str(tmp_path / "landing")), Settings.at(url)):
        with pytest.raises(SettingsError, match="LAKE_URL="):
            open_store(given)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["file", "file/lake", "link", "round", "n" * 300])
def test_what_is_no_folder_is_no_empty_lake(name: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    (tmp_path / "link").symlink_to(tmp_path / "file")
    (tmp_path / "round").symlink_to(tmp_path / "round")
    with pytest.raises(SettingsError, match=r"the lake's folder .* (is no folder|cannot be opened)"):
        open_store(Settings(lake_url=str(tmp_path / name), landing_url=str(tmp_path / "landing")))


@pytest.mark.parametrize("lake", ["landing", "landing/lake", "link/lake", "landing/../landing/events"])
def test_a_lake_below_landing_is_refused(lake: str, tmp_path: Path) -> None:
    """Its own files are Parquet and JSON: rows of it would land again and again."""
    (tmp_path / "landing").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "landing")
    with pytest.raises(SettingsError, match="lies in landing"):
        open_lake(Settings(lake_url=str(tmp_path / lake), landing_url=str(tmp_path / "landing")))
    assert list((tmp_path / "landing").iterdir()) == []
    open_lake(Settings(lake_url=str(tmp_path / "landing-lake"), landing_url=str(tmp_path / "landing")))
    open_lake(Settings(lake_url=str(tmp_path / "lake"), landing_url=str(tmp_path / "lake" / "landing")))


def test_a_place_for_exports_that_is_no_folder_is_told_as_one_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    for place in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(StorageUnavailable, match="writing below"), locked(place / ".lock"):
            raise AssertionError("it has no lock")
