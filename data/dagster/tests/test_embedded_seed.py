"""The sample of the embedded profile: it comes into an empty landing, unless ODP_SAMPLE_DATA says no."""

from __future__ import annotations

from pathlib import Path

import pytest

from lakehouse.errors import SettingsError
from lakehouse.registry import sample_files
from orchestration.embedded import _seed


@pytest.mark.parametrize(
    ("told", "comes"),
    [("", True), ("true", True), ("On", True), ("false", False), ("0", False), ("NO", False)],
)
def test_the_sample_comes_as_told(
    told: str, comes: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LAKE_URL", str(tmp_path / "lake"))
    monkeypatch.setenv("LANDING_URL", str(tmp_path / "landing"))
    monkeypatch.setenv("ODP_SAMPLE_DATA", told)
    _seed()
    found = {p.relative_to(tmp_path / "landing").as_posix() for p in tmp_path.rglob("*") if p.is_file()}
    assert found == (set(sample_files()) if comes else set())


def test_a_word_that_is_neither_is_an_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("LAKE_URL", str(tmp_path / "lake"))
    monkeypatch.setenv("LANDING_URL", str(tmp_path / "landing"))
    monkeypatch.setenv("ODP_SAMPLE_DATA", "perhaps")
    with pytest.raises(SettingsError, match="ODP_SAMPLE_DATA=perhaps is neither true nor false"):
        _seed()
