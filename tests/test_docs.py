"""The documents tell the truth: their commands are typed, their links lead somewhere, their errors exist."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from checkouts import ROOT, clean_env, embedded_ports
from docs_blocks import Typed, blocks, commands, mismatch, steps
from ready_checkouts import ready_checkout

README = ROOT / "README.md"
VALIDATION = ROOT / "docs" / "operations" / "dagster-validation.md"
TYPED_BY_ITS_OWN_TEST = (
    "api.md",
    "lakehouse.md",
    "add-a-table.md",
    "ducklake.md",
    "outputs.md",
    "dbt.md",
    "production.md",
)
PAGES = [README, *sorted((ROOT / "docs").rglob("*.md"))]
IMAGES = ROOT / "docs" / "images"
CHARTS = ROOT / "docs" / "benchmarks"
LARGEST_IMAGE = 250_000

MADE_UP = (
    ".venv/bin/python -m lakehouse.domains.clinical.sample"
    " --patients 1000 --seed 5 --out landing/clinical/synthetic"
)
MADE_UP_LOANS = (
    ".venv/bin/python -m lakehouse.domains.lending.sample --loans 100000 --out landing/loans/synthetic.csv"
)
# What is not typed in the embedded profile, and why. tests/browser types the first two in containers.
EXCUSED = {
    "make credentials": "the embedded profile has no secrets",
    "make minio-console": "the embedded profile has no object store",
    "make test": "it is this very run",
    "make test-guarantees": "it takes half an hour; tests/guarantees runs each of its trials in small",
    MADE_UP: "data/lakehouse/tests/test_clinical.py writes one",
    MADE_UP_LOANS: "data/lakehouse/tests/test_lending_sample.py writes one",
    'make odp ARGS="head gold/encounter_summary"': "test_cli.py types it for another table",
    "DAGSTER_PORT=28084 make start": "the tests start on free ports in the same way; this one may be taken",
}


def every_command() -> list[tuple[Path, str]]:
    return [
        (page, line)
        for page in PAGES
        if page.name not in TYPED_BY_ITS_OWN_TEST
        for step in steps(page)
        if isinstance(step, Typed)
        for line in commands(step.commands)
    ]


def ids(page: Path) -> str:
    return page.name


def test_every_command_is_typed_by_a_test_or_excused() -> None:
    typed_here = {line for page in (README, VALIDATION) for line in page_commands(page)}
    unknown = {line for _, line in every_command()} - typed_here - set(EXCUSED)
    assert not unknown, f"no test types {sorted(unknown)}"
    assert set(EXCUSED) <= {line for _, line in every_command()}, "an excuse for what no page says"


def page_commands(page: Path) -> list[str]:
    return [line for step in steps(page) if isinstance(step, Typed) for line in commands(step.commands)]


@pytest.mark.parametrize("page", PAGES, ids=ids)
def test_links_and_images_lead_somewhere(page: Path) -> None:
    text = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    targets = re.findall(r"\]\(([^)#\s]+)[^)]*\)", text)
    missing = [t for t in targets if "://" not in t and not (page.parent / t).exists()]
    assert not missing


def test_every_picture_is_shown_and_light() -> None:
    shown = {Path(t).name for page in PAGES for t in re.findall(r"!\[[^]]+\]\(([^)]+)\)", page.read_text())}
    images = [*IMAGES.glob("*.png"), *CHARTS.glob("*.svg")]
    have = {image.name: image.stat().st_size for image in images}
    assert set(have) == shown
    assert {name: size for name, size in have.items() if size > LARGEST_IMAGE} == {}


@pytest.mark.parametrize("page", PAGES, ids=ids)
def test_every_verb_is_in_the_makefile(page: Path) -> None:
    verbs = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    text = page.read_text(encoding="utf-8")
    code = "\n".join([*re.findall(r"`([^`\n]+)`", text), *(b.text for b in blocks(page))])
    named = set(re.findall(r"(?:^|\s)make ([a-z][a-z-]*)\b", code, re.MULTILINE))
    assert named - verbs == set()


# Where the texts that a page quotes may come from.
SOURCES = (
    "ops/scripts",
    "ops/local",
    "data/lakehouse/lakehouse",
    "data/dagster/orchestration",
    "data/dagster_client/dagster_client",
)


@pytest.mark.parametrize("page", PAGES, ids=ids)
def test_every_error_text_stands_in_the_source(page: Path) -> None:
    source = "\n".join(
        path.read_text(encoding="utf-8")
        for folder in SOURCES
        for path in sorted((ROOT / folder).rglob("*.py"))
    )
    parts = [part for text in error_texts(page) for part in re.split(r"…|: ", text) if part.strip()]
    assert [part for part in parts if part.strip() not in source] == []


def error_texts(page: Path) -> list[str]:
    """The first cells of the tables that are headed `text` or `it says`."""
    found, inside = [], False
    for line in page.read_text(encoding="utf-8").splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")] if line.startswith("|") else []
        if not cells:
            inside = False
        elif cells[0] in ("text", "it says"):
            inside = True
        elif inside and (text := re.match(r"^`([^`]+)`$", cells[0])):
            found.append(text[1])
    return found


def test_error_texts_are_found_where_there_are_some() -> None:
    assert [len(error_texts(page)) > 5 for page in (README, VALIDATION)] == [True, True]


def test_exit_codes_are_those_of_the_program() -> None:
    import orchestration.launch

    told = re.findall(r"^  (\d+) ", orchestration.launch.__doc__ or "", re.MULTILINE)
    assert re.findall(r"^\| (\d+) \|", VALIDATION.read_text(encoding="utf-8"), re.MULTILINE) == told


@pytest.mark.parametrize(
    ("shown", "printed", "equal"),
    [
        ("✓ a   3 rows  0.12 s", "✓ a 3 rows    7.01 s\n", True),
        ("✓ a 3 rows", "✓ a 4 rows", False),
        ("…\nlast", "one\ntwo\nlast\n", True),
        ("…\nlast", "last\n", True),
        ("first", "first\nsecond\n", False),
        ("x 95dd1cb694d3 4.7 kB", "x 000000000000 12 B", True),
        ("UI http://127.0.0.1:18084", "UI http://127.0.0.1:20001", True),
    ],
)
def test_what_is_printed_is_compared_but_for_what_varies(shown: str, printed: str, equal: bool) -> None:
    assert (mismatch(shown, printed) is None) is equal


@pytest.fixture
def without_docker(tmp_path: Path) -> Iterator[tuple[Path, dict[str, str]]]:
    """A copy of the checkout on a machine where Docker is not installed."""
    tools = tmp_path / "tools"
    tools.mkdir()
    (tools / "docker").write_text("#!/bin/sh\nexit 127\n")
    (tools / "docker").chmod(0o755)
    env = clean_env(**embedded_ports())
    env["PATH"] = f"{tools}:{env['PATH']}"
    checkout = ready_checkout(tmp_path / "odp")
    yield checkout, env
    subprocess.run(["make", "nuke", "FORCE=1"], cwd=checkout, env=env, capture_output=True, check=False)


@pytest.mark.slow
@pytest.mark.embedded
@pytest.mark.timeout(900)
def test_commands_do_and_print_what_the_pages_say(without_docker: tuple[Path, dict[str, str]]) -> None:
    checkout, env = without_docker
    wrong = []
    for page in (README, VALIDATION):
        for step in steps(page):
            assert isinstance(step, Typed), "these pages have no files to write"
            todo = "\n".join(line for line in commands(step.commands) if line not in EXCUSED)
            done = subprocess.run(
                ["sh", "-ec", todo], cwd=checkout, env=env, capture_output=True, text=True, check=False
            )
            where = f"{page.name}, line {step.line}: {todo}"
            assert done.returncode == 0, f"{where}\n{done.stdout}{done.stderr}"
            if step.prints and (difference := mismatch(step.prints, done.stdout)):
                wrong.append(f"{where}\n{difference}")
    assert not wrong, "\n".join(wrong)


def test_the_page_of_the_command_line_is_its_help() -> None:
    python = ROOT / ".venv" / "bin" / "python"
    script = ROOT / "ops" / "scripts" / "cli_docs.py"
    interpreter = python if python.exists() else Path(sys.executable)
    done = subprocess.run([interpreter, script, "--check"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
