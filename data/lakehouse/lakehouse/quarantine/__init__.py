"""Refused rows: what there is, why, and another try.

Belongs here: reading quarantine tables, and replaying them. Does not: refusing (flow).
"""

from lakehouse.quarantine.listing import Reject, Rejects, list_rejects, show
from lakehouse.quarantine.replaying import Replayed, replay

__all__ = ["Reject", "Rejects", "Replayed", "list_rejects", "replay", "show"]
