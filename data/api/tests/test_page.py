"""The page: what stands on it, what must not, signing in, and the snippets it shows.

Belongs here: pages as text. Does not: what a browser makes of them (tests/browser/test_catalog_page.py).
"""

from __future__ import annotations

import gzip
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from html import escape
from html.parser import HTMLParser
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any

import polars as pl
import pytest
from doors import Running, key, refresh, running, settings_of
from fastapi import Depends, FastAPI
from fastapi.testclient import TestClient

from lakehouse.errors import StorageUnavailable
from lakehouse.pipeline import Lake, open_lake
from lakehouse.registry import contracts, sample_files
from lakehouse.settings import Settings
from lakehouse.store import CommitOptions
from serving.access import COOKIE, may
from serving.app import make_app
from serving.page import drawing
from serving.page.snippets import snippets

HERE = "http://testserver"
HOSTILE = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>{{7*7}}"
PATHS = ["/", "/send", "/query", *(f"/tables/{table.path}" for table in contracts())]


@dataclass
class Parsed(HTMLParser):
    """Elements with their attributes, and the text between them."""

    elements: list[tuple[str, dict[str, str | None]]] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def parsed(html: str) -> Parsed:
    found = Parsed()
    found.feed(html)
    return found


def lake_of(place: Path) -> Lake:
    return open_lake(Settings(lake_url=str(place / "lake"), landing_url=str(place / "landing")))


def door(place: Path, **changed: object) -> TestClient:
    """A door onto the lake of a folder, with a key that may read."""
    app = make_app(settings_of(place, **changed))
    return TestClient(app, headers=key(app, "read"), raise_server_exceptions=False)


def visitor(app: FastAPI) -> TestClient:
    """A browser that is not signed in."""
    return TestClient(app, follow_redirects=False, raise_server_exceptions=False)


def sign_in(client: TestClient, text: str, **more: str) -> Any:
    return client.post("/login", data={"key": text, **more}, headers={"Origin": HERE})


def test_each_table_has_a_page(client: TestClient) -> None:
    first = client.get("/")
    assert first.status_code == 200
    for table in contracts():
        assert f'href="/tables/{table.path}"' in first.text
        page = client.get(f"/tables/{table.path}")
        assert page.status_code == 200, page.text
        found = [tag for tag, _ in parsed(page.text).elements]
        assert found.count("h1") == 1
        for column in table.columns:
            assert f"<code>{column.name}</code>" in page.text


def test_the_numbers_are_those_of_the_catalog(client: TestClient) -> None:
    page = client.get("/").text
    for card in client.get("/catalog").json()["tables"]:
        row = page.split(f'<a href="/tables/{card["table"]}">', 1)[1].split("</tr>", 1)[0]
        assert f'data-name="rows">{card["rows"]:,}<' in row


def test_no_page_shows_a_person(app: FastAPI, sample: Path) -> None:
    lake = lake_of(sample)
    personal: set[str] = set()
    others = {"sample"}
    for table in contracts():
        rows = lake.store.scan(table).collect()
        for column in table.columns:
            texts = {text for value in rows[column.name].to_list() for text in strings(value)}
            if column.pii:
                personal |= {text for text in texts if len(text) > 3}
            else:
                others |= texts
    told = "\n".join(others)
    secret = {text for text in personal if text not in told}  # ids of the sample hold those of its people
    assert len(secret) > 100
    with TestClient(app, headers=key(app)) as all_scopes:
        for path in PATHS:
            page = all_scopes.get(path)
            assert page.status_code == 200
            texts = {text.strip() for text in parsed(page.text).texts}
            assert texts & secret == set(), path
            long = [text for text in secret if len(text) > 8 and escape(text) in page.text]
            assert long == [], path


