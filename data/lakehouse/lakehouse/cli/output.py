"""How answers are printed: aligned tables for people, one JSON document for machines.

Belongs here: formatting, finding the lake and its tables. Does not: any command.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, is_dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Any

import orjson

from lakehouse.cli.main import default_lake
from lakehouse.contracts import Contract
from lakehouse.domains import contracts
from lakehouse.errors import TableNotFound
from lakehouse.flow import Lake, open_lake
from lakehouse.settings import Settings
from lakehouse.verify.checks import side_tables

MASK = "•••"
_WIDEST = 60


def lake_of(options: argparse.Namespace) -> Lake:
    """Open the lake that --lake, LAKE_URL or this folder names. Raises SettingsError."""
    env = dict(os.environ)
    url = options.lake or env.get("LAKE_URL") or default_lake()
    if url:
        place = url if "://" in url else str(Path(url).resolve())
        env["LAKE_URL"] = place
        env.setdefault(
            "LANDING_URL", "s3://landing" if "://" in place else str(Path(place).parent / "landing")
        )
    return open_lake(Settings.from_env(env))


def every_table() -> list[Contract]:
    """Return the declared tables and those they bring along."""
    return [*contracts(), *side_tables(contracts())]


def table_of(path: str) -> Contract:
    """Return the contract of `<layer>/<name>`. Raises TableNotFound, naming what is near."""
    known = {t.path: t for t in every_table()}
    if path in known:
        return known[path]
    near = [name for name in known if path.rsplit("/", 1)[-1] in name] or list(known)
    raise TableNotFound(f"no table {path!r} is declared; there are {', '.join(sorted(near))}")


def as_json(value: Any) -> None:
    """Print one JSON document."""
    print(orjson.dumps(value, default=_plain, option=orjson.OPT_INDENT_2 | orjson.OPT_NON_STR_KEYS).decode())


def _plain(value: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    if isinstance(value, tuple | set | frozenset):
        return list(value)
    if isinstance(value, Mapping):
        return dict(value)
    return str(value)


def as_table(rows: Sequence[Mapping[str, Any]], empty: str) -> None:
    """Print rows under their names, numbers to the right; `empty` when there is none."""
    if not rows:
        print(empty)
        return
    names = list(rows[0])
    right = {n for n in names if all(isinstance(r[n], int | float | None) for r in rows)} - {
        n for n in names if all(r[n] is None or isinstance(r[n], bool) for r in rows)
    }
    cells = [[_cell(row[name]) for name in names] for row in rows]
    widths = [max(len(name), *(len(line[i]) for line in cells)) for i, name in enumerate(names)]
    for line in [names, *cells]:
        parts = [
            text.rjust(width) if name in right else text.ljust(width)
            for name, text, width in zip(names, line, widths, strict=True)
        ]
        print("  ".join(parts).rstrip())


def _cell(value: Any) -> str:
    match value:
        case None:
            return "–"
        case bool():
            return "yes" if value else "no"
        case int():
            return f"{value:,}"
        case float():
            return f"{value:.10g}"
        case datetime():
            return f"{value:%Y-%m-%d %H:%M:%S}"
        case date():
            return value.isoformat()
    text = str(value).replace("\n", " ")
    return text if len(text) <= _WIDEST else text[: _WIDEST - 1] + "…"
