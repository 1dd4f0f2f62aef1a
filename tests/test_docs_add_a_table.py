"""Types docs/operations/add-a-table.md, word for word, into a copy of the checkout.

With ODP_SCREENSHOTS=docs/images it also takes the page's picture, where Chromium and playwright are there.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest
from checkouts import ROOT, clean_env, embedded_ports
from docs_blocks import Block, Typed, mismatch, steps
from ready_checkouts import ready_checkout

pytestmark = [pytest.mark.slow, pytest.mark.embedded, pytest.mark.timeout(900)]

PAGE = ROOT / "docs" / "operations" / "add-a-table.md"
STARTS = "make start"


class Newcomer:
    """Somebody who does what the page says, in a checkout of their own."""

    def __init__(self, checkout: Path) -> None:
        self.checkout = checkout
        self.env = clean_env(**embedded_ports(), POLARS_FMT_MAX_COLS="8")

    def run(self, commands: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["sh", "-e", "-c", commands],
            cwd=self.checkout,
            env=self.env,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )

    def write(self, file: Block) -> None:
        target = self.checkout / str(file.path)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(file.text, encoding="utf-8")

    def type(self, step: Typed) -> str:
        """Type a block; whoever is asked for the project's name gives it."""
        asked = self.run("make nuke").stdout if "make nuke" in step.commands else ""
        name = re.search(r"Type (\S+) to go on", asked)
        done = self.run(step.commands, stdin=f"{name[1]}\n" if name else "")
        assert done.returncode == 0, f"line {step.line}: {step.commands}{done.stdout}{done.stderr}"
        return done.stdout

    def rows(self, table: str) -> pl.DataFrame:
        return pl.read_delta(str(self.checkout / ".data" / "lake" / table))


@pytest.fixture
def newcomer(tmp_path: Path) -> Iterator[Newcomer]:
    newcomer = Newcomer(ready_checkout(tmp_path / "odp"))
    try:
        yield newcomer
    finally:
        newcomer.run("make nuke FORCE=1")


def test_the_page_works_as_it_is_written(newcomer: Newcomer) -> None:
    wrong = []
    for step in steps(PAGE):
        if isinstance(step, Block):
            newcomer.write(step)
            continue
        printed = newcomer.type(step)
        if step.prints and (difference := mismatch(step.prints, printed)):
            wrong.append(f"line {step.line}\n{difference}")
        if "make dagster-ui" in step.commands and os.environ.get("ODP_SCREENSHOTS"):
            take_picture(printed.split()[-1], Path(os.environ["ODP_SCREENSHOTS"]) / "add-a-table.png")
        if step.commands.startswith(STARTS):
            # The sensor of a running UI may land a file before the page does: same rows, other moment.
            newcomer.run("make stop")
    assert not wrong, "\n".join(wrong)
    _what_the_page_promises(newcomer)


def take_picture(url: str, target: Path) -> None:
    """What the run says about the Gold table: numbers, preview, chart."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as runner:
        browser = runner.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1400, "height": 640}, locale="en-GB", timezone_id="UTC")
        page.goto(f"{url}/assets/gold/shop_days?view=events")
        chart = page.get_by_role("img", name="Revenue per shop, EUR")
        chart.scroll_into_view_if_needed(timeout=60_000)
        page.screenshot(path=str(target), animations="disabled")
        browser.close()


def _what_the_page_promises(newcomer: Newcomer) -> None:
    """At its end the page has built the lake anew, from both files at once."""
    done = newcomer.run("make verify-data-layers ARGS=--json")
    report = json.loads(done.stdout)
    rows = {table["table"]: table["rows"] for table in report["tables"]}
    shop = ("bronze/raw_orders", "silver/orders", "gold/shop_days", "quarantine/orders")
    assert (done.returncode, report["ok"]) == (0, True)
    assert {name: rows[name] for name in shop} == dict(zip(shop, (9, 7, 4, 1), strict=True))
    refused = newcomer.rows("quarantine/orders")
    assert refused.select("_source", "_row", "rules").rows() == [
        ("shop_orders/march.csv", 5, "quantity_positive")
    ]
    assert json.loads(refused["record"][0])["quantity"] == "-1"
    orders = newcomer.rows("silver/orders").sort("order_id").select("order_id", "quantity", "_source").rows()
    assert [order[0] for order in orders] == ["1001", "1002", "1003", "1004", "1005", "1006", "1007"]
    assert orders[4] == ("1005", 1, "shop_orders/correction.csv")
    lisbon = newcomer.rows("gold/shop_days").filter(pl.col("shop") == "Lisbon").sort("date")
    assert lisbon.select("order_count", "revenue_eur").rows() == [(2, 11.2), (2, 14.7)]
