"""The tables of workflow telemetry, each with what makes it.

Belongs here: the pairing. Does not: contracts, sources or transforms themselves.
"""

from __future__ import annotations

from lakehouse.domains.pipelines import contracts as c
from lakehouse.domains.pipelines import transforms
from lakehouse.domains.pipelines.sources import SOURCES
from lakehouse.table import Table

TABLES = (
    Table(
        contract=c.RAW_PIPELINE_EVENTS, sources=tuple(s for s in SOURCES if s.table is c.RAW_PIPELINE_EVENTS)
    ),
    Table(
        contract=c.RAW_CRAWLER_RESULTS, sources=tuple(s for s in SOURCES if s.table is c.RAW_CRAWLER_RESULTS)
    ),
    Table(contract=c.PIPELINE_EVENTS, transform=transforms.pipeline_events),
    Table(contract=c.CRAWLER_RESULTS, transform=transforms.crawler_results),
    Table(contract=c.PIPELINE_METRICS, transform=transforms.pipeline_metrics),
    Table(contract=c.USER_PROFILES, transform=transforms.user_profiles),
)