def strings(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        for one in value:
            yield from strings(one)
    elif value is not None:
        yield str(value)


def test_what_a_value_says_is_never_markup(place: Path) -> None:
    lake = lake_of(place)
    table = next(one for one in contracts() if one.path == "gold/pipeline_metrics")
    rows = lake.store.scan(table).collect().with_columns(pl.lit(HOSTILE).alias("workspace_id"))
    rows = rows.unique(subset=list(table.key), maintain_order=True)
    lake.store.overwrite(table, rows, CommitOptions(info={"odp.maintenance": HOSTILE, "odp.run": HOSTILE}))
    with door(place) as client:
        page = client.get("/tables/gold/pipeline_metrics")
        assert page.status_code == 200
        found = parsed(page.text)
        assert any(HOSTILE[:25] in text for text in found.texts)  # shown, as text
        assert HOSTILE in found.texts  # the operation, whole
        scripts = [attributes for tag, attributes in found.elements if tag == "script"]
        assert [re.sub(r"v=.*", "v=", one["src"] or "") for one in scripts] == ["/static/page.js?v="]
        assert not [
            a for _, attributes in found.elements for a in attributes if a.startswith(("on", "style"))
        ]
        assert "49" not in [text.strip() for text in found.texts]


@pytest.mark.parametrize(
    "path", ["/", "/tables/gold/pipeline_metrics", "/tables/no/table", "/no", "/login", "/static/page.js"]
)
def test_every_answer_carries_the_policy(client: TestClient, path: str) -> None:
    answer = client.get(path, headers={"Accept": "text/html"})
    policy = dict(part.strip().split(" ", 1) for part in answer.headers["content-security-policy"].split(";"))
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == "'self'"
    assert policy["frame-ancestors"] == policy["base-uri"] == "'none'"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["referrer-policy"] == "same-origin"


def test_nothing_comes_from_elsewhere_and_all_of_it_is_small(client: TestClient) -> None:
    page = client.get("/")
    wanted = [
        a.get("src") or a.get("href") or ""
        for tag, a in parsed(page.text).elements
        if tag in ("script", "link")
    ]
    assert len(wanted) == 3
    assert all(one.startswith("/static/") for one in wanted)
    answers = [client.get(one, headers={"Accept-Encoding": "identity"}) for one in wanted]
    assert sum(len(one.content) for one in [page, *answers]) < 60_000
    for one, answer in zip(wanted, answers, strict=True):
        assert "immutable" in answer.headers["cache-control"]
        again = client.get(one, headers={"If-None-Match": answer.headers["etag"]})
        assert (again.status_code, again.content) == (304, b"")
        packed = client.get(one, headers={"Accept-Encoding": "gzip"})
        assert packed.headers["content-encoding"] == "gzip"
        assert packed.content == answer.content  # the client unpacks
        assert int(packed.headers["content-length"]) == len(gzip.compress(answer.content, mtime=0))
    assert client.get("/static/page.py").status_code == 404
    assert client.get("/static/..%2f..%2fkeys.py").status_code == 404


def test_who_has_no_key_is_asked_for_one(app: FastAPI) -> None:
    with visitor(app) as client:
        for path, there in (("/", "/login"), ("/query?table=gold/x", "/login?next=/query%3Ftable%3Dgold/x")):
            answer = client.get(path)
            assert (answer.status_code, answer.headers["location"]) == (303, there)
        form = client.get("/login")
        assert form.status_code == 200
        assert "make api-key" in form.text


def test_signing_in_keeps_the_key_where_scripts_and_other_sites_cannot_read_it(app: FastAPI) -> None:
    text = app.state.gate.keys.make("ada", ["read"])
    with visitor(app) as client:
        answer = sign_in(client, text, next="/tables/gold/pipeline_metrics")
        assert (answer.status_code, answer.headers["location"]) == (303, "/tables/gold/pipeline_metrics")
        cookie = answer.headers["set-cookie"].split("; ")
        assert cookie[0] == f"{COOKIE}={text}"
        assert {part.lower() for part in cookie[1:]} == {
            "httponly",
            "max-age=86400",
            "path=/",
            "samesite=strict",
        }
        assert "ada" in client.get("/").text
        assert client.post("/logout").status_code == 403
        answer = client.post("/logout", headers={"Origin": HERE})
        assert answer.status_code == 303
        assert client.get("/").headers["location"] == "/login"


def test_a_cookie_of_a_service_behind_https_is_sent_there_alone(sample: Path, tmp_path: Path) -> None:
    app = make_app(settings_of(sample, state=tmp_path / "api", public_url="https://lake.example"))
    text = app.state.gate.keys.make("ada", ["read"])
    with visitor(app) as client:
        answer = client.post("/login", data={"key": text}, headers={"Origin": "https://lake.example"})
        assert "Secure" in answer.headers["set-cookie"]


@pytest.mark.parametrize(
    "there",
    [
        "//evil.example",
        "/\\evil.example",
        "https://evil.example",
        "javascript:alert(1)",
        "/a\r\nX: y",
        "",
        "/" + "a" * 600,
    ],
)
def test_signing_in_leads_to_no_other_site(app: FastAPI, there: str) -> None:
    text = app.state.gate.keys.make("ada", ["read"])
    with visitor(app) as client:
        assert sign_in(client, text, next=there).headers["location"] == "/"
        form = client.get("/login", params={"next": there})
        back = next(a["value"] for _, a in parsed(form.text).elements if a.get("name") == "next")
        assert back == "/"


@pytest.mark.parametrize("text", ["", "odp_x_y", HOSTILE, "é" * 10, "\x00", "odp_" * 500])
def test_a_wrong_key_is_not_taken(app: FastAPI, text: str) -> None:
    with visitor(app) as client:
        answer = sign_in(client, text)
        assert answer.status_code == 401
        assert "set-cookie" not in answer.headers
        assert "unknown, revoked or expired" in answer.text
        assert not text or escape(text) not in answer.text
    with visitor(app) as client:
        assert sign_in(client, "x" * 5000).status_code == 413


def test_wrong_keys_slow_their_address_down_and_right_ones_go_on(app: FastAPI) -> None:
    right = key(app, "read")
    with visitor(app) as client:
        wrong = [client.get("/catalog", headers={"Authorization": f"Bearer odp_{n}_x"}) for n in range(25)]
        assert {one.status_code for one in wrong} == {401}
        signed = [
            sign_in(client, f"odp_{n}_x") for n in range(10)
        ]  # the form counts on where headers stopped
        assert signed[-1].status_code == 429
        assert int(signed[-1].headers["retry-after"]) >= 1
        assert client.get("/catalog", headers=right).status_code == 200


def test_a_revoked_key_leads_to_the_form_and_is_forgotten(app: FastAPI) -> None:
    text = app.state.gate.keys.make("ada", ["read"])
    with visitor(app) as client:
        sign_in(client, text)
        app.state.gate.keys.revoke(text.split("_")[1])
        answer = client.get("/")
        assert (answer.status_code, answer.headers["location"]) == (303, "/login")
        assert client.cookies.get(COOKIE) is None


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 403),
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "http://testserver:3000"}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "same-site", "Origin": HERE}, 403),
        ({"Sec-Fetch-Site": "none"}, 403),
        ({"Sec-Fetch-Site": "same-origin"}, 200),
        ({"Origin": HERE}, 200),
    ],
)
def test_a_cookie_counts_for_requests_of_our_own_pages_alone(
    app: FastAPI, headers: dict[str, str], status: int
) -> None:
    @app.post("/probe")
    def probe(_: Annotated[Any, Depends(may("read"))]) -> str:
        return "done"

    text = app.state.gate.keys.make("ada", ["read"])
    with visitor(app) as client:
        client.cookies.set(COOKIE, text)
        assert client.post("/probe", headers=headers).status_code == status
        assert client.get("/catalog", headers=headers).status_code == 200
        client.cookies.clear()
        bearer = {"Authorization": f"Bearer {text}"}
        assert client.post("/probe", headers={**headers, **bearer}).status_code == 200
        client.cookies.set(COOKIE, text)
        assert client.post("/login", data={"key": text}, headers=headers).status_code == (
            403 if status == 403 else 303
        )


