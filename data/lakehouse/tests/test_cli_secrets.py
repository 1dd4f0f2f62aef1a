"""What a failed command prints: our own error, and on demand all of it, on the terminal of who asked.

Belongs here: the console of `odp`. Does not: Dagster's logs (data/dagster/tests/test_secrets.py).
"""

from __future__ import annotations

import json
import sys
import traceback
from pathlib import Path
from typing import Any

import pytest

from lakehouse.cli import tables
from lakehouse.cli.main import FOUND, main
from lakehouse.domains.pipelines.contracts import PIPELINE_EVENTS
from lakehouse.errors import LakeError, StorageUnavailable, UnexpectedError, only_ours, place, plain
from lakehouse.pipeline import open_lake
from lakehouse.settings import Settings
from lakehouse.store.delta import DeltaStore

SECRET = "s3cr3t-Ada"


def fails(*_: Any, **__: Any) -> int:
    try:
        {}[SECRET]
    except KeyError as exc:
        raise ValueError(f"cannot read {SECRET}") from exc


@pytest.mark.parametrize("command", ["tables", "head", "history", "verify", "refresh"])
def test_a_command_that_breaks_tells_type_and_place(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(tables, command, fails)
    argv = [command, *(["gold/user_profiles"] if command in ("head", "history") else [])]
    assert main(["--lake", str(tmp_path), *argv]) == FOUND
    out, err = capfd.readouterr()
    assert SECRET not in out + err
    assert f"✗ odp {command}: ValueError at test_cli_secrets:" in err
    assert "ODP_DEBUG=1" in err


def test_who_asks_for_the_whole_error_gets_it_on_the_terminal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tables, "tables", fails)
    monkeypatch.setenv("ODP_DEBUG", "1")
    with pytest.raises(UnexpectedError) as caught:
        main(["--lake", str(tmp_path), "tables"])
    assert SECRET in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize("broken", ["snapshot", "scan", "history", "found"])
def test_a_store_that_breaks_is_told_without_a_value(
    broken: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(DeltaStore, broken, fails)
    for argv in (["tables"], ["verify"], ["runs"], ["quarantine", "list"], ["refresh"], ["maintain"]):
        main(["--lake", str(tmp_path / "lake"), *argv])
    out, err = capfd.readouterr()
    assert SECRET not in out + err
    assert "Traceback" not in err


class Odd(Exception):
    """An exception that cannot even say what it is."""

    def __str__(self) -> str:
        raise RuntimeError(SECRET)


@pytest.mark.parametrize(
    ("exc", "says"),
    [
        (ValueError(SECRET), "ValueError"),
        (OSError(13, "Permission denied", SECRET), "OSError (Permission denied)"),
        (PermissionError(13, SECRET, SECRET), "PermissionError (Permission denied)"),
        (OSError(f"Generic S3 error at {SECRET}: HTTP status 503 Slow"), "OSError (status 503)"),
        (OSError(f"tcp connect {SECRET}: Connection refused (os error 111)"), "OSError (connection refused)"),
        (StorageUnavailable("our own words\nand more"), "our own words"),
        (Odd(), "Odd"),
        (ExceptionGroup(SECRET, [ValueError(SECRET)]), "ExceptionGroup"),
    ],
)
def test_of_a_foreign_error_known_words_alone_are_told(exc: Exception, says: str) -> None:
    assert plain(exc) == says.replace("OSError (Perm", f"{type(exc).__name__} (Perm")


def test_the_place_is_that_of_the_code_somebody_can_change() -> None:
    with pytest.raises(ValueError, match="Expecting") as caught:
        json.loads("{")
    assert place(caught.value).startswith("test_cli_secrets:")
    assert plain(caught.value).startswith("JSONDecodeError at test_cli_secrets:")


def test_only_ours_lets_those_through_who_end_the_program() -> None:
    for leaves in (KeyboardInterrupt, SystemExit, BrokenPipeError):
        with pytest.raises(leaves), only_ours("trying"):
            raise leaves
    with pytest.raises(LakeError) as caught, only_ours("trying"):
        fails()
    assert caught.value.__suppress_context__
    assert SECRET not in str(caught.value)
    assert sys.exc_info()[0] is None


@pytest.mark.parametrize("moment", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-12:00"])
def test_head_as_of_any_moment_there_is(
    moment: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    lake = open_lake(Settings(lake_url=str(tmp_path / "lake"), landing_url=str(tmp_path / "landing")))
    lake.store.ensure(PIPELINE_EVENTS)
    code = main(["--lake", str(tmp_path / "lake"), "head", PIPELINE_EVENTS.path, "--as-of", moment])
    out, err = capfd.readouterr()
    if moment.startswith("9999"):
        assert (code, out) == (0, "silver/pipeline_events has no rows\n")
    else:
        assert "has no version as old as 0001-01-01T00:00:00+14:00" in err
