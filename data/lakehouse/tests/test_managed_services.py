"""A lake on somebody else's S3 and Postgres: bucket names, provisioning without root, encrypted connections.

Belongs here: what differs from the object store and the Postgres that compose.yml brings. Does not: what
holds for every store (test_store_contract.py).
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import lakes
import psycopg
import pytest
from botocore.exceptions import ClientError
from checkouts import clean_env, wait_until
from psycopg import conninfo, sql

from lakehouse.contracts import LAYERS
from lakehouse.errors import SettingsError, StorageUnavailable
from lakehouse.outputs.mart import refresh_mart
from lakehouse.outputs.settings import OutputSettings
from lakehouse.pipeline import open_lake
from lakehouse.provision import __main__ as command
from lakehouse.provision.object_store import ObjectStore
from lakehouse.provision.policies import BUCKETS, PRINCIPALS
from lakehouse.provision.postgres import OWNERS, READERS, Postgres
from lakehouse.provision.settings import ProvisionSettings
from lakehouse.provision.steps import NotYet, Refused
from lakehouse.settings import Settings
from lakehouse.storage import bucket as bucket_module
from lakehouse.storage import s3
from lakehouse.storage.bucket import BucketFiles

ENV = {
    "LAKE_URL": "s3://", "LANDING_URL": "s3://acme-odp-landing", "S3_BUCKET_PREFIX": "acme-odp-",
    "S3_ACCESS_KEY": "key", "S3_SECRET_KEY": "secret", "MART_PG_HOST": "db",
}  # fmt: skip


# Names of buckets


class Recorder:
    """A client that answers nothing and keeps which bucket each call named."""

    def __init__(self) -> None:
        self.buckets: list[str] = []

    def __getattr__(self, name: str) -> Any:
        def call(**arguments: Any) -> Any:
            self.buckets.append(arguments["Bucket"])
            return _Answer()

        if name == "get_paginator":
            return lambda _: self
        return call


class _Answer(dict[str, Any]):
    """Whatever is asked for: an empty page, an ETag, a body."""

    def __missing__(self, name: str) -> Any:
        return self

    def __str__(self) -> str:
        return ""

    def read(self) -> bytes:
        return b""

    def iter_chunks(self, _: int) -> Iterator[bytes]:
        return iter(())


def test_every_request_goes_to_a_bucket_of_the_prefix(monkeypatch: pytest.MonkeyPatch) -> None:
    client = Recorder()
    monkeypatch.setattr(bucket_module, "s3_client", lambda **_: client)
    files = BucketFiles(Settings.from_env(ENV))
    files.names()
    assert set(client.buckets) == {f"acme-odp-{layer}" for layer in LAYERS}
    client.buckets.clear()
    gold = [
        files.sizes("gold/t"), files.read("gold/t", "f"), files.sha256("gold/t", "f"),
        files.written("gold/t"), files.log_entry("gold/t", 1), files.remove("gold/t", ["f"]),
        files.drop("gold/t"),
    ]  # fmt: skip
    assert set(client.buckets) == {"acme-odp-gold"}
    client.buckets.clear()
    own = [
        files.own_names("leases"), files.put_if("n", b"", None), files.read_tagged("n"), files.forget("n"),
        files.forget_folder("leases"), files.own_files("leases"),
    ]  # fmt: skip
    assert set(client.buckets) == {"acme-odp-system"}
    public = [name for name in vars(BucketFiles) if not name.startswith("_")]
    asked = {"names", "bucket", "uri", "own_uri", "client"}
    assert len(public) == len(gold) + len(own) + len(asked), "a request that no line above makes"


def test_addresses_name_the_bucket_of_the_prefix() -> None:
    settings = Settings.from_env(ENV)
    files = BucketFiles(settings)
    assert files.uri("gold/t") == "s3://acme-odp-gold/t"
    assert files.own_uri("a") == "s3://acme-odp-system/_odp/a"
    assert OutputSettings.from_env(settings, ENV).exports_url == "s3://acme-odp-exports"


def test_the_lake_of_an_address_has_its_landing_beside_it(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in ENV.items():
        monkeypatch.setenv(name, value)
    assert Settings.at("s3://").landing_url == "s3://acme-odp-landing"


def test_without_a_prefix_buckets_have_our_names() -> None:
    files = BucketFiles(Settings.from_env({**ENV, "S3_BUCKET_PREFIX": ""}))
    assert files.uri("gold/t") == "s3://gold/t"


@pytest.mark.parametrize("prefix", ["Acme-", "acme", "acme_", "a.b-", "-", "x" * 53 + "-"])
def test_a_prefix_that_begins_no_bucket_is_refused(prefix: str) -> None:
    with pytest.raises(SettingsError, match="begins no bucket's name"):
        Settings.from_env({**ENV, "S3_BUCKET_PREFIX": prefix})


def test_the_longest_prefix_leaves_room_for_every_bucket() -> None:
    settings = Settings.from_env({**ENV, "S3_BUCKET_PREFIX": "x" * 52 + "-"})
    assert max(len(settings.bucket(name)) for name in BUCKETS) == 63


@pytest.mark.parametrize(
    ("endpoint", "address"),
    [
        (None, "https://acme-odp-gold.s3.eu-central-1.amazonaws.com/t/f"),
        ("https://s3.example.org", "https://s3.example.org/acme-odp-gold/t/f"),
    ],
)
def test_aws_has_the_bucket_in_its_host_and_others_in_their_path(endpoint: str | None, address: str) -> None:
    client = s3.s3_client(
        endpoint=endpoint, access_key="k", secret_key="s", region="eu-central-1", signature="s3v4"
    )
    params = {"Bucket": "acme-odp-gold", "Key": "t/f"}
    assert client.generate_presigned_url("get_object", Params=params).split("?")[0] == address


# Real requests, where there is an object store


@pytest.mark.containers
def test_a_lake_keeps_to_the_buckets_of_its_prefix() -> None:
    with lakes.object_store() as plain:
        settings = replace(plain, s3_bucket_prefix="acme-", landing_url="s3://acme-landing")
        root = s3.s3_client(
            endpoint=plain.s3_endpoint, access_key=lakes.KEY, secret_key=lakes.SECRET, region="us-east-1"
        )
        for name in BUCKETS:
            root.create_bucket(Bucket=settings.bucket(name))
        keep_a_lake(settings)
        there = {name: root.list_objects_v2(Bucket=name)["KeyCount"] for name in ("gold", "acme-gold")}
        assert there["gold"] == 0
        assert there["acme-gold"] > 0


def keep_a_lake(settings: Settings) -> None:
    """Write two versions of a table and read them back."""
    import polars as pl

    from lakehouse.contracts import Column, Contract, Materialization, Type
    from lakehouse.store import open_store

    table = Contract(
        layer="gold", name="things", domain="test", description="One thing.",
        materialization=Materialization.APPEND,
        columns=(Column(name="id", type=Type.INT64, nullable=False, description="Identity"),),
    )  # fmt: skip
    store = open_store(settings)
    store.append(table, pl.DataFrame({"id": [1]}))
    store.append(table, pl.DataFrame({"id": [2]}))
    assert sorted(store.scan(table).collect()["id"].to_list()) == [1, 2]
    assert store.found() == ["gold/things"]


# Provisioning a store whose users somebody else makes


def secrets(**changed: str) -> dict[str, str]:
    """Every secret that lake-init needs where the store's users are made elsewhere."""
    keys = [f"S3_{p.name.upper()}_{part}_KEY" for p in PRINCIPALS for part in ("ACCESS", "SECRET")]
    roles = ["DAGSTER_PG", "LAKE_PG", "READONLY_PG", "DUCKLAKE_PG", "MART_PG", "MART_READER", "POSTGRES"]
    made = {name: f"value-of-{name}" for name in [*keys, *(f"{role}_PASSWORD" for role in roles)]}
    return {**made, "S3_MANAGED": "true", "S3_BUCKET_PREFIX": "acme-", "ODP_SAMPLE_DATA": "false", **changed}


