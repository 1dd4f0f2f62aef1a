"""The running stack, from outside and inside: what a container may not do, what each key may not read.

What compose.yml promises is tested in tests/test_compose_config.py; here is what kernel and store make of it.
"""

from __future__ import annotations

import json
import re
import socket
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError
from checkouts import wait_until
from stacks import Stack

from odpctl import dotenv

pytestmark = [pytest.mark.containers, pytest.mark.timeout(900)]

LONG = ("postgres", "minio", "toolbox", "dagster-code", "dagster", "dagster-daemon", "api")
TABLES = ("bronze", "silver", "gold", "quarantine", "system")


def status(container: dict[str, Any]) -> dict[str, str]:
    """The kernel's view of a container's first process."""
    path = Path("/proc", str(container["State"]["Pid"]), "status")
    if not path.exists():
        pytest.skip("the engine runs on another machine: its processes cannot be seen from here")
    return dict(re.findall(r"^(\w+):\s*(.*)$", path.read_text(), re.MULTILINE))


@pytest.mark.parametrize("service", LONG)
def test_a_process_has_no_power(stack: Stack, service: str) -> None:
    seen = status(stack.containers()[service])
    assert {seen[key] for key in ("CapEff", "CapPrm", "CapBnd", "CapAmb", "CapInh")} == {"0" * 16}
    assert seen["NoNewPrivs"] == "1"
    assert seen["Seccomp"] == "2"
    assert "0" not in seen["Uid"].split()


@pytest.mark.parametrize("service", LONG)
def test_the_root_is_read_only_and_limits_hold(stack: Stack, service: str) -> None:
    host = stack.containers()[service]["HostConfig"]
    assert host["ReadonlyRootfs"] is True
    assert host["Privileged"] is False
    assert 0 < host["Memory"] <= 4 << 30
    assert 0 < host["PidsLimit"] <= 1024
    assert host["LogConfig"] == {"Type": "json-file", "Config": {"max-file": "3", "max-size": "10m"}}


