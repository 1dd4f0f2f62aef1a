"""Steps: run in order, retried until a deadline, one line each.

Belongs here: retries, timing, progress lines. Does not: what a step does.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tenacity import Retrying, retry_if_exception_type, stop_before_delay, wait_exponential

from lakehouse.errors import LakeError, plain

_FIRST_PAUSE = 0.1
_LONGEST_PAUSE = 1.0


class NotYet(Exception):
    """The server does not answer yet; a retry may succeed."""


class Refused(LakeError):
    """The server answered and refused; a retry will not succeed."""


class StepFailed(LakeError):
    """A step failed: which one, why, and what to do next."""


@dataclass(frozen=True)
class Step:
    """A named piece of work. `work` returns a note for its progress line."""

    name: str
    work: Callable[[], str]


def run(steps: Sequence[Step], *, deadline: float, say: Callable[[str], None] = print) -> None:
    """Run the steps in order; retry a step that raises NotYet until `deadline` (time.monotonic).

    Raises StepFailed at the first failed step; later steps are not run.
    """
    for step in steps:
        begin = time.monotonic()
        try:
            note = _until(step.work, deadline)
        except NotYet as exc:
            waited = time.monotonic() - begin
            raise StepFailed(f"{step.name}: {exc}; gave up after {waited:.0f} s") from None
        except LakeError as exc:
            raise StepFailed(f"{step.name}: {exc}") from None
        except Exception as exc:  # noqa: BLE001  # reported as a failed step
            raise StepFailed(f"{step.name}: {plain(exc)}") from None
        say(f"✓ {step.name:<22} {time.monotonic() - begin:5.2f} s  {note}")


def _until(work: Callable[[], str], deadline: float) -> str:
    retrying = Retrying(
        retry=retry_if_exception_type(NotYet),
        wait=wait_exponential(multiplier=_FIRST_PAUSE, max=_LONGEST_PAUSE),
        stop=stop_before_delay(deadline - time.monotonic()),
        reraise=True,
    )
    return retrying(work)
