"""Facts about this machine: who holds a port, how much memory and disk is free. Linux and macOS; unknown is
None.
"""

from __future__ import annotations

import os
import pwd
import re
import shutil
import socket
from collections.abc import Mapping
from pathlib import Path

from .process import command_line, run

LISTEN = "0A"


def home(environ: Mapping[str, str]) -> Path | None:
    """This user's folder; None for a user without HOME and without an entry in passwd."""
    try:
        return Path(environ["HOME"]) if environ.get("HOME") else Path(pwd.getpwuid(os.getuid()).pw_dir)
    except KeyError:
        return None


def port_is_busy(address: str, port: int) -> bool:
    """Would publishing this port fail? macOS lets a second bind pass, hence the connect."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.settimeout(0.5)
        if probe.connect_ex(("127.0.0.1" if address == "0.0.0.0" else address, port)) == 0:
            return True
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
            probe.listen(1)
        except OSError:
            return True
    return False


def port_holder(port: int) -> tuple[int, str] | None:
    """Pid and command of a listener, where this user may see it."""
    pid = _holder_by_proc(port) if Path("/proc/net/tcp").exists() else _holder_by_lsof(port)
    return (pid, command_line(pid)) if pid else None


def _holder_by_proc(port: int) -> int | None:
    sockets = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        for line in Path(table).read_text().splitlines()[1:] if Path(table).exists() else []:
            fields = line.split()
            if fields[3] == LISTEN and int(fields[1].rpartition(":")[2], 16) == port:
                sockets.add(f"socket:[{fields[9]}]")
    for link in Path("/proc").glob("[0-9]*/fd/*"):
        try:
            if os.readlink(link) in sockets:
                return int(link.parts[2])
        except OSError:
            continue  # another user's process, or one that has just ended
    return None


def _holder_by_lsof(port: int) -> int | None:
    found = re.search(
        r"^p(\d+)", run(["lsof", "-nP", f"-iTCP:{port}", "-sTCP:LISTEN", "-Fp"]).text, re.MULTILINE
    )
    return int(found[1]) if found else None


def free_memory_mb() -> int | None:
    """Memory a new process could take without swapping."""
    try:
        found = re.search(r"^MemAvailable:\s+(\d+) kB", Path("/proc/meminfo").read_text(), re.MULTILINE)
        return int(found[1]) // 1024 if found else None
    except OSError:
        pass
    pages = dict(
        re.findall(r"^Pages (free|inactive|speculative):\s+(\d+)", run(["vm_stat"]).text, re.MULTILINE)
    )
    return sum(map(int, pages.values())) * os.sysconf("SC_PAGE_SIZE") // 2**20 if pages else None


def free_disk_mb(path: Path) -> int | None:
    """Free space of the file system a path is, or would be, on."""
    while not path.exists() and path != path.parent:
        path = path.parent
    try:
        return shutil.disk_usage(path).free // 2**20
    except OSError:
        return None
