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
    Column,
    Contract,
    Groups,
    RowRule,
    Type,
    Write,
    bronze_columns,
    pointer_columns,
)

DOMAIN = "pipelines"

RAW_PIPELINE_EVENTS = Contract(
    layer="bronze", name="raw_pipeline_events", domain=DOMAIN, write=Write.APPEND,
    row="One workflow execution event as it was received, or one record that no adapter knows.",
    columns=(
        Column(name="pipeline_id", type=Type.STRING, description="Pipeline (workflow, run) the event belongs to"),
        Column(name="event_type", type=Type.STRING, description="What happened, in the sender's words"),
        Column(name="workspace_id", type=Type.STRING, description="Workspace, namespace or repository"),
        Column(name="timestamp", type=Type.STRING, description="When it happened, as received"),
        Column(name="raw_data", type=Type.STRING, description="The event's payload, JSON text"),
        *bronze_columns(),
    ),
)  # fmt: skip

RAW_CRAWLER_RESULTS = Contract(
    layer="bronze", name="raw_crawler_results", domain=DOMAIN, write=Write.APPEND,
    row="One crawl of one social profile as it was received, or one record that no adapter knows.",
    columns=(
        Column(name="crawl_id", type=Type.STRING, description="The crawl that brought the profile"),
        Column(name="method_id", type=Type.STRING, description="How it was crawled"),
        Column(name="username", type=Type.STRING, pii=True, description="Account name the crawl asked for"),
        Column(name="raw_json", type=Type.STRING, pii=True, description="The profile as crawled, JSON text"),
        Column(name="timestamp", type=Type.STRING, description="When it was crawled, as received"),
        *bronze_columns(),
    ),
)  # fmt: skip


def _present(column: str, *, seen: str | None = None) -> RowRule:
    return RowRule(
        name=f"{column}_present",
        description=f"{column} is given and not blank",
        passes=lambda: ~nw.col(column).is_null(),
        values=(seen or column,),
    )


def _readable_time(column: str) -> RowRule:
    return RowRule(
        name=f"{column}_readable",
        description=f"{column} can be read as a point in time (ISO 8601, or epoch seconds or milliseconds)",
        passes=lambda: ~nw.col(column).is_null(),
        values=("timestamp",),
    )


def _object(column: str) -> RowRule:
    return RowRule(
        name=f"{column}_readable",
        description=f"{column} is given and is a well-formed JSON object",
        passes=lambda: nw.col(f"{column}_is_object"),
        values=(f"{column}_length",),
    )


def _whole_number(column: str) -> tuple[RowRule, RowRule]:
    """A number may be missing; one that is given must be readable, and not negative."""
    value, text = nw.col(column), nw.col(f"{column}_text")
    return (
        RowRule(
            name=f"{column}_readable",
            description=f"{column}, where given, is a number that fits 18 digits",
            passes=lambda: ~value.is_null() | text.is_null(),
            values=(f"{column}_text",),
        ),
        RowRule(
            name=f"{column}_not_negative",
            description=f"{column}, where given, is not negative",
            passes=lambda: (value >= 0).fill_null(True),
            values=(f"{column}_text",),
        ),
    )


PIPELINE_EVENTS = Contract(
    layer="silver", name="pipeline_events", domain=DOMAIN, write=Write.MERGE,
    row="One event of one pipeline, typed; the last landed version of it.",
    key=("workspace_id", "pipeline_id", "event_type", "occurred_at"),
    sources=(RAW_PIPELINE_EVENTS,),
    columns=(
        Column(name="workspace_id", type=Type.STRING, nullable=False, sources=("workspace_id",),
               description="Workspace; `unassigned` where the event names none"),
        Column(name="pipeline_id", type=Type.STRING, nullable=False, sources=("pipeline_id",),
               description="Pipeline the event belongs to"),
        Column(name="event_type", type=Type.STRING, nullable=False, sources=("event_type",),
               description="What happened, in snake_case: one word for all spellings of a sender"),
        Column(name="occurred_at", type=Type.TIMESTAMP, nullable=False, sources=("timestamp",),
               description="When it happened (UTC, cut to microseconds)"),
        Column(name="status", type=Type.STRING, nullable=False, sources=("event_type",),
               description="completed, failed or in_progress: what the event says of its pipeline"),
        Column(name="duration_ms", type=Type.INT64, unit="ms", sources=("raw_data",),
               description="How long the pipeline ran; fractions are rounded half up"),
        Column(name="activities_executed", type=Type.INT64, unit="count", sources=("raw_data",),
               description="Activities that ran to completion"),
        Column(name="steps", type=Type.INT64, unit="count", sources=("raw_data",),
               description="Steps of the pipeline: as stated, or the length of the stated list"),
        Column(name="quality_score", type=Type.INT32, nullable=False, unit="points of 100",
               sources=("pipeline_id", "timestamp", "workspace_id", "raw_data"),
               description="30 pipeline_id + 30 timestamp + 20 workspace_id + 20 duration_ms"),
        Column(name="is_valid", type=Type.BOOL, nullable=False,
               sources=("pipeline_id", "timestamp", "workspace_id", "raw_data"),
               description="quality_score is at least 70"),
        *pointer_columns(RAW_PIPELINE_EVENTS.path),
    ),
    rules=(
        _present("pipeline_id"),
        _present("event_type"),
        _readable_time("occurred_at"),
        _object("raw_data"),
        *_whole_number("duration_ms"),
        *_whole_number("activities_executed"),
        *_whole_number("steps"),
    ),
)  # fmt: skip

