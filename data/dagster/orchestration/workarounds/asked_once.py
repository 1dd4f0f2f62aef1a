"""Questions to a database that need no second answer, for the two storages beside.

Belongs here: remembering a yes. Does not: which questions those are (the storages).

Reason: Dagster asks the database before nearly every event whether a table or column is there.
Gain: one second of a run of 23 tables on Postgres.
Pin: dagster 1.13.27.
Drop when: Dagster remembers the answer itself, or both storages are gone.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def once_true(asks: Callable[..., bool]) -> Callable[..., bool]:
    """Return `asks` that remembers a yes, by its last argument; a no may change, with a migration."""
    yes: set[Any] = set()

    def remembers(*args: Any) -> bool:
        if args[-1] not in yes and asks(*args):
            yes.add(args[-1])
        return args[-1] in yes

    return remembers
