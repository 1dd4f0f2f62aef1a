"""Writers at once: every pair of operations raced, many writers counting, and maintenance in between.

Belongs here: trials with several processes. Does not: faults of network or process (faulty.py, killed.py).
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from datetime import timedelta
from multiprocessing import Manager, get_context
from typing import Any

import polars as pl
from verdicts import LOG, POINTS, Verdict, as_rows, best, frame, judged, named, summed

from lakehouse.contracts import Contract
from lakehouse.errors import Conflict, TableNotFound
from lakehouse.settings import Settings
from lakehouse.store import CommitOptions, MaintenanceOptions, Term, Where, open_store

State = dict[int, tuple[str, int]]
START: State = {1: ("p0", 0), 2: ("p0", 0), 3: ("p1", 0)}
CARE = MaintenanceOptions(retain=timedelta(days=1))


def _append(state: State, side: int) -> State:
    return {**state, 10 + side: ("p0", side)}


def _merge_same(state: State, side: int) -> State:
    return {**state, 1: ("p0", side)}


def _merge_other(state: State, side: int) -> State:
    return {**state, 20 + side: ("p1", side)}


def _replace_same(state: State, side: int) -> State:
    return {k: r for k, r in state.items() if r[0] != "p0"} | {30 + side: ("p0", side)}


def _replace_other(state: State, side: int) -> State:
    return {**state, 40 + side: (f"q{side}", side)}


def _overwrite(state: State, side: int) -> State:
    return {50 + side: ("p0", side)}


def _delete(state: State, side: int) -> State:
    return {k: r for k, r in state.items() if k != 1}


def _nothing(state: State, side: int) -> State:
    return state


OPERATIONS: dict[str, tuple[Callable[[State, int], State], Callable[[Any, Contract, int], Any]]] = {
    "append": (_append, lambda s, t, n: s.append(t, frame([(10 + n, "p0", n)]))),
    "merge same key": (_merge_same, lambda s, t, n: s.merge(t, frame([(1, "p0", n)]))),
    "merge other key": (_merge_other, lambda s, t, n: s.merge(t, frame([(20 + n, "p1", n)]))),
    "replace same part": (_replace_same, lambda s, t, n: s.replace_partitions(t, frame([(30 + n, "p0", n)]))),
    "replace other part": (
        _replace_other,
        lambda s, t, n: s.replace_partitions(t, frame([(40 + n, f"q{n}", n)])),
    ),
    "overwrite": (_overwrite, lambda s, t, n: s.overwrite(t, frame([(50 + n, "p0", n)]))),
    "delete": (_delete, lambda s, t, n: s.delete(t, Where(Term("k", "=", 1)))),
    "maintain": (_nothing, lambda s, t, n: s.maintain(t, CARE)),
    "restore": (lambda state, side: {**START}, None),  # type: ignore[dict-item]
}
"""What each operation makes of the rows, and how it is done; `restore` goes back to the version of START."""


@contextmanager
def pool(workers: int) -> Iterator[tuple[ProcessPoolExecutor, Any]]:
    with Manager() as manager, ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as processes:
        yield processes, manager


def _race(settings: Settings, table: Contract, name: str, side: int, base: int | None, gate: Any) -> bool:
    """One side: open the table, wait for the other, then do it. False: refused, and said so."""
    store = open_store(settings)
    if store.exists(table):
        store.snapshot(table)
    gate.wait(60)
    try:
        if name == "restore":
            store.restore(table, base)  # type: ignore[arg-type]
        else:
            OPERATIONS[name][1](store, table, side)
    except (Conflict, TableNotFound):
        return False
    return True


def isolation(
    settings: Settings,
    *,
    rounds: int = 1,
    states: Sequence[str] = ("filled",),
    matrix: dict[tuple[str, str, str], str] | None = None,
) -> Verdict:
    """Race every pair of operations on tables that are filled, empty or missing.

    The rows must be those of some order of the operations that were acknowledged.
    """
    verdicts = []
    with pool(2) as (processes, manager):
        for number, (a, b) in enumerate(itertools.combinations_with_replacement(OPERATIONS, 2)):
            for state in states:
                if state != "filled" and {"restore", "maintain", "delete"} & {a, b}:
                    continue
                for turn in range(rounds):
                    table = named(POINTS, f"race_{number}_{state}_{turn}")
                    verdict, acked = _pair(settings, table, (a, b), state, processes, manager)
                    verdicts.append(verdict)
                    if matrix is not None:
                        matrix[(a, b, state)] = "both" if all(acked) else "one" if any(acked) else "none"
    return summed(verdicts)


def _pair(
    settings: Settings, table: Contract, names: tuple[str, str], state: str, processes: Any, manager: Any
) -> tuple[Verdict, list[bool]]:
    store = open_store(settings)
    start: State = START if state == "filled" else {}
    base = None
    if state != "missing":
        base = store.ensure(table)
    if start:
        base = store.merge(table, frame(as_rows(start))).version
    gate = manager.Barrier(2)
    sides = [processes.submit(_race, settings, table, n, side, base, gate) for side, n in enumerate(names, 1)]
    acked = [side.result(timeout=120) for side in sides]
    done = [(name, side) for side, (name, ok) in enumerate(zip(names, acked, strict=True), 1) if ok]
    outcomes = []
    for order in itertools.permutations(done):
        rows = start
        for name, side in order:
            rows = OPERATIONS[name][0](rows, side)
        outcomes.append(as_rows(rows))
    fresh = open_store(settings)
    found = fresh.scan(table).select("k", "p", "v").collect().rows() if fresh.exists(table) else []
    return best(found, outcomes, told=acked.count(False)), acked


def _write(settings: Settings, how: str, writer: int, commits: int) -> list[int]:
    """Return the numbers of the commits that were acknowledged."""
    store, acked = open_store(settings), []
    for n in range(commits):
        try:
            if how == "append":
                store.append(LOG, pl.DataFrame({"writer": [writer], "n": [writer * 1000 + n]}))
            elif how == "append with state":
                store.append(LOG, pl.DataFrame({"writer": [writer], "n": [writer * 1000 + n]}), _counting())
            else:
                store.merge(POINTS, frame([(writer * 1000 + n, "p", n), (-1 - n, "p", n)]), _counting())
        except Conflict:
            continue
        acked.append(writer * 1000 + n)
    return acked


def _counting() -> CommitOptions:
    return CommitOptions(reads=("rows",), state=lambda o, b: {"rows": b.get("rows", 0) + o.inserted})


def counter(settings: Settings, *, how: str, writers: int = 8, commits: int = 40) -> Verdict:
    """Many processes commit at once: every acknowledged row is there once, and the count with it is right."""
    table = POINTS if how == "merge" else LOG
    open_store(settings).ensure(table)
    with pool(writers) as (processes, _):
        sides = [processes.submit(_write, settings, how, w, commits) for w in range(1, writers + 1)]
        acked = [n for side in sides for n in side.result(timeout=900)]
    store = open_store(settings)
    rows = store.scan(table).collect()
    if how == "merge":
        wanted = [(k,) for k in acked] + [(-1 - n,) for n in range(commits)]
        found = [(k,) for k in rows["k"]]
    else:
        wanted, found = [(n,) for n in acked], [(n,) for n in rows["n"]]
    verdict = judged(found, wanted, trials=writers * commits, told=writers * commits - len(acked))
    if how != "append":
        counted = store.read_state(table, ["rows"])["rows"]
        verdict += Verdict(changed=abs(counted - rows.height))
    return verdict


def _maintain(settings: Settings, table: Contract, gate: Any) -> bool:
    store = open_store(settings)
    store.snapshot(table)
    gate.wait(60)
    try:
        store.maintain(table, CARE)
    except Conflict:
        return False
    return True


def compaction(settings: Settings, *, rounds: int = 3) -> Verdict:
    """Two compactions at once, on a table of many small files: no row is lost or there twice."""
    verdicts = []
    with pool(2) as (processes, manager):
        for turn in range(rounds):
            store, table = open_store(settings), named(LOG, f"compacted_{turn}")
            for n in range(20):
                store.append(table, pl.DataFrame({"writer": [0] * 50, "n": list(range(n * 50, n * 50 + 50))}))
            gate = manager.Barrier(2)
            sides = [processes.submit(_maintain, settings, table, gate) for _ in range(2)]
            acked = [side.result(timeout=120) for side in sides]
            found = [(n,) for n in open_store(settings).scan(table).collect()["n"]]
            verdicts.append(judged(found, [(n,) for n in range(1000)], told=acked.count(False)))
    return summed(verdicts)
