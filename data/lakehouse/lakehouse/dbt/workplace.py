"""Where one build runs: a folder that nobody else can read, and a process of dbt that waits in it.

Belongs here: making both, early where a run is known to end in a build, and removing them. Does not: what is
built (build.py).
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path

import orjson

from lakehouse.dbt.project import Project, dbt_arguments, dbt_environment
from lakehouse.errors import SettingsError
from lakehouse.scratch import scratch_without

_PREFIX = "odp-dbt-build-"
_PACKAGES = ("dbt.cli", "dbt.adapters.duckdb", "duckdb")


class Workplace:
    """A folder with a copy of the project, and dbt that parses it there. Raises OSError."""

    def __init__(self, of: Project) -> None:
        self.fingerprint = of.fingerprint
        self.place = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=scratch_without(_PREFIX)))
        self.project = of.copied(self.place)
        script = Path(__file__).with_name("waiting.py")
        self._dbt = subprocess.Popen(  # noqa: S603  # our own Python
            [sys.executable, "-P", str(script), *dbt_arguments(self.project)],
            cwd=self.project,
            env=dbt_environment(self.place, **_limits()),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def build(self, arguments: Sequence[str]) -> tuple[int, str]:
        """Run `dbt build` with these arguments; return its exit code and what it printed."""
        said, _ = self._dbt.communicate(orjson.dumps(list(arguments)).decode())
        return self._dbt.returncode, said

    @property
    def waits(self) -> bool:
        """Return whether dbt is there for a build."""
        return self._dbt.poll() is None

    def close(self) -> None:
        """End dbt and remove the folder; ODP_DBT_KEEP names one in which dbt's own log stays."""
        if self.waits:
            self._dbt.kill()
        self._dbt.communicate()
        if kept := os.environ.get("ODP_DBT_KEEP"):
            for part in ("logs", "target"):
                if (self.place / part).is_dir():
                    shutil.copytree(self.place / part, Path(kept) / part, dirs_exist_ok=True)
        shutil.rmtree(self.place, ignore_errors=True)


_early: list[Workplace] = []  # one at most


def open_early(of: Project) -> None:
    """Make the place of the next build now, for a process that will build soon; `close_early` must follow."""
    close_early()
    if not missing_package():
        with suppress(OSError):  # the build makes its own then, and says what is wrong
            _early.append(Workplace(of))


def close_early() -> None:
    """Remove the place that no build has taken. Fine when there is none."""
    while _early:
        _early.pop().close()


@contextmanager
def workplace(of: Project) -> Iterator[Workplace]:
    """Give the place of one build of a project, the early one where it is of the same; it is removed at the
    end.

    Raises SettingsError where the packages of a build are not installed.
    """
    if missing := missing_package():
        raise SettingsError(f"a build of dbt needs {missing}, which is not there: install `lakehouse[dbt]`")
    found = _early.pop() if _early else None
    if found is not None and not (found.waits and found.fingerprint == of.fingerprint):
        found.close()
        found = None
    found = found or Workplace(of)
    try:
        yield found
    finally:
        found.close()


def missing_package() -> str | None:
    """Return a package of a build that is not installed."""
    return next((name for name in _PACKAGES if not _is_there(name)), None)


def _is_there(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:
        return False


def _limits() -> dict[str, str]:
    return {name: os.environ[name] for name in ("ODP_DBT_THREADS", "ODP_DBT_MEMORY") if name in os.environ}
