"""Bronze -> Silver -> Gold of the same files with other tools: pandas, dlt into DuckDB and DuckLake, Spark.

Belongs here: those programs. Does not: SQL by hand over Delta (by_hand.py), timing (ways.py), or our own way.
Each reads the landed files, keeps what came as Bronze, types and scores it, refuses what the rules
refuse, keeps the last event of a key, and computes Gold. None has positions, states, restarts, checks
or restore. Each imports its tool inside, for no environment has all of them.
"""

from __future__ import annotations

import glob
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import by_hand as sql

Mark = Callable[[str], None]
COUNTS = (
    "count(*), sum(total_pipelines), sum(success_count), sum(failed_count), round(sum(p95_duration_sec), 3)"
)


def gold_figures(row: Any) -> dict[str, float]:
    """Return what ways are compared by: sums over Gold, in the order of COUNTS."""
    names = ("gold", "pipelines", "successes", "failures", "p95_sum")
    return dict(zip(names, (float(value or 0) for value in row), strict=True))


# -- pandas -----------------------------------------------------------------------------------------------


def pandas(files: Path, lake: Path, mark: Mark) -> dict[str, float]:
    """pandas and one `write_deltalake` per table."""
    import pandas as pd
    from deltalake import WriterProperties, write_deltalake

    def write(table: str, frame: pd.DataFrame) -> None:
        (lake / table).mkdir(parents=True)
        zstd = WriterProperties(compression="ZSTD", compression_level=1)
        write_deltalake(str(lake / table), frame, mode="overwrite", writer_properties=zstd)

    raw = pd.concat([pd.read_parquet(file) for file in sorted(glob.glob(str(files)))], ignore_index=True)
    raw["_row"] = range(len(raw))
    write("bronze", raw)
    mark("bronze")
    typed = _typed_by_pandas(raw)
    write("refused", typed.loc[typed["refused"], list(raw.columns)])
    silver = typed.loc[~typed["refused"]].drop(columns=["refused", "raw_data", "timestamp"])
    key = ["workspace_id", "pipeline_id", "event_type", "occurred_at", "event_id"]
    silver = silver.drop_duplicates(key, keep="last").sort_values("occurred_at").reset_index(drop=True)
    write("silver", silver)
    mark("silver")
    gold = _gold_by_pandas(silver)
    write("gold", gold)
    mark("gold")
    figures = [len(gold), *(gold[c].sum() for c in ("total_pipelines", "success_count", "failed_count"))]
    return {
        "bronze": len(raw),
        "silver": len(silver),
        **gold_figures([*figures, round(gold["p95_duration_sec"].sum(), 3)]),
    }


def _typed_by_pandas(raw: Any) -> Any:
    import pandas as pd

    said = pd.DataFrame([_object(text) for text in raw["raw_data"]], index=raw.index)
    typed = raw.copy()
    typed["occurred_at"] = pd.to_datetime(
        raw["timestamp"], format="ISO8601", utc=True, errors="coerce"
    ).astype("datetime64[us, UTC]")
    for name in ("duration_ms", "activities_executed", "steps"):
        typed[name] = pd.to_numeric(said[name], errors="coerce").astype("Int64")
    typed["event_id"] = said["event_id"].fillna("").astype(str)
    words = raw["event_type"].drop_duplicates()
    typed["status"] = raw["event_type"].map({word: _status(word) for word in words})
    typed["workspace_id"] = raw["workspace_id"].fillna("unassigned")
    typed["quality_score"] = (
        30 * raw["pipeline_id"].notna()
        + 30 * typed["occurred_at"].notna()
        + 20 * raw["workspace_id"].notna()
        + 20 * typed["duration_ms"].notna()
    )
    negative = typed[["duration_ms", "activities_executed", "steps"]].lt(0).fillna(False).any(axis=1)
    missing = raw["pipeline_id"].isna() | raw["event_type"].isna() | typed["occurred_at"].isna()
    typed["refused"] = negative | missing | ~said["readable"]
    return typed


def _object(text: str | None) -> dict[str, Any]:
    try:
        found = json.loads(text or "")
    except ValueError:
        found = None
    said = found if isinstance(found, dict) else {}
    names = ("duration_ms", "activities_executed", "steps", "event_id")
    return {name: said.get(name) for name in names} | {"readable": isinstance(found, dict)}


def _status(word: str) -> str:
    last = word.rsplit("_", 1)[-1]
    return {"completed": "completed", "failed": "failed", "skipped": "skipped"}.get(last, "in_progress")


