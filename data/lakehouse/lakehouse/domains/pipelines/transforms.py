"""Silver and Gold of workflow telemetry, as pure functions from lazy frame to lazy frame.

Belongs here: what each column means. Does not: reading, writing, splitting by rules, removing duplicates.
Both Silver transforms give exactly one row per Bronze row, good or not: the contract's columns, plus the
helper columns its rules look at (`<column>_text` is a value as it came, null where none was given).
"""

from __future__ import annotations

import narwhals.stable.v2 as nw

from lakehouse.engine import xp

# Parts of a pipeline, whose end is not the pipeline's end (Temporal's sub-steps, and plain words for them).
_PART = (
    r"^(activity|local_activity|timer|child_workflow|start_child_workflow|workflow_task|decision_task"
    r"|nexus_operation|marker|signal_external|external_workflow|request_cancel_external|upsert|step)_"
    r"|^workflow_execution_update_"
)
_FAILED = r"(^|_)(failed|failure|fail|timed_out|timeout|terminated|cancelled|canceled|error|errored|aborted)$"
_COMPLETED = r"(^|_)(completed|complete|succeeded|success|finished)$"
# GitHub names the conclusion after the action. Success, neutral and skipped pass its own required checks.
_CONCLUDED = r"^workflow_(run|job)_completed_"
_PASSED = r"^workflow_(run|job)_completed_(success|neutral|skipped)$"
_NUMBER = r"^[+-]?\d{1,18}(\.\d+)?([eE][+-]?\d{1,2})?$"
_LARGEST = 1e18


def pipeline_events(raw: xp.Frame) -> xp.Frame:
    """Type, name and score each event; what cannot be read is left to the contract's rules."""
    fields = {
        "duration_ms_text": "$.duration_ms",
        "activities_executed_text": "$.activities_executed",
        "_steps": "$.steps",
    }
    frame = xp.json_fields(raw, "raw_data", fields, is_object="raw_data_is_object")
    frame = xp.json_length(frame, "_steps", to="_steps_length")
    frame = xp.timestamp(frame, "timestamp", to="occurred_at")
    frame = xp.snake_case(frame, "event_type", to="_event_type")
    return _score_events(
        frame.with_columns(
            _filled("pipeline_id").alias("pipeline_id"),
            _filled("workspace_id").alias("_workspace_id"),
            _event_name().alias("event_type"),
            _filled("duration_ms_text").alias("duration_ms_text"),
            _filled("activities_executed_text").alias("activities_executed_text"),
            _count_or_length("_steps").alias("steps_text"),
            nw.col("raw_data").str.len_chars().alias("raw_data_length"),
        )
    )


def crawler_results(raw: xp.Frame) -> xp.Frame:
    """Type and score each profile; what cannot be read is left to the contract's rules.

    The payload's own username wins over the envelope's; the envelope's time wins over the payload's.
    """
    frame = xp.json_fields(raw, "raw_json", _PROFILE_FIELDS, is_object="raw_json_is_object")
    frame = xp.json_length(frame, "_recent_posts", to="_recent_posts_length")
    frame = frame.with_columns(
        nw.coalesce(_filled("_username"), _filled("username")).alias("username"),
        nw.coalesce(_filled("timestamp"), _filled("_scraped_at")).alias("timestamp"),
        nw.coalesce(_filled("_recent_posts_count"), _count_or_length("_recent_posts")).alias(
            "recent_posts_count_text"
        ),
        nw.col("raw_json").str.len_chars().alias("raw_json_length"),
        *[_filled(c).alias(c) for c in (*_PROFILE_TEXTS, *_PROFILE_COUNT_TEXTS)],
    )
    frame = xp.timestamp(frame, "timestamp", to="scraped_at")
    return _score_results(xp.timestamp(frame, "account_created_at_text", to="account_created_at"))


