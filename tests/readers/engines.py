"""A program that reads tables with one engine that knows nothing of us, and leaves what it saw as Arrow.

    python engines.py ENGINE REQUEST      REQUEST: JSON of where the lake is, what to read and where to put it

Belongs here: how each engine is asked, and nothing of ours: this file imports no `lakehouse`. Does not:
judging what they say. One process per engine, so that none meets another's Arrow, Rust runtime or settings.
"""

from __future__ import annotations

import functools
import importlib
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.feather as feather

Options = dict[str, str]  # empty for a folder; else endpoint, key, secret
Read = Callable[[str, Options, str | None], Any]  # (uri, options, SQL condition or None) -> Arrow of any make


def kernel(uri: str, options: Options, where: str | None) -> Any:
    """delta-kernel-rs, as the Delta project wraps it for Python: it takes no condition and no credentials."""
    import delta_kernel_rust_sharing_wrapper as wrapper

    assert not options
    assert where is None
    location = Path(uri).as_uri() + "/"
    engine = wrapper.PythonInterface(location)
    snapshot = wrapper.Table(location).snapshot(engine)
    return wrapper.ScanBuilder(snapshot).build().execute(engine)


def duckdb(uri: str, options: Options, where: str | None) -> Any:
    """DuckDB and its own delta extension, read-only."""
    return (
        _duckdb(tuple(options.items()))
        .sql(f"SELECT * FROM delta_scan('{uri}') WHERE {where or 'true'}")
        .to_arrow_table()
    )


@functools.cache
def _duckdb(options: tuple[tuple[str, str], ...]) -> Any:
    import duckdb

    db, given = duckdb.connect(), dict(options)
    for name in ("httpfs", "delta") if given else ("delta",):
        folder = Path(str(importlib.import_module(f"duckdb_extension_{name}").__file__)).parent
        db.execute(f"LOAD '{next(folder.glob('extensions/*/*.duckdb_extension'))}'")
    if given:
        host = given["endpoint"].removeprefix("http://")
        db.execute(
            f"CREATE SECRET (TYPE s3, KEY_ID '{given['key']}', SECRET '{given['secret']}', "
            f"ENDPOINT '{host}', URL_STYLE 'path', USE_SSL false, REGION 'us-east-1')"
        )
    return db


def clickhouse(uri: str, options: Options, where: str | None) -> Any:
    """ClickHouse in this process."""
    place = f"deltaLakeLocal('{uri}')"
    if options:
        path = uri.removeprefix("s3://")
        place = f"deltaLakeS3('{options['endpoint']}/{path}/', '{options['key']}', '{options['secret']}')"
    return _clickhouse().query(f"SELECT * FROM {place} WHERE {where or 'true'}", "ArrowTable")


@functools.cache
def _clickhouse() -> Any:
    import chdb

    os.chdir("/")  # it reads files below the working folder alone
    return chdb.connect()


def spark(uri: str, options: Options, where: str | None) -> Any:
    """Spark's own client, over Spark Connect, to a Sail server, which reads Delta with code of its own."""
    rows = _spark(tuple(options.items())).read.format("delta").load(uri)
    return (rows.where(where) if where else rows).toArrow()


@functools.cache
def _spark(options: tuple[tuple[str, str], ...]) -> Any:
    from pysail.spark import SparkConnectServer
    from pyspark.sql import SparkSession

    if given := dict(options):
        os.environ |= {"AWS_ENDPOINT_URL": given["endpoint"], "AWS_ALLOW_HTTP": "true",
                       "AWS_ACCESS_KEY_ID": given["key"], "AWS_SECRET_ACCESS_KEY": given["secret"],
                       "AWS_REGION": "us-east-1"}  # fmt: skip
    _spark.server = server = SparkConnectServer("127.0.0.1", 0)  # type: ignore[attr-defined]  # it ends with us
    server.start(background=True)
    _, port = server.listening_address
    return SparkSession.builder.remote(f"sc://127.0.0.1:{port}").getOrCreate()


def polars(uri: str, options: Options, where: str | None) -> Any:
    """Polars: the log by delta-rs, the files by its own Parquet reader."""
    import polars as pl

    rows = pl.scan_delta(uri, storage_options=_delta_rs(options), use_pyarrow=False)
    return (rows.sql(f"SELECT * FROM self WHERE {where}") if where else rows).collect()


def datafusion(uri: str, options: Options, where: str | None) -> Any:
    """DataFusion within delta-rs."""
    from deltalake import DeltaTable, QueryBuilder

    table = DeltaTable(uri, storage_options=_delta_rs(options))
    return QueryBuilder().register("t", table).execute(f"SELECT * FROM t WHERE {where or 'true'}")


def _delta_rs(options: Options) -> Options | None:
    if not options:
        return None
    return {"AWS_ENDPOINT_URL": options["endpoint"], "AWS_ALLOW_HTTP": "true", "AWS_REGION": "us-east-1",
            "AWS_ACCESS_KEY_ID": options["key"], "AWS_SECRET_ACCESS_KEY": options["secret"]}  # fmt: skip


ENGINES: dict[str, Read] = {
    "delta-kernel": kernel,
    "DuckDB": duckdb,
    "ClickHouse": clickhouse,
    "Spark Connect": spark,
    "Polars": polars,
    "DataFusion": datafusion,
}
NEEDS = {
    "delta-kernel": ("delta_kernel_rust_sharing_wrapper",),
    "DuckDB": ("duckdb", "duckdb_extension_delta", "duckdb_extension_httpfs"),
    "ClickHouse": ("chdb",),
    "Spark Connect": ("pysail", "pyspark"),
    "Polars": (),
    "DataFusion": (),
}
ON_S3 = tuple(name for name in ENGINES if name != "delta-kernel")  # its wrapper takes no credentials
FILTERS = ON_S3  # nor a condition
# What an engine of this version cannot read, and its words for it. delta-rs leaves string views in files
# that a merge rewrites, as nullable columns; Sail 0.7.2 does not cast those to a column that may not be null.
CANNOT = {
    ("Spark Connect", "merged"): "Cannot cast column 'code' from 'Utf8View' (physical) to 'Utf8' (logical)",
    ("ClickHouse", "bytes"): "invalid utf8",  # it gives bytes as text
}
# ClickHouse knows no null list and no null struct: it reads an empty list, and a struct of nulls.
WITHOUT_NESTED_NULLS = (("ClickHouse", "nested"), ("ClickHouse", "nested_merged"))
READS = (*(("folder", name) for name in ENGINES), *(("s3", name) for name in ON_S3))


def main(engine: str, request: Path) -> None:
    """Read each table; what an engine says against one is left as text, and the others are still read."""
    asked = json.loads(request.read_text(encoding="utf-8"))
    for name, (uri, where) in asked["reads"].items():
        target = request.parent / f"{name}.arrow"
        try:
            rows = pa.table(ENGINES[engine](uri, asked["options"], where))
            feather.write_feather(rows.replace_schema_metadata(None), target, compression="uncompressed")
        except Exception as exc:  # noqa: BLE001  # any engine may raise anything: it is the finding
            target.with_suffix(".error").write_text(f"{type(exc).__name__}: {exc}", encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