CRAWLER_RESULTS = Contract(
    layer="silver", name="crawler_results", domain=DOMAIN, write=Write.MERGE,
    row="One social profile as one method saw it at one time.",
    key=("method_id", "username", "scraped_at"),
    sources=(RAW_CRAWLER_RESULTS,),
    columns=(
        Column(name="method_id", type=Type.STRING, nullable=False, sources=("method_id",),
               description="How it was crawled"),
        Column(name="username", type=Type.STRING, nullable=False, pii=True, sources=("username", "raw_json"),
               description="Account name: the payload's own, else the one the crawl asked for"),
        Column(name="scraped_at", type=Type.TIMESTAMP, nullable=False, sources=("timestamp", "raw_json"),
               description="When it was crawled (UTC)"),
        Column(name="crawl_id", type=Type.STRING, sources=("crawl_id",), description="The crawl that brought it"),
        Column(name="display_name", type=Type.STRING, pii=True, sources=("raw_json",), description="Name shown"),
        Column(name="followers_count", type=Type.INT64, unit="count", sources=("raw_json",),
               description="Accounts that follow this one"),
        Column(name="following_count", type=Type.INT64, unit="count", sources=("raw_json",),
               description="Accounts this one follows"),
        Column(name="posts_count", type=Type.INT64, unit="count", sources=("raw_json",), description="Posts so far"),
        Column(name="location", type=Type.STRING, pii=True, sources=("raw_json",), description="Place, as stated"),
        Column(name="is_verified", type=Type.BOOL, nullable=False, sources=("raw_json",),
               description="Verified by the network; false where not stated"),
        Column(name="bio", type=Type.STRING, pii=True, sources=("raw_json",), description="Self-description"),
        Column(name="account_created_at", type=Type.TIMESTAMP, sources=("raw_json",),
               description="When the account was opened (UTC)"),
        Column(name="profile_image_url", type=Type.STRING, pii=True, sources=("raw_json",), description="Picture"),
        Column(name="recent_posts_count", type=Type.INT64, unit="count", sources=("raw_json",),
               description="Recent posts: as stated, or the length of `recent_posts`"),
        Column(name="completeness_score", type=Type.INT32, nullable=False, unit="points of 100",
               sources=("username", "raw_json"),
               description="20 username + 20 followers + 20 posts + 15 location + 15 bio + 10 recent posts > 0"),
        Column(name="is_complete", type=Type.BOOL, nullable=False, sources=("username", "raw_json"),
               description="completeness_score is at least 60"),
        *pointer_columns(RAW_CRAWLER_RESULTS.path),
    ),
    rules=(
        _present("username"),
        _present("method_id"),
        _readable_time("scraped_at"),
        _object("raw_json"),
        *_whole_number("followers_count"),
        *_whole_number("following_count"),
        *_whole_number("posts_count"),
        *_whole_number("recent_posts_count"),
        RowRule(
            name="is_verified_readable", severity="warn", values=("is_verified_text",),
            description="is_verified, where given, is true or false",
            passes=lambda: nw.col("is_verified_text").is_in(["true", "false"]).fill_null(True),
        ),
        RowRule(
            name="account_created_at_readable", severity="warn", values=("account_created_at_text",),
            description="account_created_at, where given, can be read as a point in time",
            passes=lambda: ~nw.col("account_created_at").is_null() | nw.col("account_created_at_text").is_null(),
        ),
    ),
)  # fmt: skip