def test_open_reading_needs_no_key_and_offers_to_sign_in(sample: Path, tmp_path: Path) -> None:
    app = make_app(settings_of(sample, state=tmp_path / "api", open_read=True))
    with visitor(app) as client:
        page = client.get("/")
        assert page.status_code == 200
        assert 'href="/login"' in page.text
        assert "Sign in with a key that has the scope <code>ingest</code>" in " ".join(
            client.get("/send").text.split()
        )


def test_a_key_without_the_scope_is_told_so(app: FastAPI) -> None:
    with TestClient(app, headers=key(app, "ingest")) as client:
        answer = client.get("/")
        assert answer.status_code == 403
        assert "scope read" in answer.text
        assert answer.headers["content-type"].startswith("text/html")


def test_what_is_not_there_is_a_page_for_browsers_and_a_problem_for_programs(client: TestClient) -> None:
    for path in (
        "/tables/gold/none",
        "/tables/quarantine/landing_files",
        "/tables/gold",
        f"/tables/gold/{HOSTILE}",
    ):
        answer = client.get(path)
        assert (answer.status_code, answer.headers["content-type"]) == (404, "text/html; charset=utf-8")
        assert "<img" not in answer.text
    assert "All tables" in client.get("/none", headers={"Accept": "text/html,*/*"}).text
    program = client.get("/none")
    assert program.headers["content-type"] == "application/problem+json"
    assert client.get("/catalog/gold/none", headers={"Accept": "text/html"}).json()["status"] == 404


def test_a_lake_that_was_never_written_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "lake").mkdir()
    (tmp_path / "landing").mkdir()
    with door(tmp_path) as client:
        page = client.get("/")
        assert page.status_code == 200
        assert "Nothing has been written yet" in page.text
        assert "make init-data-layers" in page.text
        for table in contracts():
            one = client.get(f"/tables/{table.path}")
            assert one.status_code == 200
            assert "This table has never been written" in one.text


