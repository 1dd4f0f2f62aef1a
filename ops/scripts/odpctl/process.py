"""Running commands: their output is gathered, stripped of secrets, and kept only when something fails.

Also: which process is which. A pid alone may belong to somebody else by now, so it is kept with its start
time.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

URL_PASSWORD = re.compile(r"(://[^\s:/@]*:)[^\s@/]+@")
HIDDEN = "******"
KEPT_LOGS = 10


Argv = Sequence[str | Path]


@dataclass(frozen=True)
class Done:
    """A finished command: exit code and everything it printed, in order."""

    code: int
    text: str

    @property
    def ok(self) -> bool:
        """Exit code 0."""
        return self.code == 0

    def tail(self, count: int = 20) -> list[str]:
        """The last lines that say anything."""
        return [line for line in self.text.splitlines() if line.strip()][-count:]


def run(
    argv: Argv,
    *,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    stdin: int | None = subprocess.DEVNULL,
    timeout: float | None = None,
) -> Done:
    """Run to the end. A missing program is exit 127 and a timeout 124, as in a shell, so callers see one
    kind of result.
    """
    try:
        done = subprocess.run(
            [str(part) for part in argv],
            cwd=cwd,
            env=env,
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=timeout,
            text=True,
            errors="replace",
            check=False,
        )
    except FileNotFoundError:
        return Done(127, f"{argv[0]}: not found")
    except subprocess.TimeoutExpired as late:
        text = late.stdout if isinstance(late.stdout, str) else (late.stdout or b"").decode(errors="replace")
        return Done(124, f"{text}\n{argv[0]}: no answer within {timeout:.0f} s")
    return Done(done.returncode, done.stdout)


def redact(text: str, secrets: Iterable[str]) -> str:
    """The text without any of the given values, and without passwords inside URLs."""
    for secret in sorted(filter(lambda value: len(value) >= 6, secrets), key=len, reverse=True):
        text = text.replace(secret, HIDDEN)
    return URL_PASSWORD.sub(rf"\1{HIDDEN}@", text)


@dataclass
class Journal:
    """Everything the commands of one verb printed; written to a file only if the verb fails."""

    folder: Path
    secrets: list[str] = field(default_factory=list)
    blocks: list[str] = field(default_factory=list)

    def add(self, title: str, text: str) -> None:
        """Append one command's output."""
        self.blocks.append(f"===== {title}\n{redact(text, self.secrets).rstrip()}\n")

    def keep(self, verb: str) -> Path:
        """Write the log, 0600, and drop all but the newest few."""
        private(self.folder)
        path = self.folder / f"{verb}-{time.strftime('%Y%m%d-%H%M%S')}.log"
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            file.write("\n".join(self.blocks))
        for old in sorted(self.folder.glob(f"{verb}-*.log"))[:-KEPT_LOGS]:
            old.unlink(missing_ok=True)
        return path


def private(folder: Path) -> None:
    """Make a folder of .data for this user alone, with those above it up to .data itself."""
    folder.mkdir(parents=True, exist_ok=True)
    for one in (folder, *folder.parents):
        if ".data" in one.parts:
            one.chmod(0o700)


def started_at(pid: int) -> str:
    """When a living process started, in the system's own words; '' when there is none, or only its zombie."""
    proc = Path(f"/proc/{pid}/stat")
    if Path("/proc/self/stat").exists():
        try:
            fields = proc.read_text().rpartition(")")[2].split()
        except OSError:
            return ""
        return "" if fields[0] in "ZX" else fields[19]
    state, _, start = run(["ps", "-o", "stat=", "-o", "lstart=", "-p", str(pid)]).text.strip().partition(" ")
    return "" if state.startswith("Z") else start.strip()


def command_line(pid: int) -> str:
    """What a process was started as, shortened for a message."""
    try:
        text = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        text = run(["ps", "-ww", "-o", "args=", "-p", str(pid)]).text
    return text.strip()[:100]


def write_pid(path: Path, pid: int) -> None:
    """Remember a process so that only this very one is ever ended."""
    private(path.parent)
    path.write_text(f"{pid} {started_at(pid)}\n")


def read_pid(path: Path) -> int | None:
    """The remembered process if it still lives."""
    try:
        pid, _, start = path.read_text().strip().partition(" ")
        return int(pid) if start and started_at(int(pid)) == start else None
    except (FileNotFoundError, ValueError):
        return None


def members(group: int) -> list[int]:
    """The processes of a group."""
    if Path("/proc/self/stat").exists():
        found = []
        for stat in Path("/proc").glob("[0-9]*/stat"):
            with contextlib.suppress(OSError):  # one that has just ended
                fields = stat.read_text(errors="replace").rpartition(")")[2].split()
                if fields[2] == str(group) and fields[0] not in "ZX":
                    found.append(int(stat.parent.name))
        return found
    pairs = (line.split() for line in run(["ps", "-A", "-o", "pgid=", "-o", "pid="]).text.splitlines())
    return [int(pair[1]) for pair in pairs if pair[:1] == [str(group)]]


def left_behind(path: Path, ours: Path) -> int | None:
    """The remembered group, where its leader is gone and a program below `ours` is still in it.

    A group keeps its number from being given away; one of another program was made after ours had ended.
    """
    try:
        pid = int(path.read_text().split()[0])
    except (FileNotFoundError, ValueError, IndexError):
        return None
    if started_at(pid):
        return None
    return pid if any(command_line(one).startswith(f"{ours}/") for one in members(pid)) else None


def end_group(path: Path, ours: Path, *, patience: float = 20.0) -> bool:
    """End the remembered session: ask its leader, then its group, then insist. True if there was one.

    Where the leader was killed, what it has started goes on: that is ended as well.
    """
    pid = read_pid(path)
    if pid is None:
        pid = left_behind(path, ours)
        if pid is None:
            path.unlink(missing_ok=True)
            return False
        steps = [(os.killpg, signal.SIGTERM, 0.7), (os.killpg, signal.SIGKILL, 0.3)]
    else:
        steps = [
            (os.kill, signal.SIGINT, 0.6),
            (os.killpg, signal.SIGTERM, 0.3),
            (os.killpg, signal.SIGKILL, 0.1),
        ]
    for send, sig, share in steps:
        with contextlib.suppress(ProcessLookupError):
            send(pid, sig)
        deadline = time.monotonic() + patience * share
        while _goes_on(path, ours) and time.monotonic() < deadline:
            time.sleep(0.05)
        if not _goes_on(path, ours):
            break
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGTERM)  # children that outlived their leader
    path.unlink(missing_ok=True)
    return True


def _goes_on(path: Path, ours: Path) -> bool:
    return read_pid(path) is not None or left_behind(path, ours) is not None
