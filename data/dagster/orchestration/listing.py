"""What a listing of landing tells a sensor.

Belongs here: has it changed, is it still changing. Does not: what is done then.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from lakehouse.landing import LandedFile

SETTLES = timedelta(seconds=5)
SETTLING = "files came in only now, more may follow: looking once more"
_WAITED = "+"


def fingerprint(files: Sequence[LandedFile]) -> str:
    """Return a short hash of names, sizes, times and versions: equal as long as nothing was put in or
    changed.
    """
    text = "\n".join(f"{f.name}\t{f.size}\t{f.modified.isoformat()}\t{f.version}" for f in files)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def settling(files: Sequence[LandedFile]) -> bool:
    """Return whether a file came in these last seconds.

    Others of its kind may be under way, or a run that whoever put it there is about to ask for. A time ahead
    of this machine's clock counts as long ago: it must not hold everything up.
    """
    now = datetime.now(UTC)
    return any(timedelta() <= now - file.modified < SETTLES for file in files)


def seen_before(cursor: str | None) -> tuple[str | None, bool]:
    """Return what a sensor's cursor says, and whether it has waited for files to settle once already."""
    text = cursor or ""
    return text.removesuffix(_WAITED) or None, text.endswith(_WAITED)


def having_waited(cursor: str | None) -> str:
    """Return the cursor that says so: where files never stop coming, none must wait for ever."""
    return f"{cursor or ''}{_WAITED}"
