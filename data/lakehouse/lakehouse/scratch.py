"""Where this machine keeps what is needed only while something is computed.

Belongs here: which folder, and what killed processes left in it. Does not: what lies there (who makes it).
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from time import time

_STALE = timedelta(days=1)


def scratch_folder(env: Mapping[str, str] = os.environ) -> Path:
    """Return ODP_SCRATCH, else the system's own folder for such; it is there then. Raises OSError."""
    folder = Path(env.get("ODP_SCRATCH") or tempfile.gettempdir())
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def scratch_without(prefix: str) -> Path:
    """Return the folder, less what lies in it under names of this beginning and is older than a day."""
    folder = scratch_folder()
    for left in folder.glob(f"{prefix}*"):  # of processes that were killed
        if time() - left.stat().st_mtime > _STALE.total_seconds():
            shutil.rmtree(left, ignore_errors=True)
    return folder
