"""How answers are printed: a table for people, one JSON document for machines.

Belongs here: formatting, finding the lake and its tables. Does not: any command, escaping (terminal.py).
A terminal gets a table that fits it (rich); a pipe gets the same cells as plain, unwrapped lines.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, is_dataclass
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import orjson

from lakehouse.cli.base import Options
from lakehouse.cli.main import default_lake
from lakehouse.cli.terminal import printable, printable_json, say
from lakehouse.contracts import SYSTEM, Contract, with_side_tables
from lakehouse.contracts.encoding import json_text, plain
from lakehouse.errors import TableNotFound
from lakehouse.pipeline import Lake, open_lake
from lakehouse.registry import contracts
from lakehouse.settings import Settings, bucket_prefix

_WIDEST = 60
_NARROWEST = 8


def lake_of(options: Options) -> Lake:
    """Open the lake that --lake, LAKE_URL or this folder names. Raises SettingsError."""
    return open_lake(settings_of(options))


def settings_of(options: Options) -> Settings:
    """Return the settings of that lake. Raises SettingsError."""
    env = dict(os.environ)
    url = options.lake or env.get("LAKE_URL") or default_lake()
    if url:
        place = url if "://" in url else str(Path(url).resolve())
        env["LAKE_URL"] = place
        env.setdefault(
            "LANDING_URL",
            f"s3://{bucket_prefix(env)}landing" if "://" in place else str(Path(place).parent / "landing"),
        )
    return Settings.from_env(env)


def every_table() -> list[Contract]:
    """Return the declared tables and those they bring along."""
    return [*with_side_tables(contracts()), *SYSTEM]


def table_of(path: str) -> Contract:
    """Return the contract of `<layer>/<name>`. Raises TableNotFound, naming what is near."""
    known = {t.path: t for t in every_table()}
    if path in known:
        return known[path]
    near = [name for name in known if path.rsplit("/", 1)[-1] in name] or list(known)
    raise TableNotFound(f"no table {path!r} is declared; there are {', '.join(sorted(near))}")


def as_json(value: Any) -> None:
    """Print one JSON document."""
    options = orjson.OPT_INDENT_2 | orjson.OPT_NON_STR_KEYS
    print(printable_json(orjson.dumps(value, default=_plain, option=options).decode()))


def _plain(value: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    if isinstance(value, tuple | set | frozenset):
        return list(value)
    if isinstance(value, Mapping):
        return dict(value)
    return plain(value)


def as_table(rows: Sequence[Mapping[str, Any]], empty: str) -> None:
    """Print rows under their names, numbers to the right; `empty` when there is none."""
    if not rows:
        say(empty)
        return
    names = list(rows[0])
    right = {n for n in names if all(isinstance(r[n], int | float | Decimal | None) for r in rows)} - {
        n for n in names if all(r[n] is None or isinstance(r[n], bool) for r in rows)
    }
    cells = [[_cell(row[name]) for name in names] for row in rows]
    (_on_terminal if sys.stdout.isatty() else _plainly)([printable(n) for n in names], cells, right)


def _plainly(names: list[str], cells: list[list[str]], right: set[str]) -> None:
    widths = [max(len(name), *(len(line[i]) for line in cells)) for i, name in enumerate(names)]
    for line in [names, *cells]:
        parts = [
            text.rjust(width) if name in right else text.ljust(width)
            for name, text, width in zip(names, line, widths, strict=True)
        ]
        print("  ".join(parts).rstrip())


def _on_terminal(names: list[str], cells: list[list[str]], right: set[str]) -> None:
    from rich.console import Console  # 20 ms, which a pipe need not wait for
    from rich.table import Table
    from rich.text import Text

    console = Console(highlight=False, markup=False, emoji=False)
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for name in names:
        table.add_column(Text(name), justify="right" if name in right else "left", overflow="fold")
    for line in cells:
        table.add_row(*map(Text, line))  # as Text: [red] in a value is a value
    # Columns narrower than this cannot be read; the terminal wraps whole lines then.
    console.width = max(console.width, _NARROWEST * len(names))
    console.print(table, crop=False)


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
        case Decimal():
            return f"{value:,f}"
        case list() | dict():
            value = json_text(value)
        case bytes():
            value = plain(value)
    text = printable(str(value).replace("\n", " "))
    return text if len(text) <= _WIDEST else text[: _WIDEST - 1] + "…"
