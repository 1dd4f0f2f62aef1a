"""The house: who may import whom, and what loading the definitions may cost. See docs and ARCHITECTURE."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
LIBRARY = ROOT / "data/lakehouse/lakehouse"
ORCHESTRATOR = ROOT / "data/dagster/orchestration"
CLIENT = ROOT / "data/dagster_client/dagster_client"
API = ROOT / "data/api/serving"
SCRIPTS = (ROOT / "ops/scripts/odpctl", ROOT / "ops/local")
WORKAROUNDS = ORCHESTRATOR / "workarounds"
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
    outer = {"dagster", "dagster_client", "orchestration", "serving"}
    outer |= {"fastapi", "starlette", "dagster_postgres"}
    assert offenders(LIBRARY, lambda _, module: top(module) in outer) == []


def test_the_api_knows_no_dagster_and_no_table_format() -> None:
    outer = {"dagster", "orchestration", "dagster_graphql"}

    def wrong(file: str, module: str) -> bool:
        is_engine = top(module) == "duckdb" and file.startswith("sql/")
        return top(module) in outer or (top(module) in TABLE_FORMATS and not is_engine)

    assert offenders(API, wrong) == []
    assert offenders(ORCHESTRATOR, lambda _, module: top(module) == "serving") == []


def test_the_client_and_the_scripts_need_the_standard_library_alone() -> None:
    """`make start` imports both before any package is installed."""
    own = {path.stem for folder in SCRIPTS for path in folder.glob("*.py")}
    allowed = {*sys.stdlib_module_names, *own, "odpctl", "dagster_client"}
    # Run by the image's Python, on the packages it checks.
    checks = {"check_packages.py"}
    for folder in (CLIENT, *SCRIPTS):
        wrong = offenders(folder, lambda file, module: file not in checks and top(module) not in allowed)
        assert wrong == [], folder
    assert offenders(CLIENT, lambda _, module: top(module) in own | {"odpctl"}) == []


def test_only_the_store_imports_a_table_format() -> None:
    def wrong(file: str, module: str) -> bool:
        # An engine, and a database that rows are copied into, are no formats of tables of the lake.
        is_engine = top(module) == "duckdb" and file.startswith(("engine/duckdb/", "outputs/duckdb_mart"))
        return top(module) in TABLE_FORMATS and not file.startswith("store/") and not is_engine

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


# The library's rooms from the ground up: a room imports rooms below it, never one beside or above it.
LEVELS = (
    ("errors", "fault_points"),
    ("contracts", "masking", "process", "scratch", "settings", "sizes"),
    ("storage",),
    ("engine", "landing", "store"),
    ("pipeline",),
    ("table",),
    ("dbt", "domains"),
    ("registry", "catalog"),
    ("quarantine",),
    ("maintenance",),
    ("verify",),
    ("manifest", "materialize", "outputs"),
    ("seed",),
    ("cli", "provision"),
)
LEVEL = {room: level for level, rooms in enumerate(LEVELS) for room in rooms}


def imported_at_run_time(file: Path) -> Iterator[str]:
    """Yield every module of the library that a file imports, but for those that only its types name."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    for_types = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if id(node) in for_types or not isinstance(node, ast.Import | ast.ImportFrom):
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif node.module == "lakehouse":
            yield from (f"lakehouse.{alias.name}" for alias in node.names)
        else:
            yield node.module or ""


def rooms() -> Iterator[tuple[Path, str, str]]:
    """Yield file, its room and each other room that it imports."""
    for file in sorted(LIBRARY.rglob("*.py")):
        own = file.relative_to(LIBRARY).parts[0].removesuffix(".py")
        for module in imported_at_run_time(file):
            parts = module.split(".")
            if parts[0] == "lakehouse" and len(parts) > 1 and parts[1] != own and own != "__init__":
                yield file, own, parts[1]


def test_arrows_run_one_way_inside_the_library() -> None:
    there = {p.stem for p in LIBRARY.iterdir() if p.suffix == ".py" or (p / "__init__.py").exists()}
    assert there - {"__init__"} == set(LEVEL), "a new room needs its level"
    assert [
        f"{file.relative_to(LIBRARY)} imports {other}"
        for file, own, other in rooms()
        if LEVEL[other] >= LEVEL[own]
    ] == []


BACKENDS = ("delta", "ducklake")


def test_no_backend_knows_another_and_what_holds_for_all_knows_none() -> None:
    store = LIBRARY / "store"
    for backend in BACKENDS:
        others = {f"lakehouse.store.{other}" for other in BACKENDS if other != backend}
        assert (
            offenders(
                store / backend,
                lambda _, m, others=others: f"{m}.".startswith(tuple(f"{o}." for o in others)),
            )
            == []
        )
    for file in [*store.glob("*.py"), *(store / "integrity").glob("*.py")]:
        known = [
            m
            for m in imported_at_run_time(file)
            if m.startswith(tuple(f"lakehouse.store.{b}" for b in BACKENDS))
        ]
        assert known == [], file.name


def test_the_backends_lie_side_by_side() -> None:
    """Equal names for equal things, and a folder that one look takes in."""
    store = LIBRARY / "store"
    names = [{p.name for p in (store / backend).glob("*.py")} for backend in BACKENDS]
    assert {"__init__.py", "commit.py", "maintenance.py", "read.py", "schema.py", "write.py"} <= names[
        0
    ] & names[1]
    entries = [p for p in store.iterdir() if p.suffix == ".py" or (p / "__init__.py").exists()]
    assert len(entries) <= 12, sorted(p.name for p in entries)


