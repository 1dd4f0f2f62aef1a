"""The full stack in containers: start to verified lake, init against the CLI, idle memory, image sizes.

Belongs here: a stack of its own in a copy of the checkout, on its own ports, removed at the end. Images are
built before anything is timed. Needs a Docker engine.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import statistics
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

_PORTS = ("DAGSTER_PORT", "API_PORT", "MINIO_PORT", "MINIO_CONSOLE_PORT", "POSTGRES_PORT")
ROOT = Path(__file__).resolve().parents[2]
PHASE = re.compile(r"^▸ (.+?) … ([\d.]+) s")
SETTLE_SECONDS = 60
LAYERS = ("bronze", "silver", "gold")


def engine() -> bool:
    """Return whether a Docker engine answers."""
    if shutil.which("docker") is None:
        return False
    return subprocess.run(["docker", "info"], capture_output=True, check=False).returncode == 0


def measure(repeat: int = 3) -> dict[str, Any]:
    """Build, then start from nothing `repeat` times; then measure the last stack at rest and at work."""
    with tempfile.TemporaryDirectory(prefix="odp-bench-") as folder:
        stack = _Stack(Path(folder))
        try:
            stack.make("start", "PROFILE=full")  # builds the image; not counted
            starts = []
            for _ in range(repeat):
                stack.make("nuke", "FORCE=1")
                starts.append(stack.timed_start())
            again = stack.timed_start()
            idle = stack.idle_memory()
            inits = [stack.init() for _ in range(repeat)]
            clis = [stack.cli() for _ in range(repeat)]
            sizes = stack.image_sizes()
        finally:
            stack.make("nuke", "FORCE=1", check=False)
    phases = {
        name: statistics.median(s["phases"].get(name, 0.0) for s in starts) for name in starts[-1]["phases"]
    }
    ratios = [cli["cpu"] / init["cpu"] for cli, init in zip(clis, inits, strict=True)]
    return {
        "start": statistics.median(s["seconds"] for s in starts),
        "start_all": [s["seconds"] for s in starts],
        "phases": phases,
        "second_start": again["seconds"],
        "init": {k: statistics.median(i[k] for i in inits) for k in ("wall", "cpu")},
        "cli": {k: statistics.median(i[k] for i in clis) for k in ("wall", "cpu")},
        "cpu_ratio": statistics.median(ratios),
        "wall_ratio": statistics.median(c["wall"] / i["wall"] for c, i in zip(clis, inits, strict=True)),
        "idle_mb": idle,
        "image_mb": sizes,
    }


class _Stack:
    """A copy of the checkout with its own project name and ports."""

    def __init__(self, folder: Path) -> None:
        self.dir = folder
        listed = subprocess.run(
            ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
            cwd=ROOT, capture_output=True, text=True, check=True,
        )  # fmt: skip
        for name in filter(None, listed.stdout.split("\0")):
            if (ROOT / name).is_file():
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(ROOT / name, folder / name)
        ports = dict(zip(_PORTS, _free(len(_PORTS)), strict=True))
        self.env = {**os.environ, **{k: str(v) for k, v in ports.items()}, "NO_COLOR": "1"}

    def run(self, *command: str, check: bool = True) -> str:
        done = subprocess.run(
            command, cwd=self.dir, env=self.env, capture_output=True, text=True, check=False
        )
        if check and done.returncode:
            raise SystemExit(f"{' '.join(command)} failed:\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}")
        return done.stdout

    def make(self, *args: str, check: bool = True) -> str:
        return self.run("make", "--no-print-directory", *args, check=check)

    def compose(self, *args: str) -> str:
        return self.run("docker", "compose", "--profile", "full", *args)

    def timed_start(self) -> dict[str, Any]:
        begin = time.monotonic()
        out = self.make("start", "PROFILE=full")
        seconds = time.monotonic() - begin
        found = [PHASE.match(line) for line in out.splitlines()]
        return {"seconds": seconds, "phases": {m[1]: float(m[2]) for m in found if m}}

    def init(self) -> dict[str, float]:
        return self._cost("ops/scripts/init-data-layers.sh")

    def cli(self) -> dict[str, float]:
        # The code server's own environment knows the password only as a file; the CLI reads the same config.
        self.compose("cp", str(ROOT / "ops/bench/executor.py"), "dagster-code:/var/lib/dagster/executor.py")
        calls = " && ".join(
            f"dagster asset materialize --select group:{layer} -f /var/lib/dagster/executor.py"
            for layer in LAYERS
        )
        return self._cost(
            "docker", "compose", "--profile", "full", "exec", "-T", "dagster-code", "sh", "-c", calls
        )

    def _cost(self, *command: str) -> dict[str, float]:
        """Wall seconds, and the CPU seconds of all containers together meanwhile."""
        before, begin = self._cpu(), time.monotonic()
        self.run(*command)
        return {"wall": time.monotonic() - begin, "cpu": self._cpu() - before}

    def _cpu(self) -> float:
        total = 0.0
        for container in self.compose("ps", "-q").split():
            total += _cgroup_cpu_seconds(container)
        return total

    def idle_memory(self) -> dict[str, float]:
        """MB per container, after it has had time to settle."""
        time.sleep(SETTLE_SECONDS)
        ids = self.compose("ps", "-q").split()
        out = self.run("docker", "stats", "--no-stream", "--format", "{{json .}}", *ids)
        found = {}
        for line in out.splitlines():
            one = json.loads(line)
            name = re.sub(r"-\d+$", "", one["Name"]).split("-", 2)[-1]
            found[name] = _megabytes(one["MemUsage"].split("/")[0])
        return dict(sorted(found.items()))

    def image_sizes(self) -> dict[str, float]:
        out = self.run("docker", "compose", "--profile", "full", "config", "--images")
        sizes = {}
        for image in sorted(set(out.split())):
            raw = self.run("docker", "image", "inspect", "--format", "{{.Size}}", image)
            sizes[image] = int(raw) / 1e6
        return sizes


def _cgroup_cpu_seconds(container: str) -> float:
    """CPU seconds of a container since it started, from its control group (version 1 or 2)."""
    candidates = (
        (f"/sys/fs/cgroup/system.slice/docker-{container}.scope/cpu.stat", "v2"),
        (f"/sys/fs/cgroup/docker/{container}/cpu.stat", "v2"),
        (f"/sys/fs/cgroup/cpuacct/docker/{container}/cpuacct.usage", "v1"),
        (f"/sys/fs/cgroup/cpu,cpuacct/docker/{container}/cpuacct.usage", "v1"),
    )
    for name, kind in candidates:
        path = Path(name)
        if path.exists() and kind == "v1":
            return int(path.read_text()) / 1e9
        if path.exists() and (used := re.search(r"usage_usec (\d+)", path.read_text())):
            return int(used[1]) / 1e6
    raise SystemExit(f"no control group of container {container[:12]} found: cannot count its CPU seconds")


def _megabytes(text: str) -> float:
    number, unit = re.match(r"\s*([\d.]+)\s*([A-Za-z]+)", text).groups()  # type: ignore[union-attr]
    return float(number) * {"B": 1e-6, "KiB": 1.024e-3, "MiB": 1.048576, "GiB": 1073.741824}[unit]


def _free(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    try:
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]
    finally:
        for one in sockets:
            one.close()


def as_text(r: dict[str, Any]) -> str:
    each = ", ".join(f"{s:.1f}" for s in r["start_all"])
    lines = ["Full stack, images built", f"  start -> verified lake    {r['start']:>6.1f} s   (each: {each})"]
    lines += [f"    {name:<24} {seconds:>5.1f} s" for name, seconds in r["phases"].items()]
    lines += [f"  second start              {r['second_start']:>6.1f} s", ""]
    lines += [
        "Init of the running stack against `dagster asset materialize` per layer, CPU of all containers",
        f"  init                      {r['init']['wall']:>6.1f} s wall {r['init']['cpu']:>7.1f} CPU-s",
        f"  materialize, per layer    {r['cli']['wall']:>6.1f} s wall {r['cli']['cpu']:>7.1f} CPU-s",
        f"  ratio                     {r['wall_ratio']:>6.1f} x      {r['cpu_ratio']:>7.1f} x",
        "",
        f"Memory at rest: {sum(r['idle_mb'].values()):.0f} MB",
    ]
    lines += [f"    {name:<24} {size:>5.0f} MB" for name, size in r["idle_mb"].items()]
    lines += ["", "Images"]
    return "\n".join([*lines, *(f"    {size:>5.0f} MB  {name}" for name, size in r["image_mb"].items())])