def test_a_managed_store_needs_no_root_credentials() -> None:
    settings = ProvisionSettings.from_env(secrets())
    assert settings.s3_root is None
    assert settings.s3_endpoint is None  # AWS
    assert [step.name for step in ObjectStore(settings).steps()] == ["buckets and keys", "conditional writes"]


def test_with_the_brought_store_root_credentials_are_still_asked_for() -> None:
    with pytest.raises(SettingsError, match="no value for MINIO_ROOT_PASSWORD, MINIO_ROOT_USER"):
        ProvisionSettings.from_env(secrets(S3_MANAGED="false"))


class Lists:
    """A client that may list some buckets, and is refused others with a code."""

    def __init__(self, refused: dict[str, tuple[int, str]]) -> None:
        self.refused, self.listed = refused, set[str]()

    def list_objects_v2(self, **asked: Any) -> None:
        bucket = str(asked["Bucket"])
        if bucket in self.refused:
            status, code = self.refused[bucket]
            response: Any = {"Error": {"Code": code}, "ResponseMetadata": {"HTTPStatusCode": status}}
            raise ClientError(response, "ListObjectsV2")
        self.listed.add(bucket)


def looking(monkeypatch: pytest.MonkeyPatch, **refused: tuple[int, str]) -> tuple[ObjectStore, Lists]:
    client = Lists({f"acme-{name}": why for name, why in refused.items()})
    store = ObjectStore(ProvisionSettings.from_env(secrets()))
    monkeypatch.setattr(store, "_client", lambda *_, **__: client)
    return store, client


