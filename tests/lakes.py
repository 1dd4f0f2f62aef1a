"""Empty lakes of every kind to test on, each described by Settings alone: a spawned process opens the same.

Belongs here: throw-away servers (Postgres, object store) and the settings that reach them. Does not: any
claim about a store. A kind whose server cannot be had is skipped, with the reason.

    folder          Delta tables below a folder
    s3              Delta tables in buckets of the object store's image (needs a Docker engine)
    ducklake        DuckLake, files below a folder, catalog in a Postgres of this machine's own binaries
    ducklake-s3     DuckLake, files in buckets
"""

from __future__ import annotations

import atexit
import functools
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from checkouts import ROOT, free_ports, wait_until

from lakehouse.contracts import LAYERS
from lakehouse.settings import Settings
from lakehouse.storage.s3 import s3_client

KINDS = ("folder", "s3", "ducklake", "ducklake-s3")
BUCKETS = ("landing", *LAYERS, "exports")
KEY, SECRET = "lakes-key", "lakes-secret"
DSN = "DUCKLAKE_TEST_DSN"


@contextmanager
def lake_of(kind: str, folder: Path) -> Iterator[Settings]:
    """Yield the settings of an empty lake; `folder` is where files of folder roots go."""
    if kind not in KINDS:
        raise KeyError(kind)
    root = Settings(lake_url=str(folder / "lake"), landing_url=str(folder / "landing"))
    with object_store() if "s3" in kind else _nothing(root) as settings:
        yield with_catalog(settings) if "ducklake" in kind else settings


@contextmanager
def _nothing(settings: Settings) -> Iterator[Settings]:
    yield settings


