"""The API of the running stack: a file on its way into the lake, and what goes on when a service is down.

Belongs here: what needs the containers. Does not: formats, filters and refusals (data/api/tests).
"""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest
from checkouts import wait_until
from stacks import Stack

pytestmark = [pytest.mark.containers, pytest.mark.timeout(900)]

DATASET, SILVER, GOLD = "pipeline_events", "silver/pipeline_events", "gold/pipeline_metrics"
RUN_SECONDS = 240
SCOPES = "read,ingest,sql,share"


@dataclass(frozen=True)
class Api:
    """The API of a stack, with a key."""

    url: str
    key: str

    def ask(self, path: str, body: bytes | None = None, **headers: str) -> tuple[int, bytes]:
        """Return status and body of an answer; 0 where nothing answers."""
        sent = {"Authorization": f"Bearer {self.key}", **headers}
        request = urllib.request.Request(self.url + path, data=body, headers=sent)
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as exc:
            return exc.code, exc.read()
        except OSError:
            return 0, b""

    def get(self, path: str) -> Any:
        """Return the JSON of an answer that must be 200."""
        status, body = self.ask(path)
        assert status == 200, (path, status, body[:500])
        return json.loads(body)

    def send(self, *events: dict[str, Any]) -> str:
        """Send events and return the tracking id."""
        lines = "".join(json.dumps(event) + "\n" for event in events).encode()
        status, body = self.ask(f"/ingest/{DATASET}", lines, **{"Content-Type": "application/x-ndjson"})
        assert status == 202, body[:500]
        return str(json.loads(body)["tracking_id"])

    def ended(self, tracking_id: str) -> dict[str, Any]:
        """Wait for the end of an ingest."""

        def end() -> dict[str, Any] | None:
            said = self.get(f"/ingest/{tracking_id}/status")
            return said if said["status"] in ("done", "failed", "refused") else None

        return wait_until(f"{tracking_id[:24]} ends", end, RUN_SECONDS)

    def rows(self, pipeline: str) -> int:
        """Return how many rows of a pipeline are in Silver."""
        return len(self.get(f"/data/{SILVER}?pipeline_id={pipeline}&limit=1000")["rows"])


def event(pipeline: str, second: int = 0, **changed: Any) -> dict[str, Any]:
    made = {
        "pipeline_id": pipeline,
        "event_type": "pipeline.completed",
        "workspace_id": "workspace-api",
        "timestamp": f"2026-03-01T10:00:{second:02}Z",
        "raw_data": json.dumps({"duration_ms": 7, "activities_executed": 1}),
    }
    return {**made, **changed}


@pytest.fixture
def api(stack: Stack) -> Api:
    """The API, with all services up and a key of its own."""
    done = stack.make("start", "PROFILE=full")
    assert done.returncode == 0, done.stdout + done.stderr
    made = stack.make("api-key", f"ARGS=create --name test --scopes {SCOPES}")
    assert made.returncode == 0, made.stderr
    return Api(stack.url("API_PORT"), made.stdout.split()[-1])


@contextmanager
def stopped(stack: Stack, service: str) -> Iterator[None]:
    done = stack.compose("stop", service)
    assert done.returncode == 0, done.stderr
    try:
        yield
    finally:
        done = stack.compose("start", service)
        assert done.returncode == 0, done.stderr


def components(api: Api) -> dict[str, bool]:
    status, body = api.ask("/health")
    assert status == 200, body
    return {name: one["ok"] for name, one in json.loads(body)["components"].items()}


def test_what_is_sent_ends_in_the_lake_and_what_is_wrong_is_named(api: Api) -> None:
    good = [event("api-walk", second) for second in range(5)]
    tracking_id = api.send(*good, event("api-walk", 9, timestamp="no time"))
    said = api.ended(tracking_id)
    assert said["status"] == "done", said
    assert said["rows"] == 6
    [table] = [one for one in said["tables"] if one["table"] == SILVER]
    assert (table["written"], table["rejected"]) == (5, 1)
    assert len(table["rejects"]) >= 1
    assert api.rows("api-walk") == 5
    card = api.get(f"/catalog/{SILVER}")
    assert card["open_rejects"] >= 1
    assert card["history"][0]["by_odp"]
    assert api.send(*good, event("api-walk", 9, timestamp="no time")) == tracking_id


