"""What one log of commits can take, and what small files add up to: two simulations and their limits.

Belongs here: the models, seeded, and the limits by formula that tests hold them to. Does not: measuring
our own store (commits.py), or the page (report.py).

A writer commits optimistically: it reads the log's head (GET), puts the next entry if it is absent (PUT), and
at a conflict waits, reads what came in between and tries again. A request takes effect half way through.

    python ops/bench/contention.py [--seconds 600] [--seed 1] [--json]
"""

from __future__ import annotations

import argparse
import heapq
import json
import math
import random
import statistics
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

WRITERS = (1, 2, 4, 8, 16, 32, 64)
REQUESTS = 7  # of one append by an open handle, counted at an S3 server: 424 for 60 (delta-rs 1.6.3)
DAY = 86_400


@dataclass(frozen=True, kw_only=True)
class Latency:
    """Seconds of a request: log-normal about its median; `spread` 0 makes each take the median."""

    median: float
    spread: float = 0.0

    def draw(self, chance: random.Random) -> float:
        return self.median * math.exp(chance.gauss(0.0, self.spread)) if self.spread else self.median


@dataclass(frozen=True, kw_only=True)
class Place:
    """An object store, as a writer of its log sees it."""

    name: str
    get: Latency
    put: Latency

    def limit(self, reads: int = 1) -> float:
        """Commits per second that no number of writers passes when each request takes its median.

        From one commit to another writer's lie half a GET, for it must have seen the first, the other reads
        and half a PUT. With one read, a writer that has just won knows the head: a PUT later it may win
        again.
        """
        others = (reads - 0.5) * self.get.median + self.put.median / 2
        return 1 / (min(self.put.median, others) if reads == 1 else others)


# PUT: the middle of the compare-and-swap latencies of C. Douglas, Conditional Operations in Object Stores,
# 2026.
# GET: "tens of milliseconds" for small requests (AWS, Best Practices Design Patterns: Optimizing Amazon S3
# Performance); 30 ms and half of the PUT are assumptions. So is the spread: p99 is 3.2 times the median.
PLACES = (
    Place(name="S3 Standard", get=Latency(median=0.030, spread=0.5), put=Latency(median=0.063, spread=0.5)),
    Place(name="S3 Express", get=Latency(median=0.010, spread=0.5), put=Latency(median=0.020, spread=0.5)),
)


@dataclass(frozen=True, kw_only=True)
class Retries:
    """What a writer does at a conflict: up to `most` more tries, after a pause of full jitter below a cap."""

    most: int
    pause: float = 0.0
    cap: float = 5.0

    def wait(self, tries: int, chance: random.Random) -> float:
        if not self.pause:
            return 0.0
        return chance.uniform(0.0, min(self.cap, self.pause * 2.0 ** min(tries, 16)))


IMPATIENT = Retries(most=15)  # what delta-rs does by itself: 15 tries, no pause (its issues 1595 and 3066)
PATIENT = Retries(most=50, pause=0.1)


@dataclass(frozen=True, kw_only=True)
class Load:
    """Writers on one log. `think` seconds of work lie before each commit: 0 is one after the other; `random`
    draws them from an exponential, so that many writers are a Poisson stream. Each attempt makes `reads`
    requests, the head first, before it puts its entry.
    """

    writers: int
    reads: int = 1
    think: float = 0.0
    random: bool = False


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What came of it. `waits` is seconds from wanting a commit to having it."""

    seconds: float
    commits: int
    attempts: int
    given_up: int
    by_writer: Sequence[int]
    waits: Sequence[float]

    @property
    def per_second(self) -> float:
        return self.commits / self.seconds

    @property
    def conflicts(self) -> float:
        """Return the share of attempts that lost."""
        return 1 - self.commits / self.attempts if self.attempts else 0.0

    @property
    def fairness(self) -> float:
        """Return Jain's index of commits by writer: 1 is even, 1/n is one writer alone."""
        square = sum(count**2 for count in self.by_writer)
        return sum(self.by_writer) ** 2 / (len(self.by_writer) * square) if square else 1.0

    def told(self) -> dict[str, Any]:
        waits = sorted(self.waits)
        return {
            "commits_per_second": round(self.per_second, 2),
            "conflicts": round(self.conflicts, 3),
            "given_up": round(self.given_up / max(1, self.given_up + self.commits), 4),
            "wait_median": round(statistics.median(waits), 3) if waits else None,
            "wait_p99": round(waits[int(0.99 * (len(waits) - 1))], 3) if waits else None,
            "fairness": round(self.fairness, 3),
        }


