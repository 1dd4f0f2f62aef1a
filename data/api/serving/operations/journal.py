"""The logs of requests and ingests: JSON lines, one file a day, without payloads.

Belongs here: writing them. Does not: what is worth a line (the middleware, ingest/).
"""

from __future__ import annotations

import json
import os
import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from starlette.requests import Request


class Journal:
    """One log: `<folder>/<name>-YYYY-MM-DD.jsonl`, each line flushed, so that it can be read at any time."""

    def __init__(self, folder: Path, name: str) -> None:
        self._folder, self._name = folder, name
        self._lock = threading.Lock()
        self._day, self._file = "", -1

    def write(self, **fields: Any) -> None:
        """Add one line, with the time."""
        now = datetime.now(UTC)
        line = json.dumps({"at": now.isoformat(timespec="milliseconds"), **fields}, default=str) + "\n"
        with self._lock:
            if (day := f"{now:%Y-%m-%d}") != self._day:
                self.close()
                self._folder.mkdir(parents=True, exist_ok=True)
                path = self._folder / f"{self._name}-{day}.jsonl"
                self._file, self._day = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600), day
            os.write(self._file, line.encode())

    def close(self) -> None:
        """Close today's file."""
        if self._file >= 0:
            os.close(self._file)
        self._day, self._file = "", -1


def note_error(request: Request, says: str) -> None:
    """Keep what failed, as `lakehouse.errors.plain` tells it, with the request's line."""
    request.state.error = says
