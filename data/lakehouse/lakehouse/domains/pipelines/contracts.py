"""The six tables of workflow telemetry.

Belongs here: columns, keys and rules. Does not: how a column is computed (transforms.py).
A rule may look at helper columns that the transform leaves beside the contract's, such as a value's text
as it came.
"""

from __future__ import annotations

from datetime import timedelta

import narwhals.stable.v2 as nw

from lakehouse.contracts.model import (
    Chart,
    Contract,
    Groups,
    Materialization,
    Type,
    bronze_columns,
    pointer_columns,
)
from lakehouse.contracts.model import column as _c
from lakehouse.domains.pipelines import rules, vocabulary

DOMAIN = "pipelines"


RAW_PIPELINE_EVENTS = Contract(
    layer="bronze", name="raw_pipeline_events", domain=DOMAIN, materialization=Materialization.APPEND,
    version="1.1.0",
    description="One workflow execution event as it was received, or one record that no adapter knows.",
    columns=(
        _c("pipeline_id", Type.STRING, "Pipeline (workflow, run) the event belongs to"),
        _c("event_type", Type.STRING, "What happened, in the sender's words"),
        _c("workspace_id", Type.STRING, "Workspace, namespace or repository"),
        _c("timestamp", Type.STRING, "When it happened, as received"),
        _c("raw_data", Type.STRING, "The event's payload, JSON text; GitHub's names people", pii=True),
        *bronze_columns(),
    ),
)  # fmt: skip

RAW_CRAWLER_RESULTS = Contract(
    layer="bronze", name="raw_crawler_results", domain=DOMAIN, materialization=Materialization.APPEND,
    description="One crawl of one social profile as it was received, or one record that no adapter knows.",
    columns=(
        _c("crawl_id", Type.STRING, "The crawl that brought the profile"),
        _c("method_id", Type.STRING, "How it was crawled"),
        _c("username", Type.STRING, "Account name the crawl asked for", pii=True),
        _c("raw_json", Type.STRING, "The profile as crawled, JSON text", pii=True),
        _c("timestamp", Type.STRING, "When it was crawled, as received"),
        *bronze_columns(),
    ),
)  # fmt: skip

PIPELINE_EVENTS = Contract(
    layer="silver", name="pipeline_events", domain=DOMAIN,
    materialization=Materialization.INCREMENTAL_BY_KEY, version="2.0.2",
    description="One event of one pipeline or of a part of it, typed; the last landed version of it.",
    key=("workspace_id", "pipeline_id", "event_type", "occurred_at", "event_id"),
    cluster_by=("occurred_at",),
    sources=(RAW_PIPELINE_EVENTS,),
    columns=(
        _c("workspace_id", Type.STRING,
           "Workspace; `unassigned` where the event names none", of="workspace_id", nullable=False),
        _c("pipeline_id", Type.STRING, "Pipeline the event belongs to", of="pipeline_id", nullable=False),
        _c("event_type", Type.STRING,
           "What happened, in snake_case: one word for all spellings of a sender",
           of="event_type", nullable=False),
        _c("occurred_at", Type.TIMESTAMP,
           "When it happened (UTC, cut to microseconds)", of="timestamp", nullable=False),
        _c("event_id", Type.STRING,
           "The source's own id of the event: Temporal's number of it with its run (`<run>/<number>`), "
           "GitHub's run or job with its attempt (`<id>/<attempt>`), an envelope's event_id; else empty",
           of="raw_data", nullable=False),
        _c("parent_id", Type.STRING,
           "pipeline_id, where the event tells of a part of the pipeline (a GitHub job, a task, a step "
           "inside a Temporal workflow), which never ends it; null for an event of the pipeline itself",
           of=("event_type", "pipeline_id")),
        _c("status", Type.STRING,
           "What the event says of its pipeline, of a GitHub job what it says of the job. The last word of "
           f"event_type tells: {vocabulary.STATUSES}. {vocabulary.EXCEPTIONS}",
           of=("event_type", "raw_data"), nullable=False),
        _c("duration_ms", Type.INT64,
           "How long the pipeline ran; fractions are rounded half up", of="raw_data", unit="ms"),
        _c("activities_executed", Type.INT64,
           "Activities that ran to completion", of="raw_data", unit="count"),
        _c("steps", Type.INT64,
           "Steps of the pipeline: as stated, or the length of the stated list",
           of="raw_data", unit="count"),
        _c("quality_score", Type.INT32,
           "30 pipeline_id + 30 timestamp + 20 workspace_id + 20 duration_ms",
           of=("pipeline_id", "timestamp", "workspace_id", "raw_data"), nullable=False, unit="points of 100"),
        _c("is_valid", Type.BOOL,
           "quality_score is at least 70",
           of=("pipeline_id", "timestamp", "workspace_id", "raw_data"), nullable=False),
        *pointer_columns(RAW_PIPELINE_EVENTS.path),
    ),
    rules=(
        rules.present("pipeline_id"),
        rules.event_type_present(),
        rules.event_type_known(),
        rules.readable_time("occurred_at"),
        rules.json_object("raw_data"),
        *rules.whole_number("duration_ms"),
        *rules.whole_number("activities_executed"),
        *rules.whole_number("steps"),
    ),
)  # fmt: skip

