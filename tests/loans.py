"""Loans of the sample as rows, and rows as a file to land.

Belongs here: what tests of several members change of the sample. Does not: any claim about a loan.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence

from lakehouse.domains.lending.sample import sample_files

Row = dict[str, str]


def converted() -> tuple[str, list[Row]]:
    """Return name and rows of the sample's file in the converted form."""
    name = next(name for name in sample_files() if name.endswith(".csv"))
    return name, list(csv.DictReader(io.StringIO(sample_files()[name].decode(), newline="")))


def as_csv(rows: Sequence[Row]) -> bytes:
    """Return rows as a file."""
    out = io.StringIO()
    writer = csv.DictWriter(out, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue().encode()


def one_more(**changed: str) -> bytes:
    """Return a file of one more loan, of another amount, with some fields changed."""
    _, rows = converted()
    return as_csv([rows[0] | {"loan_amnt": "4321", "funded_amnt": "4321"} | changed])
