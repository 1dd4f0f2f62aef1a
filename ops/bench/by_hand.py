"""Bronze -> Silver -> Gold of telemetry in SQL by hand for DuckDB: the floor that owes us nothing.

Belongs here: that program, and whether its tables are ours. Does not: timing (pipeline.py).
It reads the same file, types and scores it, refuses what the rules refuse, keeps the last event of each key,
sorts, compresses and writes the same tables. It has no positions, states, restarts, checks or restore.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import duckdb
import polars as pl
from deltalake import DeltaTable, WriterProperties, write_deltalake
from polars.testing import assert_frame_equal

from lakehouse.domains.pipelines import contracts as c
from lakehouse.domains.pipelines import vocabulary

MEMORY = "2GB"


def _ends_in(words: tuple[str, ...]) -> str:
    return f"regexp_matches(event_type, '(^|_)({'|'.join(words)})$')"


RAW = """
CREATE TABLE raw AS SELECT * EXCLUDE (file_row_number), 'file' AS _source, '-' AS _fingerprint,
  file_row_number AS _row, 1 AS _batch_id, now() AS _ingested_at
FROM read_parquet(?, file_row_number = true)"""
# A word that takes the last one back, and the parts of Temporal and GitHub: no generated event has them.
NAMES = rf"""
CREATE TABLE names AS
WITH spelled AS (
  SELECT event_type AS stated, nullif(lower(trim(regexp_replace(regexp_replace(regexp_replace(event_type,
    '([\p{{Ll}}\p{{N}}])(\p{{Lu}})', '\1_\2', 'g'), '(\p{{Lu}})(\p{{Lu}}\p{{Ll}})', '\1_\2', 'g'),
    '[^\p{{L}}\p{{N}}]+', '_', 'g'), '_')), '') AS event_type
  FROM (SELECT DISTINCT event_type FROM raw))
SELECT *,
  CASE WHEN {_ends_in(vocabulary.COMPLETED)} THEN 'completed'
    WHEN {_ends_in(vocabulary.IN_PROGRESS)} THEN 'in_progress'
    WHEN {_ends_in(vocabulary.FAILED)} THEN 'failed'
    WHEN {_ends_in(vocabulary.SKIPPED)} THEN 'skipped' ELSE 'unknown' END AS status
FROM spelled"""
TYPED = """
CREATE TABLE typed AS
WITH read AS (
  SELECT *, nullif(trim(pipeline_id), '') AS pipeline, nullif(trim(workspace_id), '') AS workspace,
    try_cast(timestamp AS TIMESTAMPTZ) AS occurred_at,
    CASE WHEN json_valid(raw_data) AND starts_with(ltrim(raw_data), '{') THEN json_extract_string(raw_data,
      ['$.duration_ms', '$.activities_executed', '$.steps', '$.event_id']) END AS said
  FROM raw),
named AS (
  SELECT read.* EXCLUDE (event_type), names.event_type, names.status,
    try_cast(said[1] AS BIGINT) AS duration_ms, try_cast(said[2] AS BIGINT) AS activities_executed,
    try_cast(said[3] AS BIGINT) AS steps, coalesce(said[4], '') AS event_id
  FROM read JOIN names ON read.event_type IS NOT DISTINCT FROM names.stated)
SELECT *,
  (30 * (pipeline IS NOT NULL)::INT + 30 * (occurred_at IS NOT NULL)::INT
    + 20 * (workspace IS NOT NULL)::INT + 20 * (duration_ms IS NOT NULL)::INT)::INT AS quality_score,
  list_filter([
    CASE WHEN pipeline IS NULL THEN 'pipeline_id_present' END,
    CASE WHEN event_type IS NULL THEN 'event_type_present' END,
    CASE WHEN occurred_at IS NULL THEN 'occurred_at_readable' END,
    CASE WHEN said IS NULL THEN 'raw_data_readable' END,
    CASE WHEN said[1] IS NOT NULL AND duration_ms IS NULL THEN 'duration_ms_readable' END,
    CASE WHEN said[2] IS NOT NULL AND activities_executed IS NULL THEN 'activities_executed_readable' END,
    CASE WHEN said[3] IS NOT NULL AND steps IS NULL THEN 'steps_readable' END,
    CASE WHEN duration_ms < 0 THEN 'duration_ms_not_negative' END,
    CASE WHEN activities_executed < 0 THEN 'activities_executed_not_negative' END,
    CASE WHEN steps < 0 THEN 'steps_not_negative' END], lambda x: x IS NOT NULL) AS rules
