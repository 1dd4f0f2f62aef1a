"""The API's page in a browser: reading, keyboard, themes, phone width, sending a file, asking in SQL.

Belongs here: what only a browser can tell. It needs no container: a door of its own serves a sample lake.
Does not: what stands on the pages as text (data/api/tests/test_page.py).
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

import pytest
from checkouts import free_ports, wait_until

from lakehouse.materialize import materialize
from lakehouse.pipeline import Lake, open_lake
from lakehouse.registry import sample_files, tables
from lakehouse.settings import Settings
from serving.keys import Keys

sync_api = pytest.importorskip("playwright.sync_api")
axe = pytest.importorskip("axe_playwright_python.sync_playwright")
expect, Page = sync_api.expect, sync_api.Page

pytestmark = [pytest.mark.browser, pytest.mark.timeout(600)]

PHONE = {"width": 390, "height": 844}
PATHS = (
    "/",
    "/tables/gold/pipeline_metrics",
    "/tables/bronze/raw_fhir_resources",
    "/tables/silver/patient",
    "/send",
    "/query",
    "/tables/gold/none",
)
needs_ingest = pytest.mark.skipif(find_spec("serving.ingest") is None, reason="there is no room for ingest")
needs_sql = pytest.mark.skipif(find_spec("serving.sql") is None, reason="there is no room for SQL")
Shot = Callable[..., Path]


@dataclass(frozen=True, kw_only=True)
class Door:
    """A running door, and the lake behind it."""

    url: str
    lake: Lake
    keys: Keys

    def refresh(self) -> None:
        """Bring every table up to date, as a run would."""
        for table in tables():
            materialize(self.lake, table, checks=False)


@pytest.fixture(scope="session")
def door(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Door]:
    """A door onto a lake of the sample."""
    place = tmp_path_factory.mktemp("page")
    lake = open_lake(Settings(lake_url=str(place / "lake"), landing_url=str(place / "landing")))
    for name, body in sample_files().items():
        lake.landing.put(name, body)
    port = str(free_ports(1)[0])
    made = Door(url=f"http://127.0.0.1:{port}", lake=lake, keys=Keys(place / "api" / "keys.json"))
    made.refresh()
    env = {
        **os.environ,
        "LAKE_URL": str(place / "lake"),
        "LANDING_URL": str(place / "landing"),
        "API_STATE": str(place / "api"),
        "API_PORT": port,
    }
    server = subprocess.Popen([sys.executable, "-m", "serving"], env=env)
    try:
        wait_until("the door answers", lambda: answers(made.url), 120)
        yield made
    finally:
        server.terminate()
        assert server.wait(60) in (0, -signal.SIGTERM)


def answers(url: str) -> bool:
    try:
        with urlopen(f"{url}/login", timeout=5) as answer:
            return bool(answer.status == 200)
    except (URLError, OSError):
        return False


def sign_in(page: Page, door: Door, *scopes: str) -> None:
    """Sign in by keyboard alone, with a new key."""
    page.goto(f"{door.url}/")
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
    expect(page.get_by_label("Key")).to_be_focused()
    page.keyboard.type(door.keys.make("ada", scopes or ("read", "ingest", "sql")))
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Tables", exact=True)).to_be_visible()


def refused_by_axe(page: Page) -> list[str]:
    found = axe.Axe().run(page).response["violations"]
    return [f"{one['id']}: {[node['html'][:120] for node in one['nodes']]}" for one in found]


@pytest.mark.parametrize("size", [None, PHONE], ids=["desk", "phone"])
@pytest.mark.parametrize("table", ["pipeline_metrics", "condition_era"])
def test_no_label_of_a_chart_lies_on_another(
    page: Page, door: Door, table: str, size: dict[str, int] | None
) -> None:
    if size:
        page.set_viewport_size(size)
    sign_in(page, door)
    page.goto(f"{door.url}/tables/gold/{table}")
    labels = page.evaluate(
        """() => [...document.querySelectorAll('svg.chart .tick[text-anchor]')].map(label => {
            const { left, right } = label.getBoundingClientRect();
            return [label.textContent, left, right];
        })"""
    )
    assert len(labels) > 1
    touching = [(a[0], b[0]) for a, b in pairwise(sorted(labels, key=lambda one: one[1])) if a[2] > b[1]]
    assert touching == []


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("size", [None, PHONE], ids=["desk", "phone"])
def test_axe_finds_nothing_and_nothing_is_wider_than_the_window(
    page: Page, door: Door, shot: Shot, theme: str, size: dict[str, int] | None
) -> None:
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.emulate_media(color_scheme=theme)
    if size:
        page.set_viewport_size(size)
    page.goto(f"{door.url}/login")
    assert refused_by_axe(page) == []
    sign_in(page, door)
    for path in PATHS:
        page.goto(door.url + path)
        assert refused_by_axe(page) == [], path
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), path
        shot(page, f"page-{path.strip('/').replace('/', '-') or 'tables'}-{theme}{'-phone' if size else ''}")
    assert [text for text in complaints if "404" not in text] == []


def test_a_reader_comes_from_the_list_to_a_table_and_its_source_by_keyboard(page: Page, door: Door) -> None:
    sign_in(page, door)
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to content")).to_be_focused()
    page.get_by_label("Find a table").focus()
    page.keyboard.type("pipeline_metrics")
    expect(page.locator("tr[data-find]:visible")).to_have_count(1)
    expect(page.locator("#found")).to_have_text("1 of 23")
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="pipeline_metrics")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="pipeline_metrics")).to_be_visible()
    page.locator("svg.lineage a").last.focus()
    page.keyboard.press("Enter")
    expect(page).to_have_url(f"{door.url}/tables/silver/pipeline_events")


def test_a_theme_that_was_chosen_stays(page: Page, door: Door) -> None:
    page.emulate_media(color_scheme="light")
    sign_in(page, door)
    light = page.evaluate("getComputedStyle(document.body).backgroundColor")
    page.get_by_role("button", name="Use the dark theme").click()
    dark = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert dark != light
    page.reload()
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == dark
    expect(page.get_by_role("button", name="Use the light theme")).to_be_visible()


def test_nothing_is_asked_of_another_place(page: Page, door: Door) -> None:
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    sign_in(page, door)
    page.goto(f"{door.url}/tables/gold/pipeline_metrics")
    assert asked
    assert [url for url in asked if not url.startswith(door.url)] == []


@needs_ingest
def test_a_file_is_sent_and_followed_into_the_tables(page: Page, door: Door, shot: Shot) -> None:
    name = next(name for name in sample_files() if name.startswith("pipeline_events/"))
    good = json.loads(sample_files()[name].splitlines()[0])
    good |= {"pipeline_id": "sent-by-hand", "timestamp": "2026-02-01T12:00:00Z"}
    bad = {**good, "timestamp": "no time"}
    sign_in(page, door)
    page.goto(f"{door.url}/send?dataset=pipeline_events")
    page.get_by_role("button", name="Send", exact=True).click()
    expect(page.get_by_role("status")).to_have_text("Choose a file first.")
    body = "\n".join(map(json.dumps, (good, bad))).encode()
    page.get_by_label("File").set_input_files(
        {"name": "events.ndjson", "mimeType": "application/octet-stream", "buffer": body}
    )
    page.get_by_role("button", name="Send", exact=True).click()
    expect(page.get_by_role("status")).to_contain_text("It waits for a run")
    door.refresh()
    expect(page.get_by_role("status")).to_have_text("Done: its rows are in the tables.")
    row = page.get_by_role("row", name="silver/pipeline_events")
    expect(row).to_contain_text("occurred_at_readable: 1")
    assert refused_by_axe(page) == []
    shot(page, "page-sent")
    row.get_by_role("link").click()
    expect(page.locator("#quality")).to_contain_text("occurred_at_readable")
    expect(page.locator("#history tbody tr").first).to_contain_text("1 added")


@needs_ingest
def test_a_file_that_is_refused_says_why(page: Page, door: Door) -> None:
    sign_in(page, door)
    page.goto(f"{door.url}/send?dataset=pipeline_events")
    page.get_by_label("File").set_input_files(
        {"name": "events.ndjson", "mimeType": "application/octet-stream", "buffer": b'{"a": 1\n{'}
    )
    page.get_by_role("button", name="Send", exact=True).click()
    expect(page.get_by_role("status")).to_contain_text("Not taken: ")
    expect(page.get_by_role("status")).to_contain_text("line 1")


@needs_sql
def test_a_question_in_sql_is_answered_with_a_grid_and_a_chart(page: Page, door: Door, shot: Shot) -> None:
    sign_in(page, door)
    page.goto(f"{door.url}/query?table=gold/pipeline_metrics")
    field = page.get_by_label("Statement")
    expect(field).to_have_value("SELECT *\nFROM gold.pipeline_metrics\nLIMIT 20")
    field.fill(
        "SELECT date, sum(total_pipelines)::BIGINT AS pipelines, 9007199254740993 AS big, '<b>' AS mark "
        "FROM gold.pipeline_metrics GROUP BY date ORDER BY date"
    )
    field.press("Control+Enter")
    grid = page.get_by_role("region", name="Answer")
    expect(grid.get_by_role("columnheader")).to_have_text(["date", "pipelines", "big", "mark"])
    expect(grid.get_by_role("row").nth(1)).to_contain_text("9007199254740993<b>")
    expect(page.locator("figcaption")).to_have_text("pipelines by date")
    assert refused_by_axe(page) == []
    shot(page, "page-sql")
    field.fill("DROP TABLE gold.pipeline_metrics")
    field.press("Control+Enter")
    expect(page.get_by_role("alert")).to_be_visible()


@needs_sql
def test_a_key_without_the_scope_is_told_so(page: Page, door: Door) -> None:
    sign_in(page, door, "read")
    page.goto(f"{door.url}/query")
    expect(page.get_by_text("Your key has no scope sql")).to_be_visible()
    page.get_by_role("button", name="Ask").click()
    expect(page.get_by_role("alert")).to_contain_text("sql")
