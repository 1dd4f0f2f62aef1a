"""Silver and Gold of workflow telemetry, as pure functions from lazy frame to lazy frame.

Belongs here: what each column means. Does not: reading, writing, splitting by rules, removing duplicates.
Both Silver transforms give exactly one row per Bronze row, good or not: the contract's columns, plus the
helper columns its rules look at (`<column>_text` is a value as it came, null where none was given).
"""

from __future__ import annotations

import narwhals.stable.v2 as nw

from lakehouse.domains.pipelines import vocabulary
from lakehouse.domains.pipelines.values import filled, given, truth, whole
from lakehouse.engine import xp


def pipeline_events(raw: xp.Frame) -> xp.Frame:
    """Type, name and score each event; what cannot be read is left to the contract's rules."""
    fields = {
        "duration_ms_text": "$.duration_ms",
        "activities_executed_text": "$.activities_executed",
        "_steps": "$.steps",
        "_event_id": "$.event_id",
        "_extra_id": "$._extra.event_id",
        "_will_retry": "$.will_retry",
    }
    frame = xp.json_fields(raw, "raw_data", fields, is_object="raw_data_is_object")
    frame = _with_github_id(xp.json_length(frame, "_steps", to="_steps_length"))
    frame = xp.timestamp(frame, "timestamp", to="occurred_at")
    frame = xp.snake_case(frame, "event_type", to="_event_type")
    frame = xp.by_value(frame, "_event_type", {"event_type": _event_name()})
    frame = xp.by_value(
        frame, "event_type", {"status": vocabulary.status(), "_is_part": vocabulary.is_part()}
    )
    return _score_events(
        frame.with_columns(
            filled("pipeline_id").alias("pipeline_id"),
            filled("workspace_id").alias("_workspace_id"),
            nw.coalesce(given("_event_id"), given("_extra_id"), filled("_github_id"), nw.lit("")).alias(
                "event_id"
            ),
            given("duration_ms_text").alias("duration_ms_text"),
            given("activities_executed_text").alias("activities_executed_text"),
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
        nw.coalesce(filled("_username"), filled("username")).alias("username"),
        nw.coalesce(given("timestamp"), given("_scraped_at")).alias("timestamp"),
        nw.coalesce(given("_recent_posts_count"), _count_or_length("_recent_posts")).alias(
            "recent_posts_count_text"
        ),
        nw.col("raw_json").str.len_chars().alias("raw_json_length"),
        *[filled(c).alias(c) for c in _PROFILE_TEXTS],
        *[given(c).alias(c) for c in _PROFILE_TYPED_TEXTS],
    )
    frame = xp.timestamp(frame, "timestamp", to="scraped_at")
    return _score_results(xp.timestamp(frame, "account_created_at_text", to="account_created_at"))


def pipeline_metrics(events: xp.Frame) -> xp.Frame:
    """Only events that end a pipeline count, none of a part of it; a pipeline counts once a day, by its last
    outcome: that of the highest attempt of a GitHub run, then the latest, then the event type and the
    event_id that sort last. A workspace and day without such an event gives no row. Durations ignore nulls,
    and are null where all are.

    Each figure is one division of two whole numbers, so that it is the same to the last bit however its group
    was computed: with others or alone, in any order, on any engine.
    """
    ended = events.filter(
        nw.col("parent_id").is_null() & nw.col("status").is_in(["completed", "failed", "skipped"])
    ).with_columns(nw.col("occurred_at").dt.date().alias("date"), _attempt().alias("_attempt"))
    group = ["workspace_id", "date"]
    last = ended.unique(
        subset=[*group, "pipeline_id"],
        keep="last",
        order_by=["_attempt", "occurred_at", "event_type", "event_id"],
    )
    outcomes = {"success_count": "completed", "failed_count": "failed", "skipped_count": "skipped"}
    flagged = last.with_columns(
        nw.when(nw.col("status") == status).then(nw.lit(1)).otherwise(nw.lit(0)).alias(f"_{count}")
        for count, status in outcomes.items()
    )
    counted = xp.durations(
        flagged,
        by=group,
        of="duration_ms",
        counts={"total_pipelines": None, **{count: f"_{count}" for count in outcomes}},
        per=1000,
        mean="avg_duration_sec",
        percentiles={"p50_duration_sec": 50, "p95_duration_sec": 95},
    )
    good, judged = nw.col("success_count"), nw.col("success_count") + nw.col("failed_count")
    some = nw.when(judged > 0).then(judged)
    hundredths = (good * 20_000 + some) // (some * 2)  # of a percent, rounded half up
    return counted.select(
        *group,
        "total_pipelines",
        *outcomes,
        xp.divided(hundredths, 100).alias("success_rate"),
        "avg_duration_sec",
        "p50_duration_sec",
        "p95_duration_sec",
    )


def _attempt() -> nw.Expr:
    """Which attempt of a GitHub run an event is of, by its event_id `<run>/<attempt>`; 0 for all others."""
    event = nw.col("event_id")
    is_run = nw.col("event_type").str.starts_with("workflow_run_") & event.str.contains(
        r"^[0-9]+/[0-9]{1,9}$"
    )
    stated = nw.when(is_run).then(event.str.replace_all(r"^[0-9]+/", "")).cast(nw.Int64)
    return stated.fill_null(0)


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
_PROFILE_TYPED_TEXTS = (
    "followers_count_text", "following_count_text", "posts_count_text", "is_verified_text",
    "account_created_at_text",
)  # fmt: skip
_PROFILE_TEXTS = ("display_name", "location", "bio", "profile_image_url", "method_id", "crawl_id")
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
        *[whole(c).alias(c) for c in ("duration_ms", "activities_executed", "steps")],
        nw.when(nw.col("_is_part")).then(nw.col("pipeline_id")).alias("parent_id"),
        nw.when((nw.col("status") == "failed") & (nw.col("_will_retry") == "true").fill_null(False))
        .then(nw.lit("in_progress"))
        .otherwise(nw.col("status"))
        .alias("status"),
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
        *[whole(c).alias(c) for c in _PROFILE_COUNTS],
        truth("is_verified").fill_null(False).alias("is_verified"),
    )
    recent = nw.when(nw.col("recent_posts_count") > 0).then(nw.lit(10)).otherwise(nw.lit(0))
    score = (
        _points("username", 20) + _points("followers_count", 20) + _points("posts_count", 20)
        + _points("location", 15) + _points("bio", 15) + recent
    )  # fmt: skip
    return frame.with_columns(score.cast(nw.Int32).alias("completeness_score")).with_columns(
        (nw.col("completeness_score") >= 60).alias("is_complete")
    )


