"""uv and .venv, from nothing but a Python and a package index. Nothing outside the checkout changes, save
uv's cache.
"""

from __future__ import annotations

import re
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from . import host, wheel
from .checkout import Checkout
from .diagnose import recognise
from .engine import numbers
from .errors import Failure
from .process import Argv, Done, Journal, run

UV_MINIMUM = (0, 9)
UV_PINNED = "0.13.8"  # installed where the machine has none that is new enough


class Venv:
    """The host's Python environment, made by `uv sync --frozen` from the one lock."""

    def __init__(self, checkout: Checkout, journal: Journal | None = None) -> None:
        self.checkout, self.journal = checkout, journal

    @property
    def python(self) -> Path:
        """Its interpreter."""
        return self.checkout.venv / "bin" / "python"

    def tool(self, name: str) -> Path:
        """A command it brought."""
        return self.checkout.venv / "bin" / name

    @property
    def env(self) -> dict[str, str]:
        """The environment of whatever runs in it, as if it were activated.

        What Python compiles is kept, whatever the shell says: compiling Dagster anew costs each of some ten
        processes two seconds. It is kept in .venv, so that a folder of source stays as it is.
        """
        stray = ("PYTHONHOME", "PYTHONPATH", "VIRTUAL_ENV", "PYTHONDONTWRITEBYTECODE")
        kept = {key: value for key, value in self.checkout.environ.items() if key not in stray}
        return {
            **kept,
            "VIRTUAL_ENV": str(self.checkout.venv),
            "PYTHONPYCACHEPREFIX": str(self.checkout.venv / "pycache"),
            "PATH": f"{self.checkout.venv}/bin:{kept.get('PATH', '')}",
        }

    def ensure(self, groups: Sequence[str] = ()) -> None:
        """Install exactly what the lock says for the platform, its settings and the given groups; packages
        of other groups stay.
        """
        wanted = [part for group in groups for part in ("--group", group)]
        wanted += [part for extra in self.checkout.extras for part in ("--extra", extra)]
        argv: Argv = [
            self.uv(),
            "sync",
            "--frozen",
            "--inexact",
            "--no-default-groups",
            "--no-progress",
            *wanted,
        ]
        env = {
            **self.env,
            "UV_PYTHON_DOWNLOADS": "never",
            "UV_PROJECT_ENVIRONMENT": str(self.checkout.venv),
            # The caches of several users and file systems: a copy always works, and says nothing.
            "UV_LINK_MODE": self.checkout.environ.get(
                "UV_LINK_MODE", "hardlink" if self._same_disk() else "copy"
            ),
        }
        if host.home(self.checkout.environ) is None:
            env["UV_CACHE_DIR"] = str(self._cache())
        done = run(argv, cwd=self.checkout.root, env=env)
        self._journal(argv, done)
        if not done.ok:
            raise self._failure("uv could not make .venv from uv.lock", done)

    def uv(self) -> Path:
        """uv from PATH if new enough, else our own in .tools/uv, installed on first use."""
        found = shutil.which("uv", path=self.checkout.environ.get("PATH"))
        own = self.checkout.root / ".tools" / "uv"
        for candidate in (Path(found) if found else None, own / "bin" / "uv"):
            if candidate and numbers(_version(candidate)) >= UV_MINIMUM:
                return candidate
        self._install(own)
        return own / "bin" / "uv"

    def _install(self, folder: Path) -> None:
        """By pip in a venv of this very interpreter, which honours pip's own settings; a Python that can make
        none (Debian's, without python3-venv) gets the program straight from the index.
        """
        shutil.rmtree(folder, ignore_errors=True)
        make: Argv = [sys.executable, "-m", "venv", folder]
        made = run(make)
        self._journal(make, made)
        if not made.ok:
            shutil.rmtree(folder, ignore_errors=True)
            wheel.install("uv", UV_PINNED, folder, self.checkout.environ)
            return
        pip = (folder / "bin" / "python", "-m", "pip", "--disable-pip-version-check")
        argv: Argv = [*pip, "install", "--quiet", f"uv=={UV_PINNED}"]
        done = run(argv)
        self._journal(argv, done)
        if not done.ok:
            raise self._failure(f"uv {UV_PINNED} could not be installed", done)

    def _failure(self, what: str, done: Done) -> Failure:
        python = re.search(r"No interpreter found for Python.*", done.text)
        if python:
            return Failure(
                what,
                cause=f"{python[0]} (the platform needs Python 3.11 to 3.13; none is downloaded)",
                command="install one, e.g. apt install python3.13",
            )
        cause = recognise(done.text, "venv", self.checkout.settings)
        return Failure(
            what,
            cause=cause.sentence if cause else "see the last lines above",
            command=cause.command if cause else "make doctor",
            details=[("last lines", done.tail())],
        )

    def _same_disk(self) -> bool:
        cache = self._cache()
        return cache.exists() and cache.stat().st_dev == self.checkout.root.stat().st_dev

    def _cache(self) -> Path:
        """Where uv keeps packages: the shell's choice, else the user's folder, else the checkout."""
        if given := self.checkout.environ.get("UV_CACHE_DIR"):
            return Path(given)
        home = host.home(self.checkout.environ)
        return home / ".cache" if home else self.checkout.root / ".tools" / "cache"

    def _journal(self, argv: Argv, done: Done) -> None:
        if self.journal:
            self.journal.add(f"{' '.join(map(str, argv))} → {done.code}", done.text)


def _version(uv: Path) -> str:
    done = run([uv, "--version"], timeout=20)
    return done.text.split()[1] if done.ok and len(done.text.split()) > 1 else ""
