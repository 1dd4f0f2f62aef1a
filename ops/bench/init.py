"""Filling the sample lake: our init against `dagster asset materialize` per layer, its default executor.

Belongs here: wall and CPU seconds of both, embedded, on fresh folders, in turn. Does not: containers
(stack.py). CPU is that of the whole process tree, so what a way starts counts for it.
"""

from __future__ import annotations

import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
LAYERS = ("bronze", "silver", "gold")


def measure(repeat: int = 3) -> dict[str, Any]:
    """Run both ways `repeat` times in turn; return medians and the median of the ratios of pairs."""
    pairs = [{"ours": _fresh(ours), "cli": _fresh(cli)} for _ in range(repeat)]
    return {
        f"{way}_{figure}": statistics.median(pair[way][figure] for pair in pairs)
        for way in ("ours", "cli")
        for figure in ("wall", "cpu")
    } | {
        "cpu_ratio": statistics.median(pair["cli"]["cpu"] / pair["ours"]["cpu"] for pair in pairs),
        "wall_ratio": statistics.median(pair["cli"]["wall"] / pair["ours"]["wall"] for pair in pairs),
    }


def _fresh(way: Any) -> dict[str, float]:
    with tempfile.TemporaryDirectory(prefix="odp-bench-") as folder:
        env = {
            k: v for k, v in os.environ.items() if not k.startswith(("DAGSTER_", "LAKE_", "LANDING_", "S3_"))
        }
        # Both start from a prepared home and the same landed sample.
        _run([sys.executable, "-m", "orchestration.embedded", "status"], folder, env)
        _sample(Path(folder) / "landing")
        before, started = _children(), time.monotonic()
        way(folder, env)
        return {"wall": time.monotonic() - started, "cpu": _children() - before}


def ours(folder: str, env: dict[str, str]) -> None:
    """One run of one job, steps in its own process."""
    _run([sys.executable, "-m", "orchestration.embedded", "init"], folder, env)


def cli(folder: str, env: dict[str, str]) -> None:
    """Three calls of the superseded but widespread command, one per layer."""
    here = Path(folder)
    placed = {
        "LAKE_URL": str(here / ".data/lake"),
        "LANDING_URL": str(here / "landing"),
        "DAGSTER_HOME": str(here / ".data/dagster"),
    }
    file = str(ROOT / "ops/bench/executor.py")
    for layer in LAYERS:
        command = ["-m", "dagster", "asset", "materialize", "--select", f"group:{layer}", "-f", file]
        _run([sys.executable, *command], folder, {**env, **placed})


def _sample(landing: Path) -> None:
    from lakehouse.registry import sample_files

    for name, body in sample_files().items():
        (landing / name).parent.mkdir(parents=True, exist_ok=True)
        (landing / name).write_bytes(body)


def _run(command: list[str], folder: str, env: dict[str, str]) -> None:
    done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}")


def _children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def as_text(r: dict[str, Any]) -> str:
    return "\n".join(
        [
            "Filling the sample lake (embedded): ours against `dagster asset materialize` per layer",
            f"{'':<26} {'wall':>9} {'CPU':>9}",
            f"{'init':<26} {r['ours_wall']:>7.1f} s {r['ours_cpu']:>7.1f} s",
            f"{'materialize, per layer':<26} {r['cli_wall']:>7.1f} s {r['cli_cpu']:>7.1f} s",
            f"{'ratio':<26} {r['wall_ratio']:>8.1f}x {r['cpu_ratio']:>8.1f}x",
        ]
    )