def _with_github_id(frame: xp.Frame) -> xp.Frame:
    """Add `_github_id`, from the payload of a row whose reader did not state it (of an earlier release).

    The run or job, and which attempt it is; GitHub counts those from 1.
    """
    is_github = (
        nw.col("raw_data").str.starts_with('{"source_format":"github.') & nw.col("_event_id").is_null()
    )
    frame = frame.with_columns(nw.when(is_github).then(nw.col("raw_data")).alias("_github"))
    holders = ("payload.workflow_job", "payload.workflow_run", "payload")
    paths = {f"_github_{part}_{n}": f"$.{holder}.{part}" for n, holder in enumerate(holders)
             for part in ("id", "run_attempt")}  # fmt: skip
    frame = xp.json_fields(frame, "_github", paths)
    own, attempt = ([nw.col(f"_github_{part}_{n}") for n in range(3)] for part in ("id", "run_attempt"))
    whole_id = nw.concat_str(nw.coalesce(*own), nw.coalesce(*attempt, nw.lit("1")), separator="/")
    return frame.with_columns(whole_id.alias("_github_id"))


def _event_name() -> nw.Expr:
    """The snake_case name without Temporal's enum prefix."""
    name = nw.col("_event_type").str.replace_all(r"^event_type_", "")
    return nw.when(name != "").then(name)


def _count_or_length(column: str) -> nw.Expr:
    """The text of a number, or the length of a JSON array (`<column>_length`), as text."""
    return nw.coalesce(nw.col(f"{column}_length").cast(nw.String), given(column))


def _points(column: str, points: int) -> nw.Expr:
    return nw.when(~nw.col(column).is_null()).then(nw.lit(points)).otherwise(nw.lit(0))


def _at_least_one(count: nw.Expr) -> nw.Expr:
    return nw.when(count == 0).then(nw.lit(1)).otherwise(count)


def _thousands(count: nw.Expr, *, most: float) -> nw.Expr:
    """Thousands of a count, at most `most`; nothing for an unknown count."""
    value = xp.divided(count.fill_null(0), 1000)
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
