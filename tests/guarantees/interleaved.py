"""Two flows over one lake, stepped through the orders in which their commits can follow each other.

Belongs here: the scheduler, the flows it steps, and the judge. Does not: races of natural timing (races.py,
soak.py).

Each flow runs in a thread of its own, on a lake of its own, and stops right before each commit; then one of
the two is let go until it stops again. So a schedule is a sequence of choices, and every sequence can be
tried. Whatever the order, and whoever had to give up by name: runs without company afterwards must end in the
lake that one undisturbed run makes of the same files, and verify must have nothing to say.

    python interleaved.py [--kind folder] [--pairs refresh+replay …] [--most 70]
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import random
import shutil
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import orjson
import polars as pl

if __name__ == "__main__":
    sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1])]

import lakes
from verdicts import Verdict, judged, summed

from lakehouse import fault_points
from lakehouse.contracts import quarantine_of
from lakehouse.domains.pipelines import contracts as c
from lakehouse.domains.pipelines import transforms
from lakehouse.errors import Conflict, StaleWriter, TableNotFound, Unsupported
from lakehouse.maintenance import record_point, restore_run
from lakehouse.pipeline import Lake, ingest, open_lake, refresh
from lakehouse.quarantine import replay
from lakehouse.registry import sources
from lakehouse.settings import Settings
from lakehouse.store import MaintenanceOptions
from lakehouse.verify import verify

NOON = datetime(2026, 1, 10, 12, tzinfo=UTC)
STRICT = dataclasses.replace(
    c.PIPELINE_EVENTS, max_reject_ratio=1.0
)  # what is tried is not what holds a table
LOOSE = dataclasses.replace(
    STRICT, rules=tuple(r for r in STRICT.rules if "negative" not in r.name), version="2.0.0"
)
TABLES = (c.RAW_PIPELINE_EVENTS, LOOSE, c.PIPELINE_METRICS)
SOURCES = [s for s in sources() if s.table is c.RAW_PIPELINE_EVENTS]
STOPS = ("commit.begin", "maintain.compacted", "maintain.checkpointed")
STEP_SECONDS = 120
FIRST = "first"


def lake_of(settings: Settings) -> Lake:
    return dataclasses.replace(open_lake(settings), batch_rows=5, clock=lambda: NOON)


def land(lake: Lake, number: int) -> None:
    """Eight events of three days; two break a rule that `LOOSE` has not, one a rule that both have."""
    lines = [
        {"pipeline_id": f"p{number}-{n}" if n < 6 else "again", "event_type": "pipeline.completed",
         "workspace_id": "w", "timestamp": f"2026-01-{1 + n % 3:02d}T10:00:00Z",
         "raw_data": {"duration_ms": -1 if n in (1, 6) else 10 * number + n}}
        for n in range(8)
    ]  # fmt: skip
    nobody = {"pipeline_id": None, "event_type": "pipeline.completed", "timestamp": "2026-01-01T10:00:00Z"}
    body = b"".join(orjson.dumps(line) + b"\n" for line in [*lines, nobody])
    lake.landing.put(file_name(number), body)


def file_name(number: int) -> str:
    """Name the files so that their order is that of their numbers: of one key the last landed stays."""
    return f"pipeline_events/{number:04d}.ndjson"


def bring(lake: Lake) -> None:
    ingest(lake, c.RAW_PIPELINE_EVENTS, SOURCES)


def silver(lake: Lake, *, full: bool = False) -> None:
    refresh(lake, LOOSE, transforms.pipeline_events, full=full)


def gold(lake: Lake) -> None:
    refresh(lake, c.PIPELINE_METRICS, transforms.pipeline_metrics)


def again(lake: Lake) -> None:
    replay(lake, LOOSE, transforms.pipeline_events)


def refreshing(lake: Lake) -> None:
    silver(lake)
    gold(lake)


def maintain(lake: Lake) -> None:
    for table in (*TABLES[:2], quarantine_of(LOOSE)):
        lake.store.maintain(table, MaintenanceOptions(retain=timedelta(days=1)))


FLOWS: dict[str, Callable[[Lake], None]] = {
    "refresh": refreshing,
    "replay": again,
    "restore": lambda lake: restore_run(lake, FIRST, TABLES) and None,
    "rebuild": lambda lake: silver(lake, full=True),
    "maintenance": maintain,
    "ingest": bring,
}
PAIRS = ["+".join(pair) for pair in itertools.combinations_with_replacement(FLOWS, 2)]


def prepare(settings: Settings) -> None:
    """A run with its point, rejects of a rule that is gone by now, Bronze ahead of Silver, a file to land."""
    lake = lake_of(settings)
    for number in (1, 2):
        land(lake, number)
        bring(lake)
        refresh(lake, STRICT, transforms.pipeline_events)
        gold(lake)
        if number == 1:
            record_point(lake, FIRST, TABLES)
    land(lake, 3)
    bring(lake)
    land(lake, 4)


def finish(lake: Lake) -> None:
    """What undisturbed runs make of whatever is there."""
    for _ in range(2):
        bring(lake)
        silver(lake)
        again(lake)
        gold(lake)


def content(lake: Lake) -> list[tuple[Any, ...]]:
    """Every row of every table, without the columns that say when and in which batch it came."""
    rows: list[tuple[Any, ...]] = []
    for table in (*TABLES, quarantine_of(LOOSE)):
        found = lake.store.scan(table)
        names = [name for name in table.content_columns if name != "contract_version"]
        if table.layer == "quarantine":
            found, names = _open(found), ["_source", "_row", "rules"]
        rows += [(f"{table.path}/{row[:4]}", *row) for row in found.select(names).collect().iter_rows()]
    return rows


def _open(rows: pl.LazyFrame) -> pl.LazyFrame:
    """Refusals that no replay has taken up: as many as there are more refusals than notes of a replay."""
    told = rows.collect().sort("replay", nulls_last=False)
    left: Counter[tuple[Any, ...]] = Counter()
    keep = []
    for row in told.iter_rows(named=True):
        key = (row["_source"], row["_row"])
        left[key] += 1 if row["replay"] is None else -1
    seen: Counter[tuple[Any, ...]] = Counter()
    for number, row in enumerate(told.iter_rows(named=True)):
        key = (row["_source"], row["_row"])
        if row["replay"] is None and seen[key] < left[key]:
            seen[key] += 1
            keep.append(number)
    return told[keep].lazy()


def undisturbed() -> list[tuple[Any, ...]]:
    """The content that every run must end in."""
    with tempfile.TemporaryDirectory(prefix="interleaved-") as folder:
        lake = lake_of(Settings(lake_url=f"{folder}/lake", landing_url=f"{folder}/landing"))
        for number in range(1, 5):
            land(lake, number)
        finish(lake)
        return content(lake)


# -- the scheduler -----------------------------------------------------------------------------------------


@dataclass
class Actor:
    """One flow in its thread: it stops at each step until it is let go."""

    name: str
    work: Callable[[], None]
    at: str | None = None  # the step it stands at; None while it runs or when it has ended
    ended: bool = False
    error: BaseException | None = None
    stopped: threading.Event = field(default_factory=threading.Event)
    go: threading.Event = field(default_factory=threading.Event)

    def start(self) -> None:
        threading.Thread(target=self._run, name=f"flow {self.name}", daemon=True).start()
        self._wait()

    def step(self) -> None:
        """Let it go until it stops again or ends."""
        self.stopped.clear()
        self.go.set()
        self._wait()

    def _wait(self) -> None:
        if not self.stopped.wait(STEP_SECONDS):
            raise AssertionError(f"flow {self.name} neither stopped nor ended within {STEP_SECONDS} s")

    def reach(self, point: str) -> None:
        self.at = point
        self.stopped.set()
        self.go.wait()
        self.go.clear()
        self.at = None

    def _run(self) -> None:
        _here.actor = self
        try:
            self.work()
        except BaseException as exc:  # noqa: BLE001  # told to whoever started it
            self.error = exc
        self.ended = True
        self.stopped.set()


_here = threading.local()


@contextmanager
def armed() -> Iterator[None]:
    def stop(point: str) -> None:
        actor = getattr(_here, "actor", None)
        if actor is not None and point in STOPS:
            actor.reach(point)

    fault_points.arm(stop)
    try:
        yield
    finally:
        fault_points.arm(None)


TOLD = (Conflict, StaleWriter, TableNotFound, Unsupported)


def play(settings: Settings, pair: str, schedule: Sequence[int]) -> tuple[list[int], list[str]]:
    """Run both flows by the schedule; past its end, the first that still runs goes on.

    Return the choices that were really made (where there was one), and who gave up by name.
    """
    actors = [
        Actor(f"{name} {side}", (lambda flow=FLOWS[name]: flow(lake_of(settings))))
        for side, name in enumerate(pair.split("+"))
    ]
    made: list[int] = []
    with armed():
        for actor in actors:
            actor.start()
        while not all(actor.ended for actor in actors):
            free = [side for side, actor in enumerate(actors) if not actor.ended]
            side = free[0]
            if len(free) > 1:
                side = schedule[len(made)] if len(made) < len(schedule) else 0
                made.append(side)
            actors[side].step()
    for actor in actors:
        if actor.error is not None and not isinstance(actor.error, TOLD):
            raise actor.error
    return made, [f"{a.name}: {a.error}" for a in actors if a.error is not None]


def orders(commits: int) -> list[list[int]]:
    """Return every order of `commits` steps of one flow and as many of the other: 70 for four."""
    places = range(2 * commits)
    return [[int(p not in mine) for p in places] for mine in itertools.combinations(places, commits)]


# -- trials ------------------------------------------------------------------------------------------------


def on_folder(pair: str, *, most: int | None = None, commits: int = 4) -> Verdict:
    """Every order of the commits of a pair, or `most` of them, on a folder that is put back before each."""
    chosen, wanted = orders(commits), undisturbed()
    if most is not None:
        chosen = random.Random(pair).sample(chosen, min(most, len(chosen)))
    verdicts: list[Verdict] = []
    tried: set[tuple[int, ...]] = set()
    with tempfile.TemporaryDirectory(prefix="interleaved-") as name:
        folder = Path(name)
        settings = Settings(lake_url=str(folder / "lake"), landing_url=str(folder / "landing"))
        prepare(settings)
        for part in ("lake", "landing"):
            shutil.copytree(folder / part, folder / "saved" / part)
        for schedule in chosen:
            if any(tuple(schedule[: len(made)]) == made for made in tried):
                continue  # both ended sooner: it was this very order
            for part in ("lake", "landing"):
                shutil.rmtree(folder / part)
                shutil.copytree(folder / "saved" / part, folder / part)
            verdict, made = trial(settings, pair, schedule, wanted)
            tried.add(tuple(made[: 2 * commits]))
            verdicts.append(verdict)
    return summed(verdicts)


def sampled(kind: str, pair: str, *, most: int) -> Verdict:
    """Some orders of a pair, each on a lake of its own of any kind."""
    verdicts, wanted = [], undisturbed()
    for schedule in random.Random(f"{kind} {pair}").sample(orders(4), most):
        with (
            tempfile.TemporaryDirectory(prefix="interleaved-") as folder,
            lakes.lake_of(kind, Path(folder)) as settings,
        ):
            prepare(settings)
            verdicts.append(trial(settings, pair, schedule, wanted)[0])
    return summed(verdicts)


def trial(
    settings: Settings, pair: str, schedule: Sequence[int], wanted: Sequence[tuple[Any, ...]]
) -> tuple[Verdict, list[int]]:
    """Play one schedule on a prepared lake; return the verdict on what is left, and the choices made."""
    made, told = play(settings, pair, schedule)
    lake = lake_of(settings)
    finish(lake)
    verdict = judged(content(lake), wanted, told=len(told))
    problems = [p for p in verify(lake_of(settings), TABLES).all_problems if not _of_another(p.table)]
    if not verdict.kept or problems:
        print(f"{pair} {schedule}: {verdict} {problems[:3]} {told}", file=sys.stderr, flush=True)
    return verdict + Verdict(changed=len(problems)), made


def _of_another(table: str) -> bool:
    """Return whether a problem is about tables that the trial did not name to verify."""
    return "__rebuild" not in table and table not in {t.path for t in (*TABLES, quarantine_of(LOOSE))}


def every_pair(settings: Settings, *, quick: bool) -> Verdict:
    """All pairs: every order on a folder, a sample on any other kind; two processes at once."""
    kind = "ducklake" if settings.lake_format == "ducklake" else "s3" if settings.on_s3 else "folder"
    pairs = PAIRS[:: 2 if kind == "folder" else 5] if quick else PAIRS
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as processes:
        if kind == "folder":
            verdicts = [processes.submit(on_folder, pair, most=1 if quick else None) for pair in pairs]
        else:
            verdicts = [processes.submit(sampled, kind, pair, most=1 if quick else 3) for pair in pairs]
        return summed(verdict.result() for verdict in verdicts)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kind", choices=lakes.KINDS, default="folder")
    parser.add_argument("--pairs", nargs="+", choices=PAIRS, default=PAIRS)
    parser.add_argument("--most", type=int, help="orders of each pair (all of them on a folder, else 3)")
    options = parser.parse_args()
    total = Verdict()
    for pair in options.pairs:
        if options.kind == "folder":
            verdict = on_folder(pair, most=options.most)
        else:
            verdict = sampled(options.kind, pair, most=options.most or 3)
        print(f"{pair:<28} {verdict}", flush=True)
        total += verdict
    print(f"{'all':<28} {total}")
    return 0 if total.kept else 1


if __name__ == "__main__":
    sys.exit(main())
