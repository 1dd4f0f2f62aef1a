"""Secrets as files: what is handed to whom, and what is refused before anything is written."""

from __future__ import annotations

import stat
import subprocess
import sys
from pathlib import Path

import pytest
from checkouts import ROOT

import envfile
import secret_files


def test_dotenv_is_read_as_compose_reads_it() -> None:
    text = "# A=1\nA=1\r\nexport B = two \nC='#3'\nD=\"4 # 4\"\nE=5 # five\nF=# nothing\nG=\nnot a line\n"
    assert envfile.parse(text) == {
        "A": "1",
        "B": "two",
        "C": "#3",
        "D": "4 # 4",
        "E": "5",
        "F": "",
        "G": "",
    }


def test_each_consumer_gets_its_files_and_loses_the_old_ones(tmp_path: Path) -> None:
    for name in ("db", "store"):
        (tmp_path / name).mkdir()
    (tmp_path / "db" / "outdated").write_text("x")
    source = tmp_path / "env"
    source.write_text("ROOT_PASSWORD=abc\nKEY=k\n")
    argv = ["--from", str(source), "--out", str(tmp_path), "db=ROOT_PASSWORD", "store=KEY", "store=HOOK?"]
    assert secret_files.main(argv) == 0
    files = {
        path.relative_to(tmp_path).as_posix(): (path.read_text(), stat.S_IMODE(path.stat().st_mode))
        for path in tmp_path.glob("*/*")
    }
    assert files == {
        "db/root_password": ("abc", 0o444),
        "store/key": ("k", 0o444),
        "store/hook": ("", 0o444),
    }
    source.write_text("ROOT_PASSWORD=def\nKEY=k\n")
    assert secret_files.main(argv) == 0
    assert (tmp_path / "db" / "root_password").read_text() == "def"


@pytest.mark.parametrize("value", ["", "changeme", "ChangeMe", "password"])
def test_an_empty_or_known_secret_is_refused_by_name_and_nothing_is_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], value: str
) -> None:
    (tmp_path / "db").mkdir()
    source = tmp_path / "env"
    source.write_text(f"GOOD=abc\nROOT_PASSWORD={value}\n")
    argv = ["--from", str(source), "--out", str(tmp_path), "db=GOOD,ROOT_PASSWORD,GONE"]
    assert secret_files.main(argv) == 1
    assert capsys.readouterr().err == (
        "✗ secrets: no value in .env for GONE, ROOT_PASSWORD: "
        "run `make start`, which generates what is missing\n"
    )
    assert list((tmp_path / "db").iterdir()) == []


def test_it_runs_as_in_the_container_without_any_package(tmp_path: Path) -> None:
    (tmp_path / "db").mkdir()
    (tmp_path / "env").write_text("KEY=abc\n")
    argv = [sys.executable, "-E", "-s", "-S", str(ROOT / "ops/local/secret_files.py")]
    argv += ["--from", str(tmp_path / "env"), "--out", str(tmp_path), "db=KEY"]
    # As in the image, which keeps the working directory off the path.
    done = subprocess.run(argv, env={"PYTHONSAFEPATH": "1"}, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "✓ secrets: 1 files for 1 services\n"), done.stderr
    assert (tmp_path / "db" / "key").read_text() == "abc"