PIPELINE_METRICS = Contract(
    layer="gold", name="pipeline_metrics", domain=DOMAIN, write=Write.MERGE,
    row="One workspace on one UTC day: the pipelines that ended, each once, by its last outcome of the day.",
    key=("workspace_id", "date"),
    sources=(PIPELINE_EVENTS,),
    groups=Groups(by=lambda: [nw.col("workspace_id"), nw.col("occurred_at").dt.date().alias("date")]),
    fresh_within=timedelta(days=1),
    chart=Chart(label="date", value="total_pipelines", title="Pipelines ended per day"),
    may_be_empty=True,
    columns=(
        Column(name="workspace_id", type=Type.STRING, nullable=False, sources=("workspace_id",),
               description="Workspace"),
        Column(name="date", type=Type.DATE, nullable=False, sources=("occurred_at",), description="UTC day"),
        Column(name="total_pipelines", type=Type.INT64, nullable=False, unit="count",
               sources=("pipeline_id", "status"), description="Pipelines that ended that day"),
        Column(name="success_count", type=Type.INT64, nullable=False, unit="count",
               sources=("pipeline_id", "status"), description="Of these, completed"),
        Column(name="failed_count", type=Type.INT64, nullable=False, unit="count",
               sources=("pipeline_id", "status"), description="Of these, failed"),
        Column(name="success_rate", type=Type.FLOAT64, nullable=False, unit="%",
               sources=("pipeline_id", "status"), description="Share completed, two decimals, rounded half up"),
        Column(name="avg_duration_sec", type=Type.FLOAT64, unit="s", sources=("duration_ms",),
               description="Mean duration; null where no pipeline states one"),
        Column(name="p50_duration_sec", type=Type.FLOAT64, unit="s", sources=("duration_ms",),
               description="Median duration, interpolated linearly"),
        Column(name="p95_duration_sec", type=Type.FLOAT64, unit="s", sources=("duration_ms",),
               description="95th percentile of duration, interpolated linearly"),
    ),
)  # fmt: skip

USER_PROFILES = Contract(
    layer="gold", name="user_profiles", domain=DOMAIN, write=Write.MERGE,
    row="One social account, by its latest scrape.",
    key=("username",),
    sources=(CRAWLER_RESULTS,),
    groups=Groups(by=lambda: [nw.col("username")]),
    fresh_within=timedelta(days=7),
    columns=(
        Column(name="username", type=Type.STRING, nullable=False, pii=True, sources=("username",),
               description="Account name"),
        Column(name="display_name", type=Type.STRING, pii=True, sources=("display_name",), description="Name shown"),
        Column(name="followers_count", type=Type.INT64, unit="count", sources=("followers_count",),
               description="Accounts that follow this one"),
        Column(name="following_count", type=Type.INT64, unit="count", sources=("following_count",),
               description="Accounts this one follows"),
        Column(name="posts_count", type=Type.INT64, unit="count", sources=("posts_count",), description="Posts so far"),
        Column(name="is_verified", type=Type.BOOL, nullable=False, sources=("is_verified",),
               description="Verified by the network"),
        Column(name="engagement_rate", type=Type.FLOAT64, unit="%", sources=("posts_count", "followers_count"),
               description="posts / followers * 100, 0 followers counted as 1; two decimals, rounded half up"),
        Column(name="influence_score", type=Type.FLOAT64, nullable=False, unit="points of 100",
               sources=("followers_count", "posts_count", "is_verified"),
               description="min(followers/1000, 50) + min(posts/1000, 30) + 20 if verified; unknown counts add 0"),
        Column(name="following_ratio", type=Type.FLOAT64, sources=("followers_count", "following_count"),
               description="followers / following, 0 following counted as 1"),
        Column(name="activity_level", type=Type.STRING, nullable=False, sources=("posts_count",),
               description="unknown, low (< 100 posts), medium (< 1000), high (< 10000) or very_high"),
        Column(name="completeness_score", type=Type.INT32, nullable=False, unit="points of 100",
               sources=("completeness_score",), description="How much of the profile is filled in"),
        Column(name="completeness_rating", type=Type.STRING, nullable=False, sources=("completeness_score",),
               description="excellent (>= 80), good (>= 60), fair (>= 40) or poor"),
        Column(name="method_id", type=Type.STRING, nullable=False, sources=("method_id",),
               description="How the latest scrape was crawled"),
        Column(name="scraped_at", type=Type.TIMESTAMP, nullable=False, sources=("scraped_at",),
               description="When the latest scrape was made (UTC)"),
        Column(name="crawl_id", type=Type.STRING, sources=("crawl_id",),
               description="The crawl that brought the latest scrape"),
    ),
)  # fmt: skip

TABLES: tuple[Contract, ...] = (
    RAW_PIPELINE_EVENTS,
    RAW_CRAWLER_RESULTS,
    PIPELINE_EVENTS,
    CRAWLER_RESULTS,
    PIPELINE_METRICS,
    USER_PROFILES,
)