@contextmanager
def object_store() -> Iterator[Settings]:
    """Start the object store's image with the layers' buckets, all of it in memory."""
    image = _image()
    if not image or shutil.which("docker") is None:
        pytest.skip("no object store: it needs a Docker engine (ops/ci/engine.sh up && ops/ci/images.sh)")
    name, port = f"lakes-{uuid.uuid4().hex[:12]}", free_ports(1)[0]
    argv = ["docker", "run", "--detach", "--rm", "--name", name, "--publish", f"127.0.0.1:{port}:9000"]
    argv += ["--tmpfs", "/data", "--env", f"MINIO_ROOT_USER={KEY}", "--env", f"MINIO_ROOT_PASSWORD={SECRET}"]
    done = subprocess.run([*argv, image, "server", "/data"], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.skip(f"no object store: {done.stderr.strip()}")
    try:
        endpoint = f"http://127.0.0.1:{port}"
        wait_until("the object store has its buckets", lambda: _make_buckets(endpoint), 60)
        yield Settings(
            lake_url="s3://",
            landing_url="s3://landing",
            s3_endpoint=endpoint,
            s3_access_key=KEY,
            s3_secret_key=SECRET,
        )
    finally:
        subprocess.run(["docker", "rm", "--force", name], capture_output=True, check=True)


def _image() -> str | None:
    """The image of names.env, if the engine has it."""
    lines = (ROOT / "ops/ci/names.env").read_text(encoding="utf-8").splitlines()
    named = dict(line.split("=", 1) for line in lines if "=" in line and not line.startswith("#"))
    image = os.environ.get("MINIO_IMAGE") or named["MINIO_IMAGE"]
    try:
        found = subprocess.run(["docker", "image", "inspect", image], capture_output=True, check=False)
    except FileNotFoundError:
        return None
    return image if found.returncode == 0 else None


def _make_buckets(endpoint: str) -> bool:
    from botocore.exceptions import BotoCoreError, ClientError

    client = s3_client(endpoint=endpoint, access_key=KEY, secret_key=SECRET, region="us-east-1", attempts=1)
    try:
        there = {bucket["Name"] for bucket in client.list_buckets()["Buckets"]}
        for name in BUCKETS:
            if name not in there:
                client.create_bucket(Bucket=name)
    except (BotoCoreError, ClientError):
        return False
    return True


@dataclass(frozen=True)
class Database:
    """A new, empty database, and how to reach it."""

    host: str
    port: int
    name: str
    user: str
    password: str | None


def database() -> Database:
    """Return a database of its own, on this machine's Postgres."""
    import psycopg

    dsn = server()
    name = f"lake_{uuid.uuid4().hex[:12]}"
    with psycopg.connect(dsn, autocommit=True) as db:
        db.execute(f'CREATE DATABASE "{name}"')  # type: ignore[arg-type]
        info = db.info
        return Database(info.host, info.port, name, info.user, info.password or None)


def server() -> str:
    """Return where this machine's Postgres is, for its superuser."""
    if (dsn := os.environ.get(DSN) or _cluster()) is None:
        pytest.skip(f"no Postgres: install its server (apt install postgresql), or give {DSN}")
    return dsn


def with_catalog(settings: Settings) -> Settings:
    """Return `settings` with a DuckLake catalog of its own."""
    made = database()
    return replace(
        settings,
        lake_format="ducklake",
        ducklake_pg_host=made.host,
        ducklake_pg_port=made.port,
        ducklake_pg_db=made.name,
        ducklake_pg_user=made.user,
        ducklake_pg_password=made.password,
    )


def postgres_binaries() -> Path | None:
    """Where this machine's Postgres server is, if it has one."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"), key=lambda p: int(p.parts[4]))
    if found:
        return found[-1].parent
    if (config := shutil.which("pg_config")) is None:
        return None
    folder = subprocess.run([config, "--bindir"], capture_output=True, text=True, check=True).stdout.strip()
    return Path(folder) if Path(folder, "postgres").exists() else None


@functools.cache
def _cluster() -> str | None:
    """Start one Postgres for this process; it ends with it. Without fsync: it is thrown away anyway."""
    binaries = postgres_binaries()
    if binaries is None:
        return None
    folder = Path(tempfile.mkdtemp(prefix="lakes-postgres-"))
    who = _account(folder)
    made = ["--auth=trust", "--username=postgres", "--encoding=UTF8", "--no-sync", "--no-locale"]
    subprocess.run(
        [binaries / "initdb", "--pgdata", folder / "data", *made],
        check=True,
        stdout=subprocess.DEVNULL,
        **who,
    )
    port = free_ports(1)[0]
    options = {"listen_addresses": "127.0.0.1", "unix_socket_directories": "", "fsync": "off",
               "max_connections": "300", "log_destination": "stderr"}  # fmt: skip
    argv = [binaries / "postgres", "-D", folder / "data", "-p", str(port)]
    argv += [part for key, value in options.items() for part in ("-c", f"{key}={value}")]
    with (folder / "log").open("w") as log:
        server = subprocess.Popen(argv, stdout=log, stderr=log, **who)
    atexit.register(_end, server, folder)
    dsn = f"host=127.0.0.1 port={port} user=postgres dbname=postgres"
    wait_until("Postgres answers", lambda: _answers(dsn), 60)
    return dsn


def _account(folder: Path) -> dict[str, object]:
    """Postgres refuses to run as root; then it is somebody else's."""
    if os.geteuid() != 0:
        return {}
    known = {entry.pw_name for entry in pwd.getpwall()}
    account = pwd.getpwnam("postgres" if "postgres" in known else "nobody")
    os.chown(folder, account.pw_uid, account.pw_gid)
    return {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}


def _answers(dsn: str) -> bool:
    import psycopg

    try:
        psycopg.connect(dsn, connect_timeout=2).close()
    except psycopg.OperationalError:
        return False
    return True


def _end(server: subprocess.Popen[bytes], folder: Path) -> None:
    server.send_signal(signal.SIGINT)  # asks nobody to finish first
    try:
        server.wait(timeout=10)
    except subprocess.TimeoutExpired:
        server.kill()
        server.wait()
    shutil.rmtree(folder, ignore_errors=True)
