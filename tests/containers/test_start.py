"""`make start` and the end of it, on a real engine: what a person meets on the first day."""

from __future__ import annotations

import json
import re
import socket
import urllib.error
import urllib.request
from collections.abc import Callable

import pytest
from checkouts import wait_until
from ready_checkouts import ready_checkout
from stacks import Stack

from dagster_client import Client
from lakehouse.registry import contracts
from odpctl import dotenv
from odpctl.checkout import Checkout
from odpctl.errors import REFUSED

pytestmark = [pytest.mark.containers, pytest.mark.timeout(900)]

LONG = {"postgres", "minio", "toolbox"}
FULL = LONG | {"dagster", "dagster-code", "dagster-daemon", "api"}
ONCE = {"secrets", "lake-init"}
TABLES = {table.path for table in contracts()}


@pytest.fixture(autouse=True)
def up(stack: Stack) -> None:
    """Tests of other files end services on purpose; here each begins with all of them."""
    if stack.running() != FULL:
        done = stack.make("start", "PROFILE=full")
        assert done.returncode == 0, done.stdout + done.stderr


def test_full_is_healthy_and_verified(stack: Stack) -> None:
    containers = stack.containers()
    assert stack.running() == FULL
    assert {name: containers[name]["State"]["ExitCode"] for name in ONCE} == dict.fromkeys(ONCE, 0)
    assert {name for name in FULL if containers[name]["State"]["Health"]["Status"] == "healthy"} == FULL
    assert set(stack.hashes()) >= TABLES
    with urllib.request.urlopen(f"{stack.url('DAGSTER_PORT')}/server_info", timeout=5) as answer:
        assert answer.status == 200


def test_second_start_is_a_no_op(stack: Stack) -> None:
    before = {name: one["State"]["StartedAt"] for name, one in stack.containers().items()}
    done = stack.make("start", "PROFILE=full")
    assert done.returncode == 0, done.stderr
    assert "it was up already, nothing changed; last verified 2" in done.stdout
    assert {name: one["State"]["StartedAt"] for name, one in stack.containers().items()} == before


def test_a_no_op_start_says_what_waits_in_landing(stack: Stack) -> None:
    waiting = stack.dir / "landing" / "pipeline_events" / "empty.ndjson"
    waiting.parent.mkdir(parents=True, exist_ok=True)
    waiting.write_text("")
    try:
        done = stack.make("start", "PROFILE=full")
        assert done.returncode == 0
        assert "landing/ has 1 file(s) that no init has seen   (make init-data-layers)" in done.stdout
    finally:
        waiting.unlink()


def test_no_secret_is_ever_shown(stack: Stack) -> None:
    shown = json.dumps(list(stack.containers().values()))
    shown += "".join(stack.make(verb).stdout for verb in ("start", "status", "ps", "doctor", "logs"))
    assert [key for key in dotenv.PASSWORDS if stack.env[key] in shown] == []
    told = stack.make("credentials").stdout
    assert all(stack.env[key] in told for key in dotenv.SECRETS)


def test_status_tells_health_ports_and_runs(stack: Stack) -> None:
    done = stack.make("status", "JSON=1")
    assert done.returncode == 0, done.stdout
    report = json.loads(done.stdout)
    assert (report["profile"], report["project"], report["well"]) == ("full", stack.project, True)
    assert report["services"]["dagster"]["ports"] == [stack.port("DAGSTER_PORT")]
    assert report["last_init"]["exit"] == report["last_verify"]["exit"] == 0


def test_restart_keeps_every_row(stack: Stack) -> None:
    """Started again by plain Compose: with .env there, no script is needed for a healthy stack."""
    hashes, volumes = stack.hashes(), stack.volumes()
    assert stack.make("stop").returncode == 0
    assert stack.running() == set()
    down = stack.make("status")
    assert down.returncode != 0
    assert not any(f"✓ {name} " in down.stdout for name in FULL)
    for _ in range(2):
        done = stack.run("docker", "compose", "--profile", "full", "up", "-d", "--wait")
        assert done.returncode == 0, done.stderr
        assert stack.running() == FULL
    done = stack.make("start", "PROFILE=full")
    assert done.returncode == 0, done.stdout + done.stderr
    assert stack.running() == FULL
    assert (stack.hashes(), stack.volumes()) == (hashes, volumes)


def test_a_killed_service_is_seen_and_brought_back(stack: Stack) -> None:
    victim = stack.containers()["dagster-daemon"]["Id"]
    assert stack.run("docker", "kill", "-s", "KILL", victim).returncode == 0
    wait_until("the daemon is gone", lambda: "dagster-daemon" not in stack.running(), 20)
    seen = stack.make("status")
    assert seen.returncode != 0
    assert "✗ dagster-daemon" in seen.stdout
    done = stack.make("start", "PROFILE=full")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "it was up already" not in done.stdout
    assert stack.running() == FULL


def test_unknown_profile_lists_the_valid_ones(stack: Stack) -> None:
    done = stack.make("start", "PROFILE=everything")
    assert done.returncode != 0
    assert "there are: full, distributed, dev, minimal, embedded" in done.stderr
    assert stack.running() == FULL


def test_busy_port_is_named_and_nothing_is_changed(new_stack: Callable[..., Stack]) -> None:
    other = new_stack()
    with socket.create_server(("127.0.0.1", int(other.given["POSTGRES_PORT"]))):
        done = other.make("start", "PROFILE=full")
    assert done.returncode != 0
    assert f"port {other.given['POSTGRES_PORT']} (POSTGRES_PORT) is taken by pid " in done.stderr
    assert "  run:   POSTGRES_PORT=" in done.stderr
    assert not (other.dir / ".env").exists()