def compete(place: Place, load: Load, retries: Retries, *, seconds: float, seed: int) -> Outcome:
    """Let the writers commit to one log for so many simulated seconds."""
    chance = random.Random(seed)
    head = 0
    attempts = given_up = 0
    commits = [0] * load.writers
    waits: list[float] = []
    since = [0.0] * load.writers  # when this commit was wanted
    tries = [0] * load.writers
    events: list[tuple[float, int, str, int]] = []  # time, writer, what reaches the store, version seen

    def begin(writer: int, now: float, *, seen: int | None = None) -> None:
        pause = chance.expovariate(1 / load.think) if load.random and load.think else load.think
        since[writer], tries[writer] = now + pause, 0
        if seen is None or pause or load.reads > 1:  # who does something in between looks again
            look(writer, now + pause)
        else:
            put(writer, now, seen)

    def look(writer: int, now: float) -> None:
        half = place.get.draw(chance) / 2
        heapq.heappush(events, (now + half, writer, "get", 0))

    def put(writer: int, now: float, seen: int) -> None:
        heapq.heappush(events, (now + place.put.draw(chance) / 2, writer, "put", seen))

    for writer in range(load.writers):
        begin(writer, 0.0)
    while events and events[0][0] <= seconds:
        now, writer, what, seen = heapq.heappop(events)
        if what == "get":
            others = sum(place.get.draw(chance) for _ in range(load.reads - 1))
            put(writer, now + place.get.draw(chance) / 2 + others, head)
            continue
        attempts += 1
        answered = now + place.put.draw(chance) / 2
        if seen == head:
            head += 1
            commits[writer] += 1
            waits.append(answered - since[writer])
            begin(writer, answered, seen=head)
        elif tries[writer] >= retries.most:
            given_up += 1
            begin(writer, answered)
        else:
            look(writer, answered + retries.wait(tries[writer], chance))
            tries[writer] += 1
    return Outcome(
        seconds=seconds,
        commits=head,
        attempts=attempts,
        given_up=given_up,
        by_writer=commits,
        waits=waits,
    )


def collision(place: Place, rate: float, reads: int = 1) -> float:
    """Return the chance that an attempt loses when others commit `rate` times a second at random.

    The window is from the head that was read to the entry that was put.
    """
    return 1 - math.exp(-rate * ((reads - 0.5) * place.get.median + place.put.median / 2))


@dataclass(frozen=True, kw_only=True)
class Upkeep:
    """Files come at `arriving` a second. Every `every` seconds all small ones become `target`-sized ones, at
    `merging` files a second; `lost` is the share of such commits that a writer beats, to be done again.
    """

    arriving: float
    every: float
    merging: float
    small_per_large: int = 1_000
    lost: float = 0.0

    @property
    def keeps_up(self) -> bool:
        return self.arriving < self.merging * (1 - self.lost)

    @property
    def highest(self) -> float:
        """Return the small files before a compaction when none is lost; infinite where it falls behind.

        Merging what came in one period takes less than a period, so the next one starts on time.
        """
        return self.arriving * self.every if self.keeps_up else math.inf


def debt(upkeep: Upkeep, *, seconds: float, seed: int = 1) -> list[tuple[float, float, float]]:
    """Return (time, small files, large files) at each start and end of a compaction, one at a time.

    What arrives during a compaction waits for the next one, which starts on time or as soon as this one ends.
    """
    chance = random.Random(seed)
    points = [(0.0, 0.0, 0.0)]
    now = small = large = 0.0
    due = upkeep.every
    while due <= seconds:
        small += upkeep.arriving * (due - now)
        now = due
        points.append((now, small, large))
        merged, took = small, small / upkeep.merging
        while chance.random() < upkeep.lost:  # its work is thrown away
            took += merged / upkeep.merging
        small = upkeep.arriving * took
        large += merged / upkeep.small_per_large
        now += took
        points.append((now, small, large))
        due = max(due + upkeep.every, now)
    return points


def scenarios(*, seconds: float, seed: int) -> list[dict[str, Any]]:
    """Simulate what the page shows: writers as fast as they can, in both places, with and without a pause."""
    ways = (("log alone, 15 tries at once", 1, IMPATIENT), ("log alone, 50 tries backing off", 1, PATIENT),
            ("a whole append, 50 tries backing off", REQUESTS - 1, PATIENT))  # fmt: skip
    return [
        {
            "place": place.name,
            "way": name,
            "writers": writers,
            "limit": round(place.limit(reads), 2),
            **compete(place, Load(writers=writers, reads=reads), retries, seconds=seconds, seed=seed).told(),
        }
        for place in PLACES
        for name, reads, retries in ways
        for writers in WRITERS
    ]


def debts(merging: float, *, seed: int) -> list[dict[str, Any]]:
    """Simulate a day: from a file in ten seconds to more than are merged, compacted at several paces."""
    found = []
    for arriving in (0.1, 1.0, 10.0, merging * 0.9, merging * 1.1):
        for every in (600.0, 3_600.0, DAY / 2):
            upkeep = Upkeep(arriving=arriving, every=every, merging=merging)
            points = debt(upkeep, seconds=DAY, seed=seed)
            found.append(
                {
                    "arriving": round(arriving, 2),
                    "every": every,
                    "merging": round(merging, 1),
                    "keeps_up": upkeep.keeps_up,
                    "highest": round(max(small for _, small, _ in points)),
                    "without": round(arriving * DAY),
                }
            )
    return found


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=300.0, help="simulated (default %(default)s)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--merging", type=float, default=100.0, help="files a second that compaction merges")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args(argv)
    found = {
        "commits": scenarios(seconds=given.seconds, seed=given.seed),
        "debt": debts(given.merging, seed=given.seed),
    }
    if given.json:
        print(json.dumps(found))
        return 0
    for lines in found.values():
        print("  ".join(lines[0]))
        for line in lines:
            print("  ".join(str(value) for value in line.values()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
