"""The engine spark on a server: what passes between the two, files it reads, sessions, and who does what.

Belongs here: the engine's own promises. Does not: that it equals Polars (test_engine_parity.py).
"""

from __future__ import annotations

import dataclasses
import math
import os
import subprocess
import sys
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import narwhals.stable.v2 as nw
import polars as pl
import polars.selectors as cs
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from connect_server import connect_server
from test_flow import event, hashes, land, run

from lakehouse.domains.pipelines import contracts as c
from lakehouse.engine.protocol import Frame
from lakehouse.engine.spark import SparkEngine, functions, session, transfer
from lakehouse.errors import SettingsError, StorageUnavailable
from lakehouse.materialize import materialize
from lakehouse.pipeline import open_lake
from lakehouse.registry import sample_files, tables
from lakehouse.settings import Settings
from lakehouse.verify import content_hash

pytestmark = pytest.mark.readers


@pytest.fixture
def engine(spark_remote: str) -> SparkEngine:
    return SparkEngine(spark_remote)


def ticks(frame: pl.DataFrame) -> list[str]:
    """Return the rows; -0.0 is not 0.0, NaN is NaN, and dates may be beyond Python's."""
    return sorted(map(repr, frame.with_columns(cs.temporal().to_physical()).rows()))


ODD = pl.DataFrame(
    {
        "f": [0.0, -0.0, math.nan, math.inf, 5e-324],
        "i": [2**63 - 1, -(2**63), 0, 1, None],
        "at": [-62135596800000000, 253402300799999999, -62135596800000001, -1, None],
        "d": [-719162, 2932896, 0, 5_000_000, None],
        "s": ["", "a\x00b", "\U0001f600", " ", None],
        "b": [b"", b"\x00\xff", b"a", None, b"b"],
        "n": [Decimal(10**37), Decimal(-(10**37)), Decimal(0), Decimal(1), None],
        "l": [[], [None], ["a", None], None, ["b"]],
        "t": [True, False, None, True, False],
    },
    schema_overrides={"n": pl.Decimal(38, 0), "l": pl.List(pl.String)},
).with_columns(
    pl.col("at").cast(pl.Datetime("us", "UTC")),
    pl.col("d").cast(pl.Int32).cast(pl.Date),
    st=pl.struct("i", pl.struct("s").alias("in")),
)


@pytest.mark.parametrize("rows", [5, 0], ids=["rows", "none"])
def test_rows_come_back_as_they_went(engine: SparkEngine, rows: int) -> None:
    given = ODD.head(rows)
    for frame in (engine.scan(given.lazy()), engine.persist(engine.scan(given.lazy()))):
        found = engine.stage(frame)
        assert found.schema == given.schema
        assert ticks(found) == ticks(given)


def test_more_rows_than_a_message_holds_go_in_parts(
    engine: SparkEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transfer, "_SLICE_BYTES", 10_000)
    given = pl.DataFrame({"n": range(9_999), "s": [f"text {n}" for n in range(9_999)]})
    assert given.estimated_size() > 10 * 10_000
    assert engine.stage(engine.scan(given.lazy())).sort("n").equals(given)


def test_what_is_kept_is_computed_once(engine: SparkEngine) -> None:
    frame = engine.scan(pl.LazyFrame({"n": range(100)}))
    native: Any = nw.to_native(frame)
    from pyspark.sql.connect import functions as F  # noqa: N812

    kept = engine.persist(nw.from_native(native.withColumn("r", F.rand())))
    assert engine.stage(kept).sort("n").equals(engine.stage(kept).sort("n"))


def test_a_batch_map_runs_on_the_server_a_part_at_a_time(engine: SparkEngine) -> None:
    """Servers hand out some thousand rows at a time, and each piece costs milliseconds of ours."""
    rows = pl.LazyFrame({"n": range(300_000)})

    def build(part: pl.DataFrame) -> pl.DataFrame:
        import os

        return part.with_columns(process=pl.lit(os.getpid()), part=pl.lit(part.height))

    made = engine.stage(engine.map_batches(engine.scan(rows), build))
    import os

    assert made["n"].sort().equals(pl.Series("n", range(300_000)))
    assert os.getpid() not in made["process"].to_list()
    assert 100_000 < made["part"].max() < 150_000  # type: ignore[operator]