CRAWLER_RESULTS = Contract(
    layer="silver", name="crawler_results", domain=DOMAIN,
    materialization=Materialization.INCREMENTAL_BY_KEY, version="1.1.0",
    description="One social profile as one method saw it at one time.",
    key=("method_id", "username", "scraped_at"),
    cluster_by=("scraped_at",),
    sources=(RAW_CRAWLER_RESULTS,),
    columns=(
        _c("method_id", Type.STRING, "How it was crawled", of="method_id", nullable=False),
        _c("username", Type.STRING,
           "Account name: the payload's own, else the one the crawl asked for",
           of=("username", "raw_json"), nullable=False, pii=True),
        _c("scraped_at", Type.TIMESTAMP,
           "When it was crawled (UTC)", of=("timestamp", "raw_json"), nullable=False),
        _c("crawl_id", Type.STRING, "The crawl that brought it", of="crawl_id"),
        _c("display_name", Type.STRING, "Name shown", of="raw_json", pii=True),
        _c("followers_count", Type.INT64, "Accounts that follow this one", of="raw_json", unit="count"),
        _c("following_count", Type.INT64, "Accounts this one follows", of="raw_json", unit="count"),
        _c("posts_count", Type.INT64, "Posts so far", of="raw_json", unit="count"),
        _c("location", Type.STRING, "Place, as stated", of="raw_json", pii=True),
        _c("is_verified", Type.BOOL,
           "Verified by the network; false where not stated", of="raw_json", nullable=False),
        _c("bio", Type.STRING, "Self-description", of="raw_json", pii=True),
        _c("account_created_at", Type.TIMESTAMP, "When the account was opened (UTC)", of="raw_json"),
        _c("profile_image_url", Type.STRING, "Picture", of="raw_json", pii=True),
        _c("recent_posts_count", Type.INT64,
           "Recent posts: as stated, or the length of `recent_posts`", of="raw_json", unit="count"),
        _c("completeness_score", Type.INT32,
           "20 username + 20 followers + 20 posts + 15 location + 15 bio + 10 recent posts > 0",
           of=("username", "raw_json"), nullable=False, unit="points of 100"),
        _c("is_complete", Type.BOOL,
           "completeness_score is at least 60", of=("username", "raw_json"), nullable=False),
        *pointer_columns(RAW_CRAWLER_RESULTS.path),
    ),
    rules=(
        rules.present("username"),
        rules.present("method_id"),
        rules.readable_time("scraped_at"),
        rules.json_object("raw_json"),
        *rules.whole_number("followers_count"),
        *rules.whole_number("following_count"),
        *rules.whole_number("posts_count"),
        *rules.whole_number("recent_posts_count"),
        *rules.is_verified_readable(),
        *rules.account_created_at_readable(),
    ),
)  # fmt: skip

