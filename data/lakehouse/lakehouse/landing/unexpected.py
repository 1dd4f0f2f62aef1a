"""Fields and columns of landed data that their table has no place for.

Belongs here: counting them, bounded, under names that may be shown. Does not: where they are kept
(the reader of a source), or who hears of them (flow.ingest, the orchestrator).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable

OTHERS = "(others)"
MAX_NAMES = 50
# What could be a name somebody gave a column; anything else may as well be a value.
_A_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_ .-]{0,63}")


class Unexpected(Counter[str]):
    """Rows by unexpected column. Past MAX_NAMES, and for what is no name, they count as OTHERS."""

    def met(self, names: Iterable[str], rows: int = 1) -> None:
        """Count `rows` rows that had these columns."""
        for name in names:
            fits = name in self or (len(self) < MAX_NAMES and _A_NAME.fullmatch(name) is not None)
            self[name if fits else OTHERS] += rows

    def join(self, other: Unexpected) -> None:
        """Add the counts of another file."""
        for name, rows in other.items():
            self.met([name], rows) if name != OTHERS else self.update({OTHERS: rows})
