"""Fields and columns of landed data that their table does not have.

Belongs here: counting them, up to a limit, under names that may be shown. Does not: keeping their values
(the reader of a source), or reporting them (flow.ingest, the orchestrator).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable

OTHERS = "(others)"
MAX_NAMES = 50
# Plausible column names; anything else may be a value.
_A_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_ .-]{0,63}")


class Unexpected(Counter[str]):
    """Rows by unexpected column. Beyond MAX_NAMES, and for implausible names, they count as OTHERS.

    `blank_lines` counts the skipped blank lines of CSV files, `other_lines` those beside the rows that their
    source declares: above, between and below them.
    """

    blank_lines: int = 0
    other_lines: int = 0

    def met(self, names: Iterable[str], rows: int = 1) -> None:
        """Count `rows` rows that had these columns."""
        for name in names:
            fits = name in self or (len(self) < MAX_NAMES and _A_NAME.fullmatch(name) is not None)
            self[name if fits else OTHERS] += rows

    def join(self, other: Unexpected) -> None:
        """Add the counts of another file."""
        self.blank_lines += other.blank_lines
        self.other_lines += other.other_lines
        for name, rows in other.items():
            self.met([name], rows) if name != OTHERS else self.update({OTHERS: rows})
