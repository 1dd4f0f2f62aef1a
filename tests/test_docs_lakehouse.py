"""Types docs/lakehouse.md: the ten lines with the library alone, the other engines where they are there."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from checkouts import ROOT, clean_env, copy_checkout
from docs_blocks import Block, blocks, mismatch, steps
from readers.engines import ENGINES
from readers.matrix import EVERY, matrix

PAGE = ROOT / "docs" / "lakehouse.md"
FILES = {block.path: block.text for block in blocks(PAGE) if block.path}
SNIPPETS = {
    block.heading.lstrip("# "): block.text for block in blocks(PAGE) if block.heading.startswith("### ")
}
# What a lake in a folder must not need; None makes `import` of it an error.
SPARED = ("pandas", "pyarrow", "boto3", "numpy", "dagster", "duckdb")
_WITHOUT = f"import runpy, sys; sys.modules.update(dict.fromkeys({SPARED!r})); runpy.run_path(sys.argv[1])"


def run(*argv: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    own = ROOT / ".tools" / "uv" / "bin"  # where `make` puts uv on a machine that has none
    env = clean_env(PATH=f"{own}:{os.environ['PATH']}", PYTHONWARNINGS="ignore")
    env.pop("VIRTUAL_ENV", None)
    return subprocess.run(argv, cwd=cwd, env=env, capture_output=True, text=True, timeout=240, check=False)


@pytest.mark.slow
def test_the_ten_lines_run_as_written_with_the_library_alone(tmp_path: Path) -> None:
    checkout = copy_checkout(tmp_path, "data/lakehouse")
    wrong = []
    for step in steps(PAGE):
        if isinstance(step, Block):
            (checkout / str(step.path)).write_text(step.text, encoding="utf-8")
            continue
        done = run(
            "sh", "-ec", step.commands.replace("uv run", f"uv run --python {sys.executable}"), cwd=checkout
        )
        assert done.returncode == 0, f"line {step.line}\n{done.stdout}{done.stderr}"
        assert step.prints is not None
        if difference := mismatch(step.prints, done.stdout):
            wrong.append(f"line {step.line}\n{difference}")
    assert not wrong, "\n".join(wrong)


def test_a_lake_in_a_folder_needs_neither_pandas_nor_pyarrow_nor_boto3(tmp_path: Path) -> None:
    (tmp_path / "cities.py").write_text(FILES["cities.py"], encoding="utf-8")
    done = run(sys.executable, "-c", _WITHOUT, "cities.py", cwd=tmp_path)
    assert (done.returncode, done.stdout.splitlines()[-1:]) == (0, ["0 CREATE TABLE"]), done.stderr


_IMPORT = f"""
import sys
sys.path.append({str(ROOT / "data/lakehouse")!r})
import lakehouse
print({{module.split(".")[0] for module in sys.modules}} - set(sys.stdlib_module_names) - {{"__main__"}})
"""


def test_importing_the_library_imports_nothing_else() -> None:
    done = run(sys.executable, "-I", "-S", "-c", _IMPORT, cwd=ROOT)
    assert done.stdout.strip() == "{'lakehouse'}", done.stderr


def test_the_page_shows_every_engine_and_what_is_read_with_it() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert matrix(EVERY) in text
    assert list(SNIPPETS) == list(ENGINES)


@pytest.mark.readers
@pytest.mark.timeout(300)
@pytest.mark.parametrize("engine", ENGINES)
def test_each_engine_reads_it_as_the_page_says(engine: str, tmp_path: Path) -> None:
    for name, text in (("cities.py", FILES["cities.py"]), ("engine.py", SNIPPETS[engine])):
        (tmp_path / name).write_text(text, encoding="utf-8")
    run(sys.executable, "cities.py", cwd=tmp_path)
    done = run(sys.executable, "engine.py", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    said = re.search(r"`(\[\{.*?\}\])`", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert said
    assert done.stdout.split() == said[1].split()