def test_without_a_key_nothing_is_told(api: Api, stack: Stack) -> None:
    for path in ("/catalog", f"/data/{GOLD}", "/metrics", "/ingest/x/status"):
        assert Api(api.url, "odp_00000000_x").ask(path)[0] == 401, path
    assert api.key not in stack.compose("logs", "--no-color", "api").stdout
    assert stack.compose("exec", "-T", "api", "sh", "-c", "cat /var/lib/odp-api/keys.json").stdout.count(
        api.key.split("_", 2)[2]
    ) == 0  # fmt: skip


def test_each_service_may_be_away(api: Api, stack: Stack) -> None:
    """Postgres, Dagster: reads and ingests go on. The object store: both say so. The API: all else does."""
    sent = []
    with stopped(stack, "postgres"):
        assert api.get(f"/data/{GOLD}?limit=1")["rows"]
        sent.append(api.send(event("api-postgres")))
    with stopped(stack, "dagster"):
        wait_until("the API sees that Dagster is away", lambda: not components(api)["dagster"], 30)
        assert api.get(f"/data/{GOLD}?limit=1")["rows"]
        assert api.ask("/ready")[0] == 200
        sent.append(api.send(event("api-dagster")))
        assert api.get(f"/ingest/{sent[-1]}/status")["status"] in ("queued", "running", "done")
    with stopped(stack, "minio"):
        wait_until("the API sees that the store is away", lambda: not components(api)["lake"], 30)
        status, body = api.ask(f"/data/{GOLD}?limit=1")
        assert (status, json.loads(body)["status"]) == (503, 503)
        lines = json.dumps(event("api-minio")).encode()
        assert api.ask(f"/ingest/{DATASET}", lines, **{"Content-Type": "application/x-ndjson"})[0] == 503
        assert api.ask("/ready")[0] == 503
    wait_until("the API reads again", lambda: api.ask(f"/data/{GOLD}?limit=1")[0] == 200, 60)
    with stopped(stack, "api"):
        assert stack.verify()[0] == 0
    done = stack.make("start", "PROFILE=full")
    assert done.returncode == 0, done.stdout + done.stderr
    for tracking_id in sent:
        assert api.ended(tracking_id)["status"] == "done"
    assert (api.rows("api-postgres"), api.rows("api-dagster"), api.rows("api-minio")) == (1, 1, 0)
    assert stack.verify()[0] == 0


def test_many_at_once_and_a_killed_api_lose_and_double_nothing(api: Api, stack: Stack) -> None:
    """Whoever got 202 is in the lake once, whoever got none sends again: 60 ingests, two kills."""
    accepted: dict[str, str] = {}
    for number in range(60):
        name = f"api-many-{number}"
        if number in (20, 40):
            victim = stack.containers()["api"]["Id"]
            assert stack.run("docker", "kill", "-s", "KILL", victim).returncode == 0
        lines = json.dumps(event(name)).encode() + b"\n"

        def send(lines: bytes = lines) -> str | None:
            kind = {"Content-Type": "application/x-ndjson"}
            status, body = api.ask(f"/ingest/{DATASET}", lines, **kind)
            assert status in (0, 202), body[:300]
            return str(json.loads(body)["tracking_id"]) if status == 202 else None

        if number in (20, 40):
            stack.compose("start", "api")
        accepted[name] = wait_until(f"{name} is accepted", send, 90)
    for tracking_id in accepted.values():
        assert api.ended(tracking_id)["status"] == "done"
    assert {name: api.rows(name) for name in accepted} == dict.fromkeys(accepted, 1)
    assert stack.verify()[0] == 0
