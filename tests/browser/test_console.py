"""What a person sees in the object store's console."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from stacks import Stack

sync_api = pytest.importorskip("playwright.sync_api")
expect, Page = sync_api.expect, sync_api.Page

pytestmark = [pytest.mark.browser, pytest.mark.timeout(900)]

BUCKETS = ("bronze", "exports", "silver", "gold", "landing", "quarantine", "system")


@pytest.fixture
def console(page: Page, stack: Stack) -> Page:
    """Logged in with what `make credentials` prints; a first visitor has to acknowledge the licence."""
    page.goto(stack.url("MINIO_CONSOLE_PORT"))
    page.locator("#accessKey").fill(stack.env["MINIO_ROOT_USER"])
    page.locator("#secretKey").fill(stack.env["MINIO_ROOT_PASSWORD"])
    page.keyboard.press("Enter")
    page.get_by_role("button", name="Acknowledge").click()
    return page


def test_the_buckets_are_listed(console: Page) -> None:
    for bucket in BUCKETS:
        expect(console.get_by_text(bucket, exact=True).first).to_be_visible()


def test_a_table_is_a_folder_with_a_delta_log(console: Page, shot: Callable[[object, str], Path]) -> None:
    console.get_by_text("gold", exact=True).first.click()
    console.get_by_text("pipeline_metrics", exact=True).first.click()
    expect(console.get_by_text("_delta_log", exact=True)).to_be_visible()
    expect(console.get_by_text("part-00000-", exact=False).first).to_be_visible()
    shot(console, "console")
    console.get_by_text("_delta_log", exact=True).click()
    expect(console.get_by_text("00000000000000000000.json", exact=True)).to_be_visible()
