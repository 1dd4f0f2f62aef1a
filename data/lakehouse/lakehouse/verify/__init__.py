"""Does the lake hold what it must? Read from the lake itself, not from anybody's memory of it.

Belongs here: the checks and their report. Does not: mending anything.
"""

from lakehouse.verify.checks import (
    Problem,
    TableReport,
    Verification,
    conservation_problems,
    conservation_totals,
    drift_problems,
    key_problems,
    verify,
)
from lakehouse.verify.content import content_hash

__all__ = [
    "Problem",
    "TableReport",
    "Verification",
    "conservation_problems",
    "conservation_totals",
    "content_hash",
    "drift_problems",
    "key_problems",
    "verify",
]
