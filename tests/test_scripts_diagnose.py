"""From what Docker, Compose and the services print to a cause and one command. Texts are as seen."""

from __future__ import annotations

import pytest

from odpctl.compose import Container, services_down
from odpctl.diagnose import named, of_container, recognise, worst
from odpctl.errors import Failure

SETTINGS = {
    "DAGSTER_PORT": "18084",
    "MINIO_PORT": "19000",
    "POSTGRES_PORT": "15432",
    "PYTHON_IMAGE": "python:3.13",
}


@pytest.mark.parametrize(
    ("phase", "text", "sentence", "command"),
    [
        (
            "up",
            "driver failed programming external connectivity on endpoint x-dagster-1 (1f): "
            "Error starting userland proxy: listen tcp4 127.0.0.1:18084: bind: address already in use",
            "port 18084 (DAGSTER_PORT) is taken by another program",
            "DAGSTER_PORT=<free port> make start",
        ),
        (
            "up",
            "Error response from daemon: Bind for 127.0.0.1:19000 failed: port is already allocated",
            "port 19000 (MINIO_PORT) is taken by another program",
            "MINIO_PORT=<free port> make start",
        ),
        (
            "up",
            "Ports are not available: exposing port TCP 127.0.0.1:15432 -> 0.0.0.0:0: "
            "listen tcp 127.0.0.1:15432: bind: address already in use",
            "port 15432 (POSTGRES_PORT) is taken by another program",
            "POSTGRES_PORT=<free port> make start",
        ),
        (
            "up",
            'psycopg.OperationalError: FATAL:  password authentication failed for user "postgres"',
            ".env does not match the volumes: Postgres was set up with another password",
            "put the .env back",
        ),
        (
            "up",
            "botocore: An error occurred (SignatureDoesNotMatch) when calling ListBuckets",
            ".env does not match the volumes: the object store was set up with other keys",
            "put the .env back",
        ),
        (
            "build",
            "write /var/lib/docker/tmp/x: no space left on device",
            "the disk is full",
            "docker system df",
        ),
        (
            "init",
            "XMinioStorageFull: Storage backend has reached its minimum free drive threshold",
            "the disk is full",
            "df",
        ),
        (
            "build",
            "Failed to fetch: `https://pypi.org/simple/dagster/`\n  Caused by: dns error: failed to lookup",
            "the build needs a package index, and this machine reaches none",
            "curl",
        ),
        (
            "venv",
            "Temporary failure in name resolution",
            "the venv needs a package index, and this machine reaches none",
            "curl",
        ),
        (
            "build",
            "failed to solve: failed to resolve source metadata for docker.io/library/python:3.13: "
            "dial tcp: lookup registry-1.docker.io: no such host",
            "the base image of the build, PYTHON_IMAGE=python:3.13, cannot be pulled",
            "PYTHON_IMAGE=<an image you can reach> make start",
        ),
        (
            "up",
            "permission denied while trying to connect to the Docker daemon socket at unix:///var/run/docker.sock",
            "this user may not use the Docker socket",
            "usermod",
        ),
        (
            "up",
            "Cannot connect to the Docker daemon at unix:///x",
            "the Docker daemon has stopped",
            "systemctl",
        ),
        (
            "up",
            'invalid mount config for type "bind": bind source path does not exist: /home/me/odp/.env',
            "the .env with the secrets is missing",
            "make start",
        ),
    ],
)
def test_known_failures_are_told_apart(phase: str, text: str, sentence: str, command: str) -> None:
    cause = recognise(text, phase, SETTINGS)
    assert cause is not None
    assert cause.sentence.startswith(sentence)
    assert command in cause.command


def test_an_unknown_failure_is_not_guessed() -> None:
    assert recognise("KeyError: 'frame'", "init", SETTINGS) is None
    assert recognise("connect to 127.0.0.1:19000: connection timed out", "init", SETTINGS) is None


def container(
    service: str, status: str = "running", health: str = "healthy", code: int = 0, *, oom: bool = False
) -> Container:
    once = service == "lake-init"
    return Container(service, f"id-{service}", status, health, code, oom, "", "", "", (), once=once)


@pytest.mark.parametrize(
    ("one", "sentence"),
    [
        (
            container("minio", "exited", "", 137, oom=True),
            "minio was killed (exit 137): it ran out of memory",
        ),
        (
            container("minio", "exited", "", 137),
            "minio was killed (exit 137): it ran out of memory, or somebody killed it",
        ),
        (container("dagster", health="unhealthy"), "dagster runs but its health check fails"),
        (container("dagster", health="starting"), "dagster was not healthy in time"),
        (
            container("dagster", "created", ""),
            "dagster was created but never started: something it waits for failed",
        ),
    ],
)
def test_what_the_engine_knows(one: Container, sentence: str) -> None:
    cause = of_container(one)
    assert cause is not None
    assert cause.sentence == sentence


def test_the_cause_comes_before_its_victims() -> None:
    ill = [
        container("dagster", "created", ""),
        container("toolbox", health="unhealthy"),
        container("lake-init", "exited", "", 1),
    ]
    assert [worst(ill[:count]).service for count in (1, 2, 3)] == ["dagster", "toolbox", "lake-init"]
    assert worst([container("minio"), container("lake-init", "exited", "")]) is None


def test_a_container_that_has_come_round_is_still_named() -> None:
    containers = [container("minio"), container("toolbox")]
    told = named("container odp-1-toolbox-1 is unhealthy", "odp-1", containers)
    assert told is not None
    assert told.service == "toolbox"
    assert named("no such thing", "odp-1", containers) is None


def test_what_is_down_knows_one_shots_from_services() -> None:
    config = {"services": {"minio": {}, "lake-init": {}, "toolbox": {}}}
    well = [container("minio"), container("lake-init", "exited", ""), container("toolbox", health="")]
    assert services_down(config, well) == []
    assert services_down(config, well[:2]) == ["toolbox"]
    assert services_down(config, [container("minio", "exited", ""), *well[1:]]) == ["minio"]
    assert services_down(config, [well[0], container("lake-init", "exited", "", 1), well[2]]) == ["lake-init"]
    assert services_down(config, [well[0], container("lake-init", health=""), well[2]]) == ["lake-init"]


def test_a_failure_reads_from_least_to_most_important() -> None:
    failure = Failure(
        "up failed", "the disk is full", "docker system df", details=[("last lines of minio", ["a", "b"])]
    )
    assert failure.render().splitlines() == [
        "last lines of minio:",
        "  │ a",
        "  │ b",
        "error: up failed",
        "  cause: the disk is full",
        "  run:   docker system df",
    ]