def test_a_container_that_holds_the_port_is_named(stack: Stack, new_stack: Callable[..., Stack]) -> None:
    other = new_stack(DAGSTER_PORT=str(stack.port("DAGSTER_PORT")))
    done = other.make("start", "PROFILE=full")
    assert done.returncode != 0
    assert f"(DAGSTER_PORT) is taken by container {stack.project}-dagster-1" in done.stderr


@pytest.mark.parametrize(
    ("variable", "says"),
    [
        ("MINIO_IMAGE", "error: image no.such.registry.invalid/odp:1 cannot be pulled"),
        (
            "PYTHON_IMAGE",
            "the base image of the build, PYTHON_IMAGE=no.such.registry.invalid/odp:1, cannot be pulled",
        ),
    ],
)
def test_an_image_that_cannot_be_had_is_named(
    new_stack: Callable[..., Stack], variable: str, says: str
) -> None:
    other = new_stack(**{variable: "no.such.registry.invalid/odp:1"})
    done = other.make("start", "PROFILE=minimal")
    assert done.returncode != 0
    assert says in done.stderr
    assert f"{variable}=<an image you can reach> make start" in done.stderr
    [log] = (other.dir / ".data" / "logs").glob("start-*.log")
    assert not any(other.env[key] in log.read_text() for key in dotenv.PASSWORDS)


def test_two_checkouts_side_by_side_and_every_way_down(stack: Stack, new_stack: Callable[..., Stack]) -> None:
    """One long walk, since each step needs the state of the one before."""
    other = new_stack()
    env_file = other.dir / ".env"

    done = other.make("start", "PROFILE=minimal")
    assert done.returncode == 0, done.stdout + done.stderr
    assert other.project != stack.project
    assert other.running() == LONG
    assert stack.running() == FULL
    assert other.make("verify-data-layers").returncode != 0

    kept, volumes = env_file.read_text(), other.volumes()
    assert len(volumes) >= 2
    env_file.unlink()
    done = other.make("clean")
    assert done.returncode == 0, done.stdout + done.stderr
    project = Checkout(other.dir, {}).default_project
    left = other.run("docker", "ps", "-aq", "--filter", f"label=com.docker.compose.project={project}").stdout
    assert left == "", "teardown without .env"

    done = other.make("start", "PROFILE=minimal")
    assert done.returncode != 0
    assert f"{project} has volumes with data, but .env has not the secrets they were made with" in done.stderr
    assert not env_file.exists()

    env_file.write_text(
        "\n".join(line for line in kept.splitlines() if "POSTGRES_PASSWORD" not in line)
        + "\nPOSTGRES_PASSWORD="
        + "0" * 40
        + "\n"
    )
    done = other.make("start", "PROFILE=minimal")
    assert done.returncode != 0
    assert "cause: .env does not match the volumes: Postgres was set up with another password" in done.stderr
    assert "last lines of lake-init (exited, exit code " in done.stderr

    env_file.write_text(kept)
    assert other.make("start", "PROFILE=minimal").returncode == 0
    assert other.volumes() == volumes
    assert other.make("nuke", "FORCE=1").returncode == 0
    assert other.volumes() == set()
    assert not (other.dir / ".data").exists()
    assert stack.running() == FULL


def sees_an_edited_model_when_it_reloads(dev: Stack) -> None:
    models = dev.dir / "data" / "dbt" / "models" / "marts" / "marts.yml"
    text = models.read_text()
    before = re.findall(r"(?m)^    description: (.*)$", text)[0]
    models.write_text(text.replace(before, "Edited meanwhile.", 1))
    client = Client(dev.url("DAGSTER_PORT"), timeout_seconds=120)
    locations = client.ask("{ workspaceOrError { ... on Workspace { locationEntries { name } } } }")
    [location] = locations["workspaceOrError"]["locationEntries"]
    reloaded = client.ask(
        "mutation($name: String!) { reloadRepositoryLocation(repositoryLocationName: $name) { __typename } }",
        name=location["name"],
    )
    assert reloaded["reloadRepositoryLocation"]["__typename"] == "WorkspaceLocationEntry"
    told = {
        "/".join(node["assetKey"]["path"]): node["description"]
        for node in client.ask("{ assetNodes { assetKey { path } description } }")["assetNodes"]
    }
    [edited] = [name for name, description in told.items() if "Edited meanwhile." in (description or "")]
    assert edited.startswith("gold/")


def test_dev_runs_dagster_on_the_host(new_stack: Callable[..., Stack]) -> None:
    other = new_stack(ready_checkout)
    done = other.make("start", "PROFILE=dev")
    assert done.returncode == 0, done.stdout + done.stderr
    assert other.running() == LONG
    assert set(other.hashes()) >= TABLES
    assert "✓ dagster dev     running  healthy" in other.make("status").stdout
    again = other.make("start", "PROFILE=dev")
    assert "it was up already" in again.stdout, again.stdout + again.stderr
    sees_an_edited_model_when_it_reloads(other)
    assert other.make("stop").stdout.startswith("stopped: the API, dagster dev, the containers of ")
    with pytest.raises(urllib.error.URLError):
        urllib.request.urlopen(f"{other.url('DAGSTER_PORT')}/server_info", timeout=5)


def test_the_documented_exit_code_reaches_the_script(new_stack: Callable[..., Stack]) -> None:
    other = new_stack()
    done = other.run(
        "python3", "ops/scripts/odp.py", "start", "--profile", "full", POSTGRES_PORT=other.given["MINIO_PORT"]
    )
    assert done.returncode == REFUSED
