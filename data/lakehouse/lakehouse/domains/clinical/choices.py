"""Which of several names, numbers and addresses is the current one.

Belongs here: the choice, by `use` and `period`. Does not: the columns (resources.py).

What is `old`, or ended before the record was last updated, is none that is current. Of the others the first
counts that has no stated end (else the one that ends last), then by use: of names official, usual, none, then
temporary ones, nicknames, anonymous and maiden names; of addresses and numbers temporary and billing ones
come last; of numbers those with a lower rank first. One whose `use` has extensions alone (`_use`) may be old:
it is taken where there is no other.
"""

from __future__ import annotations

from typing import Any

from lakehouse.domains.clinical import records as r
from lakehouse.domains.clinical.taking import each

_NAMES = {"official": 0, "usual": 1, None: 2, "temp": 3, "nickname": 4, "anonymous": 5, "maiden": 6}
_PLACES = {"temp": 1, "billing": 1}
_UNRANKED = 2**31


def name(patient: r.Patient) -> Any:
    """Return the current name of a patient; None where there is none."""
    return _current(patient, patient.name, lambda one: (_NAMES.get(one.use, 3),))


def address(patient: r.Patient) -> Any:
    """Return the current address of a patient; None where there is none."""
    return _current(patient, patient.address, lambda one: (_PLACES.get(one.use, 0),))


def phone(patient: r.Patient) -> str | None:
    """Return the current telephone number of a patient; None where there is none."""
    numbers = [one for one in each(patient.telecom) if one.system == "phone" and one.value]
    found = _current(
        patient, numbers, lambda one: (_PLACES.get(one.use, 0), _UNRANKED if one.rank is None else one.rank)
    )
    return found.value if found else None


def _current(patient: r.Patient, given: Any, order: Any) -> Any:
    updated = patient.meta.lastUpdated if patient.meta else None
    held = [one for one in each(given) if one.use != "old" and not _over(one, updated)]
    held = [one for one in held if not _unsaid(one)] or held
    if len(held) < 2:
        return held[0] if held else None
    open_ = [one for one in held if not _end(one)]
    if not open_:
        last = max(_end(one) for one in held)
        open_ = [one for one in held if _end(one) == last]
    return min(open_, key=order)


def _unsaid(one: Any) -> bool:
    """Return whether a use is stated, and which one is not known."""
    return one.use is None and bool(one.use_)


def _end(one: Any) -> str:
    return (one.period.end or "") if one.period else ""


def _over(one: Any, updated: str | None) -> bool:
    """Say whether it ended before the day of the update, as both are written: to the precision of its end."""
    end = _end(one)[:10]
    return bool(end and updated and end < updated[: len(end)])
