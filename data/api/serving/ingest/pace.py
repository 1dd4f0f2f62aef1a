"""How long ingests of a dataset took until their rows were in, for an estimate of the next.

Belongs here: past times, kept in the journal of ingests. Does not: how they are measured (launching.py).
"""

from __future__ import annotations

import threading
from collections import deque
from pathlib import Path
from statistics import median

import orjson

_REMEMBERED = 20  # of each dataset
_FILES, _TAIL = 7, 256 << 10  # days of the journal that are read at start, and bytes of each
DONE = "done"


class Pace:
    """The seconds from acceptance to the end, of the newest ingests of each dataset."""

    def __init__(self, logs: Path) -> None:
        self._lock = threading.Lock()
        self._seconds: dict[str, deque[float]] = {}
        for file in sorted(logs.glob("ingests-*.jsonl"))[-_FILES:]:
            self._read(file)

    def add(self, dataset: str, seconds: float) -> None:
        """Remember one ingest."""
        with self._lock:
            self._seconds.setdefault(dataset, deque(maxlen=_REMEMBERED)).append(seconds)

    def estimate(self, dataset: str) -> float | None:
        """Return the median in seconds; None where nothing is known."""
        with self._lock:
            known = self._seconds.get(dataset)
            return round(median(known), 1) if known else None

    def _read(self, file: Path) -> None:
        with file.open("rb") as raw:
            raw.seek(max(0, raw.seek(0, 2) - _TAIL))
            for line in raw.read().splitlines():
                try:
                    found = orjson.loads(line)
                except ValueError:  # the half of a line, at the beginning or after a kill
                    continue
                match found:
                    case {"outcome": "done", "dataset": str(dataset), "seconds": int() | float() as seconds}:
                        self.add(dataset, seconds)
