"""Makes an installed set of packages smaller without changing what it does: `prune.py SITE_PACKAGES`.

Belongs here: what the image does not carry, with the megabytes it saves and why nothing misses it, and the
self-test that proves it (`prune.py --self-test`, run by the build after pruning). Stdlib only, except the
self-test.

Megabytes are for linux/amd64 and the versions of uv.lock at the time of writing; the build prints today's.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time
import urllib.request
import zoneinfo
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Rule:
    """Paths to drop: `globs` below site-packages, less whatever has a name in `keep`."""

    why: str
    globs: tuple[str, ...]
    keep: frozenset[str] = frozenset()


RULES = (
    Rule(
        "test suites: 30 MB, imported by test runners only",
        (
            "**/tests",
            "Crypto/SelfTest",
            "alembic/testing",
            "sqlalchemy/testing",
            "numpy/_core/*_tests.*.so",
            "numpy/_core/_simd.*.so",
            "pyarrow/_pyarrow_cpp_tests.*.so",
        ),
    ),
    Rule(
        "C and Cython sources, headers, static libraries, type stubs: 11 MB, read by compilers and editors",
        (
            "**/include",
            *(f"**/*.{suffix}" for suffix in ["a", "c", "cc", "cpp", "h", "hpp", "pxd", "pxi", "pyi", "pyx"]),
        ),
    ),
    Rule("Arrow Flight: 33 MB, an RPC that nothing here speaks", ("pyarrow/*flight*",)),
    Rule(
        "Arrow's own S3, GCS, Azure and HDFS clients: 18 MB; objects go through deltalake and boto3. "
        "pyarrow.fs imports each of them only if it is there",
        ("pyarrow/libarrow_s3*", "pyarrow/_s3fs*", "pyarrow/_gcsfs*", "pyarrow/_azurefs*", "pyarrow/_hdfs*"),
    ),
    Rule(
        "the same Arrow library under its other link names: 5 MB; wheels cannot hold links, and the loader "
        "asks for the soname",
        ("pyarrow/libarrow_python*.so", "pyarrow/libarrow_python*.so.*.*.*"),
    ),
    Rule(
        "source maps and the welcome film of the Dagster UI: 24 MB; for browser developer tools, and for a "
        "welcome that dagster.yaml turns off",
        ("dagster_webserver/**/*.map", "dagster_webserver/webapp/build/*.mp4"),
    ),
    Rule(
        "API models of AWS services other than S3 and STS: 18 MB",
        ("botocore/data/*", "boto3/data/*", "boto3/examples"),
        keep=frozenset(
            {
                "_retry.json",
                "endpoints.json",
                "partitions.json",
                "s3",
                "sdk-default-configuration.json",
                "sts",
            }
        ),
    ),
    Rule(
        "colouring of other languages than Python: 4 MB; Rich shows Python only",
        ("pygments/lexers/*.py",),
        keep=frozenset({"__init__.py", "_mapping.py", "python.py", "special.py"}),
    ),
    Rule(
        "signatures and public keys: 6 MB; the object store's admin API encrypts with AES alone",
        ("Crypto/PublicKey", "Crypto/Signature", "Crypto/IO", "Crypto/Math", "Crypto/Protocol"),
    ),
    Rule(
        "SQL dialects that nothing names (Dagster's schemas do name MySQL's): 1 MB",
        ("sqlalchemy/dialects/mssql", "sqlalchemy/dialects/oracle"),
    ),
    Rule("time zones: 1 MB; Python reads those of the base system first", ("tzdata/zoneinfo",)),
    Rule(
        "a faster event loop: 16 MB; the webserver has one user and takes Python's own without it",
        ("uvloop", "uvloop-*.dist-info"),
    ),
    Rule(
        "lists of installed files: 1 MB; for installers, and no longer true of this tree",
        ("*.dist-info/RECORD",),
    ),
    Rule("making Python modules of Fortran: 1 MB", ("numpy/f2py",)),
    Rule("reloading on a changed file: 1 MB, a server option that nothing sets", ("watchfiles/*.so",)),
)

# What two packages both bring, and one copy serves.
GRAPHIQL = ("dagster_webserver/graphiql", "dagster_webserver/webapp/build/vendor/graphiql")
LIBPQ = ("psycopg2_binary.libs", "psycopg_binary.libs")

# The smallest platform there can be, which the self-test runs in Dagster's own processes.
DEFINITIONS = """
import dagster as dg

@dg.asset
def nothing() -> dg.MaterializeResult:
    return dg.MaterializeResult(metadata={"rows": 0})

@dg.asset_check(asset=nothing)
def nothing_is_there() -> dg.AssetCheckResult:
    return dg.AssetCheckResult(passed=True)

