"""Unpatched processes over one lake with natural timing, killed now and then.

Belongs here: the workers, the killer, and counting commits. Does not: stepping (interleaved.py), single races
(races.py).

    python soak.py [--kind folder] [--minutes 10] [--seed 1]

Some processes land, refresh, replay, rebuild, restore and maintain, over and over; one of them is killed
every few seconds and started again. Then everybody ends, runs without company follow, and the lake must be
the one that one undisturbed run makes of the same files. Exit codes: 0 nothing was lost, doubled or changed;
1 something was.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import orjson

if __name__ == "__main__":
    sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1])]

import interleaved
import lakes
from interleaved import FIRST, LOOSE, STRICT, TABLES, TOLD, content, file_name, finish, lake_of, land
from verdicts import Verdict, judged

from lakehouse.contracts import quarantine_of
from lakehouse.domains.pipelines import transforms
from lakehouse.errors import StorageUnavailable
from lakehouse.maintenance import record_point, restore_run
from lakehouse.pipeline import Lake, refresh
from lakehouse.settings import Settings
from lakehouse.verify import verify

MOST_FILES = 400
KILL_EVERY_SECONDS = 2.0
END_SECONDS = 300


def _landing(lake: Lake, rng: random.Random) -> None:
    names = {file.name for file in lake.landing.list()}
    number = next((n for n in range(1, MOST_FILES) if file_name(n) not in names), None)
    if number is not None:
        land(lake, number)
    interleaved.bring(lake)


def _refreshing(lake: Lake, rng: random.Random) -> None:
    interleaved.silver(lake)
    interleaved.gold(lake)


def _strict(lake: Lake, rng: random.Random) -> None:
    """A run of the older rules: it refuses what a replay then brings in."""
    refresh(lake, STRICT, transforms.pipeline_events)


def _rarely(lake: Lake, rng: random.Random) -> None:
    what = rng.choice(["rebuild", "restore", "maintenance", "point"])
    if what == "point":
        record_point(lake, f"point-{rng.randrange(10**9)}", TABLES)
    elif what == "restore":
        restore_run(lake, FIRST, TABLES)
    else:
        interleaved.FLOWS[what](lake)
    time.sleep(rng.uniform(0, 1.0))


ROLES: dict[str, Callable[[Lake, random.Random], None]] = {
    "lands": _landing,
    "refreshes": _refreshing,
    "refreshes too": _refreshing,
    "refuses": _strict,
    "replays": lambda lake, _: interleaved.again(lake),
    "rarely": _rarely,
}


def work(settings: Settings, role: str, seed: int, until: float) -> None:
    """Do what the role says until then; being refused by name is part of it."""
    rng = random.Random(f"{role} {seed}")
    while time.time() < until:
        try:
            ROLES[role](lake_of(settings), rng)
        except (*TOLD, StorageUnavailable) as exc:
            print(f"{role}: {type(exc).__name__}: {exc}", flush=True)
            time.sleep(rng.uniform(0, 0.2))


def soak(settings: Settings, *, seconds: float, seed: int = 1) -> tuple[Verdict, int, int]:
    """Return the verdict, the number of commits and that of kills."""
    lake = lake_of(settings)
    land(lake, 1)
    finish(lake)
    record_point(lake, FIRST, TABLES)
    until, rng = time.time() + seconds, random.Random(seed)
    running = {role: _start(settings, role, seed, until) for role in ROLES}
    try:
        kills = _disturb(settings, running, rng, seed, until)
        for role, process in running.items():
            if (code := process.wait(timeout=END_SECONDS)) != 0:
                raise AssertionError(f"{role} ended with {code}")
    finally:
        for process in running.values():
            process.kill()
            process.wait()
    return judge(settings), commits(settings), kills


def _disturb(
    settings: Settings,
    running: dict[str, subprocess.Popen[bytes]],
    rng: random.Random,
    seed: int,
    until: float,
) -> int:
    """Kill one of the workers now and then, and start another in its place; return how many."""
    kills = 0
    longest = KILL_EVERY_SECONDS * (3 if settings.lake_format == "ducklake" else 1)  # it takes longer to open
    while time.time() < until:
        time.sleep(rng.uniform(0.2, longest))  # natural timing is the point
        role = rng.choice(list(running))
        if running[role].poll() not in (None, 0):
            raise AssertionError(f"{role} ended with {running[role].returncode}")
        running[role].send_signal(signal.SIGKILL)
        running[role].wait()
        kills += 1
        running[role] = _start(settings, role, seed + kills, until)
    return kills


def _start(settings: Settings, role: str, seed: int, until: float) -> subprocess.Popen[bytes]:
    order = {"settings": asdict(settings), "role": role, "seed": seed, "until": until}
    path = {"PYTHONPATH": os.pathsep.join(p for p in sys.path if p), "POLARS_MAX_THREADS": "1"}
    quiet = None if os.environ.get("SOAK_LOUD") else subprocess.DEVNULL
    return subprocess.Popen(
        [sys.executable, __file__, "--child", orjson.dumps(order).decode()],
        env={**os.environ, **path},
        stdout=quiet,
    )


def judge(settings: Settings) -> Verdict:
    """Compare what is left with what one undisturbed run makes of the same files."""
    lake = lake_of(settings)
    finish(lake)
    with tempfile.TemporaryDirectory(prefix="soak-") as folder:
        calm = lake_of(Settings(lake_url=f"{folder}/lake", landing_url=f"{folder}/landing"))
        for file in lake.landing.list():
            calm.landing.put(file.name, file.read())
        finish(calm)
        verdict = judged(content(lake), content(calm))
    problems = [p for p in verify(lake, TABLES).all_problems if p.check != "declared"]
    for problem in problems:
        print(problem, file=sys.stderr)
    return verdict + Verdict(changed=len(problems))


def commits(settings: Settings) -> int:
    lake = lake_of(settings)
    versions = [lake.store.snapshot(table).version for table in (*TABLES, quarantine_of(LOOSE))]
    # A version of DuckLake counts the commits of the whole lake; Delta's, those of its table.
    return max(versions) if settings.lake_format == "ducklake" else sum(versions)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kind", choices=lakes.KINDS, default="folder")
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--child", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        order = orjson.loads(options.child)
        work(Settings(**order["settings"]), order["role"], order["seed"], order["until"])
        return 0
    with (
        tempfile.TemporaryDirectory(prefix="soak-") as folder,
        lakes.lake_of(options.kind, Path(folder)) as settings,
    ):
        verdict, count, kills = soak(settings, seconds=60 * options.minutes, seed=options.seed)
    print(f"{options.kind}: {count} commits, {kills} kills: {verdict}")
    return 0 if verdict.kept else 1


if __name__ == "__main__":
    sys.exit(main())
