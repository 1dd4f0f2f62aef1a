"""What `odp` takes: the forms that scripts use, and what it answers to wrong ones."""

from __future__ import annotations

from typing import Any

import pytest

from lakehouse.cli import rejects, runs, tables
from lakehouse.cli.main import OK, WRONG, main


@pytest.fixture
def taken(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """The options with which a command was called; none is run."""
    calls: list[dict[str, Any]] = []
    for module, names in (
        (tables, ["tables", "head", "history", "refresh"]),
        (runs, ["runs", "restore", "diff", "maintain"]),
        (rejects, ["listed", "show", "accept"]),
    ):
        for name in names:
            monkeypatch.setattr(module, name, lambda options: calls.append(vars(options)) or OK)
    return calls


HEAD = {"rows": 10, "columns": None, "version": None, "as_of": None, "reveal_pii": False}


@pytest.mark.parametrize(
    ("argv", "options"),
    [
        ("tables", {"lake": None, "json": False}),
        ("--lake a --json tables", {"lake": "a", "json": True}),
        ("tables --json --lake=b", {"lake": "b", "json": True}),
        ("--lake a tables --lake b", {"lake": "b", "json": False}),
        ("--json quarantine list --held", {"held": True, "lake": None, "json": True}),
        ("head gold/x -n3 --reveal", HEAD | {"table": "gold/x", "rows": 3, "reveal_pii": True}),
        ("head --rows=3 gold/x --version -1", HEAD | {"table": "gold/x", "rows": 3, "version": -1}),
        ("refresh --full", {"table": None, "full_refresh": True}),
        ("restore --run 4f --dry --yes", {"run_id": "4f", "dry_run": True, "yes": True}),
        ("runs --pin 4f --name r", {"pin": "4f", "unpin": None, "name": "r"}),
        ("diff a b", {"run_a": "a", "run_b": "b"}),
        ("maintain --layer gold", {"layer": "gold", "orphans": False}),
        ("quarantine accept silver/x --who A --why -", {"table": "silver/x", "who": "A", "why": "-"}),
        ("history -- --x", {"table": "--x", "rows": 20, "accept": None, "why": None}),
    ],
)
def test_each_form_of_an_option_is_taken(
    argv: str, options: dict[str, Any], taken: list[dict[str, Any]]
) -> None:
    assert main(argv.split()) == OK
    assert taken == [{"lake": None, "json": False} | options]


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        ("", "odp: error: Missing command."),
        ("quarantine", "odp quarantine: error: Missing command."),
        ("tabels", "odp: error: No such command 'tabels'."),
        ("head", "odp head: error: Missing argument 'TABLE'."),
        ("head x y", "odp head: error: Got unexpected extra argument (y)"),
        ("head x -n 0", "odp head: error: Invalid value for '-n' / '--rows': 0 is not in the range x>=1."),
        ("head x --as-of t --version 1", "odp head: error: --as-of is not allowed with --version."),
        ("runs --pin a --unpin b", "odp runs: error: --unpin is not allowed with --pin."),
        ("head x --ver\x1b[31m", "odp head: error: No such option '--ver\\x1b[31m'."),
        ("restore --yes", "odp restore: error: Missing option '--run'."),
    ],
)
def test_wrong_arguments_are_answered_in_usage_and_one_line(
    argv: str, said: str, taken: list[dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    assert (main(argv.split()), taken) == (WRONG, [])
    out, err = capsys.readouterr()
    usage, error = err.splitlines()
    assert (out, usage[:10]) == ("", "usage: odp")
    assert error.startswith(said)


def test_an_error_line_cannot_steer_the_terminal(tmp_path: Any, capsys: pytest.CaptureFixture[str]) -> None:
    argv = ["--lake", str(tmp_path), "head", "gold/user_profiles", "--columns", "a\x1b]0;title\x07"]
    assert main(argv) == 1
    assert capsys.readouterr().err.startswith(
        "✗ gold/user_profiles has no column a\\x1b]0;title\\x07; it has "
    )


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["runs", "--pin", ""], "odp runs: error: '--pin' is empty."),
        (["runs", "--pin", "4f", "--name="], "odp runs: error: '--name' is empty."),
        (["refresh", "--full", ""], "odp refresh: error: '[TABLE]' is empty."),
        (["export", "gold/x", ""], "odp export: error: '[TABLES]...' is empty."),
        (["--lake", "", "tables"], "odp: error: '--lake' is empty."),
        (["tables", "--lake", ""], "odp tables: error: '--lake' is empty."),
        (["restore", "--run", "", "--yes"], "odp restore: error: '--run' is empty."),
    ],
)
def test_an_empty_value_is_not_taken_for_one_that_was_left_out(
    argv: list[str], said: str, taken: list[dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(argv) == WRONG
    assert said in capsys.readouterr().err
    assert not taken


@pytest.mark.parametrize("argv", ["head gold/x -n", "history gold/x -n", "quarantine show silver/x -n"])
def test_more_rows_than_anything_can_count_are_all_of_them(argv: str, taken: list[dict[str, Any]]) -> None:
    assert main([*argv.split(), str(10**20)]) == OK
    assert taken[0]["rows"] == 2**31 - 1