PIPELINE_METRICS = Contract(
    layer="gold", name="pipeline_metrics", domain=DOMAIN,
    materialization=Materialization.INCREMENTAL_BY_GROUP, version="2.0.0",
    description=(
        "One workspace on one UTC day: the pipelines that ended, each once, by its last outcome of "
        "the day."
    ),
    key=("workspace_id", "date"),
    cluster_by=("date", "workspace_id"),
    sources=(PIPELINE_EVENTS,),
    groups=Groups(
        by=lambda: [nw.col("workspace_id"), nw.col("occurred_at").dt.date().alias("date")],
        within=("occurred_at", timedelta(days=1)),
    ),
    max_age=timedelta(days=1),
    chart=Chart(label="date", value="total_pipelines", title="Pipelines ended per day"),
    columns=(
        _c("workspace_id", Type.STRING, "Workspace", of="workspace_id", nullable=False),
        _c("date", Type.DATE, "UTC day", of="occurred_at", nullable=False),
        _c("total_pipelines", Type.INT64,
           "Pipelines that ended that day: completed, failed or skipped. The end of a part is none",
           of=("pipeline_id", "parent_id", "status"), nullable=False, unit="count"),
        _c("success_count", Type.INT64,
           "Of these, completed", of=("pipeline_id", "status"), nullable=False, unit="count"),
        _c("failed_count", Type.INT64,
           "Of these, failed", of=("pipeline_id", "status"), nullable=False, unit="count"),
        _c("skipped_count", Type.INT64,
           "Of these, skipped", of=("pipeline_id", "status"), nullable=False, unit="count"),
        _c("success_rate", Type.FLOAT64,
           "success_count / (success_count + failed_count), two decimals, rounded half up; null where all "
           "were skipped", of=("pipeline_id", "status"), unit="%"),
        _c("avg_duration_sec", Type.FLOAT64,
           "Mean duration: whole milliseconds added up and divided once, to the nearest double; null where "
           "no pipeline states one", of="duration_ms", unit="s"),
        _c("p50_duration_sec", Type.FLOAT64,
           "Median duration, interpolated linearly and divided once", of="duration_ms", unit="s"),
        _c("p95_duration_sec", Type.FLOAT64,
           "95th percentile of duration (at position (n-1)*0.95), interpolated linearly and divided once",
           of="duration_ms", unit="s"),
    ),
)  # fmt: skip

USER_PROFILES = Contract(
    layer="gold", name="user_profiles", domain=DOMAIN, materialization=Materialization.INCREMENTAL_BY_GROUP,
    description="One social account, by its latest scrape.",
    key=("username",),
    cluster_by=("username",),
    sources=(CRAWLER_RESULTS,),
    groups=Groups(by=lambda: [nw.col("username")]),
    max_age=timedelta(days=7),
    columns=(
        _c("username", Type.STRING, "Account name", of="username", nullable=False, pii=True),
        _c("display_name", Type.STRING, "Name shown", of="display_name", pii=True),
        _c("followers_count", Type.INT64,
           "Accounts that follow this one", of="followers_count", unit="count"),
        _c("following_count", Type.INT64, "Accounts this one follows", of="following_count", unit="count"),
        _c("posts_count", Type.INT64, "Posts so far", of="posts_count", unit="count"),
        _c("is_verified", Type.BOOL, "Verified by the network", of="is_verified", nullable=False),
        _c("engagement_rate", Type.FLOAT64,
           "posts / followers * 100, 0 followers counted as 1; two decimals, rounded half up",
           of=("posts_count", "followers_count"), unit="%"),
        _c("influence_score", Type.FLOAT64,
           "min(followers/1000, 50) + min(posts/1000, 30) + 20 if verified; unknown counts add 0",
           of=("followers_count", "posts_count", "is_verified"), nullable=False, unit="points of 100"),
        _c("following_ratio", Type.FLOAT64,
           "followers / following, 0 following counted as 1", of=("followers_count", "following_count")),
        _c("activity_level", Type.STRING,
           "unknown, low (< 100 posts), medium (< 1000), high (< 10000) or very_high",
           of="posts_count", nullable=False),
        _c("completeness_score", Type.INT32,
           "How much of the profile is filled in",
           of="completeness_score", nullable=False, unit="points of 100"),
        _c("completeness_rating", Type.STRING,
           "excellent (>= 80), good (>= 60), fair (>= 40) or poor", of="completeness_score", nullable=False),
        _c("method_id", Type.STRING, "How the latest scrape was crawled", of="method_id", nullable=False),
        _c("scraped_at", Type.TIMESTAMP,
           "When the latest scrape was made (UTC)", of="scraped_at", nullable=False),
        _c("crawl_id", Type.STRING, "The crawl that brought the latest scrape", of="crawl_id"),
    ),
)  # fmt: skip

CONTRACTS: tuple[Contract, ...] = (
    RAW_PIPELINE_EVENTS,
    RAW_CRAWLER_RESULTS,
    PIPELINE_EVENTS,
    CRAWLER_RESULTS,
    PIPELINE_METRICS,
    USER_PROFILES,
)
