"""Whose lease is passed over: a killed process's at once, any other not before it ran out.

Belongs here: holders that are really killed. Does not: clocks (test_upkeep.py).
"""

from __future__ import annotations

import ast
import logging
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from time import monotonic, sleep

import orjson
import pytest

from lakehouse.errors import Conflict
from lakehouse.storage import lease as module
from lakehouse.storage import process
from lakehouse.storage.folder import FolderFiles
from lakehouse.storage.lease import held_by_another, lease, waiting_lease

_HOLD = """
import sys
from pathlib import Path
from lakehouse.storage.folder import FolderFiles
from lakehouse.storage.lease import lease
with lease(FolderFiles(Path(sys.argv[1])), "x"):
    print("held", flush=True)
    sys.stdin.read()
"""

pytestmark = pytest.mark.skipif(not process.this_one(), reason="without /proc no process has a name")


@pytest.fixture
def files(tmp_path: Path) -> FolderFiles:
    return FolderFiles(tmp_path)


@pytest.fixture
def holder(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that holds the lease x."""
    argv = [sys.executable, "-c", _HOLD, str(tmp_path)]
    held = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert held.stdout is not None
    assert held.stdout.readline() == "held\n"
    yield held
    held.kill()
    held.communicate()


def test_a_holder_that_was_killed_is_passed_over_at_once(
    files: FolderFiles, holder: subprocess.Popen[str]
) -> None:
    assert held_by_another(files, "x")
    with pytest.raises(Conflict, match=f":{holder.pid} holds it since"), lease(files, "x"):
        pass
    holder.send_signal(signal.SIGKILL)
    os.waitid(os.P_PID, holder.pid, os.WEXITED | os.WNOWAIT)  # its parent has not asked for it yet
    assert not held_by_another(files, "x")
    with lease(files, "x"):
        assert held_by_another(files, "x")


def test_a_process_that_has_the_number_of_a_dead_one_is_not_taken_for_it(
    holder: subprocess.Popen[str],
) -> None:
    place, pid, start = process.this_one().rsplit("/", 2)
    assert not process.is_dead(process.this_one())
    assert process.is_dead(f"{place}/{pid}/{int(start) - 1}")
    holder.kill()
    holder.wait()
    assert process.is_dead(f"{place}/{holder.pid}/{start}")


@pytest.mark.parametrize(
    "name", ["", "x", "a/b", "host/boot/4026531836/1/1", "//1/1", "////", "host/boot/4026531836/x/1", "7/é/0"]
)
def test_of_what_another_machine_runs_nothing_is_told(name: str) -> None:
    assert not process.is_dead(name)


def test_a_number_that_is_none_of_a_process_is_of_no_living_one() -> None:
    place, _, start = process.this_one().rsplit("/", 2)
    assert process.is_dead(f"{place}/{2**70}/{start}")
    assert not process.is_dead(f"{place}/-1/{start}")


def test_a_lease_of_an_older_version_names_no_process(
    files: FolderFiles, holder: subprocess.Popen[str]
) -> None:
    found = files.read_tagged("x")
    assert found is not None
    body = {name: told for name, told in orjson.loads(found[0]).items() if name != "process"}
    assert files.put_if("x", orjson.dumps(body), found[1])
    holder.kill()
    holder.wait()
    with pytest.raises(Conflict, match="a holder that died is passed over after"), lease(files, "x"):
        pass


def test_who_waits_long_says_for_whom(
    files: FolderFiles,
    holder: subprocess.Popen[str],
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "_TOLD_AFTER_SECONDS", 0.1)
    turn = waiting_lease(files, "x", length=timedelta(minutes=1), seconds=0.5, every=(0.02, 0.05))
    with caplog.at_level(logging.WARNING), pytest.raises(Conflict), turn:
        pass
    [said] = caplog.messages
    assert f":{holder.pid} holds it since" in said


_ENDS_BUT_FOR_ONE_THREAD = """
import ctypes, platform, sys, threading
from lakehouse.storage import process
def works():
    print(process.this_one(), flush=True)
    sys.stdin.read()
threading.Thread(target=works).start()
ctypes.CDLL(None).syscall({"x86_64": 60}.get(platform.machine(), 93), 0)  # of this thread alone
"""


def test_a_process_whose_first_thread_has_ended_lives() -> None:
    argv = [sys.executable, "-c", _ENDS_BUT_FOR_ONE_THREAD]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as held:
        assert held.stdout is not None
        name = held.stdout.readline().strip()
        deadline = monotonic() + 10
        while (stat := process._stat(held.pid)) is None or stat[0] != "Z":
            assert monotonic() < deadline
            sleep(0.01)
        assert not process.is_dead(name)
        held.kill()
        held.wait()
        assert process.is_dead(name)


@pytest.mark.parametrize(
    "apart", [("--pid", "--fork"), ("--time", "--boottime", "86400", "--fork")], ids=["pids", "clock"]
)
def test_of_a_process_that_counts_otherwise_nothing_is_told(apart: tuple[str, ...]) -> None:
    """One without a /proc of its PID namespace sees other processes; one of another clock, another start."""
    if not _can_be_apart(apart):
        pytest.skip("this user may make no namespaces")
    code = (
        "import sys; from lakehouse.storage import process; "
        "print([process.this_one(), *map(process.is_dead, sys.argv[1:])])"
    )
    place, _, start = process.this_one().rsplit("/", 2)
    argv = ["unshare", "--user", "--map-root-user", *apart, sys.executable, "-c", code]
    told = subprocess.run(
        [*argv, process.this_one(), f"{place}/{2**22 + 1}/{start}"],
        capture_output=True,
        text=True,
        check=True,
    )
    name, *dead = ast.literal_eval(told.stdout)
    assert dead == [False, False]
    assert not process.is_dead(name)
    assert name == "" or not name.startswith(place)


def _can_be_apart(apart: tuple[str, ...]) -> bool:
    if shutil.which("unshare") is None:
        return False
    argv = ["unshare", "--user", "--map-root-user", *apart, "true"]
    return subprocess.run(argv, capture_output=True, check=False).returncode == 0
