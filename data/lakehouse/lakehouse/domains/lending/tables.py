"""The tables of lending, each with what makes it.

Belongs here: the pairing. Does not: contracts, sources or transforms themselves.
"""

from __future__ import annotations

from lakehouse.domains.lending import contracts as c
from lakehouse.domains.lending import transforms
from lakehouse.domains.lending.sources import SOURCES
from lakehouse.table import Table

TABLES = (
    Table(contract=c.RAW_LOANS, sources=SOURCES),
    Table(contract=c.LOANS, transform=transforms.loans),
)
