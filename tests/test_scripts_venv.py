"""uv from nothing: found on PATH, else installed by pip, else taken straight from a package index."""

from __future__ import annotations

import hashlib
import io
import platform
import stat
import sys
import threading
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from odpctl import venv, wheel
from odpctl.checkout import Checkout
from odpctl.errors import Failure
from odpctl.process import Done
from odpctl.venv import UV_PINNED, Venv


def a_uv(folder: Path, version: str) -> Path:
    program = folder / "uv"
    folder.mkdir(parents=True, exist_ok=True)
    program.write_text(f"#!/bin/sh\necho uv {version}\n")
    program.chmod(0o755)
    return program


def wheel_bytes() -> bytes:
    body = io.BytesIO()
    with zipfile.ZipFile(body, "w") as file:
        file.writestr(f"uv-{UV_PINNED}.data/scripts/uvx", "no")
        file.writestr(f"uv-{UV_PINNED}.data/scripts/uv", f"#!/bin/sh\necho uv {UV_PINNED}\n")
    return body.getvalue()


def file_name(version: str = UV_PINNED) -> str:
    machine = platform.machine()
    tag = (
        f"macosx_11_0_{machine}"
        if sys.platform == "darwin"
        else f"manylinux_2_17_{machine}.manylinux2014_{machine}"
    )
    return f"uv-{version}-py3-none-{tag}.whl"


@pytest.fixture
def index() -> Iterator[tuple[str, dict[str, str]]]:
    """A package index with one project; the hashes it promises can be changed by the test."""
    body = wheel_bytes()
    names = ("uv-0.1.0-py3-none-win_amd64.whl", file_name("0.13.80"), file_name())
    promised = dict.fromkeys(names, hashlib.sha256(body).hexdigest())

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            listing = self.path == "/simple/uv/"
            self.send_response(200 if listing or self.path == f"/files/{file_name()}" else 404)
            self.end_headers()
            rows = (
                f'<a href="../../files/{name}#sha256={digest}" data-x>{name}</a>'
                for name, digest in promised.items()
            )
            self.wfile.write("<br/>".join(rows).encode() if listing else body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/simple", promised
    server.shutdown()
    server.server_close()


def test_uv_on_path_is_used_if_new_enough(tmp_path: Path) -> None:
    new, old = a_uv(tmp_path / "new", "0.9.0"), a_uv(tmp_path / "old", "0.8.24")
    assert Venv(Checkout(tmp_path, {"PATH": str(new.parent)})).uv() == new
    own = a_uv(tmp_path / ".tools" / "uv" / "bin", UV_PINNED)
    assert Venv(Checkout(tmp_path, {"PATH": str(old.parent)})).uv() == own


def test_a_python_without_venv_gets_uv_from_the_index(
    tmp_path: Path, index: tuple[str, dict[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_venv(argv: list[object], **kwargs: object) -> Done:
        return Done(1, "ensurepip is not available") if "venv" in argv else venv_run(argv, **kwargs)

    venv_run = venv.run
    monkeypatch.setattr(venv, "run", no_venv)
    checkout = Checkout(tmp_path, {"PATH": "", "PIP_INDEX_URL": index[0]})
    program = Venv(checkout).uv()
    assert program == tmp_path / ".tools" / "uv" / "bin" / "uv"
    assert stat.S_IMODE(program.stat().st_mode) == 0o755
    assert Venv(checkout).uv() == program


def test_bytes_that_are_not_what_the_index_promises_are_refused(
    tmp_path: Path, index: tuple[str, dict[str, str]]
) -> None:
    index[1][file_name()] = "0" * 64
    with pytest.raises(Failure, match="is not what the index promises"):
        wheel.install("uv", UV_PINNED, tmp_path, {"PIP_INDEX_URL": index[0]})
    assert not (tmp_path / "bin").exists()


def test_an_index_without_it_or_without_an_answer_is_named(
    tmp_path: Path, index: tuple[str, dict[str, str]]
) -> None:
    with pytest.raises(Failure) as caught:
        wheel.install("uv", "9.9.9", tmp_path, {"PIP_INDEX_URL": index[0]})
    assert "no uv 9.9.9 for " in caught.value.cause
    with pytest.raises(Failure, match=r"could not be fetched from http://127\.0\.0\.1:1/"):
        wheel.install("uv", UV_PINNED, tmp_path, {"PIP_INDEX_URL": "http://127.0.0.1:1/"})


@pytest.mark.parametrize(
    ("text", "cause", "command"),
    [
        (
            "error: No interpreter found for Python >=3.11, <3.14 in search path",
            "No interpreter found for Python >=3.11, <3.14 in search path (the platform needs",
            "apt install python3.13",
        ),
        (
            "error: Failed to fetch: `https://pypi.org/simple/dagster/`",
            "the venv needs a package index, and this machine reaches none",
            "curl",
        ),
    ],
)
def test_why_there_is_no_venv(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, cause: str, command: str
) -> None:
    uv = a_uv(tmp_path / "bin", "0.9.9")
    monkeypatch.setattr(
        venv, "run", lambda argv, **_: Done(0, "uv 0.9.9") if "--version" in argv else Done(2, text)
    )
    with pytest.raises(Failure, match=r"uv could not make \.venv from uv\.lock") as caught:
        Venv(Checkout(tmp_path, {"PATH": str(uv.parent)})).ensure()
    assert caught.value.cause.startswith(cause)
    assert command in caught.value.command
