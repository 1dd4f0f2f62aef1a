"""Steps: run in order, retried until a deadline, one line each.

Belongs here: retrying, timing, telling. Does not: what a step does.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from lakehouse.errors import LakeError, plain

_FIRST_PAUSE = 0.1
_LONGEST_PAUSE = 1.0


class NotYet(Exception):
    """The other side does not answer yet; asking again may help."""


class Refused(LakeError):
    """The other side answered and said no; asking again will not help."""


class StepFailed(LakeError):
    """A step did not succeed: which one, why, and what to do next."""


@dataclass(frozen=True)
class Step:
    """A named piece of work. `work` returns what to say about it."""

    name: str
    work: Callable[[], str]


def run(steps: Sequence[Step], *, deadline: float, say: Callable[[str], None] = print) -> None:
    """Run the steps in order; a step that raises NotYet is repeated until `deadline` (time.monotonic).

    Raises StepFailed at the first that fails; the later ones are not tried.
    """
    for step in steps:
        begin = time.monotonic()
        try:
            note = _until(step.work, deadline)
        except NotYet as exc:
            waited = time.monotonic() - begin
            raise StepFailed(f"{step.name}: {exc}; gave up after {waited:.0f} s") from exc
        except LakeError as exc:
            raise StepFailed(f"{step.name}: {exc}") from exc
        except Exception as exc:
            raise StepFailed(f"{step.name}: {type(exc).__name__}: {plain(exc)}") from exc
        say(f"✓ {step.name:<22} {time.monotonic() - begin:5.2f} s  {note}")


def _until(work: Callable[[], str], deadline: float) -> str:
    pause = _FIRST_PAUSE
    while True:
        try:
            return work()
        except NotYet:
            if time.monotonic() + pause > deadline:
                raise
        time.sleep(pause)
        pause = min(2 * pause, _LONGEST_PAUSE)
