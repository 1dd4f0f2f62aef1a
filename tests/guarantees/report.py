"""The table of guarantees: what was tried, how often, and what came of it.

Belongs here: which trials there are, running them, printing. Does not: any trial.

    python tests/guarantees/report.py [--kinds folder s3 ducklake] [--quick] [--json]

Exit codes: 0 nothing was lost, doubled or changed; 1 something was.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1])]

import faulty  # noqa: E402
import interleaved  # noqa: E402
import killed  # noqa: E402
import lakes  # noqa: E402
import pytest  # noqa: E402
import races  # noqa: E402
import singles  # noqa: E402
import soak  # noqa: E402
from verdicts import Verdict  # noqa: E402

from lakehouse.settings import Settings  # noqa: E402

Trial = Callable[[Settings, bool], Verdict]


def _counter(how: str) -> Trial:
    def trial(settings: Settings, quick: bool) -> Verdict:
        writers, commits = (3, 6) if quick else (8, 40)
        return races.counter(settings, how=how, writers=writers, commits=commits)

    return trial


def _soak(settings: Settings, quick: bool) -> Verdict:
    """Natural timing until there are so many commits, which are its trials."""
    verdict, commits, _ = soak.soak(
        settings, least=40 if quick else 2000, most_seconds=300 if quick else 3600
    )
    return replace(verdict, trials=commits)


STATES = ("filled", "empty", "missing")
TRIALS: dict[str, Trial] = {
    "every pair of operations at once": lambda s, q: races.isolation(
        s, **({"states": ["filled"]} if q else {})
    ),
    "many appending": _counter("append"),
    "many appending and counting": _counter("append with state"),
    "many merging the same keys": _counter("merge"),
    "two compactions at once": lambda s, q: races.compaction(s, rounds=1 if q else 5),
    "answers that cannot be trusted": lambda s, q: faulty.ambiguous(s, rounds=1 if q else 4, stall=not q),
    "kill -9 at every named step": lambda s, q: killed.kills(s, most=1 if q else 3),
    "every order of two flows' commits": lambda s, q: interleaved.every_pair(s, quick=q),
    "flows at once, killed now and then": _soak,
    "random programmes, nasty values": lambda s, q: singles.fuzz(s, operations=60 if q else 1000),
    "values a library casts silently": lambda s, q: singles.silent_casts(s),
    "tokens again, lower, after a restart": lambda s, q: singles.tokens(s),
    "processes that write and end": lambda s, q: singles.exits(s, processes=3 if q else 60),
}
LEFT_OUT = {
    ("answers that cannot be trusted", "folder"): "a folder has no wire",
    (
        "answers that cannot be trusted",
        "ducklake",
    ): "its wire is Postgres's: data/lakehouse/tests/test_store_ducklake.py",
}


def main() -> int:
    """Run every trial on every kind of lake and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kinds", nargs="+", choices=lakes.KINDS, default=["folder", "s3", "ducklake"])
    parser.add_argument("--only", help="trials whose name contains this")
    parser.add_argument("--quick", action="store_true", help="few trials of each, for a first look")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    names = [name for name in TRIALS if not options.only or options.only in name]
    cells = {}
    for kind in options.kinds:
        for name in names:
            if (name, kind) in LEFT_OUT:
                continue
            started = time.monotonic()
            cells[name, kind] = cell = _cell(TRIALS[name], kind, options.quick)
            if not options.json:
                _progress(f"{kind}: {name}: {_text(cell)} ({time.monotonic() - started:.0f} s)")
    if options.json:
        told = [{"trial": n, "kind": k, **({"skipped": c} if isinstance(c, str) else asdict(c))}
                for (n, k), c in cells.items()]  # fmt: skip
        print(json.dumps(told, indent=2))
    else:
        print(as_table(names, options.kinds, cells))
    verdicts = [cell for cell in cells.values() if isinstance(cell, Verdict)]
    return 0 if verdicts and all(verdict.kept for verdict in verdicts) else 1


def _cell(trial: Trial, kind: str, quick: bool) -> Verdict | str:
    with tempfile.TemporaryDirectory(prefix="guarantees-") as folder:
        try:
            with lakes.lake_of(kind, Path(folder)) as settings:
                return trial(settings, quick)
        except pytest.skip.Exception as exc:
            return str(exc)


def _progress(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _text(cell: Verdict | str | None) -> str:
    if not isinstance(cell, Verdict):
        return "not run" if cell else "–"
    return f"{cell.trials} · {cell.lost} · {cell.doubled} · {cell.changed}"


def as_table(names: list[str], kinds: list[str], cells: dict[tuple[str, str], Verdict | str]) -> str:
    """Return one line per trial: number of trials · lost · doubled · changed."""
    lines = ["trials · lost · doubled · changed", "", f"{'':<38}" + "".join(f"{kind:>20}" for kind in kinds)]
    lines += [
        f"{name:<38}" + "".join(f"{_text(cells.get((name, kind))):>20}" for kind in kinds) for name in names
    ]
    notes = {
        f"{kind}, {name}: {why}" for (name, kind), why in LEFT_OUT.items() if kind in kinds and name in names
    }
    notes |= {f"{kind}: not run: {cell}" for (_, kind), cell in cells.items() if isinstance(cell, str)}
    return "\n".join([*lines, "", *sorted(notes)])


if __name__ == "__main__":
    sys.exit(main())
