"""What the image drops: each rule takes what it says and nothing else; a stripped library still loads."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
from checkouts import ROOT


@pytest.fixture(scope="module")
def prune() -> ModuleType:
    spec = importlib.util.spec_from_file_location("prune", ROOT / "data" / "dagster" / "prune.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules["prune"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def tree(root: Path, *names: str) -> Path:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x" * 10)
    return root


def left(root: Path) -> set[str]:
    return {path.relative_to(root).as_posix() for path in root.rglob("*") if not path.is_dir()}


def test_rules_take_what_they_name(prune: ModuleType, tmp_path: Path) -> None:
    kept = {
        "pandas/core/frame.py",
        "pandas/_testing/__init__.py",
        "pyarrow/libarrow.so.2600",
        "pyarrow/libarrow_python.so.2600",
        "pyarrow/libarrow_substrait.so.2600",
        "botocore/data/s3/2006-03-01/service-2.json.gz",
        "botocore/data/endpoints.json",
        "dagster_webserver/webapp/build/index.html",
        "pygments/lexers/python.py",
        "sqlalchemy/dialects/mysql/base.py",
        "Crypto/Cipher/AES.py",
        "pandas-3.1.1.dist-info/METADATA",
    }
    dropped = {
        "pandas/tests/test_a.py",
        "pandas/tests/io/deep/test_b.py",
        "numpy/_core/_simd.cpython-313-x86_64-linux-gnu.so",
        "numpy/_core/include/numpy/arrayobject.h",
        "pyarrow/libarrow_flight.so.2600",
        "pyarrow/_s3fs.cpython-313-x86_64-linux-gnu.so",
        "pyarrow/libarrow_python.so",
        "pyarrow/libarrow_python.so.2600.1.0",
        "botocore/data/ec2/2016-11-15/service-2.json.gz",
        "dagster_webserver/webapp/build/_next/static/chunks/1.js.map",
        "pygments/lexers/cobol.py",
        "sqlalchemy/dialects/oracle/base.py",
        "Crypto/PublicKey/RSA.py",
        "pandas-3.1.1.dist-info/RECORD",
        "uvloop/loop.pyx",
    }
    tree(tmp_path, *kept, *dropped)
    freed = sum(prune.drop(tmp_path, rule) for rule in prune.RULES)
    assert left(tmp_path) == kept
    assert freed == 10 * len(dropped)


def test_every_rule_says_how_much_and_why(prune: ModuleType) -> None:
    assert [rule.why for rule in prune.RULES if " MB" not in rule.why] == []


def test_the_newer_libpq_serves_both_drivers(prune: ModuleType, tmp_path: Path) -> None:
    tree(tmp_path, "psycopg2_binary.libs/libpq-aa.so.5.17", "psycopg2_binary.libs/libssl-aa.so.3")
    tree(tmp_path, "psycopg_binary.libs/libpq-bb.so.5.18", "psycopg_binary.libs/libssl-bb.so.3")
    assert prune.share_libpq(tmp_path) == 20
    asked = tmp_path / "psycopg2_binary.libs" / "libpq-aa.so.5.17"
    assert asked.resolve() == tmp_path / "psycopg_binary.libs" / "libpq-bb.so.5.18"
    assert prune.share_libpq(tmp_path) == 0


def test_an_older_libpq_is_not_put_in_the_place_of_a_newer(prune: ModuleType, tmp_path: Path) -> None:
    tree(tmp_path, "psycopg2_binary.libs/libpq-aa.so.5.19", "psycopg_binary.libs/libpq-bb.so.5.18")
    assert prune.share_libpq(tmp_path) == 0
    assert not (tmp_path / "psycopg2_binary.libs").is_symlink()


def test_equal_consoles_are_one_file_and_others_stay(prune: ModuleType, tmp_path: Path) -> None:
    first, second = (tmp_path / name for name in prune.GRAPHIQL)
    tree(first, "same.js", "other.css")
    tree(second, "same.js", "other.css")
    (second / "other.css").write_text("different")
    assert prune.share_graphiql(tmp_path) == 10
    assert (second / "same.js").samefile(first / "same.js")
    assert (second / "other.css").read_text() == "different"


def test_a_stripped_library_still_works(prune: ModuleType, tmp_path: Path) -> None:
    """orjson, whose wheel holds one extension module: cut, then used by a Python of its own."""
    import orjson

    package = tmp_path / "orjson"
    package.mkdir()
    for path in Path(orjson.__file__).parent.iterdir():
        if path.is_file():
            (package / path.name).write_bytes(path.read_bytes())
    [library] = package.glob("*.so")
    with library.open("ab") as file:
        file.write(b"\0" * 100_000)  # as symbol tables are: behind the last segment, loaded by nobody
    size = library.stat().st_size
    freed = prune.strip_elf(library)
    assert freed >= 100_000
    assert library.stat().st_size == size - freed
    assert prune.strip_elf(library) == 0
    code = "import orjson; assert orjson.loads(b'[1, 2.5]') == [1, 2.5]; print(orjson.__file__)"
    done = subprocess.run(
        [sys.executable, "-c", code], env={"PYTHONPATH": str(tmp_path)}, capture_output=True, text=True
    )
    assert (done.returncode, done.stdout.strip()) == (0, str(package / "__init__.py")), done.stderr


def test_what_is_no_library_is_left_alone(prune: ModuleType, tmp_path: Path) -> None:
    text = tmp_path / "a.so.txt"
    text.write_text("no ELF")
    assert prune.strip_elf(text) == 0
    assert text.read_text() == "no ELF"