def test_it_reads_files_with_the_columns_of_the_contract(engine: SparkEngine, tmp_path: Path) -> None:
    """A folder named `a=b` is no value; a file may lack a younger column."""
    folder = tmp_path / "workspace_id=odd"
    folder.mkdir()
    table = c.PIPELINE_METRICS
    whole = pl.DataFrame(schema=table.polars_schema()).clear(2)
    older = whole.drop("skipped_count").with_columns(workspace_id=pl.lit("w"))
    for name, rows in (("1.parquet", whole), ("2.parquet", older)):
        rows.write_parquet(folder / name)
    frame = engine.read([str(folder / "1.parquet"), str(folder / "2.parquet")], table)
    assert frame is not None
    found = engine.stage(frame)
    assert found.schema == pl.Schema(table.polars_schema())
    assert found.height == 4
    assert sorted(found["workspace_id"].to_list(), key=str) == [None, None, "w", "w"]
    for odd in ("2*.parquet", "2 .parquet", "%20.parquet", "ä.parquet", "[2].parquet", "2'.parquet"):
        assert engine.read([str(folder / odd)], table) is None  # its rows are sent


def test_files_of_several_writers_are_one_table(engine: SparkEngine, tmp_path: Path) -> None:
    """Of a text, a merge leaves another kind of Arrow in a file than an append does."""
    table, files = c.PIPELINE_METRICS, []
    for kind in (pa.large_string(), pa.string(), pa.string_view()):
        rows = pl.DataFrame(schema=table.polars_schema()).clear(1).with_columns(workspace_id=pl.lit("w"))
        made = rows.to_arrow(compat_level=pl.CompatLevel.oldest())
        at = made.schema.get_field_index("workspace_id")
        made = made.set_column(at, "workspace_id", pa.array(["w"], kind))
        files.append(str(tmp_path / f"{len(files)}.parquet"))
        pq.write_table(made, files[-1])
    frame = engine.read(files, table)
    assert frame is not None
    assert engine.stage(frame)["workspace_id"].to_list() == ["w"] * 3


def test_a_table_of_many_files_is_read(engine: SparkEngine, tmp_path: Path) -> None:
    """Protocol Buffers refuse a message that nests more than a hundred deep, as a plan of file after file."""
    table = c.PIPELINE_METRICS
    files = [str(tmp_path / f"{n}.parquet") for n in range(300)]
    for n, file in enumerate(files):
        rows = pl.DataFrame(schema=table.polars_schema()).clear(1).with_columns(workspace_id=pl.lit(f"w{n}"))
        rows.write_parquet(file)
    frame = engine.read(files, table)
    assert frame is not None
    found = engine.stage(engine.persist(frame))["workspace_id"].to_list()
    assert sorted(found) == sorted(f"w{n}" for n in range(300))


def test_a_lake_whose_files_the_server_reads_is_the_same(spark_remote: str, tmp_path: Path) -> None:
    found = []
    for name, more in (
        ("polars", {}),
        ("spark", {"ODP_ENGINE": "spark", "SPARK_REMOTE": spark_remote, "SPARK_READS_LAKE": "true"}),
    ):
        places = {"LAKE_URL": str(tmp_path / name / "lake"), "LANDING_URL": str(tmp_path / name / "landing")}
        lake = dataclasses.replace(open_lake(Settings.from_env({**places, **more})), batch_rows=50)
        for n in range(2):
            events = (event(f"p{n}-{i}", at=f"2026-01-{i % 28 + 1:02}T10:00:00Z") for i in range(70))
            land(lake, f"{n}.ndjson", *events)
            run(lake)
        found.append(hashes(lake))
    assert found[0] == found[1]


def test_tables_with_lists_of_a_lake_whose_files_the_server_reads_are_the_same(
    spark_remote: str, tmp_path: Path
) -> None:
    """Sail has no lists as delta-rs writes them: such tables come by way of this process."""
    clinical = [table for table in tables() if table.contract.domain == "clinical"]
    found = []
    for name, more in (
        ("polars", {}),
        ("spark", {"ODP_ENGINE": "spark", "SPARK_REMOTE": spark_remote, "SPARK_READS_LAKE": "true"}),
    ):
        places = {"LAKE_URL": str(tmp_path / name / "lake"), "LANDING_URL": str(tmp_path / name / "landing")}
        lake = open_lake(Settings.from_env({**places, **more}))
        for file, body in sample_files().items():
            if file.startswith("clinical/"):
                lake.landing.put(file, body)
        for table in clinical:
            materialize(lake, table)
        scanned = ((table.contract, lake.store.scan(table.contract)) for table in clinical)
        found.append({contract.path: content_hash(contract, frame) for contract, frame in scanned})
    assert found[0] == found[1]


def test_a_session_that_the_server_has_forgotten_is_opened_anew(spark_remote: str) -> None:
    first = session.at(spark_remote)
    assert session.at(spark_remote) is first
    first.client.release_session()
    again = session.at(spark_remote)
    assert again is not first
    frame = SparkEngine(spark_remote).scan(pl.LazyFrame({"a": [1.5]}))
    assert SparkEngine(spark_remote).stage(SparkEngine(spark_remote).persist(frame))["a"].to_list() == [1.5]
    late = frame.with_columns(
        at=nw.lit(datetime(2026, 1, 1, tzinfo=UTC))
    )  # of which the client asks a session
    assert SparkEngine(spark_remote).stage(late)["a"].to_list() == [1.5]
    assert again.conf.get("spark.sql.session.timeZone") == "UTC"


