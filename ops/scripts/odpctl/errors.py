"""The one failure a person sees: what failed, why, and the one command to run next. Raised anywhere,
printed once.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

OK, FAILED, NOT_READY, REFUSED, INTERRUPTED = 0, 1, 2, 3, 130

EXIT_CODES = """\
exit codes:
  0    done
  1    failed; the message names the cause and one command
  2    wrong usage, or nothing is running that could do it
  3    refused by the preflight; nothing was changed
  130  ended by Ctrl-C"""


@dataclass
class Failure(Exception):
    """What was attempted and failed; `details` are titled blocks of lines, `command` is the one thing to
    type next.
    """

    what: str
    cause: str = ""
    command: str = ""
    exit_code: int = FAILED
    details: list[tuple[str, list[str]]] = field(default_factory=list)
    log: Path | None = None

    def __str__(self) -> str:
        return self.what

    def render(self) -> str:
        """The text for a person, least important first: the last line is what to do."""
        lines = []
        for title, block in self.details:
            lines += [f"{title}:", *(f"  │ {line}" for line in block)]
        lines.append(f"error: {self.what}")
        for label, value in (("cause", self.cause), ("log", self.log), ("run", self.command)):
            if value:
                lines.append(f"  {label + ':':<6} {value}")
        return "\n".join(lines)