def test_every_bucket_of_the_prefix_is_looked_into(monkeypatch: pytest.MonkeyPatch) -> None:
    store, client = looking(monkeypatch)
    assert store.look() == ", ".join(f"acme-{name}" for name in BUCKETS)
    assert client.listed == {f"acme-{name}" for name in BUCKETS}


@pytest.mark.parametrize(
    ("why", "says"),
    [
        ((403, "AccessDenied"), r"S3_PIPELINE_ACCESS_KEY may not list bucket acme-gold.*--policies"),
        ((404, "NoSuchBucket"), "there is no bucket acme-gold"),
        ((301, "PermanentRedirect"), "acme-gold lies in another region than S3_REGION"),
        ((403, "InvalidAccessKeyId"), "refuses S3_PIPELINE_ACCESS_KEY and S3_PIPELINE_SECRET_KEY"),
    ],
)
def test_what_is_wrong_with_a_bucket_is_said(
    monkeypatch: pytest.MonkeyPatch, why: tuple[int, str], says: str
) -> None:
    store, _ = looking(monkeypatch, gold=why)
    with pytest.raises(Refused, match=says) as caught:
        store.look()
    assert "value-of" not in str(caught.value)


def test_a_busy_store_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    store, _ = looking(monkeypatch, gold=(503, "SlowDown"))
    with pytest.raises(NotYet):
        store.look()


