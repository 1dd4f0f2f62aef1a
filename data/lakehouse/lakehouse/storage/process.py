"""Names of processes, by which another process of the same machine can tell that one is dead.

Belongs here: the name of this one, and asking for another. Does not: what follows from it (lease.py).
A name is of one boot of one kernel, one PID namespace (a container has its own) and one start, which is
counted by the clock of a time namespace: of any other machine or container nothing is told. There are names
where there is /proc, as on Linux, and it is that of this PID namespace: by another's numbers, other processes
would be asked for.
"""

from __future__ import annotations

import os
import socket
from pathlib import Path

_PROC = Path("/proc")
# Of the fields of /proc/PID/stat behind the program's name, which are from the third on.
_STATE, _THREADS, _START = 0, 17, 19


def this_one() -> str:
    """Return the name of this process; an empty text where it has none."""
    place, pid = _place(), os.getpid()
    found = _stat(pid) if place else None
    return f"{place}/{pid}/{found[_START]}" if found else ""


def is_dead(name: str) -> bool:
    """Return whether the process of this name is known to have ended."""
    place, _, rest = name.rpartition("/")
    place, _, pid = place.rpartition("/")
    if not place or place != _place() or not pid.isdecimal():
        return False
    try:
        os.kill(int(pid), 0)
    except (ProcessLookupError, OverflowError):
        return True
    except OSError:  # it is there, and another user's
        pass
    found = _stat(int(pid))
    return found is not None and (_has_ended(found) or found[_START] != rest)


def _has_ended(stat: list[str]) -> bool:
    """Return whether no thread runs: the first one may end, as a zombie, long before the others do."""
    return stat[_STATE] in ("Z", "X") and stat[_THREADS] in ("0", "1")


def _place() -> str:
    """Return what tells the processes that this one can see; an empty text where nothing does."""
    try:
        boot = (_PROC / "sys/kernel/random/boot_id").read_text().strip()
        seen_as = os.readlink(_PROC / "self")
        pids, clock = (_namespace(kind) for kind in ("pid", "time"))
    except OSError:
        return ""
    if not boot or not pids or seen_as != str(os.getpid()):
        return ""
    return f"{socket.gethostname()}/{boot}/{pids}-{clock}"


def _namespace(kind: str) -> int:
    """Return the number of a namespace; 0 where the kernel knows none of this kind.

    It is this thread's: the first one may have ended.
    """
    try:
        return os.stat(_PROC / "thread-self/ns" / kind).st_ino
    except FileNotFoundError:
        return 0


def _stat(pid: int) -> list[str] | None:
    try:
        text = (_PROC / str(pid) / "stat").read_text(errors="replace")
    except OSError:
        return None
    fields = text.rpartition(")")[2].split()
    return fields if len(fields) > _START else None
