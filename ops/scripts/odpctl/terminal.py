"""What a person sees while they wait: one line per phase, with seconds. Nothing moves in a pipe."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TextIO


@dataclass
class Phase:
    """One running phase; `note` is appended to its line when it ends."""

    note: str = ""


class Terminal:
    """Prints phases: live on a terminal, as finished lines elsewhere. Honours NO_COLOR and TERM=dumb."""

    def __init__(self, out: TextIO | None = None) -> None:
        self.out = out or sys.stdout
        self.live = self.out.isatty() and os.environ.get("TERM") != "dumb"
        self.colour = self.live and not os.environ.get("NO_COLOR")

    def say(self, text: str = "") -> None:
        """A plain line."""
        print(text, file=self.out, flush=True)

    def warn(self, text: str) -> None:
        """A line that asks for attention without stopping anything."""
        self.say(f"{self.paint('!', 33)} {text}")

    def paint(self, text: str, code: int) -> str:
        """The text in an ANSI colour, where colours are wanted."""
        return f"\033[{code}m{text}\033[0m" if self.colour else text

    @contextmanager
    def phase(self, name: str) -> Iterator[Phase]:
        """`▸ name … 3.2 s  note`; a failing phase is marked with ✗."""
        phase, begin = Phase(), time.monotonic()
        if self.live:
            print(f"{self.paint('▸', 36)} {name} … ", end="", file=self.out, flush=True)
        mark, colour = "✗", 31
        try:
            yield phase
            mark, colour = "▸", 32
        finally:
            line = f"{self.paint(mark, colour)} {name} … {time.monotonic() - begin:.1f} s"
            line += f"  {phase.note}" if phase.note else ""
            print(f"\r\033[K{line}" if self.live else line, file=self.out, flush=True)
