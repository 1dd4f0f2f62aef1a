"""What a bundle's entry says of how its request went.

Belongs here: reading `response.status` of an answer to a batch or transaction. Does not: what becomes of the
entry (reading.py, contracts_silver.py). In a history it tells of the interaction that made a version, and a
search has none.

https://hl7.org/fhir/R4/http.html#transaction-response
"""

from __future__ import annotations

import re
from typing import Any

import orjson

ANSWERS = ("batch-response", "transaction-response")
_FAILED = re.compile(r"\s*([45]\d\d)(?!\d)")


def is_answer(bundle_type: Any) -> bool:
    """Return whether the entries of a bundle of this type are answers to requests."""
    return bundle_type in ANSWERS


def failure(response: Any) -> str | None:
    """Return the status of a response that says its request was not done, `409`; None for any other."""
    status = response.get("status") if isinstance(response, dict) else None
    found = _FAILED.match(str(status)) if isinstance(status, str | int) else None
    return found[1] if found else None


def failure_of(entry: str | None) -> str | None:
    """Return that status of an entry, by its text."""
    try:
        said = orjson.loads(entry or "")
    except orjson.JSONDecodeError:
        return None
    return failure(said.get("response")) if isinstance(said, dict) else None
