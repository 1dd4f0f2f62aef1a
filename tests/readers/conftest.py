"""What the reader tests share: the tables, written once per root, and what each engine saw, read once.

In CI no test here may be skipped: an engine that is not installed, or a store that is not up, is a failure.
"""

from __future__ import annotations

import functools
import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import polars as pl
import pytest
from lakes import lake_of
from readers.engines import FILTERS, NEEDS
from readers.matrix import matrix
from readers.tables import CASES

from lakehouse.settings import Settings
from lakehouse.store import open_store

PROGRAM = Path(__file__).with_name("engines.py")
# Far from UTC and not by whole hours: what an instant is must not depend on where it is read.
ELSEWHERE = "America/St_Johns"


@dataclass(frozen=True)
class Written:
    """A lake with every case in it, and what must come back."""

    kind: str
    settings: Settings
    rows: dict[str, pl.DataFrame]

    @property
    def options(self) -> dict[str, str]:
        given = self.settings
        if not given.on_s3:
            return {}
        return {
            "endpoint": str(given.s3_endpoint),
            "key": str(given.s3_access_key),
            "secret": str(given.s3_secret_key),
        }


Seen = dict[str, "pl.DataFrame | str"]  # what an engine gave, or said against it


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    report = (yield).get_result()  # type: ignore[misc]
    if report.skipped and os.environ.get("CI"):
        report.outcome, report.longrepr = "failed", f"skipped in CI: {report.longrepr}"


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    passed = terminalreporter.getreports("passed")
    if equal := [cell for report in passed for key, cell in report.user_properties if key == "read"]:
        terminalreporter.section("equal to what was written")
        terminalreporter.write_line(matrix(tuple(cell) for cell in equal))


@pytest.fixture(scope="session")
def lakes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Written]]:
    """Return the lake of a root, filled when first asked for."""
    with ExitStack() as stack:

        @functools.cache
        def fill(kind: str) -> Written:
            settings = stack.enter_context(lake_of(kind, tmp_path_factory.mktemp(f"lake-{kind}")))
            store = open_store(settings)
            return Written(
                kind, settings, {name: case.write(store, case.contract) for name, case in CASES.items()}
            )

        yield fill


@pytest.fixture
def written(request: pytest.FixtureRequest, lakes: Callable[[str], Written]) -> Written:
    return lakes(request.param)


@pytest.fixture(scope="session")
def read(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, Written], Seen]:
    """Return what an engine sees of every table and of every filter on it."""
    done: dict[tuple[str, str], Seen] = {}

    def ask(engine: str, written: Written) -> Seen:
        if absent := [name for name in NEEDS[engine] if importlib.util.find_spec(name) is None]:
            pytest.skip(f'{", ".join(absent)} is not installed: make test ARGS="-m readers" installs it')
        if (engine, written.kind) not in done:
            folder = tmp_path_factory.mktemp("seen")
            done[engine, written.kind] = _ask(engine, written, folder)
        return done[engine, written.kind]

    return ask


def _ask(engine: str, written: Written, folder: Path) -> Seen:
    store = open_store(written.settings)
    reads = {name: (store.uri(case.contract), None) for name, case in CASES.items()}
    if engine in FILTERS:
        reads |= {f"{name}-{n}": (store.uri(case.contract), where)
                  for name, case in CASES.items() for n, where in enumerate(case.filters)}  # fmt: skip
    request = folder / "request.json"
    request.write_text(json.dumps({"options": written.options, "reads": reads}), encoding="utf-8")
    env = {key: value for key, value in os.environ.items() if not key.startswith("AWS_")}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", PROGRAM, engine, request],
        env={**env, "TZ": ELSEWHERE},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, f"{engine} ended with {done.returncode}\n{done.stdout}{done.stderr}"
    return {name: _seen(folder / f"{name}.arrow") for name in reads}


def _seen(path: Path) -> pl.DataFrame | str:
    error = path.with_suffix(".error")
    if error.exists():
        return error.read_text(encoding="utf-8")
    try:
        return pl.read_ipc(path.read_bytes())
    except pl.exceptions.ComputeError as exc:  # it is Arrow by name only
        return str(exc)
