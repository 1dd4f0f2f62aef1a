"""Sample and benchmark data for workflow telemetry, equal on every machine.

Belongs here: generating envelopes from a seed and a clock. Does not: landing or loading them.

    python -m lakehouse.domains.pipelines.sample --rows 1000000 --out events.parquet --duplicates 0.05

The small sample draws from `random.Random`, whose `random()` is the same in every Python; the large one
hashes row numbers (splitmix64) in Polars, so that a million rows take about a second.
"""

from __future__ import annotations

import argparse
import random
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson
import polars as pl

from lakehouse.errors import LakeError

CLOCK = datetime(2026, 1, 15, 12, 0, tzinfo=UTC)  # fixed, so that two machines get equal bytes
SEED = 7
WORKSPACES = ("ws-analytics", "ws-research")
PIPELINES = 10

EXPECTED: dict[str, int] = {
    "bronze/raw_pipeline_events": 30,
    "bronze/raw_crawler_results": 5,
    "silver/pipeline_events": 30,
    "silver/crawler_results": 5,
    "quarantine/pipeline_events": 0,
    "quarantine/crawler_results": 0,
    "gold/pipeline_metrics": 4,
    "gold/user_profiles": 5,
}
"""Rows of each table once exactly the sample has been loaded."""


def sample_files(*, seed: int = SEED, clock: datetime = CLOCK) -> dict[str, bytes]:
    """Return the sample: landing name -> NDJSON bytes. 30 events of 10 pipelines, and 5 profiles."""
    return {
        "pipeline_events/sample.ndjson": _ndjson(_sample_events(random.Random(seed), clock)),  # noqa: S311
        "crawler_results/sample.ndjson": _ndjson(_sample_profiles(clock)),
    }


def _sample_events(draw: random.Random, clock: datetime) -> list[dict[str, Any]]:
    """Ten pipelines over the day before the clock; of each five in a row, the last one fails."""
    events: list[dict[str, Any]] = []
    for number in range(PIPELINES):
        submitted = clock - timedelta(hours=23 - 2 * number, milliseconds=_below(draw, 1_800_000))
        started = submitted + timedelta(milliseconds=500 + _below(draw, 30_000))
        duration = 60_000 + _below(draw, 3_000_000)
        outcome = "failed" if number % 5 == 4 else "completed"
        identity = {"pipeline_id": f"pipeline-{number + 1:03d}", "workspace_id": WORKSPACES[number % 2]}
        steps = 3 + _below(draw, 8)
        end = {"duration_ms": duration, "activities_executed": steps - (outcome == "failed"), "steps": steps}
        for kind, at, data in (
            ("pipeline_submitted", submitted, {"trigger": ("schedule", "manual")[_below(draw, 2)]}),
            ("pipeline_started", started, {"worker": f"worker-{1 + _below(draw, 4)}"}),
            (f"pipeline_{outcome}", started + timedelta(milliseconds=duration), end),
        ):
            events.append({**identity, "event_type": kind, "timestamp": _iso(at), "raw_data": data})
    return events


def _sample_profiles(clock: datetime) -> list[dict[str, Any]]:
    """Five profiles: verified, ordinary, without followers, without posts, and nearly empty."""
    full = {"location": "Lisbon", "bio": "Maps and data", "is_verified": True, "recent_posts_count": 12}
    profiles: tuple[tuple[str, dict[str, Any]], ...] = (
        ("ada_maps", {"followers_count": 64_000, "following_count": 310, "posts_count": 12_400, **full}),
        ("bo_trains", {"followers_count": 1_250, "following_count": 480, "posts_count": 640, "bio": "Trains",
                       "location": "Utrecht", "is_verified": False, "recent_posts_count": 4}),
        ("cy_new", {"followers_count": 0, "following_count": 25, "posts_count": 3, "bio": "Just here"}),
        ("di_quiet", {"followers_count": 90, "following_count": 0, "posts_count": None, "location": "Oslo"}),
        ("ed_blank", {"followers_count": 7, "following_count": 7, "posts_count": 150, "bio": ""}),
    )  # fmt: skip
    return [
        {
            "crawl_id": f"crawl-{number + 1:03d}",
            "method_id": ("api", "html")[number % 2],
            "username": name,
            "timestamp": _iso(clock - timedelta(hours=5 - number)),
            "raw_json": {
                "username": name,
                "display_name": name.replace("_", " ").title(),
                "account_created_at": _iso(clock - timedelta(days=400 * (number + 1))),
                "profile_image_url": f"https://images.example/{name}.png",
                **profile,
            },
        }
        for number, (name, profile) in enumerate(profiles)
    ]