everything = dg.define_asset_job("everything", executor_def=dg.in_process_executor)
defs = dg.Definitions(assets=[nothing], asset_checks=[nothing_is_there], jobs=[everything])
"""
LAUNCH = """mutation {launchRun(executionParams: {mode: "default", runConfigData: {}, selector: {
  repositoryLocationName: "self_test", repositoryName: "__repository__", jobName: "everything"
}}) {__typename}}"""
RUNS = "{runsOrError {... on Runs {results {status}}}}"
SELF_TEST_SECONDS = 90


def tree_bytes(path: Path) -> int:
    """Return the bytes of a file, or of all files below a folder."""
    if path.is_dir() and not path.is_symlink():
        return sum(f.lstat().st_size for f in path.rglob("*") if not f.is_dir())
    return path.lstat().st_size


def matches(root: Path, rule: Rule) -> Iterator[Path]:
    """Yield what a rule drops. A path inside one already dropped is gone by then and is passed over."""
    for pattern in rule.globs:
        for path in sorted(root.glob(pattern)):
            if path.name not in rule.keep and (path.exists() or path.is_symlink()):
                yield path


def drop(root: Path, rule: Rule) -> int:
    """Apply one rule; return the bytes freed."""
    freed = 0
    for path in matches(root, rule):
        freed += tree_bytes(path)
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
    return freed


def strip_elf(path: Path) -> int:
    """Cut symbol tables and debug sections off one 64-bit little-endian ELF file; return the bytes freed.

    The loader reads program headers only, so all that lies behind the last loaded segment can go, together
    with the section table. `strip` does the same, but a slim base has no binutils and the build no second
    index.
    """
    data = path.read_bytes()
    if data[:6] != b"\x7fELF\x02\x01":
        return 0
    table: int = struct.unpack_from("<Q", data, 32)[0]
    entry_bytes, entries = struct.unpack_from("<HH", data, 54)
    end: int = table + entry_bytes * entries
    for index in range(entries):
        offset, file_bytes = (
            struct.unpack_from("<Q", data, table + index * entry_bytes + field)[0] for field in (8, 32)
        )
        end = max(end, offset + file_bytes)
    if end >= len(data):
        return 0
    header = bytearray(data[:end])
    struct.pack_into("<Q", header, 40, 0)  # e_shoff: where the section table was
    struct.pack_into("<HH", header, 60, 0, 0)  # e_shnum, e_shstrndx
    path.write_bytes(header)
    return len(data) - end


def share_libpq(root: Path) -> int:
    """Let psycopg2 load the libpq of psycopg, with that one's OpenSSL, Kerberos and LDAP; return the bytes
    freed.

    psycopg's is the newer, and libpq keeps its binary interface within `so.5`: an older caller may use a
    newer one.
    """
    old, new = (root / name for name in LIBPQ)
    if old.is_symlink() or not (old.is_dir() and new.is_dir()):
        return 0
    (asked,), (given,) = (sorted(folder.glob("libpq-*.so.5.*")) for folder in (old, new))
    if int(asked.name.rsplit(".", 1)[1]) > int(given.name.rsplit(".", 1)[1]):
        return 0
    freed = tree_bytes(old)
    shutil.rmtree(old)
    old.symlink_to(new.name)
    (new / asked.name).symlink_to(given.name)
    return freed


def share_graphiql(root: Path) -> int:
    """Link the second GraphQL console to the first where they are equal; return the bytes freed."""
    first, second = (root / name for name in GRAPHIQL)
    freed = 0
    for path in second.glob("*"):
        twin = first / path.name
        if (
            path.is_file()
            and not path.is_symlink()
            and twin.is_file()
            and twin.read_bytes() == path.read_bytes()
        ):
            freed += tree_bytes(path)
            path.unlink()
            os.link(twin, path)  # not a symbolic one: the server refuses those that leave its folder
    return freed


def prune(root: Path) -> None:
    """Apply every rule, share what is there twice, strip what is left, and print one line for each."""
    for rule in RULES:
        print(f"{drop(root, rule) / 1e6:7.1f} MB  {rule.why}")
    print(f"{share_libpq(root) / 1e6:7.1f} MB  a second libpq with its libraries: psycopg2 uses psycopg's")
    print(f"{share_graphiql(root) / 1e6:7.1f} MB  a second GraphQL console, equal to the first")
    freed = sum(strip_elf(path) for path in root.rglob("*.so*") if path.is_file() and not path.is_symlink())
    print(f"{freed / 1e6:7.1f} MB  symbol tables and debug sections: read by debuggers only")


def self_test() -> None:
    """Use every package the platform uses, the way it is used. Raises where pruning took too much.

    Run in the finished image it has a second use: Python writes the byte code of all that it imports, which
    is what the platform's processes import, and of nothing else (50 MB instead of 81).
    """
    import boto3
    import deltalake
    import minio
    import narwhals.stable.v2
    import numpy as np
    import orjson
    import pandas as pd
    import polars as pl
    import psycopg
    import psycopg2  # type: ignore[import-untyped]
    import pyarrow as pa
    import pyarrow.compute
    import pyarrow.dataset
    import pyarrow.fs
    import pyarrow.parquet

    if importlib.util.find_spec("duckdb") is not None:
        duckdb_self_test()
    frame = pl.DataFrame({"id": [1, 2], "text": ["a", None]})
    with tempfile.TemporaryDirectory() as folder:
        deltalake.write_deltalake(folder, frame)
        table = deltalake.DeltaTable(folder)
        back = pl.scan_parquet(table.file_uris()).collect()
        arrow: pa.Table = pyarrow.dataset.dataset(table.file_uris()).to_table()
    if not back.equals(frame) or not pl.DataFrame(arrow).equals(frame):
        raise SystemExit("prune: a Delta table did not come back as it was written")
    pandas: pd.DataFrame = frame.to_pandas()
    if len(pl.from_pandas(pandas)) != len(frame) or not np.linalg.det(np.eye(2)):
        raise SystemExit("prune: frames do not convert between Polars, Arrow and pandas")
    for service in ("s3", "sts"):
        boto3.client(service, region_name="us-east-1", aws_access_key_id="-", aws_secret_access_key="-")  # noqa: S106
    if psycopg2.extensions.libpq_version() // 10000 < 17 or psycopg.pq.version() // 10000 < 17:
        raise SystemExit("prune: a Postgres driver has an older libpq than its server")
    for driver in (psycopg, psycopg2):
        try:
            driver.connect("host=127.0.0.1 port=1 connect_timeout=1")
        except driver.OperationalError:
            continue
        raise SystemExit(f"prune: {driver.__name__} connected to a port where nothing listens")
    if (
        zoneinfo.ZoneInfo("Europe/Paris").utcoffset(None) is not None
        or pd.Timestamp("2026-07-01", tz="Asia/Tokyo").hour
    ):
        raise SystemExit("prune: time zones are missing")
    dagster_self_test()
    print(f"self-test: {minio.__name__}, {narwhals.__name__}, {orjson.__name__} and the rest work")


def duckdb_self_test() -> None:
    """Load the extensions of an image for DuckLake, and write a table with an embedded catalog."""
    import duckdb

    database = duckdb.connect(config={"autoinstall_known_extensions": "false"})
    for name in ("httpfs", "postgres_scanner", "ducklake"):
        (folder,) = importlib.util.find_spec(f"duckdb_extension_{name}").submodule_search_locations  # type: ignore[union-attr,misc]
        (file,) = Path(folder).rglob("*.duckdb_extension")
        database.execute(f"LOAD '{file}'")
    with tempfile.TemporaryDirectory() as folder:
        database.execute(f"ATTACH 'ducklake:{folder}/catalog' AS lake (DATA_PATH '{folder}/data')")
        database.execute("CREATE TABLE lake.t AS SELECT * FROM range(1000)")
        if database.execute("SELECT sum(range) FROM lake.t").fetchall() != [(499500,)]:
            raise SystemExit("prune: a DuckLake table did not come back as it was written")
        database.close()


def dagster_self_test() -> None:
    """Run one job through webserver, daemon and code server, as the stack does, but on SQLite."""
    import dagster_postgres
    import sqlalchemy

    sqlalchemy.create_engine(f"postgresql+psycopg2://{dagster_postgres.__name__}@127.0.0.1:1/none")
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "self_test.py").write_text(DEFINITIONS)
        Path(folder, "dagster.yaml").write_text("telemetry: {enabled: false}\n")
        command: list[str | Path] = [
            Path(sys.executable).with_name("dagster"),
            "dev",
            "-m",
            "self_test",
            "-p",
            "3999",
        ]
        env = {**os.environ, "DAGSTER_HOME": folder, "PYTHONPATH": folder}
        with Path(folder, "log").open("w+") as log:
            processes = subprocess.Popen(command, cwd=folder, env=env, stdout=log, stderr=log)  # noqa: S603
            try:
                wait_for('"LaunchRunSuccess"', LAUNCH)
                wait_for('"SUCCESS"', RUNS)
            except TimeoutError as exc:
                raise SystemExit(f"prune: {exc}\n{Path(folder, 'log').read_text()}") from exc
            finally:
                processes.send_signal(signal.SIGINT)
                processes.wait()


def wait_for(answer: str, query: str) -> None:
    """Ask Dagster until `answer` is in what it says. Raises TimeoutError with its last words."""
    request = urllib.request.Request(
        "http://127.0.0.1:3999/graphql",
        json.dumps({"query": query}).encode(),
        {"Content-Type": "application/json"},
    )
    said, end = "", time.monotonic() + SELF_TEST_SECONDS
    while time.monotonic() < end:
        try:
            with urllib.request.urlopen(request, timeout=10) as response:  # noqa: S310 - our own address
                said = response.read().decode()
        except OSError as exc:
            said = str(exc)
        if answer in said:
            return
        time.sleep(0.5)
    raise TimeoutError(f"no {answer} within {SELF_TEST_SECONDS} s, but: {said}")


def main() -> None:
    """Parse arguments and run."""
    parser = argparse.ArgumentParser(description="Drop what the image does not need from site-packages.")
    parser.add_argument("site_packages", nargs="?", type=Path)
    parser.add_argument(
        "--self-test", action="store_true", help="use every package once, from the running Python"
    )
    args = parser.parse_args()
    if args.self_test:
        self_test()
    elif args.site_packages is None or not args.site_packages.is_dir():
        sys.exit(f"prune: {args.site_packages} is no folder: give the site-packages to make smaller")
    else:
        prune(args.site_packages)


if __name__ == "__main__":
    main()
