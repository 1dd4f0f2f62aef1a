"""Silver of lending, as a pure function from lazy frame to lazy frame.

Belongs here: its steps. Does not: what each column means (decoding.py, keys.py), reading, writing, splitting
by rules, removing duplicates. It gives exactly one row per Bronze row, good or not.
"""

from __future__ import annotations

from lakehouse.domains.lending import contracts as c
from lakehouse.domains.lending import decoding
from lakehouse.engine import xp

_with_texts = xp.in_polars(decoding.with_texts)
_with_values = xp.in_polars(decoding.with_values)


def loans(raw: xp.Frame) -> xp.Frame:
    """Type each loan; what cannot be read is left to the contract's rules."""
    frame = _with_texts(raw)
    for columns, type_ in (
        (c.MONEY_COLUMNS, c.MONEY), (c.RATE_COLUMNS, c.RATE), (c.RATIO_COLUMNS, c.RATIO),
    ):  # fmt: skip
        frame = xp.rounded_decimals(frame, {name: f"{name}_number" for name in columns}, type_=type_)
    return _with_values(frame)
