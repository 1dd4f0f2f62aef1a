"""Rejected rows: listing them with their reasons, replaying them, and accepting them.

Belongs here: reading quarantine tables, replay, acceptance. Does not: rejecting rows and holding tables
(pipeline).
"""

from lakehouse.quarantine.holding import Accepted, accept, accepted, describe, held_tables, share, waiting
from lakehouse.quarantine.listing import Reject, Rejects, list_rejects, show
from lakehouse.quarantine.replaying import Replayed, replay

__all__ = [
    "Accepted",
    "Reject",
    "Rejects",
    "Replayed",
    "accept",
    "accepted",
    "describe",
    "held_tables",
    "list_rejects",
    "replay",
    "share",
    "show",
    "waiting",
]