@pytest.mark.parametrize("service", [name for name in LONG if name != "minio"])  # which has no shell
def test_nothing_but_volumes_and_tmp_can_be_written(stack: Stack, service: str) -> None:
    done = stack.compose(
        "exec", "-T", service, "sh", "-c", "touch /odp /etc/odp /opt/odp/x /run/secrets/x; touch /tmp/x"
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("Read-only file system") == 4, done.stderr


def test_docker_inspect_shows_no_secret(stack: Stack) -> None:
    shown = json.dumps(list(stack.containers().values()))
    assert [name for name in dotenv.SECRETS if stack.env[name] in shown] == []


def test_each_service_finds_its_own_secrets_only(stack: Stack) -> None:
    def files(service: str) -> set[str]:
        done = stack.compose("exec", "-T", service, "ls", "/run/secrets")
        assert done.returncode == 0, done.stderr
        return set(done.stdout.split())

    assert files("postgres") == {"postgres_password"}
    assert files("dagster") == files("dagster-daemon") == {"dagster_pg_password"}
    assert files("dagster-code") == {
        "alert_webhook_url",
        "dagster_pg_password",
        "ducklake_pg_password",
        "mart_pg_password",
        "s3_pipeline_access_key",
        "s3_pipeline_secret_key",
    }


def test_ports_answer_on_loopback_alone(stack: Stack) -> None:
    bound = [
        (port["HostIp"], int(port["HostPort"]))
        for container in stack.containers().values()
        for ports in (container["NetworkSettings"]["Ports"] or {}).values()
        for port in ports or []
    ]
    names = ("DAGSTER_PORT", "API_PORT", "MINIO_PORT", "MINIO_CONSOLE_PORT", "POSTGRES_PORT")
    assert sorted(bound) == sorted(("127.0.0.1", stack.port(name)) for name in names)
    for name in names:
        socket.create_connection(("127.0.0.1", stack.port(name)), timeout=5).close()


def reaches_the_outside(stack: Stack, service: str) -> bool:
    """Whether a process of a service can open a connection to the internet."""
    done = stack.compose(
        "exec", "-T", service, "timeout", "5", "bash", "-c", "exec 3<>/dev/tcp/pypi.org/443 && echo reached"
    )
    return "reached" in done.stdout


def test_only_the_alerts_have_a_way_out(stack: Stack) -> None:
    """Also the services that publish a port have none: what gets in there cannot send data away."""
    if not reaches_the_outside(stack, "dagster-code"):
        pytest.skip("no internet here: nobody has a way out")
    for service in ("toolbox", "dagster-daemon", "postgres", "dagster"):
        assert not reaches_the_outside(stack, service), service


# Keys of the object store


@pytest.fixture(scope="module")
def key(stack: Stack) -> Callable[[str], Any]:
    """A client with one principal's key, made as a user of it would."""

    def make(name: str) -> Any:
        return boto3.client(
            "s3",
            endpoint_url=stack.url("MINIO_PORT"),
            aws_access_key_id=stack.env[f"S3_{name}_ACCESS_KEY"],
            aws_secret_access_key=stack.env[f"S3_{name}_SECRET_KEY"],
            region_name="us-east-1",
            config=Config(retries={"total_max_attempts": 1}, s3={"addressing_style": "path"}),
        )

    return make


def refused(call: Callable[..., Any], **arguments: Any) -> bool:
    """Whether the store says 403, and not that it knows better."""
    try:
        call(**arguments)
    except ClientError as exc:
        return bool(exc.response["ResponseMetadata"]["HTTPStatusCode"] == 403)
    return False


@pytest.fixture(scope="module")
def marks(stack: Stack) -> Any:
    """One object in every bucket, put there by root, taken away again."""
    root, name = stack.s3(), ".odp-hardening/mark"
    for bucket in ("landing", *TABLES):
        root.put_object(Bucket=bucket, Key=name, Body=b"x")
    yield name
    for bucket in ("landing", *TABLES):
        root.delete_object(Bucket=bucket, Key=name)


def test_serving_reads_gold_and_nothing_else(key: Callable[[str], Any], marks: str) -> None:
    client = key("SERVING")
    assert client.get_object(Bucket="gold", Key=marks)["Body"].read() == b"x"
    for bucket in ("landing", "bronze", "silver", "quarantine"):
        assert refused(client.get_object, Bucket=bucket, Key=marks), bucket
        assert refused(client.list_objects_v2, Bucket=bucket), bucket
    assert refused(client.put_object, Bucket="gold", Key=".odp-hardening/new", Body=b"y")
    assert refused(client.delete_object, Bucket="gold", Key=marks)


def test_ingest_lands_files_and_sees_no_table(key: Callable[[str], Any], marks: str) -> None:
    client = key("INGEST")
    client.put_object(Bucket="landing", Key=marks, Body=b"x")
    assert client.get_object(Bucket="landing", Key=marks)["Body"].read() == b"x"
    assert refused(client.delete_object, Bucket="landing", Key=marks)
    for bucket in TABLES:
        assert refused(client.get_object, Bucket=bucket, Key=marks), bucket
        assert refused(client.list_objects_v2, Bucket=bucket), bucket
        assert refused(client.put_object, Bucket=bucket, Key=".odp-hardening/new", Body=b"y"), bucket


def test_pipeline_owns_the_tables_and_cannot_touch_what_landed(key: Callable[[str], Any], marks: str) -> None:
    client = key("PIPELINE")
    assert client.get_object(Bucket="landing", Key=marks)["Body"].read() == b"x"
    assert refused(client.put_object, Bucket="landing", Key=marks, Body=b"y")
    assert refused(client.delete_object, Bucket="landing", Key=marks)
    for bucket in TABLES:
        client.put_object(Bucket=bucket, Key=".odp-hardening/new", Body=b"y")
        client.delete_object(Bucket=bucket, Key=".odp-hardening/new")
    assert refused(client.create_bucket, Bucket="another")


def test_without_a_key_nothing_is_read(stack: Stack, marks: str) -> None:
    for path in ("", "gold", f"gold/{marks}"):
        with pytest.raises(urllib.request.HTTPError) as caught:  # type: ignore[attr-defined]
            urllib.request.urlopen(f"{stack.url('MINIO_PORT')}/{path}", timeout=5)
        assert caught.value.code == 403, path


# Health checks that fail when the service does


def health(stack: Stack, service: str) -> str:
    return str(stack.containers()[service]["State"]["Health"]["Status"])


def signal(stack: Stack, service: str, pattern: str, name: str) -> None:
    """Send a signal to the processes of a service whose command line matches."""
    find = (
        f"for p in /proc/[0-9]*; do grep -qs '{pattern}' $p/cmdline && kill -{name} ${{p#/proc/}}; done; true"
    )
    done = stack.compose("exec", "-T", service, "sh", "-c", find)
    assert done.returncode == 0, done.stderr


HUNG = {
    # Its container runs on, and it has no port: only its heartbeat can tell.
    "dagster-daemon": "dagster-[d]aemon",
    # Its socket still accepts, since the kernel does that: only an answer tells.
    "dagster-code": "module-[n]ame",
    "dagster": "dagster-[w]ebserver",
}


def test_a_hung_service_is_unhealthy_soon(stack: Stack) -> None:
    """All of them at once, as each has a check of its own and takes its time."""

    def are(state: str) -> bool:
        return {health(stack, service) for service in HUNG} == {state}

    wait_until("all are healthy", lambda: are("healthy"), 60)
    try:
        for service, pattern in HUNG.items():
            signal(stack, service, pattern, "STOP")
        wait_until("all are unhealthy", lambda: are("unhealthy"), 90)
    finally:
        for service, pattern in HUNG.items():
            signal(stack, service, pattern, "CONT")
    wait_until("all are healthy again", lambda: are("healthy"), 90)
