"""The progress of a run: what is printed line by line, what is counted, and the exit code.

Belongs here: one printer for runs wherever they execute. Does not: where events come from; follow.py reads
them over GraphQL, orchestration.run_events from an instance in the same process.
"""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass, field
from typing import Any

BLOCKED = "DagsterAssetCheckFailedError"  # the class of the error that a failed blocking check raises
HELD = " is held by "  # in the description of a check on a table that waits for somebody
LIMIT = "DAGSTER_RUN_MAX_SECONDS in .env sets this limit (0: none). Nothing is lost: the next run goes on."


@dataclass
class RunProgress:
    """Prints the events of one run as they come, and keeps what its end is judged by."""

    quiet: bool = False
    tables: list[dict[str, Any]] = field(default_factory=list)
    failed_checks: list[dict[str, str]] = field(default_factory=list)
    warnings: list[dict[str, str]] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    checks: int = 0
    blocked: bool = False  # a failed check of severity error has ended a step

    def say(self, text: str) -> None:
        """Print a line, unless quiet."""
        if not self.quiet:
            print(text, flush=True)

    def table_written(
        self, table: str, *, rows: int | None, seconds: float | None, held: str | None = None
    ) -> None:
        """A table was materialised; `held` says what keeps its refused rows waiting."""
        self.tables.append({"table": table, "rows": rows, "seconds": seconds, "held": held})
        mark, why = ("!", f"  {held}") if held else ("✓", "")
        told = f"{rows:>10,} rows" if rows is not None else " " * 15
        self.say(f"  {mark} {table:<30} {told}  {seconds or 0:>6.2f} s{why}")

    def check_evaluated(self, check: str, *, passed: bool, is_error: bool, description: str | None) -> None:
        """A check was evaluated; `is_error` is its severity."""
        self.checks += 1
        if passed:
            self.say(f"    ✓ {check}")
            return
        one = {"check": check, "says": description or ""}
        (self.failed_checks if is_error else self.warnings).append(one)
        self.say(f"    {'✗' if is_error else '!'} {check}: {one['says']}")

    def step_retried(self, step: str, cause: str) -> None:
        """A step failed and will run again."""
        self.say(f"  ↻ {step}: {cause} (trying again)")

    def step_failed(self, step: str, cause: str, *, error_class: str | None) -> None:
        """A step failed for good. One that a failed check has ended is no error: its tables are written."""
        if error_class == BLOCKED:
            self.blocked = True
            return
        self.errors.append(f"{step}: {cause}")
        self.say(f"  ✗ {self.errors[-1]}")

    def run_failed(self, message: str, cause: str) -> None:
        """The run failed, after its steps or instead of them."""
        if limit := limit_exceeded(message):
            self.errors.append(limit)
            self.say(f"  ✗ {limit}")
        elif not self.errors and not self.blocked:
            self.errors.append(cause)

    def exit_code(self, status: str) -> int:
        """Return 0, 1 (failed or canceled) or 3 (only checks failed) for a run that ended as `status`."""
        failed_otherwise = status != "SUCCESS" and not self.failed_checks
        if status == "CANCELED" or self.errors or failed_otherwise:
            return 1
        return 3 if self.failed_checks else 0

    def finish(self, status: str, *, link: str | None = None) -> int:
        """Print how the run ended; return the exit code."""
        code = self.exit_code(status)
        failed = f", {len(self.failed_checks)} failed" if self.failed_checks else ""
        warned = f", {len(self.warnings)} warnings" if self.warnings else ""
        mark = "✗" if code else "✓"
        self.say(f"{mark} {status.lower()}: {len(self.tables)} tables, {self.checks} checks{failed}{warned}")
        held = [one for one in self.warnings if HELD in one["says"]]
        for mark, found in (("✗", self.failed_checks), ("!", held)):
            for one in found:
                print(f"{mark} {one['check']}: {one['says']}", file=sys.stderr, flush=True)
        if code and link:
            print(f"  → open {link}", file=sys.stderr)
        return code

    def report(self) -> dict[str, Any]:
        """Return what was counted, as JSON values."""
        return {
            "tables": self.tables,
            "checks": self.checks,
            "failed_checks": self.failed_checks,
            "warnings": self.warnings,
            "errors": self.errors,
        }


def first_line(message: str | None) -> str:
    """Return the first line of a message that has any text."""
    lines = [line.strip() for line in (message or "").splitlines() if line.strip()]
    return lines[0] if lines else "no reason given"


def is_retry(error_class: str | None) -> bool:
    """Return whether an error of Dagster's only says that a step is retried, or was often enough.

    What went wrong is its cause.
    """
    return bool(error_class and error_class.startswith("RetryRequested"))


def limit_exceeded(message: str) -> str:
    """Return what to print of a run that was ended for taking too long; an empty text for any other."""
    found = re.search(r"[Ee]xceeded maximum runtime of (\d+) seconds", message)
    return f"ended: it took longer than {found[1]} s. {LIMIT}" if found else ""
