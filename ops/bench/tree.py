"""One measurement: a program in a process of its own, with everything it starts.

Belongs here: wall and CPU seconds, peak memory, a time limit and a memory limit. Does not: what is run
(full.py). Peak memory is the larger of two figures: what the kernel kept for the largest process
(`ru_maxrss`, exact), and the largest sum of resident memory over the whole tree, looked at twenty times
a second; pages that processes share count for each. CPU is the kernel's for what was waited for, or the
sum last seen for each process, where that is more (a JVM may outlive its launcher). Start-up and
imports count in both; seconds are what the program itself says.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

_PAGE = os.sysconf("SC_PAGE_SIZE")
_TICK = os.sysconf("SC_CLK_TCK")
_EVERY = 0.05


def own_peak_mb() -> float:
    """Return the most memory that this process has had since its program began, in megabytes.

    `ru_maxrss` begins with what the process had that started it.
    """
    text = Path("/proc/self/status").read_text(encoding="ascii")
    return int(next(line for line in text.splitlines() if line.startswith("VmHWM")).split()[1]) / 1024


def run(
    argv: Sequence[str | Path], env: Mapping[str, str], *, seconds: float, memory: float = 0.85
) -> dict[str, Any]:
    """Return what the program printed last, a JSON object, with its cost; `failed` says why there is none.

    It is ended after so many seconds, or when it takes more than the share `memory` of this machine's.
    """
    most = memory * os.sysconf("SC_PHYS_PAGES") * _PAGE
    started = time.monotonic()
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(
            [str(part) for part in argv], env=dict(env), stdout=out, stderr=errors, start_new_session=True
        )
        peak, cpu, ended, usage, code = 0, dict[int, float](), "", None, 0
        try:
            while usage is None:
                found = tree(process.pid)
                peak = max(peak, sum(resident for resident, _ in found.values()))
                cpu |= {pid: used for pid, (_, used) in found.items()}
                if not ended and time.monotonic() - started > seconds:
                    ended = f"took longer than {seconds:,.0f} s"
                if not ended and peak > most:
                    ended = f"took more than {most / 1e9:.1f} GB of memory"
                if ended:
                    _end(found)
                pid, status, waited = os.wait4(process.pid, os.WNOHANG)
                if pid:
                    usage, code = waited, os.waitstatus_to_exitcode(status)
                else:
                    time.sleep(_EVERY)
        except BaseException:  # we are told to end: nothing of it goes on
            _end(tree(process.pid))
            raise
        process.returncode = code
        _end({pid: None for pid in cpu if pid != process.pid and _of_session(pid, process.pid)})
        told = _read(out).strip().rsplit("\n", 1)[-1]
        if code or ended:
            last = _read(errors).strip().rsplit("\n", 1)[-1]
            return {"failed": ended or f"exit {code}: {last[:300]}"}
    return json.loads(told) | {
        "peak_mb": round(max(peak, usage.ru_maxrss * 1024) / 1e6, 1),
        "cpu_seconds": round(max(usage.ru_utime + usage.ru_stime, sum(cpu.values())), 3),
        "process_seconds": round(time.monotonic() - started, 3),
    }


def tree(root: int) -> dict[int, tuple[int, float]]:
    """Return of a process and all below it: resident bytes and CPU seconds, by process number."""
    parents: dict[int, tuple[int, int, float]] = {}
    for entry in os.scandir("/proc"):
        if entry.name.isdigit():
            try:
                fields = Path(entry.path, "stat").read_text().rsplit(")", 1)[1].split()
            except (FileNotFoundError, ProcessLookupError):
                continue
            used = (int(fields[11]) + int(fields[12])) / _TICK
            parents[int(entry.name)] = (int(fields[1]), int(fields[21]) * _PAGE, used)
    below = {root} & parents.keys()
    grown = True
    while grown:
        more = {pid for pid, (parent, _, _) in parents.items() if parent in below} - below
        below |= more
        grown = bool(more)
    return {pid: parents[pid][1:] for pid in below}


def _of_session(pid: int, session: int) -> bool:
    """Whether the process is still there and was started by ours: a number may have a new owner."""
    try:
        return os.getsid(pid) == session
    except ProcessLookupError:
        return False


def _end(processes: Mapping[int, object]) -> None:
    for pid in processes:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue


def _read(file: Any) -> str:
    file.seek(0)
    return file.read().decode(errors="replace")