def test_policies_are_printed_for_the_prefix(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("S3_BUCKET_PREFIX", "acme-")
    assert command.main(["--policies"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert set(printed) == {one.name for one in PRINCIPALS}
    assert printed["serving"]["Statement"] == [
        {
            "Effect": "Allow",
            "Action": ["s3:GetBucketLocation", "s3:ListBucket", "s3:ListBucketMultipartUploads"],
            "Resource": ["arn:aws:s3:::acme-gold"],
        },
        {"Effect": "Allow", "Action": ["s3:GetObject"], "Resource": ["arn:aws:s3:::acme-gold/*"]},
    ]


# Provisioning a Postgres whose superuser is somebody else


@pytest.fixture(scope="module")
def cluster() -> Iterator[str]:
    """A Postgres with a role as managed servers give it: it may make roles and databases, and no more."""
    dsn = lakes.server()
    with psycopg.connect(dsn, autocommit=True) as db:
        db.execute("CREATE ROLE master LOGIN CREATEROLE CREATEDB PASSWORD 'value-of-POSTGRES_PASSWORD'")
    yield dsn
    with psycopg.connect(dsn, autocommit=True) as db:
        for name in OWNERS:
            db.execute(sql.SQL("DROP DATABASE IF EXISTS {}").format(sql.Identifier(name)))
        for name in [*OWNERS.values(), *READERS.values(), "master"]:
            db.execute(sql.SQL("DROP ROLE IF EXISTS {}").format(sql.Identifier(name)))


def managed(dsn: str, **changed: str) -> ProvisionSettings:
    place = conninfo.conninfo_to_dict(dsn)
    where = {"POSTGRES_HOST": str(place["host"]), "POSTGRES_HOST_PORT": str(place["port"])}
    return ProvisionSettings.from_env(secrets(**where, POSTGRES_USER="master", **changed))


def run_steps(settings: ProvisionSettings) -> list[str]:
    return [step.work() for step in Postgres(settings).steps()]


def test_a_role_that_may_make_roles_and_databases_is_enough(cluster: str) -> None:
    first = run_steps(managed(cluster))
    assert [" (new: " in line for line in first] == [True, True]
    assert [" (new: " in line for line in run_steps(managed(cluster))] == [False, False]
    with psycopg.connect(cluster) as db:
        owners = db.execute("SELECT datname, datdba::regrole::text FROM pg_database").fetchall()
        special = db.execute(
            "SELECT rolname FROM pg_roles WHERE rolname = ANY(%s)"
            " AND (rolsuper OR rolcreatedb OR rolcreaterole OR rolreplication OR rolbypassrls)",
            [[*OWNERS.values(), *READERS.values()]],
        ).fetchall()
    assert OWNERS.items() <= dict(owners).items()
    assert special == []


def test_readers_read_and_strangers_stay_out_there_too(cluster: str) -> None:
    run_steps(managed(cluster))
    with as_role(cluster, "mart", "mart") as owner:
        owner.execute("CREATE TABLE IF NOT EXISTS shown (id int)")
        owner.execute("INSERT INTO shown VALUES (1)")
    with as_role(cluster, "mart_reader", "mart") as reader:
        assert reader.execute("SELECT count(*) > 0 FROM shown").fetchone() == (True,)
        with pytest.raises(psycopg.Error):
            reader.execute("INSERT INTO shown VALUES (2)")
    allowed = "SELECT has_database_privilege('lake_readonly', 'mart', 'CONNECT')"
    with psycopg.connect(cluster) as db:
        assert db.execute(allowed).fetchone() == (False,)


@contextmanager
def as_role(dsn: str, role: str, database: str) -> Iterator[psycopg.Connection[Any]]:
    place = conninfo.make_conninfo(dsn, user=role, dbname=database, password="any: the server trusts us")
    with psycopg.connect(place, autocommit=True) as db:
        yield db


# Encrypted connections: every client is libpq, which PGSSLMODE rules


@pytest.fixture
def insisting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGSSLMODE", "require")


@pytest.mark.usefixtures("insisting")
def test_provisioning_insists_on_tls(cluster: str) -> None:
    with pytest.raises(Refused, match="PGSSLMODE do not agree on encryption"):
        Postgres(managed(cluster)).roles()


@pytest.mark.usefixtures("insisting")
def test_the_mart_insists_on_tls(cluster: str, tmp_path: Path) -> None:
    place = conninfo.conninfo_to_dict(cluster)
    env = {"MART_PG_HOST": str(place["host"]), "MART_PG_PORT": str(place["port"]), "MART_PG_DB": "postgres"}
    settings = Settings(lake_url=str(tmp_path / "lake"), landing_url=str(tmp_path / "landing"))
    with pytest.raises(StorageUnavailable):
        refresh_mart(open_lake(settings), [], OutputSettings.from_env(settings, env))


# What each client does at an open connection; `where` is libpq's own text, `lake` the settings of a DuckLake.
CLIENTS = {
    "psycopg": "import psycopg; psycopg.connect(where).close()",
    "psycopg2, which is Dagster's": "import psycopg2; psycopg2.connect(where).close()",
    "DuckDB": (
        "from lakehouse.settings import Settings; from lakehouse.store.ducklake import DuckLakeStore;"
        "DuckLakeStore(Settings.from_env()).found()"
    ),
}


@pytest.fixture(scope="module")
def certificates(cluster: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with the certificate of the server, which offers TLS for a while, and one of somebody else."""
    if shutil.which("openssl") is None:
        pytest.skip("no openssl here to make certificates with")
    folder = tmp_path_factory.mktemp("certificates")
    for name in ("right", "wrong"):
        argv = [
            "openssl",
            "req",
            "-x509",
            "-newkey",
            "rsa:2048",
            "-nodes",
            "-days",
            "2",
            "-subj",
            f"/CN={name}",
        ]
        argv += ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", f"{name}.key", "-out", f"{name}.crt"]
        subprocess.run(argv, cwd=folder, check=True, capture_output=True)
    with psycopg.connect(cluster, autocommit=True) as db:
        [data] = (db.execute("SHOW data_directory").fetchone() or [""])[:1]
        for name, made in (("server.key", "right.key"), ("server.crt", "right.crt")):
            place = Path(data, name)
            shutil.copy(folder / made, place)
            place.chmod(0o600)
            os.chown(place, Path(data).stat().st_uid, Path(data).stat().st_gid)
        db.execute("ALTER SYSTEM SET ssl = on")
        db.execute("SELECT pg_reload_conf()")
        wait_until("the server offers TLS", lambda: answers(cluster, "require"), 20)
        yield folder
        db.execute("ALTER SYSTEM RESET ssl")
        db.execute("SELECT pg_reload_conf()")
    wait_until("the server offers no TLS", lambda: not answers(cluster, "require"), 20)


def answers(dsn: str, mode: str) -> bool:
    try:
        psycopg.connect(dsn, sslmode=mode).close()
    except psycopg.OperationalError:
        return False
    return True


def connects(client: str, dsn: str, folder: Path, **libpq: str) -> bool:
    """Whether a client connects. In a process of its own: DuckDB reads the environment as it is loaded."""
    place = conninfo.conninfo_to_dict(dsn)
    env = {
        "LAKE_URL": str(folder / "lake"), "LANDING_URL": str(folder / "landing"), "LAKE_FORMAT": "ducklake",
        "DUCKLAKE_PG_HOST": str(place["host"]), "DUCKLAKE_PG_PORT": str(place["port"]),
        "DUCKLAKE_PG_DB": str(place["dbname"]), "DUCKLAKE_PG_USER": str(place["user"]),
    }  # fmt: skip
    code = f"where = {dsn!r}; {CLIENTS[client]}"
    done = subprocess.run(
        [sys.executable, "-c", code], env=clean_env(**env, **libpq), capture_output=True, text=True,
        check=False, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0 or "Error" in done.stderr or "Unavailable" in done.stderr
    return done.returncode == 0


@pytest.mark.slow
@pytest.mark.parametrize("client", CLIENTS)
def test_every_client_insists_on_tls(client: str, tmp_path: Path) -> None:
    dsn = database_of(lakes.database())
    assert connects(client, dsn, tmp_path, PGSSLMODE="disable")
    assert not connects(client, dsn, tmp_path, PGSSLMODE="require")


@pytest.mark.slow
@pytest.mark.parametrize("client", CLIENTS)
def test_every_client_looks_at_the_certificate(client: str, certificates: Path, tmp_path: Path) -> None:
    dsn = database_of(lakes.database())
    trusts = {
        who: connects(
            client, dsn, tmp_path, PGSSLMODE="verify-full", PGSSLROOTCERT=str(certificates / f"{who}.crt")
        )
        for who in ("right", "wrong")
    }
    assert trusts == {"right": True, "wrong": False}


def database_of(made: lakes.Database) -> str:
    return conninfo.make_conninfo(host=made.host, port=made.port, dbname=made.name, user=made.user)
