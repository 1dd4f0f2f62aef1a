"""Where workflow telemetry lands: four folders, two Bronze tables.

Belongs here: the declarations. Does not: shapes (envelope.py, github.py, temporal.py) or the reading loop.
A file is recognised by its content, so each of the three event shapes is understood in every event folder.
"""

from __future__ import annotations

from lakehouse.domains.pipelines import envelope, github, temporal
from lakehouse.domains.pipelines.contracts import RAW_CRAWLER_RESULTS, RAW_PIPELINE_EVENTS
from lakehouse.domains.pipelines.reading import Reader
from lakehouse.landing import Source

_EVENTS = Reader(
    table=RAW_PIPELINE_EVENTS,
    adapters=(envelope.EVENT.rows, temporal.rows, github.rows),
    columns=envelope.EVENT.columns,
    payload="raw_data",
    gather=temporal.gathered,
    shapes="event envelopes (pipeline_id, event_type, workspace_id, timestamp, raw_data) as NDJSON, JSON, "
    "CSV or Parquet, Temporal workflow histories, and GitHub workflow_run and workflow_job payloads "
    "or pages",
)

_RESULTS = Reader(
    table=RAW_CRAWLER_RESULTS,
    adapters=(envelope.RESULT.rows,),
    columns=envelope.RESULT.columns,
    payload="raw_json",
    shapes="crawl envelopes (crawl_id, method_id, username, raw_json, timestamp) as NDJSON, JSON, CSV "
    "or Parquet",
)

SOURCES: tuple[Source, ...] = (
    Source(folder="pipeline_events", table=RAW_PIPELINE_EVENTS, read=_EVENTS,
           description="Execution events in the platform's own envelope"),
    Source(folder="github", table=RAW_PIPELINE_EVENTS, read=_EVENTS,
           description="GitHub Actions: workflow_run and workflow_job webhooks, run and job pages"),
    Source(folder="temporal", table=RAW_PIPELINE_EVENTS, read=_EVENTS,
           description="Temporal workflow histories, as its CLI, SDKs and UI export them"),
    Source(folder="crawler_results", table=RAW_CRAWLER_RESULTS, read=_RESULTS,
           description="Crawled social profiles"),
)  # fmt: skip
