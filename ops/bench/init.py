"""Filling the sample lake: our init against `dagster asset materialize` per layer, its default executor.

Belongs here: wall and CPU seconds of both, embedded, on fresh folders, in turn; and of an init over many FHIR
bundles. Does not: containers (stack.py). CPU is that of the whole process tree, so what a way starts counts
for it.
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
FHIR_MEGABYTES = (260, 1000)


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


def measure_fhir(sizes: tuple[int, ...] = FHIR_MEGABYTES) -> list[dict[str, float]]:
    """Fill a fresh lake from so many megabytes of FHIR bundles (as in clinical.py), and verify it."""
    import clinical

    found = []
    for megabytes in sizes:
        with tempfile.TemporaryDirectory(prefix="odp-bench-") as folder:
            size = clinical.land(Path(folder) / "landing" / "clinical", megabytes)
            env = _environment()
            seconds = {}
            for verb in ("init", "verify"):
                started = time.monotonic()
                _run([sys.executable, "-m", "orchestration.embedded", verb], folder, env)
                seconds[verb] = time.monotonic() - started
            found.append({"megabytes": size, **seconds})
    return found


def _environment() -> dict[str, str]:
    other = ("DAGSTER_", "LAKE_", "LANDING_", "S3_", "PYTHONDONTWRITEBYTECODE")  # as the platform's verbs do
    return {k: v for k, v in os.environ.items() if not k.startswith(other)}


def _fresh(way: Any) -> dict[str, float]:
    with tempfile.TemporaryDirectory(prefix="odp-bench-") as folder:
        env = _environment()
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


def fhir_as_text(found: list[dict[str, float]]) -> str:
    lines = ["Filling a lake from FHIR bundles (embedded), and verifying it"]
    lines += [f"{'landed':>10} {'init':>9} {'':>11} {'verify':>9}"]
    for r in found:
        rate = r["megabytes"] / r["init"]
        lines += [f"{r['megabytes']:>7.0f} MB {r['init']:>7.1f} s {rate:>6.1f} MB/s {r['verify']:>7.1f} s"]
    if len(found) > 1:
        first, last = found[0], found[-1]
        slope = (last["megabytes"] - first["megabytes"]) / (last["init"] - first["init"])
        lines += [f"from the first to the last: {slope:.1f} MB/s"]
    return "\n".join(lines)