def test_a_line_of_python_computes_there_too(spark_remote: str) -> None:
    said = (
        "import polars as pl; from lakehouse.engine.spark import SparkEngine; "
        f"e = SparkEngine({spark_remote!r}); print(e.stage(e.scan(pl.LazyFrame({{'a': [7]}}))).item())"
    )
    done = subprocess.run(
        [sys.executable, "-c", said], capture_output=True, text=True, timeout=120, check=False
    )
    assert (done.returncode, done.stdout.strip()) == (0, "7"), done.stderr


def test_a_server_that_is_gone_is_told_at_once(tmp_path: Path) -> None:
    with connect_server(tmp_path) as remote:
        session.at(remote)
    with pytest.raises(StorageUnavailable, match=r"opening Spark Connect at .*Is its server up"):
        session.at(remote)


def test_another_session_of_the_process_is_left_alone(engine: SparkEngine, tmp_path: Path) -> None:
    from pyspark.sql.connect.session import SparkSession

    session.at(engine._remote).stop()
    with connect_server(tmp_path) as other:
        theirs = SparkSession.builder.remote(other).create()
        before = SparkSession.active()
        frame = engine.persist(engine.scan(pl.LazyFrame({"a": [1]})))
        assert engine.stage(frame)["a"].to_list() == [1]
        assert SparkSession.active() is before
        theirs.stop()
    assert engine.stage(engine.persist(frame))["a"].to_list() == [1]


@pytest.mark.parametrize("address", ["", "127.0.0.1:50051", "http://host:1", "sc://", "sc://host:99999"])
def test_an_address_that_is_none_is_refused(address: str) -> None:
    with pytest.raises(SettingsError, match="SPARK_REMOTE is no address"):
        session.at(address)


def test_divided_by_zero_is_as_on_polars(engine: SparkEngine) -> None:
    rows = pl.DataFrame({"a": [1.0, -1.0, 0.0, None, 6.0, math.nan], "b": [0.0, 0.0, 0.0, 0.0, 4.0, 0.0]})

    def divide(frame: Frame) -> Frame:
        return frame.select(nw.col("a") / nw.col("b"), n=nw.col("b").cast(nw.Int64) / 4)

    here: pl.LazyFrame = nw.to_native(divide(nw.from_native(rows.lazy())))
    assert ticks(engine.stage(divide(engine.scan(rows.lazy())))) == ticks(here.collect())


@pytest.mark.skipif(
    "ODP_TEST_SPARK_REMOTE" in os.environ, reason="it is about Sail, and another server is given"
)
def test_sail_still_needs_the_workaround(engine: SparkEngine) -> None:
    """The day this fails, engine/spark/division.py goes."""
    from pyspark.sql.connect import functions as F  # noqa: N812

    native: Any = nw.to_native(engine.scan(pl.LazyFrame({"a": [1.0]})))
    with pytest.raises(Exception, match="try_divide"):
        native.select(F.try_divide(native["a"], native["a"])).toArrow()


def test_times_are_of_utc_whatever_the_machine_says(spark_remote: str, engine: SparkEngine) -> None:
    at = datetime(2026, 3, 29, 1, 30, tzinfo=UTC)
    rows = pl.DataFrame({"at": [at]}, schema={"at": pl.Datetime("us", "UTC")})
    day = engine.stage(engine.scan(rows.lazy()).select(nw.col("at").dt.date()))
    assert day["at"].to_list() == [at.date()]


@pytest.mark.parametrize(
    "texts",
    [
        [pa.large_string(), pa.string()],
        [pa.string(), pa.string_view(), pa.string()],
        [pa.string(), pa.dictionary(pa.int32(), pa.string())],
    ],
    ids=lambda kinds: " and ".join(map(str, kinds)),
)
def test_a_piece_of_batches_of_several_kinds_is_mapped(texts: list[pa.DataType]) -> None:
    """A union of files gives such partitions; the right rows are those that went in, in their order."""
    given = pl.Schema({"text": pl.String(), "n": pl.Int64()})
    batches = [
        pa.record_batch(
            [pa.array([f"t{n}"]).cast(kind), pa.array([n])],
            schema=pa.schema([pa.field("text", kind, n % 2 == 0), pa.field("n", pa.int64(), n % 2 == 1)]),
        )
        for n, kind in enumerate(texts)
    ]
    made = functions._mapped(
        lambda rows: rows.with_columns(pl.col("n") * 2), given, transfer.arrow_types(given), iter(batches)
    )
    found = [row for batch in made for row in batch.to_pylist()]
    assert found == [{"text": f"t{n}", "n": 2 * n} for n in range(len(texts))]
