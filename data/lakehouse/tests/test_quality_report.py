"""The report on data quality: what it says of a lake with faults, and what must not be in it."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from lakehouse.contracts import LANDING_REJECTS, Type, quarantine_of
from lakehouse.maintenance import record_point
from lakehouse.materialize import materialize
from lakehouse.outputs.page import page
from lakehouse.outputs.quality import Quality, quality, report
from lakehouse.outputs.settings import OutputSettings
from lakehouse.pipeline import Lake, open_lake
from lakehouse.registry import contracts, sample_files, tables
from lakehouse.settings import Settings

PERSON = "Ada-Lovelace-of-Marylebone"
BROKEN = [
    {"pipeline_id": None, "event_type": "started", "workspace_id": PERSON,
     "timestamp": "2026-01-05T10:00:00Z", "raw_data": json.dumps({"note": PERSON})},
    {"pipeline_id": "p1", "event_type": "started", "workspace_id": "w", "timestamp": PERSON,
     "raw_data": "{}"},
]  # fmt: skip
DOMAIN = [table for table in contracts() if table.domain == "pipelines"]
EVENTS = next(table for table in DOMAIN if table.path == "silver/pipeline_events")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Lake, OutputSettings]:
    """A lake whose sample has two broken events and a file that is none, with a run recorded."""
    folder = tmp_path_factory.mktemp("quality")
    settings = Settings(lake_url=str(folder / "lake"), landing_url=str(folder / "landing"))
    lake = open_lake(settings)
    for name, body in sample_files().items():
        if not name.startswith("clinical"):
            lake.landing.put(name, body)
    lines = "".join(json.dumps(one) + "\n" for one in BROKEN)
    lake.landing.put(f"pipeline_events/{PERSON}.ndjson", lines.encode())
    lake.landing.put("pipeline_events/none.ndjson", b"\x00\x01{{{")
    for table in tables():
        if table.contract in DOMAIN:
            materialize(lake, table, checks=False)
    record_point(lake, "run-1234-abcd", DOMAIN)
    return lake, OutputSettings.from_env(settings, {})


def by_table(found: Quality) -> dict[str, Any]:
    return {one.table: one for one in found.tables}


def test_refused_rows_are_counted_by_rule(made: tuple[Lake, OutputSettings]) -> None:
    found = quality(made[0], DOMAIN)
    events = by_table(found)["silver/pipeline_events"]
    assert events.open_rejects == 2
    assert sum(events.rejects.values()) >= 2
    assert set(events.rejects) <= {rule.name for rule in EVENTS.rules} | {
        f"{c.name}_not_null" for c in EVENTS.columns
    }
    assert found.refused_files == made[0].store.snapshot(LANDING_REJECTS).rows == 1
    assert by_table(found)["silver/crawler_results"].rejects == {}


def test_rows_checks_and_runs(made: tuple[Lake, OutputSettings]) -> None:
    lake, _ = made
    found = quality(lake, DOMAIN)
    for table in DOMAIN:
        one = by_table(found)[table.path]
        assert (one.rows, one.version) == (
            lake.store.snapshot(table).rows,
            lake.store.snapshot(table).version,
        )
        assert set(one.checks) == {
            "schema",
            *(["key"] if table.key else []),
            *(["conservation"] if table.row_wise else []),
        }
        assert one.passed
    assert found.problems == 0
    [run] = found.runs
    layers = {
        layer: sum(lake.store.snapshot(t).rows for t in DOMAIN if t.layer == layer)
        for layer in ("silver", "gold")
    }
    assert (run.run, {layer: run.rows[layer] for layer in layers}) == ("run-1234-abcd", layers)
    assert run.rows["quarantine"] == lake.store.snapshot(quarantine_of(EVENTS)).rows + 1


def test_freshness_is_measured_from_the_last_change_of_rows(made: tuple[Lake, OutputSettings]) -> None:
    lake, _ = made
    limited = [table for table in DOMAIN if table.max_age]
    assert limited
    now = datetime.now(UTC)
    assert all(by_table(quality(lake, DOMAIN))[t.path].is_fresh for t in limited)
    late = replace(lake, clock=lambda: now + timedelta(days=400))
    found = by_table(quality(late, DOMAIN))
    assert all(found[table.path].is_fresh is False for table in limited)
    assert abs(found[limited[0].path].age_seconds - timedelta(days=400).total_seconds()) < 600
    assert {found[t.path].is_fresh for t in DOMAIN if not t.max_age} <= {None}


def test_a_table_that_was_never_written_fails_the_check_that_it_is_there(
    made: tuple[Lake, OutputSettings],
) -> None:
    missing = replace(DOMAIN[0], name="missing")
    found = quality(made[0], [missing])
    assert (found.tables[0].rows, found.tables[0].checks, found.problems) == (None, {"present": False}, 1)
    assert "✗ 1 checks do not hold" in page(found)


def test_a_check_that_does_not_hold_is_seen(made: tuple[Lake, OutputSettings]) -> None:
    lake, _ = made
    columns = tuple(replace(c, type=Type.INT64) if c.name == "status" else c for c in EVENTS.columns)
    other = replace(EVENTS, columns=columns)
    found = quality(lake, [other])
    assert found.tables[0].checks["schema"] is False
    assert not found.tables[0].passed


class Elements(HTMLParser):
    """Every element with its attributes, and whether each is closed."""

    VOID = ("meta", "!doctype")

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_page_needs_nothing_else_and_can_be_read_aloud(made: tuple[Lake, OutputSettings]) -> None:
    lake, settings = made
    done = report(lake, DOMAIN, settings)
    text = Path(done.html).read_text()
    elements = Elements(text)
    assert elements.open == []
    assert not {tag for tag, _ in elements.found} & {"script", "link", "img", "iframe", "object", "base"}
    assert not re.search(r"https?:|url\(|@import|//", text)
    assert ("html", {"lang": "en"}) in elements.found
    assert "prefers-color-scheme: dark" in text
    pictures = [attrs for tag, attrs in elements.found if tag == "svg"]
    assert len(pictures) > 10
    for attrs in pictures:
        assert attrs.get("aria-hidden") == "true" or (attrs.get("role") == "img" and attrs["aria-labelledby"])
    assert all("scope" in attrs for tag, attrs in elements.found if tag == "th")
    for title in (
        "Checks",
        "Refused rows by rule",
        "Freshness",
        "Rows by table",
        "Rows by layer",
        "Rows by run",
    ):
        assert f"<h2>{title}</h2>" in text
    for table in DOMAIN:
        assert table.path in text
    assert all(rule in text for rule in by_table(done.quality)["silver/pipeline_events"].rejects)


def test_the_report_holds_no_value_of_a_row_and_no_name_of_a_file(made: tuple[Lake, OutputSettings]) -> None:
    lake, settings = made
    done = report(lake, DOMAIN, settings)
    profiles = [json.loads(line) for line in sample_files()["crawler_results/sample.ndjson"].splitlines()]
    hidden = [PERSON, "none.ndjson", *(one["username"] for one in profiles)]
    for file in (done.json, done.html):
        text = Path(file).read_text()
        assert [word for word in hidden if word in text] == []


def test_the_json_says_the_same(made: tuple[Lake, OutputSettings]) -> None:
    lake, settings = made
    done = report(lake, DOMAIN, settings)
    said = json.loads(Path(done.json).read_bytes())
    assert said["refused_files"] == 1
    events = next(one for one in said["tables"] if one["table"] == "silver/pipeline_events")
    assert (events["open_rejects"], events["rejects"]) == (
        2,
        dict(by_table(done.quality)["silver/pipeline_events"].rejects),
    )
    assert Path(done.json).parent == Path(settings.exports_url) / "quality"


def test_text_in_the_page_is_text() -> None:
    from lakehouse.outputs.page import _cell

    assert _cell('<script>"&') == "&lt;script&gt;&quot;&amp;"