FROM named"""
REFUSED = """
SELECT pipeline_id, event_type, workspace_id, timestamp, raw_data, _source, _row, rules
FROM typed WHERE len(rules) > 0"""
SILVER = """
SELECT coalesce(workspace, 'unassigned') AS workspace_id, pipeline AS pipeline_id, event_type, occurred_at,
  event_id, NULL::VARCHAR AS parent_id, status, duration_ms, activities_executed, steps, quality_score,
  quality_score >= 70 AS is_valid, _source, _fingerprint, _row, _batch_id
FROM typed WHERE len(rules) = 0
QUALIFY row_number() OVER (
  PARTITION BY workspace_id, pipeline_id, event_type, occurred_at, event_id ORDER BY _row DESC) = 1
ORDER BY occurred_at"""
TWICE = """
SELECT 1 FROM silver GROUP BY workspace_id, pipeline_id, event_type, occurred_at, event_id
HAVING count(*) > 1 LIMIT 1"""
GOLD = """
WITH last AS (
  SELECT *, (occurred_at AT TIME ZONE 'UTC')::DATE AS date FROM silver
  WHERE parent_id IS NULL AND status IN ('completed', 'failed', 'skipped')
  QUALIFY row_number() OVER (PARTITION BY workspace_id, date, pipeline_id
    ORDER BY occurred_at DESC, event_type DESC, event_id DESC) = 1)
SELECT workspace_id, date, count(*) AS total_pipelines,
  count(*) FILTER (status = 'completed') AS success_count,
  count(*) FILTER (status = 'failed') AS failed_count,
  count(*) FILTER (status = 'skipped') AS skipped_count,
  round(100.0::DOUBLE * success_count / nullif(success_count + failed_count, 0), 2) AS success_rate,
  avg(duration_ms) / 1000 AS avg_duration_sec,
  quantile_cont(duration_ms, 0.5) / 1000 AS p50_duration_sec,
  quantile_cont(duration_ms, 0.95) / 1000 AS p95_duration_sec
FROM last GROUP BY workspace_id, date ORDER BY workspace_id, date"""


def flow(file: Path, lake: Path, mark: Callable[[str], None]) -> dict[str, int]:
    """Write the tables below `lake`; return how many rows each has."""
    lake.mkdir(parents=True)
    with duckdb.connect(
        config={"memory_limit": MEMORY, "temp_directory": str(lake / "spilled")}
    ) as connection:
        connection.execute("SET TimeZone = 'UTC'")

        def write(table: str, query: str) -> None:
            path = lake / table
            path.mkdir(parents=True, exist_ok=True)
            rows = connection.sql(query).to_arrow_reader(131_072)
            zstd = WriterProperties(compression="ZSTD", compression_level=1)
            write_deltalake(str(path), rows, mode="overwrite", writer_properties=zstd)

        def count(table: str) -> int:
            [found] = connection.execute(f"SELECT count(*) FROM {table}").fetchall()
            return int(found[0])

        connection.execute(RAW, [str(file)])
        write("bronze/raw_pipeline_events", "FROM raw")
        mark("bronze")
        connection.execute(NAMES)
        connection.execute(TYPED)
        connection.execute(f"CREATE TABLE silver AS {SILVER}")
        if connection.execute(TWICE).fetchone():
            raise ValueError("a key stands twice")
        write("silver/pipeline_events", "FROM silver")
        connection.execute(f"CREATE TABLE refused AS {REFUSED}")
        write("quarantine/silver/pipeline_events", "FROM refused")
        mark("silver")
        write("gold/pipeline_metrics", GOLD)
        mark("gold")
        return {"bronze": count("raw"), "silver": count("silver"), "quarantined": count("refused")}


def refuse_other_tables(lake: Path, ours: Path) -> None:
    """Raise AssertionError unless Silver and Gold are ours, value by value.

    Means and quantiles are compared to twelve digits: ours are the nearest double to the exact value.
    """
    for table in (c.PIPELINE_EVENTS, c.PIPELINE_METRICS):
        columns = [name for name in table.column_names if not name.startswith("_")]
        made, wanted = (
            pl.DataFrame(pl.from_arrow(DeltaTable(str(root / table.path)).to_pyarrow_table()))
            .select(columns)
            .sort(table.key)
            for root in (lake, ours)
        )
        assert_frame_equal(made, wanted, check_dtypes=False, check_exact=False, rel_tol=1e-12, abs_tol=0)
