"""The house: who may import whom, and what loading the definitions may cost. See docs and ARCHITECTURE."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
LIBRARY = ROOT / "data/lakehouse/lakehouse"
ORCHESTRATOR = ROOT / "data/dagster/orchestration"
TABLE_FORMATS = {"deltalake", "duckdb", "ducklake", "pyiceberg"}


def imports(folder: Path) -> Iterator[tuple[str, str]]:
    """Yield (file below folder, imported module) for every import, also those inside functions."""
    for file in sorted(folder.rglob("*.py")):
        name = file.relative_to(folder).as_posix()
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                yield from ((name, alias.name) for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.module:
                yield name, node.module
                yield from ((name, f"{node.module}.{alias.name}") for alias in node.names)


def offenders(folder: Path, wrong) -> list[tuple[str, str]]:  # type: ignore[no-untyped-def]
    return [(file, module) for file, module in imports(folder) if wrong(file, module)]


def top(module: str) -> str:
    return module.split(".", maxsplit=1)[0]


def test_the_library_knows_nothing_of_dagster_or_http() -> None:
    outer = {"dagster", "orchestration", "serving", "fastapi", "starlette", "dagster_postgres"}
    assert offenders(LIBRARY, lambda _, module: top(module) in outer) == []


def test_only_the_store_imports_a_table_format() -> None:
    def wrong(file: str, module: str) -> bool:
        return top(module) in TABLE_FORMATS and not file.startswith("store/")

    assert offenders(LIBRARY, wrong) == []
    assert offenders(ORCHESTRATOR, lambda _, module: top(module) in TABLE_FORMATS) == []


# Reading through pyarrow aborts the interpreter at exit now and then (delta-rs#2184), fails on string filters
# over files with string views, and gives nulls for mapped columns.
THROUGH_PYARROW = {"to_pyarrow_table", "to_pyarrow_dataset"}


def places(folder: Path, wrong) -> list[tuple[str, int]]:  # type: ignore[no-untyped-def]
    """Return file and line of every piece of syntax below a folder for which `wrong` holds."""
    return [
        (file.relative_to(ROOT).as_posix(), node.lineno)
        for file in sorted(folder.rglob("*.py"))
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if wrong(node)
    ]


def test_no_table_is_read_through_pyarrow() -> None:
    def wrong(node: ast.AST, names: set[str] = THROUGH_PYARROW) -> bool:
        if isinstance(node, ast.keyword) and node.arg == "use_pyarrow":
            return not (isinstance(node.value, ast.Constant) and node.value.value is False)
        return isinstance(node, ast.Attribute) and node.attr in names

    assert places(LIBRARY, wrong) + places(ORCHESTRATOR, wrong) == []
    # Elsewhere `to_pandas` is a frame's; in the store it could be a table's, which goes through pyarrow too.
    assert places(LIBRARY / "store", lambda node: wrong(node, {"to_pandas"})) == []


# Inside the library: room -> rooms it must not import.
BACKWARDS = {
    "contracts": {"store", "flow", "landing", "domains", "engine", "verify", "provision"},
    "store": {"flow", "landing", "domains", "engine", "verify", "provision"},
    "engine": {"store", "flow", "landing", "domains", "verify", "provision"},
    "landing": {"store", "flow", "domains", "verify", "provision"},
    "flow": {"domains", "verify", "provision"},
    "domains": {"store", "flow", "verify", "provision"},
}


@pytest.mark.parametrize("room", sorted(BACKWARDS))
def test_arrows_run_one_way_inside_the_library(room: str) -> None:
    def wrong(file: str, module: str) -> bool:
        parts = module.split(".")
        return (
            file.startswith(f"{room}/")
            and parts[0] == "lakehouse"
            and len(parts) > 1
            and parts[1] in BACKWARDS[room]
        )

    assert offenders(LIBRARY, wrong) == []


def test_transforms_import_narwhals_and_xp_alone() -> None:
    allowed = {
        "__future__",
        "__future__.annotations",
        "functools",
        "functools.partial",
        "narwhals.stable.v2",
        "lakehouse.engine",
        "lakehouse.engine.xp",
    }

    def wrong(file: str, module: str) -> bool:
        # What no expression can say is a module of the same domain.
        own = f"lakehouse.{file.rpartition('/')[0].replace('/', '.')}."
        return file.endswith("transforms.py") and module not in allowed and not f"{module}.".startswith(own)

    assert offenders(LIBRARY, wrong) == []


def test_no_private_import_of_dagster() -> None:
    private = offenders(
        ORCHESTRATOR,
        lambda _, m: top(m).startswith("dagster") and any(p.startswith("_") for p in m.split(".")),
    )
    assert private == []


def test_the_definitions_are_a_table_of_contents() -> None:
    assert len((ORCHESTRATOR / "definitions.py").read_text(encoding="utf-8").splitlines()) < 60


_NO_IO = """
import sys
import dagster  # its own import asks `file` for the interpreter's word size
def hook(event, args):
    if event.startswith(("socket.connect", "socket.bind", "subprocess.", "os.system", "urllib.", "sqlite3.")):
        raise SystemExit(f"import does I/O: {event} {args}")
    if event == "open" and isinstance(args[0], str) and args[1] and any(f in str(args[1]) for f in "wax+"):
        if "__pycache__" not in args[0]:
            raise SystemExit(f"import writes {args[0]}")
sys.addaudithook(hook)
import orchestration.definitions
heavy = [m for m in ("pandas", "pyarrow", "deltalake", "boto3", "minio", "psycopg") if m in sys.modules]
if heavy:
    raise SystemExit(f"loading the definitions imports {heavy}")
"""


def test_loading_the_definitions_does_no_io_and_imports_nothing_heavy() -> None:
    done = subprocess.run([sys.executable, "-c", _NO_IO], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


_CPU = "import time; {}; print(time.process_time())"
_BUDGET_SECONDS = 1.5
_OVER_DAGSTER = 1.6


def cpu_seconds(statement: str) -> float:
    """The least of three: noise only ever adds."""
    return min(
        float(
            subprocess.run(
                [sys.executable, "-c", _CPU.format(statement)], capture_output=True, text=True, check=True
            ).stdout
        )
        for _ in range(3)
    )


def test_loading_the_definitions_stays_within_its_budget() -> None:
    """1.5 CPU-seconds; on a machine where bare Dagster alone takes nearly that, 1.6 times bare Dagster."""
    bare = cpu_seconds("import dagster")
    ours = cpu_seconds("import orchestration.definitions")
    assert ours < max(_BUDGET_SECONDS, _OVER_DAGSTER * bare), f"{ours:.2f} CPU-s; bare dagster {bare:.2f}"
