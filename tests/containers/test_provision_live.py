"""lake-init against the real servers: again and again, with other secrets, with wrong ones."""

from __future__ import annotations

import time
from typing import Any

import boto3
import psycopg
import pytest
from botocore.exceptions import ClientError
from stacks import Done, Stack

pytestmark = [pytest.mark.containers, pytest.mark.timeout(900)]

BUCKETS = {"landing", "bronze", "silver", "gold", "quarantine", "system", "exports"}


def lake_init(stack: Stack, **env: str) -> Done:
    """One more run of lake-init, with some variables changed."""
    changed = [part for name, value in env.items() for part in ("-e", f"{name}={value}")]
    return stack.compose("run", "--rm", "-T", "--no-deps", *changed, "lake-init")


def objects(stack: Stack) -> set[tuple[str, str, str]]:
    """Every object there is, by its content."""
    s3 = stack.s3()
    return {
        (bucket, item["Key"], item["ETag"])
        for bucket in BUCKETS
        for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket)
        for item in page.get("Contents", [])
    }


def state(stack: Stack) -> Any:
    """Everything lake-init makes."""
    with superuser(stack) as db:
        roles = db.execute(
            "SELECT rolname, rolsuper, rolcanlogin, rolcreatedb FROM pg_roles ORDER BY 1"
        ).fetchall()
        databases = db.execute(
            "SELECT datname, datdba::regrole::text, datacl::text FROM pg_database ORDER BY 1"
        ).fetchall()
    return {bucket["Name"] for bucket in stack.s3().list_buckets()["Buckets"]}, roles, databases


def connect(stack: Stack, user: str, variable: str, database: str) -> psycopg.Connection[Any]:
    return psycopg.connect(
        host="127.0.0.1",
        port=stack.port("POSTGRES_PORT"),
        user=user,
        password=stack.env[variable],
        dbname=database,
        autocommit=True,
        connect_timeout=5,
    )


def superuser(stack: Stack, database: str = "postgres") -> psycopg.Connection[Any]:
    return connect(stack, "postgres", "POSTGRES_PASSWORD", database)


def works(stack: Stack, access_key: str, secret_key: str) -> bool:
    """Whether the store lets this key list gold."""
    client = boto3.client(
        "s3",
        endpoint_url=stack.url("MINIO_PORT"),
        aws_access_key_id=access_key,
        aws_secret_access_key=secret_key,
        region_name="us-east-1",
    )
    try:
        client.list_objects_v2(Bucket="gold", MaxKeys=1)
    except ClientError:
        return False
    return True


def test_three_more_runs_change_nothing(stack: Stack) -> None:
    before, data = state(stack), objects(stack)
    assert before[0] == BUCKETS
    for _ in range(3):
        done = lake_init(stack)
        assert done.returncode == 0, done.stderr
        assert "new:" not in done.stdout
    assert state(stack) == before
    assert data <= objects(stack)  # a sensor may have added some meanwhile


def test_a_run_killed_half_way_is_made_good_by_the_next(stack: Stack) -> None:
    before = state(stack)
    name = f"{stack.project}-half-way"
    stack.compose("run", "-d", "--no-deps", "--name", name, "lake-init")
    time.sleep(0.5)
    stack.run("docker", "kill", name)
    stack.run("docker", "rm", "-f", name)
    assert lake_init(stack).returncode == 0
    assert state(stack) == before


def test_the_probe_leaves_nothing(stack: Stack) -> None:
    assert stack.s3().list_objects_v2(Bucket="quarantine", Prefix="_probe/").get("Contents", []) == []


def test_a_new_secret_of_a_key_takes_effect(stack: Stack) -> None:
    key, old, new = stack.env["S3_SERVING_ACCESS_KEY"], stack.env["S3_SERVING_SECRET_KEY"], "n" * 40
    try:
        done = lake_init(stack, S3_SERVING_SECRET_KEY=new)
        assert done.returncode == 0, done.stderr
        assert (works(stack, key, old), works(stack, key, new)) == (False, True)
    finally:
        assert lake_init(stack).returncode == 0
    assert (works(stack, key, old), works(stack, key, new)) == (True, False)


def test_a_new_key_replaces_the_old_one(stack: Stack) -> None:
    old, other, secret = (
        stack.env["S3_SERVING_ACCESS_KEY"],
        "serving-other",
        stack.env["S3_SERVING_SECRET_KEY"],
    )
    try:
        done = lake_init(stack, S3_SERVING_ACCESS_KEY=other)
        assert f"new: serving; removed: {old}" in done.stdout, done.stdout + done.stderr
        assert (works(stack, old, secret), works(stack, other, secret)) == (False, True)
    finally:
        assert lake_init(stack).returncode == 0
    assert (works(stack, old, secret), works(stack, other, secret)) == (True, False)