def pipeline_metrics(events: xp.Frame) -> xp.Frame:
    """Only events that end a pipeline count; a pipeline counts once a day, by its last outcome (on a tie of
    times, by the event type that sorts last, so a GitHub run wins over its jobs). A workspace and day
    without such an event gives no row. Durations ignore nulls, and are null where all are.
    """
    ended = events.filter(nw.col("status") != "in_progress").with_columns(
        nw.col("occurred_at").dt.date().alias("date")
    )
    group = ["workspace_id", "date"]
    last = ended.unique(subset=[*group, "pipeline_id"], keep="last", order_by=["occurred_at", "event_type"])
    success = nw.when(nw.col("status") == "completed").then(nw.lit(1)).otherwise(nw.lit(0))
    counted = (
        last.with_columns(success.alias("_success"))
        .group_by(*group)
        .agg(
            nw.len().cast(nw.Int64).alias("total_pipelines"),
            nw.col("_success").sum().cast(nw.Int64).alias("success_count"),
            nw.col("duration_ms").mean().alias("_avg"),
            nw.col("duration_ms").quantile(0.5, interpolation="linear").alias("_p50"),
            nw.col("duration_ms").quantile(0.95, interpolation="linear").alias("_p95"),
        )
    )
    rate = nw.col("success_count") / nw.col("total_pipelines") * 100
    return counted.select(
        *group,
        "total_pipelines",
        "success_count",
        (nw.col("total_pipelines") - nw.col("success_count")).alias("failed_count"),
        xp.round_half_up(rate, 2).alias("success_rate"),
        *[(nw.col(f"_{n}") / 1000).alias(f"{n}_duration_sec") for n in ("avg", "p50", "p95")],
    )


def user_profiles(results: xp.Frame) -> xp.Frame:
    """The latest scrape of each username, with its ratios and grades.

    Two scrapes at one time: the method_id that sorts last. A null count stays null in the ratios it goes
    into (engagement_rate, following_ratio), adds nothing to influence_score, and gives activity `unknown`.
    """
    latest = results.unique(subset=["username"], keep="last", order_by=["scraped_at", "method_id"])
    followers, posts = nw.col("followers_count"), nw.col("posts_count")
    engagement = posts / _at_least_one(followers) * 100
    verified = nw.when(nw.col("is_verified")).then(nw.lit(20.0)).otherwise(nw.lit(0.0))
    return latest.select(
        "username",
        "display_name",
        "followers_count",
        "following_count",
        "posts_count",
        "is_verified",
        xp.round_half_up(engagement, 2).alias("engagement_rate"),
        (_thousands(followers, most=50.0) + _thousands(posts, most=30.0) + verified).alias("influence_score"),
        (followers / _at_least_one(nw.col("following_count"))).alias("following_ratio"),
        _graded(posts, [(100, "low"), (1000, "medium"), (10000, "high")], above="very_high").alias(
            "activity_level"
        ),
        "completeness_score",
        _rating().alias("completeness_rating"),
        "method_id",
        "scraped_at",
        "crawl_id",
    )


_PROFILE_COUNTS = ("followers_count", "following_count", "posts_count", "recent_posts_count")
_PROFILE_COUNT_TEXTS = ("followers_count_text", "following_count_text", "posts_count_text")
_PROFILE_TEXTS = (
    "display_name", "location", "bio", "profile_image_url", "is_verified_text", "account_created_at_text",
    "method_id", "crawl_id",
)  # fmt: skip
_PROFILE_FIELDS = {
    "_username": "$.username",
    "_scraped_at": "$.scraped_at",
    "_recent_posts_count": "$.recent_posts_count",
    "_recent_posts": "$.recent_posts",
    "is_verified_text": "$.is_verified",
    "account_created_at_text": "$.account_created_at",
    **{f"{c}_text": f"$.{c}" for c in _PROFILE_COUNTS[:3]},
    **{c: f"$.{c}" for c in ("display_name", "location", "bio", "profile_image_url")},
}


def _score_events(frame: xp.Frame) -> xp.Frame:
    """Add the typed numbers, the status and the score. A missing workspace scores nothing."""
    frame = frame.with_columns(
        *[_whole(c).alias(c) for c in ("duration_ms", "activities_executed", "steps")],
        _status().alias("status"),
        nw.coalesce(nw.col("_workspace_id"), nw.lit("unassigned")).alias("workspace_id"),
    )
    score = (
        _points("pipeline_id", 30) + _points("occurred_at", 30)
        + _points("_workspace_id", 20) + _points("duration_ms", 20)
    )  # fmt: skip
    return frame.with_columns(score.cast(nw.Int32).alias("quality_score")).with_columns(
        (nw.col("quality_score") >= 70).alias("is_valid")
    )


