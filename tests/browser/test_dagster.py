"""What a person sees in Dagster after a first start."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

import pytest
from checkouts import wait_until
from stacks import Stack

from lakehouse.registry import contracts, sample_files

sync_api = pytest.importorskip("playwright.sync_api")
expect, Page = sync_api.expect, sync_api.Page

pytestmark = [pytest.mark.browser, pytest.mark.timeout(900)]

WAYS = (
    ("raw_pipeline_events", "pipeline_events", "pipeline_metrics"),
    ("raw_crawler_results", "crawler_results", "user_profiles"),
)
LAYERS = ("bronze", "silver", "gold")
PIPELINES = [f"{layer}/{way[i]}" for way in WAYS for i, layer in enumerate(LAYERS)]
LENDING = ["bronze/raw_loans", "silver/loans"]
LENDING += [f"gold/{name}" for name in ("borrower_segments", "loan_performance", "loan_status_history")]
LENDING += ["gold/vintage_curves"]
LENDING += [f"dbt/{name}" for name in ("stg_loans", "int_loans", "int_loan_status", "int_newest_date")]
CLINICAL = [table.path for table in contracts() if table.domain == "clinical"]
OTHERS = ["gold/corpus_manifest", "system/restore_points", "outputs/exports", "outputs/mart"]
OTHERS += ["outputs/quality_report"]
MAINTAINED = 6  # the layers, and old runs
SHOW = "[Show Markdown]"
ALL_PASSED = re.compile(r"(?<!\d)(\d+) / \1 Passed")
MASK = "•••"
Shot = Callable[..., Path]
TALL = {"width": 2000, "height": 3600}  # a list or graph beyond the window has no elements


def opened(page: Page, stack: Stack, path: str) -> None:
    page.goto(stack.url("DAGSTER_PORT") + path)


def people() -> list[str]:
    """What only the people of the sample contain: names of accounts, of persons, places, texts."""
    profiles = [json.loads(line) for line in sample_files()["crawler_results/sample.ndjson"].splitlines()]
    payloads = [
        p["raw_json"] if isinstance(p["raw_json"], dict) else json.loads(p["raw_json"]) for p in profiles
    ]
    texts = [p.get(key) for p in payloads for key in ("username", "display_name", "bio", "location")]
    found = [p["username"] for p in profiles] + [text for text in texts if text]
    assert len(found) > len(profiles)
    bundles = [json.loads(body) for name, body in sample_files().items() if "/patient-" in name]
    patients = [bundle["entry"][0]["resource"] for bundle in bundles]
    for patient in patients:
        name, address = patient["name"][0], patient["address"][0]
        found += [name["family"], *name["given"], address["city"]]
    assert patients
    return found


def left_edge(page: Page, name: str) -> float:
    node = page.locator("foreignObject").filter(has_text=re.compile(rf"^{name}Latest event")).last
    box = node.bounding_box()
    assert box is not None, name
    return float(box["x"])


def test_the_tables_are_materialised_and_upkeep_stands_ready(page: Page, stack: Stack) -> None:
    page.set_viewport_size(TALL)
    opened(page, stack, "/assets")
    for asset in (*PIPELINES, *CLINICAL, *LENDING, *OTHERS):
        link = page.locator(f"a[href='/assets/{asset}']")
        row = link.locator("xpath=ancestor::*[contains(., 'Materialized') or contains(., 'Failed')][1]")
        expect(row).to_contain_text("Materialized")
        expect(row.locator("a[href^='/assets/']")).to_have_count(1)
    expect(page.locator("a[href^='/assets/maintenance/']")).to_have_count(MAINTAINED)
    expected = len(PIPELINES) + len(CLINICAL) + len(LENDING) + len(OTHERS) + MAINTAINED + 1  # landing/cohorts
    expect(page.locator("a[href^='/assets/']")).to_have_count(expected)


def lineage(page: Page, stack: Stack, domain: str) -> object:
    """Open the graph of a domain's tables, groups unfolded; return its nodes."""
    opened(page, stack, "/asset-groups~" + quote(f'tag:"domain"="{domain}"') + "/")
    expect(page.locator("foreignObject").filter(has_text=re.compile("^gold"))).not_to_have_count(0)
    page.keyboard.press("Alt+e")
    return page.locator("foreignObject").filter(has_text="Latest event")


