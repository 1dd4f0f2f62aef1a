"""The fenced blocks of a Markdown page, and how what a command printed is compared with what the page shows.

Belongs here: reading pages. Does not: which pages there are, or running anything (test_docs*.py).

A block after a line that holds nothing but `a/path` is that file. A ```sh block is typed; a ```text block
after it, under the same heading, is what it prints; a line `…` there stands for any number of lines. Seconds,
sizes, hashes, run ids, times and ports differ from run to run and are not compared, nor is the width of gaps.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path

_FENCE = re.compile(r"^```(\w*)$")
_PATH = re.compile(r"^`([^`\s]+)`$")
_ANY = r"(?:.*\n)*?"
_VARYING = (
    (r"\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b", "<run>"),
    (r"\b\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[+-]\d{4}\b", "<time>"),
    (r"127\.0\.0\.1:\d+", "127.0.0.1:<port>"),
    (r"\b\d+\.\d+ s\b", "<seconds>"),
    (r"\b\d+(\.\d)? (B|kB|MB)\b", "<size>"),
    (r"\b[0-9a-f]{12}\b", "<hash>"),
    (r"\bodp-[0-9a-f]{8}\b", "<project>"),
    (r"[ \t]+", " "),
)


@dataclass(frozen=True)
class Block:
    """One fenced block: its language and text, the file it is (if it is one), and where it stands."""

    language: str
    text: str
    path: str | None
    line: int
    heading: str


@dataclass(frozen=True)
class Typed:
    """One ```sh block and what the page says that it prints; None where the page does not say."""

    commands: str
    prints: str | None
    line: int


def blocks(page: Path) -> list[Block]:
    """Return the fenced blocks of a page, in order."""
    found: list[Block] = []
    language, begin, body = "", 0, []
    last_text = heading = ""
    for number, line in enumerate(page.read_text(encoding="utf-8").splitlines(), start=1):
        fence = _FENCE.match(line)
        if fence and not begin:
            language, begin, body = fence[1], number, []
        elif fence:
            path = _PATH.match(last_text)
            found.append(Block(language, "\n".join(body) + "\n", path[1] if path else None, begin, heading))
            begin, last_text = 0, ""
        elif begin:
            body.append(line)
        elif line.strip():
            last_text = line.strip()
            heading = last_text if line.startswith("#") else heading
    return found


def steps(page: Path) -> list[Block | Typed]:
    """Return what a reader does, in order: files to write, commands to type."""
    found = blocks(page)
    done: list[Block | Typed] = []
    for block, following in zip_longest(found, found[1:]):
        if block.path:
            done.append(block)
        elif block.language == "sh":
            answers = following and following.language == "text" and following.heading == block.heading
            done.append(Typed(block.text, following.text if following and answers else None, block.line))
    return done


def commands(text: str) -> list[str]:
    """Return the lines of a ```sh block without comments, continuation lines and here-documents joined."""
    lines: list[str] = []
    end = None
    for line in text.splitlines():
        if end is not None:
            lines[-1] += "\n" + line
            end = None if line == end else end
        elif lines and lines[-1].endswith("\\"):
            lines[-1] = lines[-1][:-1].rstrip() + " " + line.strip()
        elif line.strip() and not line.startswith("#"):
            lines.append(re.sub(r"\s+# .*$", "", line))
            here = re.search(r"<<'?(\w+)'?", line)
            end = here[1] if here else None
    return lines


def mismatch(shown: str, printed: str) -> str | None:
    """Return None when a command printed what the page shows, else both for reading side by side."""
    parts = [
        r"(?:.*\n)*?" if line.strip() == "…" else re.escape(_plain(line)) + r"\n" for line in _lines(shown)
    ]
    got = "".join(_plain(line) + "\n" for line in _lines(printed))
    if re.fullmatch("".join(parts), got):
        return None
    return f"--- the page shows\n{shown}\n--- it printed\n{printed}"


def _lines(text: str) -> list[str]:
    return text.strip("\n").splitlines()


def _plain(line: str) -> str:
    for pattern, name in _VARYING:
        line = re.sub(pattern, name, line)
    return line.strip()