def _score_results(frame: xp.Frame) -> xp.Frame:
    frame = frame.with_columns(
        *[_whole(c).alias(c) for c in _PROFILE_COUNTS],
        (nw.col("is_verified_text") == "true").fill_null(False).alias("is_verified"),
    )
    recent = nw.when(nw.col("recent_posts_count") > 0).then(nw.lit(10)).otherwise(nw.lit(0))
    score = (
        _points("username", 20) + _points("followers_count", 20) + _points("posts_count", 20)
        + _points("location", 15) + _points("bio", 15) + recent
    )  # fmt: skip
    return frame.with_columns(score.cast(nw.Int32).alias("completeness_score")).with_columns(
        (nw.col("completeness_score") >= 60).alias("is_complete")
    )


def _filled(column: str) -> nw.Expr:
    """The trimmed text, null where it is blank."""
    text = nw.col(column).str.strip_chars()
    return nw.when(text != "").then(text)


def _event_name() -> nw.Expr:
    """The snake_case name without Temporal's enum prefix."""
    name = nw.col("_event_type").str.replace_all(r"^event_type_", "")
    return nw.when(name != "").then(name)


def _status() -> nw.Expr:
    event = nw.col("event_type")
    passed = event.str.contains(_PASSED)
    failed = event.str.contains(_FAILED) | (event.str.contains(_CONCLUDED) & ~passed)
    outcome = (
        nw.when(failed).then(nw.lit("failed"))
        .otherwise(nw.when(passed | event.str.contains(_COMPLETED)).then(nw.lit("completed"))
                   .otherwise(nw.lit("in_progress")))
    )  # fmt: skip
    return nw.when(event.str.contains(_PART)).then(nw.lit("in_progress")).otherwise(outcome)


def _count_or_length(column: str) -> nw.Expr:
    """The text of a number, or the length of a JSON array (`<column>_length`), as text."""
    return nw.coalesce(nw.col(f"{column}_length").cast(nw.String), _filled(column))


def _whole(column: str) -> nw.Expr:
    """`<column>_text` as a whole number, fractions rounded half up; null where it is no such number.

    A negative fraction goes down, so that -0.4 stays negative and is refused as such.
    """
    text = nw.col(f"{column}_text")
    whole = nw.when(text.str.contains(r"^[+-]?\d{1,18}$")).then(text).cast(nw.Int64)
    number = nw.when(text.str.contains(_NUMBER)).then(text).cast(nw.Float64)
    number = nw.when((number < _LARGEST) & (number > -_LARGEST)).then(number)
    rounded = nw.when(number < 0).then(number.floor()).otherwise((number + 0.5).floor())
    return nw.coalesce(whole, rounded.cast(nw.Int64))


def _points(column: str, points: int) -> nw.Expr:
    return nw.when(~nw.col(column).is_null()).then(nw.lit(points)).otherwise(nw.lit(0))


def _at_least_one(count: nw.Expr) -> nw.Expr:
    return nw.when(count == 0).then(nw.lit(1)).otherwise(count)


def _thousands(count: nw.Expr, *, most: float) -> nw.Expr:
    """Thousands of a count, at most `most`; nothing for an unknown count."""
    value = count.fill_null(0) / 1000
    return nw.when(value > most).then(nw.lit(most)).otherwise(value)


def _graded(count: nw.Expr, grades: list[tuple[int, str]], *, above: str) -> nw.Expr:
    """The first grade whose bound the count stays below; `unknown` for an unknown count."""
    graded: nw.Expr = nw.lit(above)
    for bound, name in reversed(grades):
        graded = nw.when(count < bound).then(nw.lit(name)).otherwise(graded)
    return nw.when(count.is_null()).then(nw.lit("unknown")).otherwise(graded)


def _rating() -> nw.Expr:
    grades = [(40, "poor"), (60, "fair"), (80, "good")]
    return _graded(nw.col("completeness_score"), grades, above="excellent")
