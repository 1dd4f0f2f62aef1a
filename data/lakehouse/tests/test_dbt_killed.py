"""A build that `kill -9` ends: processes that are really killed, dbt's own too.

Belongs here: what the lake is afterwards, and the run that follows. Does not: kills inside one commit
(tests/guarantees).
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from checkouts import wait_until
from loans import one_more
from test_dbt import (  # noqa: F401  # fixtures are found by their names
    PROJECT,
    built,
    hashes,
    lake,
    lake_at,
    project,
    silver,
    versions,
)

from lakehouse import registry
from lakehouse.dbt import refresh_models
from lakehouse.dbt.refresh import NOTE, TURN
from lakehouse.pipeline import Lake
from lakehouse.storage.lease import held_by_another

pytestmark = pytest.mark.slow

_RUN = """
import os, signal, sys
from pathlib import Path
from lakehouse import fault_points, registry
from lakehouse.dbt import refresh_models
from lakehouse.errors import LakeError
from lakehouse.pipeline import open_lake

left = int(sys.argv[3])

def action(point):
    global left
    left -= point == sys.argv[2]
    if not left and point == sys.argv[2]:
        os.kill(os.getpid(), signal.SIGKILL)

fault_points.arm(action)
try:
    refresh_models(open_lake(Path(sys.argv[1])), registry.models(), registry.models())
except LakeError as exc:
    print(exc)
    sys.exit(7)
"""


def run(folder: Path, point: str = "none", times: int = 1) -> subprocess.Popen[str]:
    """Build the models in a process group of its own, which dies at the n-th time that a point is reached."""
    argv = [sys.executable, "-c", _RUN, str(folder / "lake"), point, str(times)]
    env = os.environ | {"ODP_DBT_PROJECT": str(PROJECT), "ODP_SCRATCH": str(folder / "scratch")}
    return subprocess.Popen(
        argv, env=env, start_new_session=True, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )


def until_models_are_built(scratch: Path, running: subprocess.Popen[str]) -> int:
    """Wait until dbt has begun with a model; return the process of dbt."""

    def has_begun() -> bool:
        assert running.poll() is None, running.communicate()[0]
        logs = scratch.glob("odp-dbt-build-*/**/dbt.log")
        return any("START sql table model" in log.read_text(errors="replace") for log in logs)

    wait_until("dbt has begun with a model", has_begun, 60)
    [child] = Path(f"/proc/{running.pid}/task/{running.pid}/children").read_text().split()
    return int(child)


@pytest.fixture
def late(lake: Lake) -> Lake:  # noqa: F811
    """A lake with models that lack one loan."""
    silver(lake, {"loans/late.csv": one_more()})
    return lake


@pytest.fixture(scope="module")
def wanted(built: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:  # noqa: F811
    """What the models of a lake are with that loan, where nobody was killed."""
    folder = tmp_path_factory.mktemp("wanted")
    shutil.copytree(built, folder, dirs_exist_ok=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ODP_DBT_PROJECT", str(PROJECT))
        registry.clear()
        other = lake_at(folder)
        before = hashes(other)
        silver(other, {"loans/late.csv": one_more()})
        refresh_models(other, registry.models(), registry.models())
        made = hashes(other)
    registry.clear()
    assert all(made[path] != before[path] for path in made)
    return made


def is_brought_up(of: Lake, wanted: dict[str, str]) -> None:
    """The next run makes good what was killed, and waits for nobody who is dead."""
    assert not held_by_another(of.store.files, TURN)
    refresh_models(of, registry.models(), registry.models())
    assert of.store.files.read_tagged(NOTE) is None
    assert hashes(of) == wanted


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="children are looked up in /proc")
def test_a_kill_of_all_while_dbt_builds_changes_nothing(
    late: Lake, tmp_path: Path, wanted: dict[str, str]
) -> None:
    before, then = hashes(late), versions(late)
    running = run(tmp_path)
    until_models_are_built(tmp_path / "scratch", running)
    os.killpg(running.pid, signal.SIGKILL)
    running.communicate()
    assert (hashes(late), versions(late)) == (before, then)
    is_brought_up(late, wanted)


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="children are looked up in /proc")
def test_a_kill_of_dbt_alone_is_told_and_changes_nothing(late: Lake, tmp_path: Path) -> None:
    before, then = hashes(late), versions(late)
    running = run(tmp_path)
    os.kill(until_models_are_built(tmp_path / "scratch", running), signal.SIGKILL)
    told, _ = running.communicate(timeout=60)
    assert running.returncode == 7, told
    assert "was killed (signal 9)" in told
    assert (hashes(late), versions(late)) == (before, then)
    assert not list((tmp_path / "scratch").iterdir())


@pytest.mark.parametrize(("point", "times"), [("dbt.built", 1), ("dbt.taking", 1), ("dbt.taking", 3)])
def test_a_kill_on_the_way_into_the_lake_is_made_good_by_the_next_run(
    late: Lake, tmp_path: Path, wanted: dict[str, str], point: str, times: int
) -> None:
    then = versions(late)
    running = run(tmp_path, point, times)
    told, _ = running.communicate(timeout=120)
    assert running.returncode == -signal.SIGKILL, told
    moved = [path for path, version in versions(late).items() if version != then[path]]
    assert len(moved) == times - 1  # those before the one at which it died
    is_brought_up(late, wanted)
