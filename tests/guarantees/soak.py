"""Unpatched processes over one lake with natural timing, killed now and then.

Belongs here: the workers, the killer, and counting commits. Does not: stepping (interleaved.py), single races
(races.py).

    python soak.py [--kind folder] [--commits 2000] [--seed 1]

Some processes land, refresh, replay, rebuild, restore and maintain, over and over; every few seconds one of
them that has come through at least once is killed and started again. After so many commits everybody ends,
runs without company follow, and the lake must be the one that one undisturbed run makes of the same files.
Exit codes: 0 nothing was lost, doubled or changed; 1 something was.
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
from dataclasses import asdict, dataclass, field
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
END = "end"


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


def work(settings: Settings, role: str, seed: int, desk: Path, until: float) -> None:
    """Do what the role says until it is told to end; being refused by name is part of it."""
    rng = random.Random(f"{role} {seed}")
    while not (desk / END).exists() and time.time() < until:
        try:
            ROLES[role](lake_of(settings), rng)
        except (*TOLD, StorageUnavailable) as exc:
            print(f"{role}: {type(exc).__name__}: {exc}", flush=True)
            time.sleep(rng.uniform(0, 0.2))
        (desk / f"{role}.through").touch()


def soak(settings: Settings, *, least: int, most_seconds: float, seed: int = 1) -> tuple[Verdict, int, int]:
    """Return the verdict, the number of commits and that of kills.

    Raises:
        AssertionError: a worker ended by itself, or there were fewer commits in this time.
    """
    lake = lake_of(settings)
    land(lake, 1)
    finish(lake)
    record_point(lake, FIRST, TABLES)
    with tempfile.TemporaryDirectory(prefix="soak-desk-") as folder:
        crew = Crew(settings, Path(folder), seed, until=time.time() + most_seconds + END_SECONDS)
        try:
            crew.disturb(commits(settings) + least, time.time() + most_seconds)
            crew.end()
        finally:
            crew.kill()
    return judge(settings), commits(settings), crew.kills


@dataclass
class Crew:
    """The workers that run, and the folder where they say how far they are."""

    settings: Settings
    desk: Path
    seed: int
    until: float
    running: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    kills: int = 0

    def __post_init__(self) -> None:
        for role in ROLES:
            self._start(role)

    def disturb(self, wanted: int, until: float) -> None:
        """Kill one of those that came through now and then, until there are so many commits."""
        rng = random.Random(self.seed)
        while (made := commits(self.settings)) < wanted:
            if time.time() > until:
                raise AssertionError(f"{made} of {wanted} commits, and the time is over")
            time.sleep(rng.uniform(0.2, KILL_EVERY_SECONDS))  # natural timing is the point
            for role in self.running:
                self._must_run(role)
            through = [role for role in self.running if (self.desk / f"{role}.through").exists()]
            if through:
                role = rng.choice(through)
                self.running[role].send_signal(signal.SIGKILL)
                self.running[role].wait()
                self.kills += 1
                self._start(role)

    def end(self) -> None:
        """Tell everybody to end, and wait for it."""
        (self.desk / END).touch()
        for role, process in self.running.items():
            process.wait(timeout=END_SECONDS)
            self._must_run(role)

    def kill(self) -> None:
        for process in self.running.values():
            process.kill()
            process.wait()

    def _must_run(self, role: str) -> None:
        if (code := self.running[role].poll()) not in (None, 0):
            said = (self.desk / f"{role}.said").read_text(errors="replace").splitlines()[-40:]
            raise AssertionError("\n".join([f"{role} ended with {code}", *said]))

    def _start(self, role: str) -> None:
        (self.desk / f"{role}.through").unlink(missing_ok=True)
        order = {
            "settings": asdict(self.settings),
            "role": role,
            "seed": self.seed + self.kills,
            "desk": str(self.desk),
            "until": self.until,
        }
        path = {"PYTHONPATH": os.pathsep.join(p for p in sys.path if p), "POLARS_MAX_THREADS": "1"}
        with (self.desk / f"{role}.said").open("wb") as said:
            self.running[role] = subprocess.Popen(
                [sys.executable, __file__, "--child", orjson.dumps(order).decode()],
                env={**os.environ, **path},
                stdout=None if os.environ.get("SOAK_LOUD") else subprocess.DEVNULL,
                stderr=said,
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
    parser.add_argument("--commits", type=int, default=2000)
    parser.add_argument("--minutes", type=float, default=60, help="as long at most")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--child", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        order = orjson.loads(options.child)
        settings = Settings(**order.pop("settings"))
        work(settings, order["role"], order["seed"], Path(order["desk"]), order["until"])
        return 0
    with (
        tempfile.TemporaryDirectory(prefix="soak-") as folder,
        lakes.lake_of(options.kind, Path(folder)) as settings,
    ):
        verdict, count, kills = soak(
            settings, least=options.commits, most_seconds=60 * options.minutes, seed=options.seed
        )
    print(f"{options.kind}: {count} commits, {kills} kills: {verdict}")
    return 0 if verdict.kept else 1


if __name__ == "__main__":
    sys.exit(main())
