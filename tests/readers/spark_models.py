"""Build the marts by dbt's target `spark` on a Spark Connect server, in the session that holds their source.

Belongs here: what has to be one process, since Sail's catalog lasts as long as its session. Does not: what is
right (test_dbt_targets.py).

    python spark_models.py REMOTE PROJECT LOANS OUT

LOANS is a folder of Parquet; OUT gets a file for each mart. Prints what dbt says of each node, as JSON.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

MARTS = ("borrower_segments", "loan_performance", "vintage_curves")


def main(remote: str, project: str, loans: str, out: str) -> None:
    import pyarrow.parquet as pq
    from dbt.cli.main import dbtRunner
    from pyspark.sql import SparkSession

    session = SparkSession.builder.remote(remote).getOrCreate()  # dbt-spark asks for the same one
    session.conf.set("spark.sql.session.timeZone", "UTC")
    for schema in ("silver", "history"):
        session.sql(f"CREATE SCHEMA IF NOT EXISTS {schema}").collect()
    session.sql(f"CREATE TABLE silver.loans USING parquet LOCATION '{Path(loans).as_uri()}'").collect()
    where = ["--project-dir", project, "--profiles-dir", project, "--target", "spark", "--threads", "1"]
    done = dbtRunner().invoke(
        ["build", "--quiet", *where, "--exclude-resource-type", "unit_test", "--exclude-resource-type",
         "snapshot", "--select", *(f"+{name}" for name in MARTS)]
    )  # fmt: skip
    if done.exception is not None:
        raise done.exception
    said = {one.node.name: (str(one.status), one.message or "") for one in done.result.results}  # type: ignore[union-attr]
    if done.success:
        for name in MARTS:
            pq.write_table(session.sql(f"SELECT * FROM gold.{name}").toArrow(), f"{out}/{name}.parquet")
    session.stop()
    print(json.dumps(said))


if __name__ == "__main__":
    main(*sys.argv[1:])
