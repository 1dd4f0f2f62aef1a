"""Verification of a lake, computed from the lake itself and from no other record of it.

Belongs here: the checks and their report. Does not: repairing anything.
"""

from lakehouse.verify.checks import (
    Problem,
    TableReport,
    Verification,
    conservation_problems,
    conservation_totals,
    drift_problems,
    key_problems,
)
from lakehouse.verify.content import content_hash
from lakehouse.verify.judging import Patience, verify

__all__ = [
    "Patience",
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