def test_an_outage_never_looks_like_an_empty_lake(app: FastAPI, client: TestClient) -> None:
    def away() -> None:
        raise StorageUnavailable("the object store does not answer")

    app.state.describer._reachable = away
    for path in ("/", "/tables/gold/pipeline_metrics"):
        answer = client.get(path)
        assert answer.status_code == 503
        assert "make status" in answer.text
        assert "retry-after" in answer.headers
        assert "Nothing has been written" not in answer.text
    assert client.get("/catalog").headers["content-type"] == "application/problem+json"


def test_a_damaged_table_is_named_and_the_others_are_shown(place: Path) -> None:
    for log in (place / "lake/gold/pipeline_metrics/_delta_log").glob("*.json"):
        log.write_bytes(b"{not a commit")
    with door(place) as client:
        page = client.get("/")
        assert page.status_code == 200
        row = page.text.split('<a href="/tables/gold/pipeline_metrics">')[-1].split("</tr>", 1)[0]
        assert "make verify-data-layers" in row
        assert "need a look" in page.text
        one = client.get("/tables/gold/pipeline_metrics")
        assert one.status_code == 200
        assert "This table cannot be read" in one.text
        assert client.get("/tables/silver/pipeline_events").status_code == 200


def test_a_lost_data_file_is_told_on_the_table_s_page(place: Path) -> None:
    for file in (place / "lake/gold/pipeline_metrics").rglob("*.parquet"):
        if "_delta_log" not in file.parts:
            file.unlink()
    with door(place) as client:
        page = client.get("/tables/gold/pipeline_metrics")
        assert page.status_code == 200
        assert "make verify-data-layers" in page.text
        assert str(place) not in page.text


def test_refused_rows_show_by_rule_without_what_they_say(place: Path) -> None:
    name = next(n for n in sample_files() if n.startswith("pipeline_events/"))
    record = json.loads(sample_files()[name].splitlines()[0])
    record |= {"timestamp": "no time at all", "workspace_id": "secret-workspace"}
    lake = lake_of(place)
    lake.landing.put("pipeline_events/bad.ndjson", json.dumps(record).encode() + b"\n")
    refresh(lake)
    table = next(t for t in contracts() if t.path == "silver/pipeline_events")
    with door(place) as client:
        counts = client.get("/catalog/silver/pipeline_events").json()["rejects_by_rule"]
        assert counts
        page = client.get("/tables/silver/pipeline_events").text
        told = {rule.name: rule.description for rule in table.rules}
        shown = page.split("<h3>Quarantine</h3>", 1)[1].split("</table>", 1)[0]
        for rule, rows in counts.items():
            assert f"<code>{rule}</code>" in shown
            assert f'<td class="n">{rows:,}</td>' in shown
            assert rule not in told or escape(told[rule]) in shown
        assert "secret-workspace" not in page
        assert "no time at all" not in page
        assert "1 refused" in client.get("/").text


@pytest.mark.slow
def test_each_snippet_reads_the_table(sample: Path, tmp_path: Path) -> None:
    with running(sample, state=tmp_path / "api") as server:
        run_snippets(server, sample, tmp_path)


def run_snippets(server: Running, sample: Path, tmp_path: Path) -> None:
    url, text = server.url, server.key("read", "share")
    env = {
        **os.environ,
        "ODP_KEY": text,
        "POLARS_TABLE_WIDTH": "400",
        "LAKE_URL": str(sample / "lake"),
        "LANDING_URL": str(sample / "landing"),
    }
    ran = []
    for one in snippets("gold", "pipeline_metrics", url=url, pii=False):
        if one.language == "text" or (one.name == "sharing" and find_spec("delta_sharing") is None):
            continue
        command = ["sh", "-ec", one.code] if one.language == "sh" else [sys.executable, "-c", one.code]
        done = subprocess.run(command, env=env, cwd=tmp_path, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, (one.name, done.stderr)
        assert "ws-analytics" in done.stdout, (one.name, done.stdout)
        ran.append(one.name)
    assert {"polars", "pandas", "duckdb", "curl", "library"} <= set(ran)


def test_long_labels_of_a_chart_leave_their_neighbours_out() -> None:
    def shown(*labels: str) -> list[str]:
        return [
            bar.label for bar in drawing.bars([(one, 1.0, "1") for one in labels]).bars if bar.is_labelled
        ]

    assert shown("2026-01-14", "2026-01-15") == ["2026-01-14", "2026-01-15"]
    assert shown("100k to 150k", "150k and more", "under 25k") == ["100k to 150k", "under 25k"]
    assert shown() == []
