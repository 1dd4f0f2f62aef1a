"""What is printed: a value never reaches a terminal as an order to it."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from itertools import pairwise

import pytest

from lakehouse.cli.output import as_json, as_table
from lakehouse.cli.terminal import say

TEXTS = {
    "\x1b[2J\x1b]0;title\x07": "\\x1b[2J\\x1b]0;title\\x07",
    "a\tb\rc": "a\\tb\\rc",
    "\x9b31m\x7f\x00": "\\x9b31m\\x7f\\x00",
    "abc\u202edef\u200b": "abc\\u202edef\\u200b",
    "two\nlines": "two lines",
    "né 日本\u3000x\u00a0y": "né 日本\u3000x\u00a0y",
    "\U000e0041": "\\U000e0041",
}


@pytest.mark.parametrize("text", TEXTS)
def test_control_characters_are_escaped(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    as_table([{"value": text}], "nothing")
    assert capsys.readouterr().out.split("\n")[1] == TEXTS[text]


@pytest.mark.parametrize("text", TEXTS)
def test_json_holds_the_value_and_no_control_character(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    as_json([text])
    printed = capsys.readouterr().out
    assert json.loads(printed) == [text]
    assert all(c.isprintable() or c in "\n\u3000\u00a0" for c in printed)


def test_lines_stay_lines_and_all_else_is_escaped(capsys: pytest.CaptureFixture[str]) -> None:
    say("one \x1b[31m\n  two\r", error=True)
    assert capsys.readouterr() == ("", "one \\x1b[31m\n  two\\r\n")


WIDE = {"rows": 1234567, "name": "[red]x[/red] :smile:", "path": "s3://b/" + "x" * 40, "why": "a" * 50}


def test_a_pipe_gets_whole_lines_however_narrow_the_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    monkeypatch.setenv("FORCE_COLOR", "1")
    as_table([WIDE], "nothing")
    assert capsys.readouterr().out.splitlines() == [
        f"     rows  name                  path{' ' * 43}  why",
        f"1,234,567  [red]x[/red] :smile:  s3://b/{'x' * 40}  {'a' * 50}",
    ]


def on_terminal(columns: int) -> str:
    """Return what a terminal of that width is sent for WIDE."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    code = f"from lakehouse.cli.output import as_table; as_table([{WIDE!r}], 'nothing')"
    env = {k: v for k, v in os.environ.items() if k not in ("COLUMNS", "NO_COLOR")} | {"TERM": "xterm"}
    with subprocess.Popen([sys.executable, "-c", code], stdin=theirs, stdout=theirs, env=env) as running:
        os.close(theirs)
        sent = b""
        try:
            while part := os.read(ours, 4096):
                sent += part
        except OSError:  # Linux: the other side has closed
            pass
    os.close(ours)
    assert running.returncode == 0
    return sent.decode()


@pytest.mark.parametrize("columns", [60, 100, 200])
def test_a_terminal_gets_a_table_of_its_width_that_holds_every_character(columns: int) -> None:
    sent = on_terminal(columns)
    assert "\x1b[1m" in sent, "the heading is bold"
    head, *lines = re.sub(r"\x1b\[[0-9;]*m", "", sent).splitlines()
    assert max(map(len, lines)) <= columns
    starts = [0, *map(head.index, list(WIDE)[1:]), columns]
    cells = ["".join(line[a:b] for line in lines).replace(" ", "") for a, b in pairwise(starts)]
    assert cells == ["1,234,567", "[red]x[/red]:smile:", WIDE["path"], WIDE["why"]]
