"""Requests made from the API's own description: none is answered by a failure of ours.

Belongs here: what schemathesis makes of /openapi.json. Does not: what an answer says.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from doors import key, settings_of
from fastapi import FastAPI
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, given, settings

from serving.app import make_app

schemathesis = pytest.importorskip("schemathesis", reason="uv sync --group readers brings schemathesis")

pytestmark = [pytest.mark.readers, pytest.mark.timeout(600)]

EXAMPLES = 25


@pytest.fixture(scope="module")
def door(sample: Path, tmp_path_factory: pytest.TempPathFactory) -> FastAPI:
    """A door that lets the same key ask as often as it likes."""
    state = tmp_path_factory.mktemp("api")
    return make_app(settings_of(sample, state=state, requests_per_minute=10**9))


def test_no_request_of_the_description_fails_here(door: FastAPI) -> None:
    """By schemathesis alone, without its plugin: that one reaches into a pytest of another version."""
    header = key(door)
    asked = set()
    with TestClient(door):
        schema = schemathesis.openapi.from_asgi("/openapi.json", door)
        for result in schema.get_all_operations():
            operation = result.ok()
            asked.add(operation.label)

            @settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
            @given(case=operation.as_strategy())
            def ask(case) -> None:  # type: ignore[no-untyped-def]
                case.headers = {**(case.headers or {}), **header}
                answer = case.call()
                assert answer.status_code < 500 or answer.status_code in (503, 504), answer.text[:300]

            ask()
    assert {"GET /catalog", "GET /data/{layer}/{table}", "POST /ingest/{dataset}", "POST /sql"} <= asked


def test_the_description_has_an_example_of_every_body(door: FastAPI) -> None:
    said = door.openapi()
    for path, calls in said["paths"].items():
        for method, call in calls.items():
            content = call.get("requestBody", {}).get("content", {})
            for media, one in content.items():
                if "parquet" in media:
                    continue
                shown = "example" in one or "examples" in one or "$ref" in one.get("schema", {})
                assert shown or "properties" in one.get("schema", {}), (path, method, media)