def test_the_lineage_goes_from_bronze_to_gold(page: Page, stack: Stack, shot: Shot) -> None:
    nodes = lineage(page, stack, "pipelines")
    expect(nodes.filter(has_text=re.compile("Materialized.*Delta Lake"))).to_have_count(len(PIPELINES))
    expect(nodes.filter(has_text=ALL_PASSED)).to_have_count(len(PIPELINES))
    expect(page.locator("svg path[marker-end]")).to_have_count(4)
    for way in WAYS:
        places = [left_edge(page, name) for name in way]
        assert places == sorted(places), way
        assert len(set(places)) == len(places), way
    shot(page, "lineage")


def test_one_resource_table_feeds_the_clinical_tables(page: Page, stack: Stack, shot: Shot) -> None:
    page.set_viewport_size(TALL)
    nodes = lineage(page, stack, "clinical")
    expect(nodes.filter(has_text=re.compile("Materialized.*Delta Lake"))).to_have_count(len(CLINICAL))
    expect(nodes.filter(has_text=ALL_PASSED)).to_have_count(len(CLINICAL))
    bronze, silver, gold = (
        left_edge(page, n) for n in ("raw_fhir_resources", "patient", "encounter_summary")
    )
    assert bronze < silver < gold
    page.set_viewport_size({"width": 1500, "height": 1700})  # from afar, where names are all there is
    page.reload()
    expect(page.locator("foreignObject").filter(has_text=re.compile("^imaging_study$"))).to_be_visible()
    shot(page, "clinical-lineage", x=560, y=190, width=910, height=1360)


def test_an_asset_says_what_a_row_is_and_what_each_column_means(page: Page, stack: Stack, shot: Shot) -> None:
    opened(page, stack, "/assets/gold/pipeline_metrics")
    expect(page.get_by_text("One workspace on one UTC day")).to_be_visible()
    expect(page.get_by_text("success_rate")).not_to_have_count(0)
    told = page.get_by_text("success_count / (success_count + failed_count), two decimals")
    expect(told).not_to_have_count(0)
    count = page.get_by_text("Row count").locator("xpath=..")
    expect(count).to_have_text(re.compile(r"Row count\s*[1-9]\d*$"))
    wait_until("the daemon has judged the freshness", lambda: freshness(page) == "Passing", 150)
    shot(page, "asset")


def freshness(page: Page) -> str:
    """What the page says of the freshness policy, asked anew: the daemon judges it now and then."""
    page.reload()
    status = page.get_by_text("Freshness policy").first.locator("xpath=..")
    expect(status).to_contain_text(re.compile("Passing|Not evaluated|Failing|Warning|Unknown"))
    return status.inner_text().split("\n")[-1]


def test_checks_are_listed_with_what_they_found(page: Page, stack: Stack, shot: Shot) -> None:
    opened(page, stack, "/assets/silver/pipeline_events?view=checks")
    for name in ("schema", "key", "conservation", "reject_share"):
        expect(page.get_by_text(f"pipeline_events_{name}")).not_to_have_count(0)
    page.get_by_text("pipeline_events_conservation").first.click()
    expect(
        page.get_by_text(re.compile(r"^read \d+ = here \d+ \+ merged \d+ \+ quarantined \d+$"))
    ).to_be_visible()
    shot(page, "checks")


def test_the_chart_of_a_gold_table_is_drawn(page: Page, stack: Stack, shot: Shot) -> None:
    opened(page, stack, "/assets/gold/pipeline_metrics?view=events")
    row = page.get_by_role("row", name=re.compile("^chart")).first
    expect(row).to_be_visible()
    expect(row).to_contain_text("Pipelines ended per day")
    expect(row.get_by_text(re.compile("^█+$"))).not_to_have_count(0)
    row.scroll_into_view_if_needed()
    shot(page, "chart")


@pytest.mark.parametrize(
    "table",
    [
        "bronze/raw_crawler_results",
        "silver/crawler_results",
        "gold/user_profiles",
        "bronze/raw_fhir_resources",
        "silver/patient",
    ],
)
def test_no_preview_shows_a_person(page: Page, stack: Stack, shot: Shot, table: str) -> None:
    opened(page, stack, f"/assets/{table}?view=events")
    expect(page.get_by_text("dagster/row_count")).to_be_visible()
    row = page.get_by_role("row", name=re.compile("^preview"))
    if row.get_by_text(SHOW).count():
        row.get_by_text(SHOW).click()
        preview = page.get_by_role("dialog").locator("table")
    else:
        preview = row.locator("table")
    expect(preview).to_be_visible()
    expect(preview.locator("tbody tr")).to_have_count(4 if table == "silver/patient" else 5)
    expect(preview.locator("td", has_text=MASK)).not_to_have_count(0)
    seen = page.content()
    assert [text for text in people() if text in seen] == []
    if table == "silver/crawler_results":
        shot(page, "preview")
    if table == "silver/patient":
        shot(page, "clinical-preview")
