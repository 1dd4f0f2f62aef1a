"""Where loan files land. Belongs here: the declaration. Does not: reading (landing/tabular.py)."""

from __future__ import annotations

from lakehouse.domains.lending.contracts import RAW_LOANS
from lakehouse.domains.lending.vocabulary import DIVIDER, FOOTER, NOT_BY_POLICY_PATTERN, OTHERS, PREAMBLE
from lakehouse.landing import Form, Source
from lakehouse.landing.tabular import tabular

SOURCES: tuple[Source, ...] = (
    tabular(
        folder="loans",
        table=RAW_LOANS,
        description="LendingClub's loan files, in its own form or converted: CSV or Parquet, perhaps gzipped",
        rest="more",
        expected=OTHERS,
        form=Form(
            preamble=PREAMBLE,
            divider=DIVIDER,
            divided={"loan_status": rf"\s*{NOT_BY_POLICY_PATTERN}"},
            footer=FOOTER,
        ),
    ),
)