def _gold_by_pandas(silver: Any) -> Any:
    ended = silver.loc[silver["status"].isin(["completed", "failed", "skipped"])]
    ended = ended.assign(date=ended["occurred_at"].dt.date)
    order = ["occurred_at", "event_type", "event_id"]
    last = ended.sort_values(order).drop_duplicates(["workspace_id", "date", "pipeline_id"], keep="last")
    last = last.assign(
        success=last["status"].eq("completed"),
        failure=last["status"].eq("failed"),
        duration_ms=last["duration_ms"].astype("float64"),
    )
    groups = last.groupby(["workspace_id", "date"], sort=True)
    gold = groups.agg(
        total_pipelines=("status", "size"),
        success_count=("success", "sum"),
        failed_count=("failure", "sum"),
        avg_duration_sec=("duration_ms", "mean"),
    )
    for name, share in (("p50_duration_sec", 0.5), ("p95_duration_sec", 0.95)):
        gold[name] = groups["duration_ms"].quantile(share) / 1000
    gold["avg_duration_sec"] /= 1000
    gold["success_rate"] = (100 * gold.success_count / (gold.success_count + gold.failed_count)).round(2)
    return gold.reset_index()


# -- dlt --------------------------------------------------------------------------------------------------


def dlt_duckdb(files: Path, lake: Path, mark: Mark) -> dict[str, float]:
    """dlt loads a DuckDB file; Silver and Gold are the SQL by hand in it."""
    import dlt

    lake.mkdir(parents=True)
    database = lake / "events.duckdb"
    _load(files, lake, dlt.destinations.duckdb(str(database)))
    return _model(lake, mark, [f"ATTACH '{database}' AS kept"])


def dlt_ducklake(files: Path, lake: Path, mark: Mark) -> dict[str, float]:
    """dlt loads a DuckLake, its catalog a DuckDB file; Silver and Gold are the SQL by hand in it."""
    import dlt
    import duckdb
    import duckdb_extension_ducklake as wheel
    from dlt.destinations.impl.ducklake.configuration import DuckLakeCredentials

    lake.mkdir(parents=True)
    # DuckDB looks for an extension below HOME before it asks the network: here is that of the wheel.
    os.environ["HOME"] = str(lake)
    place = lake / ".duckdb" / "extensions" / f"v{duckdb.__version__}" / "linux_amd64"
    place.mkdir(parents=True)
    [file] = sorted(Path(wheel.__file__).parent.rglob("ducklake.duckdb_extension"))
    shutil.copy(file, place)
    catalog, data = lake / "catalog.duckdb", lake / "data"
    data.mkdir()
    credentials = DuckLakeCredentials("kept", catalog=f"duckdb:///{catalog}", storage=data.as_uri())
    _load(files, lake, dlt.destinations.ducklake(credentials=credentials))
    return _model(lake, mark, [f"LOAD '{file}'", f"ATTACH 'ducklake:{catalog}' AS kept"])


def _load(files: Path, lake: Path, destination: Any) -> None:
    import dlt
    import pyarrow.parquet as pq

    os.environ |= {"RUNTIME__DLTHUB_TELEMETRY": "false", "DLT_DATA_DIR": str(lake / "dlt"),
                   "RUNTIME__LOG_LEVEL": "CRITICAL"}  # fmt: skip

    @dlt.resource(name="raw_events", write_disposition="append")
    def raw_events() -> Any:
        for file in sorted(glob.glob(str(files))):
            yield from pq.ParquetFile(file).iter_batches(131_072)

    pipeline = dlt.pipeline(
        "events", destination=destination, dataset_name="landed", pipelines_dir=str(lake / "pipelines")
    )
    pipeline.run(raw_events(), loader_file_format="parquet")


def _model(lake: Path, mark: Mark, attach: list[str]) -> dict[str, float]:
    import duckdb

    with duckdb.connect(
        config={"memory_limit": sql.MEMORY, "temp_directory": str(lake / "spilled")}
    ) as connection:
        for statement in ("SET TimeZone = 'UTC'", *attach):
            connection.execute(statement)
        mark("bronze")
        connection.execute(
            "CREATE TEMP VIEW raw AS SELECT *, 'file' AS _source, "
            "'-' AS _fingerprint, rowid AS _row, 1 AS _batch_id FROM kept.landed.raw_events"
        )
        for query in (sql.NAMES, sql.TYPED):
            connection.execute(query.replace("CREATE TABLE", "CREATE TEMP TABLE", 1))
        for name, query in (("silver", sql.SILVER), ("refused", sql.REFUSED), ("gold", sql.GOLD)):
            connection.execute(f"CREATE TABLE kept.landed.{name} AS {query}")
            connection.execute(f"CREATE TEMP VIEW {name} AS FROM kept.landed.{name}")
            if name != "silver":
                mark("silver" if name == "refused" else "gold")
        [figures] = connection.execute(f"SELECT {COUNTS} FROM gold").fetchall()
        [(bronze,)] = connection.execute("SELECT count(*) FROM raw").fetchall()
        [(silver,)] = connection.execute("SELECT count(*) FROM silver").fetchall()
        return {"bronze": bronze, "silver": silver, **gold_figures(figures)}


# -- Spark ------------------------------------------------------------------------------------------------