def test_a_new_backend_is_a_package_and_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from lakehouse import settings
    from lakehouse.store import open_store

    (tmp_path / "paper_tables").mkdir()
    (tmp_path / "paper_tables/__init__.py").write_text("def open_store(settings):\n    return 'paper'\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(settings.BACKENDS, "paper", "paper_tables")
    env = {"LAKE_URL": str(tmp_path), "LANDING_URL": str(tmp_path / "in"), "LAKE_FORMAT": "paper"}
    assert open_store(settings.Settings.from_env(env)) == "paper"
    with pytest.raises(Exception, match="LAKE_FORMAT=stone is not known: give delta or ducklake or paper"):
        settings.Settings.from_env({**env, "LAKE_FORMAT": "stone"})


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


def private(module: str) -> bool:
    """Return whether a module is another package's own affair."""
    return top(module) not in ("lakehouse", "orchestration") and any(
        re.match(r"_(?!_)", part) for part in module.split(".")
    )


# What reaches into a package from the library, by file; like the orchestrator's workarounds.
REACHING = {"engine/spark/division.py", "store/ducklake/pushdown.py"}


def test_what_is_private_to_a_package_is_used_in_workarounds_alone() -> None:
    def outside(file: str) -> bool:
        return not file.startswith("workarounds/")

    assert offenders(ORCHESTRATOR, lambda file, module: outside(file) and private(module)) == []
    assert offenders(LIBRARY, lambda file, module: file not in REACHING and private(module)) == []
    assert offenders(API, lambda _, module: private(module)) == []


def test_nothing_private_is_imported_by_a_string() -> None:
    def wrong(node: ast.AST) -> bool:
        name = node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""
        return bool(re.fullmatch(r"(dagster|polars|multiprocessing|deltalake)\w*(\.\w+)*\._\w[\w.]*", name))

    assert places(ORCHESTRATOR, wrong) + places(LIBRARY, wrong) == []


_LABELS = ("Reason", "Gain", "Pin", "Drop when")


@pytest.mark.parametrize(
    "path",
    [*sorted(WORKAROUNDS.glob("[a-z]*.py")), *(LIBRARY / file for file in sorted(REACHING))],
    ids=lambda path: path.stem,
)
def test_a_workaround_says_why_and_until_when_for_the_version_that_is_installed(path: Path) -> None:
    """At another version it has to be looked at again: is it still needed, does it still do what it says?"""
    header = (ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or "").split("\n\n")[-1]
    assert re.findall(r"^([A-Z][a-z ]+): .", header, re.MULTILINE) == list(_LABELS)
    pin = header.partition("Pin: ")[2].partition("\nDrop when")[0]
    pinned = re.findall(r"([\w-]+) (\d[\w.]*\d)", pin)
    assert pinned
    assert pinned == [(name, metadata.version(name)) for name, _ in pinned]


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


def test_the_door_loads_no_engine_but_polars() -> None:
    """DuckDB and pyarrow are 65 MB, for /sql and Parquet that comes in: who asks for these loads them."""
    code = "import serving.app, sys; print([m for m in ('duckdb', 'pyarrow', 'pandas') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


_CPU = "import time; {}; print(time.process_time())"
_BUDGET_SECONDS = 1.5
_OVER_DAGSTER = 1.6


_PAIRS = 5


def cpu_seconds(statement: str) -> float:
    """Return the CPU time of a process that executes one statement."""
    return float(
        subprocess.run(
            [sys.executable, "-c", _CPU.format(statement)], capture_output=True, text=True, check=True
        ).stdout
    )


def test_loading_the_definitions_stays_within_its_budget() -> None:
    """1.5 CPU-seconds; on a machine where bare Dagster alone takes nearly that, 1.6 times bare Dagster.

    Both are measured one after the other, so that what slows the machine slows both; one pair in five is
    enough, because neighbours add to CPU time and never take from it.
    """
    measured = []
    for _ in range(_PAIRS):
        bare, ours = cpu_seconds("import dagster"), cpu_seconds("import orchestration.definitions")
        measured.append(f"{ours:.2f} CPU-s; bare dagster {bare:.2f}")
        if ours < max(_BUDGET_SECONDS, _OVER_DAGSTER * bare):
            return
    raise AssertionError(measured)


def test_no_error_of_the_library_shows_the_foreign_one_it_came_from() -> None:
    """A traceback prints the text of what an error was raised from, and a dependency's text may quote
    data.
    """
    shown = [
        f"{file.name}:{number}"
        for folder in (LIBRARY, ORCHESTRATOR, CLIENT)
        for file in folder.rglob("*.py")
        for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), 1)
        if re.search(r"\braise\b.*\bfrom (?!None\b)\w+$|^\s*\) from (?!None\b)\w+$", line)
    ]
    assert shown == [], "raise it `from None`, and tell of the other by errors.plain"


def test_no_two_test_modules_have_one_name() -> None:
    """Pytest imports them by their bare names: the second of two is refused, where both are collected."""
    skipped = {".venv", ".tools", ".data", "node_modules"}
    found = Counter(
        path.name for path in ROOT.rglob("test_*.py") if skipped.isdisjoint(path.relative_to(ROOT).parts)
    )
    assert [name for name, count in found.items() if count > 1] == []
