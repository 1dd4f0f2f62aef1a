"""Workflow telemetry: execution events of pipelines, and crawled social profiles."""

from lakehouse.domains.pipelines import contracts as c
from lakehouse.domains.pipelines import transforms
from lakehouse.domains.pipelines.sources import SOURCES
from orchestration.tables import bronze, table

raw_pipeline_events = bronze(
    c.RAW_PIPELINE_EVENTS, sources=[s for s in SOURCES if s.table is c.RAW_PIPELINE_EVENTS]
)
raw_crawler_results = bronze(
    c.RAW_CRAWLER_RESULTS, sources=[s for s in SOURCES if s.table is c.RAW_CRAWLER_RESULTS]
)
pipeline_events = table(c.PIPELINE_EVENTS)(transforms.pipeline_events)
crawler_results = table(c.CRAWLER_RESULTS)(transforms.crawler_results)
pipeline_metrics = table(c.PIPELINE_METRICS)(transforms.pipeline_metrics)
user_profiles = table(c.USER_PROFILES)(transforms.user_profiles)