_SPARK_TYPED = """
SELECT *, try_to_timestamp(timestamp) AS occurred_at, try_parse_json(raw_data) AS said FROM raw"""
_SPARK_SCORED = """
SELECT coalesce(nullif(trim(workspace_id), ''), 'unassigned') AS workspace_id,
  nullif(trim(pipeline_id), '') AS pipeline_id, event_type, occurred_at,
  coalesce(try_variant_get(said, '$.event_id', 'string'), '') AS event_id,
  CASE WHEN event_type RLIKE '(^|_)completed$' THEN 'completed'
    WHEN event_type RLIKE '(^|_)failed$' THEN 'failed'
    WHEN event_type RLIKE '(^|_)skipped$' THEN 'skipped' ELSE 'in_progress' END AS status,
  try_variant_get(said, '$.duration_ms', 'bigint') AS duration_ms,
  try_variant_get(said, '$.activities_executed', 'bigint') AS activities_executed,
  try_variant_get(said, '$.steps', 'bigint') AS steps, said IS NOT NULL AS readable, raw_data,
  timestamp, _row, workspace_id AS stated FROM typed"""
_SPARK_GOOD = """pipeline_id IS NOT NULL AND event_type IS NOT NULL AND occurred_at IS NOT NULL AND readable
  AND coalesce(duration_ms >= 0, true) AND coalesce(activities_executed >= 0, true)
  AND coalesce(steps >= 0, true)"""
_SPARK_SILVER = f"""
SELECT workspace_id, pipeline_id, event_type, occurred_at, event_id, status, duration_ms, activities_executed,
  steps, 60 + 20 * int(stated IS NOT NULL) + 20 * int(duration_ms IS NOT NULL) AS quality_score, _row
FROM (SELECT *, row_number() OVER (PARTITION BY workspace_id, pipeline_id, event_type, occurred_at, event_id
        ORDER BY _row DESC) AS place FROM scored WHERE {_SPARK_GOOD}) WHERE place = 1 ORDER BY occurred_at"""
_SPARK_GOLD = """
SELECT workspace_id, date, count(*) AS total_pipelines, count_if(status = 'completed') AS success_count,
  count_if(status = 'failed') AS failed_count, count_if(status = 'skipped') AS skipped_count,
  round(100 * count_if(status = 'completed') / nullif(count_if(status IN ('completed', 'failed')), 0), 2)
    AS success_rate, avg(duration_ms) / 1000 AS avg_duration_sec,
  percentile(duration_ms, 0.5) / 1000 AS p50_duration_sec,
  percentile(duration_ms, 0.95) / 1000 AS p95_duration_sec
FROM (SELECT *, to_date(occurred_at) AS date, row_number() OVER (
        PARTITION BY workspace_id, to_date(occurred_at),
        pipeline_id ORDER BY occurred_at DESC, event_type DESC, event_id DESC) AS place
      FROM silver WHERE status IN ('completed', 'failed', 'skipped')) WHERE place = 1
GROUP BY workspace_id, date ORDER BY workspace_id, date"""


def pyspark(files: Path, lake: Path, mark: Mark) -> dict[str, float]:
    """Spark SQL in one JVM with every core, tables as Parquet: Delta for it is a jar from Maven."""
    from pyspark.sql import SparkSession

    gigabytes = max(2, int(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2e9))
    spark = (
        SparkSession.builder.master("local[*]")
        .config("spark.driver.memory", f"{gigabytes}g")
        .config("spark.driver.host", "127.0.0.1")
        .config("spark.ui.enabled", "false")
        .config("spark.sql.session.timeZone", "UTC")
        .config("spark.sql.shuffle.partitions", str(2 * (os.cpu_count() or 2)))
        .config("spark.local.dir", str(lake / "spilled"))
        .config("spark.log.level", "ERROR")
        .getOrCreate()
    )
    try:

        def kept(name: str, query: str) -> None:
            spark.sql(query).write.mode("overwrite").parquet(str(lake / name))
            spark.read.parquet(str(lake / name)).createOrReplaceTempView(name)

        landed = spark.read.parquet(*sorted(glob.glob(str(files))))
        landed.selectExpr("*", "monotonically_increasing_id() AS _row").createOrReplaceTempView("landed")
        kept("raw", "SELECT * FROM landed")
        mark("bronze")
        spark.sql(_SPARK_TYPED).createOrReplaceTempView("typed")
        spark.sql(_SPARK_SCORED).createOrReplaceTempView("scored")
        kept("refused", f"SELECT * FROM scored WHERE NOT coalesce({_SPARK_GOOD}, false)")
        kept("silver", _SPARK_SILVER)
        mark("silver")
        kept("gold", _SPARK_GOLD)
        mark("gold")
        [figures] = spark.sql(f"SELECT {COUNTS} FROM gold").collect()
        counts = {
            name: spark.table(table).count() for name, table in (("bronze", "raw"), ("silver", "silver"))
        }
        return {**counts, **gold_figures(figures)}
    finally:
        spark.stop()
        shutil.rmtree(lake / "spilled", ignore_errors=True)
