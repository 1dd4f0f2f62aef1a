"""Where a build of dbt runs: taken where it was made early for this very project, and gone after it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from lakehouse.dbt import Project, close_early, open_early
from lakehouse.dbt.workplace import workplace

PROJECT = Path(__file__).resolve().parents[2] / "dbt"


@pytest.fixture
def scratch(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Path]:
    place = tmp_path / "scratch"
    monkeypatch.setenv("ODP_SCRATCH", str(place))
    yield place
    close_early()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    copy = tmp_path / "project"
    shutil.copytree(PROJECT, copy, ignore=shutil.ignore_patterns("target", "logs", "lake.duckdb*"))
    return copy


def test_a_build_takes_the_place_that_was_made_early_and_leaves_nothing(scratch: Path, root: Path) -> None:
    open_early(Project(root))
    [early] = scratch.iterdir()
    with workplace(Project(root)) as at:
        assert (at.place, at.waits) == (early, True)
        with workplace(Project(root)) as second:  # there is one early place, for one build
            assert second.place != early
    assert list(scratch.iterdir()) == []


def test_a_place_of_a_project_that_was_edited_since_is_not_taken(scratch: Path, root: Path) -> None:
    open_early(Project(root))
    [early] = scratch.iterdir()
    (root / "models" / "one_more.sql").write_text("select 1 as one", encoding="utf-8")
    with workplace(Project(root)) as at:
        assert [at.place] == list(scratch.iterdir())
        assert at.place != early
        assert (at.project / "models" / "one_more.sql").is_file()


def test_a_place_that_no_build_has_taken_is_removed(scratch: Path, root: Path) -> None:
    open_early(Project(root))
    open_early(Project(root))
    assert len(list(scratch.iterdir())) == 1
    close_early()
    assert list(scratch.iterdir()) == []


@pytest.mark.slow
def test_dbt_that_was_killed_while_it_waited_is_replaced(scratch: Path, root: Path) -> None:
    open_early(Project(root))
    [early] = scratch.iterdir()
    with workplace(Project(root)) as at:
        at._dbt.kill()
        at._dbt.wait()
        code, _ = at.build(["--select", "stg_loans"])
        assert code != 0
    assert not early.exists()
    with workplace(Project(root)) as again:  # silver/loans is not there, and dbt says so
        code, said = again.build(["--select", "stg_loans"])
        assert code == 1
        assert "stg_loans" in said