def test_a_new_password_of_a_role_takes_effect_and_is_never_logged(stack: Stack) -> None:
    new = "p'w\\ \"d; -- $1 %s" + "q" * 20
    try:
        done = lake_init(stack, READONLY_PG_PASSWORD=new)
        assert done.returncode == 0, done.stderr
        with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
            connect(stack, "lake_readonly", "READONLY_PG_PASSWORD", "lake")
        psycopg.connect(
            host="127.0.0.1",
            port=stack.port("POSTGRES_PORT"),
            user="lake_readonly",
            password=new,
            dbname="lake",
        ).close()
        logs = stack.compose("logs", "postgres", "lake-init").stdout
        assert new not in logs + done.stdout + done.stderr
    finally:
        assert lake_init(stack).returncode == 0
    connect(stack, "lake_readonly", "READONLY_PG_PASSWORD", "lake").close()


def test_each_role_sees_its_own_database(stack: Stack) -> None:
    with pytest.raises(psycopg.OperationalError, match="permission denied for database"):
        connect(stack, "dagster", "DAGSTER_PG_PASSWORD", "lake")
    for database in ("dagster", "postgres"):
        with pytest.raises(psycopg.OperationalError, match="permission denied for database"):
            connect(stack, "lake_readonly", "READONLY_PG_PASSWORD", database)
    with superuser(stack) as db:
        plain = db.execute(
            "SELECT rolname FROM pg_authid WHERE rolcanlogin AND rolpassword NOT LIKE 'SCRAM-SHA-256$%'"
        ).fetchall()
    assert plain == []


def test_the_mart_is_read_by_its_reader_alone(stack: Stack) -> None:
    rows = {table["table"]: table["rows"] for table in stack.verify()[1]["tables"]}
    with connect(stack, "mart_reader", "MART_READER_PASSWORD", "mart") as reader:
        assert reader.execute("SELECT count(*) FROM pipeline_metrics").fetchone() == (
            rows["gold/pipeline_metrics"],
        )
        reader.execute("SET default_transaction_read_only = off")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            reader.execute("DELETE FROM pipeline_metrics")
    for database in ("dagster", "lake", "ducklake", "postgres"):
        with pytest.raises(psycopg.OperationalError, match="permission denied for database"):
            connect(stack, "mart_reader", "MART_READER_PASSWORD", database)
    with pytest.raises(psycopg.OperationalError, match="permission denied for database"):
        connect(stack, "lake_readonly", "READONLY_PG_PASSWORD", "mart")


def test_the_reader_reads_what_the_owner_makes_and_writes_nothing(stack: Stack) -> None:
    with connect(stack, "lake", "LAKE_PG_PASSWORD", "lake") as owner:
        owner.execute("CREATE SCHEMA odp_test")
        try:
            owner.execute("CREATE TABLE odp_test.mart AS SELECT 1 AS a")
            with connect(stack, "lake_readonly", "READONLY_PG_PASSWORD", "lake") as reader:
                assert reader.execute("SELECT a FROM odp_test.mart").fetchall() == [(1,)]
                reader.execute("SET default_transaction_read_only = off")
                for statement in (
                    "INSERT INTO odp_test.mart VALUES (2)",
                    "DROP TABLE odp_test.mart",
                    "CREATE TABLE public.mine (a int)",
                    "CREATE TEMP TABLE mine (a int)",
                ):
                    with pytest.raises(
                        (psycopg.errors.InsufficientPrivilege, psycopg.errors.WrongObjectType)
                    ):
                        reader.execute(statement)
        finally:
            owner.execute("DROP SCHEMA odp_test CASCADE")


@pytest.mark.parametrize(
    ("env", "says"),
    [
        (
            {"POSTGRES_PASSWORD": "wrong"},
            "✗ postgres roles: postgres:5432 says: password authentication failed for user postgres. "
            "The volume was set up with another POSTGRES_PASSWORD",
        ),
        (
            {"MINIO_ROOT_PASSWORD": "wrong" * 8},
            "✗ buckets: http://minio:9000 refuses MINIO_ROOT_USER and MINIO_ROOT_PASS",
        ),
        (
            {"S3_ENDPOINT": "http://minio:9999", "PROVISION_DEADLINE_SECONDS": "1"},
            "✗ buckets: the object store at http://minio:9999 does not answer",
        ),
        (
            {"POSTGRES_HOST": "nowhere", "PROVISION_DEADLINE_SECONDS": "1"},
            "✗ postgres roles: Postgres at nowhere:5432 does not answer",
        ),
    ],
)
def test_what_is_wrong_is_told_apart(stack: Stack, env: dict[str, str], says: str) -> None:
    done = lake_init(stack, **env)
    assert done.returncode == 1
    assert says in done.stderr + done.stdout
