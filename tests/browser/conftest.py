"""A browser, and a running stack to look at.

The stack is that of the checkout in $ODP_BROWSER_CHECKOUT if one is named (it must run already and is left
alone), else one started here in a copy of this checkout and removed at the end. Every picture a test takes
goes to $ODP_SCREENSHOTS (default .data/screenshots); those in docs/images are made by

    ODP_SCREENSHOTS=docs/images .venv/bin/python -m pytest -m browser tests/browser
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from checkouts import ROOT, copy_checkout, free_ports

sys.path.insert(0, str(ROOT / "tests" / "containers"))
from stacks import PORTS, Stack, image_names, remove

playwright = pytest.importorskip("playwright.sync_api", reason="uv sync --group browser brings playwright")
CHROMIUM = Path("/usr/bin/chromium")
QUIET = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
SIZE = {"width": 1680, "height": 800}
PATIENCE_MS = 60_000


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """The full profile, initialised and verified."""
    if named := os.environ.get("ODP_BROWSER_CHECKOUT"):
        yield Stack(Path(named), {})
        return
    ports = dict(zip(PORTS, map(str, free_ports(len(PORTS))), strict=True))
    made = Stack(copy_checkout(tmp_path_factory.mktemp("odp")), {**image_names(), **ports})
    try:
        done = made.make("start", "PROFILE=full")
        assert done.returncode == 0, done.stdout + done.stderr
        yield made
    finally:
        remove(made)


@pytest.fixture(scope="session")
def browser() -> Iterator[object]:
    """Headless Chromium as the system has it; nothing is downloaded."""
    if not CHROMIUM.exists():
        pytest.skip(f"{CHROMIUM} is not there: ops/ci/browser.sh installs it")
    with playwright.sync_playwright() as runner:
        opened = runner.chromium.launch(executable_path=str(CHROMIUM), args=list(QUIET))
        yield opened
        opened.close()


@pytest.fixture
def page(browser: object) -> Iterator[object]:
    """A page of a new visitor."""
    context = browser.new_context(viewport=SIZE, locale="en-GB", timezone_id="UTC")
    context.set_default_timeout(PATIENCE_MS)
    playwright.expect.set_options(timeout=PATIENCE_MS)
    yield context.new_page()
    context.close()


@pytest.fixture(scope="session")
def shot() -> Callable[..., Path]:
    """Take a picture of a page, or of a rectangle of it, under a name."""
    folder = Path(os.environ.get("ODP_SCREENSHOTS") or ROOT / ".data" / "screenshots")
    folder.mkdir(parents=True, exist_ok=True)

    def take(page: object, name: str, **clip: int) -> Path:
        target = folder / f"{name}.png"
        page.screenshot(path=str(target), animations="disabled", clip=clip or None)
        return target

    return take