def _below(draw: random.Random, bound: int) -> int:
    return int(draw.random() * bound)


def _iso(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _ndjson(records: Sequence[dict[str, Any]]) -> bytes:
    return b"".join(orjson.dumps(record, option=orjson.OPT_APPEND_NEWLINE) for record in records)


@dataclass(frozen=True, kw_only=True)
class Shares:
    """How many of the rows are what. `good` ones are in time, first and well-formed.

    Silver holds `good + late` rows after a load, quarantine `broken`, and `duplicates` are merged away.
    """

    good: int
    duplicates: int
    late: int
    broken: int


def shares(rows: int, *, duplicates: float = 0.0, late: float = 0.0, broken: float = 0.0) -> Shares:
    """Return the exact row counts for shares of the whole; ValueError where they leave nothing to repeat."""
    parts = {name: int(rows * share + 0.5) for name, share in
             (("duplicates", duplicates), ("late", late), ("broken", broken))}  # fmt: skip
    good = rows - sum(parts.values())
    if rows < 0 or min(duplicates, late, broken) < 0 or good < parts["duplicates"]:
        raise ValueError("shares are between 0 and 1, and at most half of the good rows can be repeated")
    return Shares(good=good, **parts)


def events(
    rows: int,
    *,
    seed: int = SEED,
    clock: datetime = CLOCK,
    duplicates: float = 0.0,
    late: float = 0.0,
    broken: float = 0.0,
) -> pl.DataFrame:
    """Return `rows` event envelopes (five String columns) over the 30 days before the clock.

    In order: the good rows by time with the broken ones among them, then the repeats (equal to the last
    byte), then the late ones, which belong to days long past. Counts are exactly `shares(...)`.
    """
    count = shares(rows, duplicates=duplicates, late=late, broken=broken)
    whole = count.good + count.late + count.broken
    made = _good(whole, seed=seed, clock=clock)
    # The oldest rows come last: that is what late means. Broken ones are spread evenly over the others.
    tardy, rest = made.head(count.late), made.slice(count.late)
    stride = rest.height // count.broken if count.broken else 0
    is_broken = (pl.col("_n") % max(stride, 1) == 0) & (pl.col("_n") < stride * count.broken)
    marked = rest.with_row_index("_n").with_columns(is_broken.alias("_broken"))
    sound = marked.filter(~pl.col("_broken")).head(count.duplicates).select(made.columns)
    spoiled = marked.with_columns(_spoiled(stride)).select(made.columns)
    return pl.concat([spoiled, sound, tardy])


def _good(rows: int, *, seed: int, clock: datetime) -> pl.DataFrame:
    """Well-formed events in order of time: three per pipeline, every fifth pipeline fails."""
    frame = pl.select(pl.int_range(rows, dtype=pl.UInt64).alias("row")).lazy()
    pipeline, stage = pl.col("row") // 3, pl.col("row") % 3
    frame = frame.with_columns(pipeline.alias("pipeline"), stage.alias("stage"))
    frame = frame.with_columns(_hash(pl.col("pipeline"), seed).alias("hash"))
    slot = 30 * 86_400_000 / max(rows // 3 + 1, 1)  # milliseconds from one pipeline to the next
    took = (1_000 + pl.col("hash") % 3_599_000).cast(pl.Int64)
    waited = (500 + pl.col("hash") // 4_000_000 % 30_000).cast(pl.Int64)
    first = int(clock.timestamp() * 1000) - 31 * 86_400_000
    submitted = first + (pl.col("pipeline").cast(pl.Float64) * slot).cast(pl.Int64)
    at = submitted + pl.when(stage == 0).then(0).when(stage == 1).then(waited).otherwise(waited + took)
    return frame.with_columns(at.alias("at"), took.alias("took")).select(_ENVELOPE).collect()


def _hash(number: pl.Expr, seed: int) -> pl.Expr:
    """splitmix64 of a row number, in arithmetic that wraps at 64 bits."""
    mixed = (number + 1) * pl.lit(0x9E3779B97F4A7C15, pl.UInt64) + pl.lit(seed & (2**64 - 1), pl.UInt64)
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        mixed = (mixed ^ (mixed // 2**shift)) * pl.lit(factor, pl.UInt64)
    return mixed ^ (mixed // 2**31)


_FAILS = pl.col("pipeline") % 5 == 4
_KIND = (
    pl.when(pl.col("stage") == 0).then(pl.lit("pipeline_submitted"))
    .when(pl.col("stage") == 1).then(pl.lit("pipeline_started"))
    .when(_FAILS).then(pl.lit("pipeline_failed")).otherwise(pl.lit("pipeline_completed"))
)  # fmt: skip
_STEPS = 3 + pl.col("hash") % 8
_END = pl.concat_str(
    pl.lit('{"duration_ms":'), pl.col("took"), pl.lit(',"activities_executed":'),
    _STEPS - _FAILS.cast(pl.UInt64), pl.lit(',"steps":'), _STEPS, pl.lit("}"),
)  # fmt: skip
_ENVELOPE = (
    pl.concat_str(pl.lit("pipeline-"), pl.col("pipeline").cast(pl.String).str.zfill(9)).alias("pipeline_id"),
    _KIND.alias("event_type"),
    pl.concat_str(pl.lit("ws-"), (pl.col("hash") % 20).cast(pl.String).str.zfill(2)).alias("workspace_id"),
    pl.col("at").cast(pl.Datetime("ms")).dt.strftime("%Y-%m-%dT%H:%M:%S%.3fZ").alias("timestamp"),
    pl.when(pl.col("stage") == 2).then(_END).otherwise(pl.lit('{"trigger":"schedule"}')).alias("raw_data"),
)


def _spoiled(stride: int) -> list[pl.Expr]:
    """Break the marked rows, in four ways by turns: no id, no time, a negative duration, no JSON."""
    turn = pl.col("_n") // max(stride, 1) % 4
    ways = {
        "pipeline_id": pl.lit(None, pl.String),
        "timestamp": pl.lit("not a time"),
        "raw_data": pl.when(turn == 2)
        .then(pl.lit('{"duration_ms":-1}'))
        .otherwise(pl.lit('{"duration_ms":')),
    }
    hit = {"pipeline_id": turn == 0, "timestamp": turn == 1, "raw_data": turn >= 2}
    return [
        pl.when(pl.col("_broken") & hit[name]).then(way).otherwise(pl.col(name)).alias(name)
        for name, way in ways.items()
    ]


def write(frame: pl.DataFrame, path: Path) -> None:
    """Write events as `.parquet`, `.ndjson` or `.csv`, by the path's suffix; ValueError for another."""
    if path.suffix == ".parquet":
        frame.write_parquet(path)
    elif path.suffix == ".ndjson":
        frame.write_ndjson(path)
    elif path.suffix == ".csv":
        frame.write_csv(path)
    else:
        raise ValueError(f"{path}: give a path that ends in .parquet, .ndjson or .csv")


def main(argv: Sequence[str] | None = None) -> int:
    """Write a file of events; 0 when done, 2 on wrong arguments."""
    parser = argparse.ArgumentParser(
        prog="python -m lakehouse.domains.pipelines.sample", description=events.__doc__
    )
    parser.add_argument("--rows", type=int, required=True, help="rows in all, shares included")
    parser.add_argument("--out", type=Path, required=True, help="file to write: .parquet, .ndjson or .csv")
    parser.add_argument(
        "--seed", type=int, default=SEED, help="another seed, other data (default %(default)s)"
    )
    parser.add_argument("--duplicates", type=float, default=0.0, help="share of rows that repeat another")
    parser.add_argument("--late", type=float, default=0.0, help="share of rows that come after newer ones")
    parser.add_argument("--broken", type=float, default=0.0, help="share of rows that quarantine must take")
    given = parser.parse_args(argv)
    wanted = {"duplicates": given.duplicates, "late": given.late, "broken": given.broken}
    try:
        write(events(given.rows, seed=given.seed, **wanted), given.out)
        sys.stdout.write(f"{given.out}: {shares(given.rows, **wanted)}\n")
    except (ValueError, OSError, LakeError) as exc:
        parser.error(str(exc))
    return 0


if __name__ == "__main__":
    sys.exit(main())
