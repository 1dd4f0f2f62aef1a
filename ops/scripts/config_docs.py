#!/usr/bin/env python3
"""Writes docs/operations/configuration.md from .env.example; `--check` says whether it is up to date.

Belongs here: the page's frame and its tables. Does not: what a variable means; that stands above it in
.env.example. Exit codes: 0 written or up to date; 1 out of date, or .env.example breaks its form.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path

from odpctl.dotenv import assignment

ROOT = Path(__file__).resolve().parents[2]
EXAMPLE = ROOT / ".env.example"
PAGE = ROOT / "docs" / "operations" / "configuration.md"

HEAD = """\
<!-- Generated from .env.example by ops/scripts/config_docs.py: change that file, then run it. -->
# Configuration

Everything is a variable. `make start` writes a private `.env` (mode 0600) with the project's name and
generated secrets; all else has a default. To change a setting, put its line into `.env`, or give it once on
the command line, and start again:

```sh
DAGSTER_PORT=28084 make start
```

A variable of the environment wins over `.env`, and `.env` over the default. `make start` keeps what it was
given on the command line in a fresh `.env`, so that later commands find the same stack.

Secrets reach containers as files of their own volume, each service only those it needs; `docker inspect`
shows none. A secret is changed by changing its line in `.env`, then `make start` and `make restart`: keys of
the object store and passwords of Postgres roles are applied in place. The exception is `POSTGRES_PASSWORD`,
which the volume remembers.
"""


@dataclass(frozen=True)
class Variable:
    """One line of .env.example, with the comment above it."""

    name: str
    default: str
    meaning: str


def parse(text: str) -> dict[str, list[Variable]]:
    """Return the variables by group. Raises ValueError for a variable without group or comment, or named
    twice.
    """
    groups: dict[str, list[Variable]] = {}
    group, comment, seen = "", "", set[str]()
    for line in text.splitlines():
        if line.startswith("## "):
            group, comment = line.removeprefix("## "), ""
        elif line.startswith("# "):
            comment = f"{comment} {line.removeprefix('# ')}".strip()
        elif found := assignment(line):
            name, default = found
            if not group or not comment or name in seen:
                raise ValueError(
                    f".env.example: {name} has no group, no comment above it, or stands there twice"
                )
            seen.add(name)
            groups.setdefault(group, []).append(Variable(name, default, comment))
            comment = ""
        elif line:
            raise ValueError(f".env.example: {line!r} is neither a variable, a comment nor a group")
        else:
            comment = ""
    return groups


def render(groups: dict[str, list[Variable]]) -> str:
    """Return the page."""
    parts = [HEAD]
    for group, variables in groups.items():
        empty = "generated" if group == "Secrets" else "(empty)"
        rows = [
            f"| `{v.name}` | {f'`{v.default}`' if v.default else empty} | {v.meaning} |" for v in variables
        ]
        parts.append(
            "\n".join([f"## {group}\n", "| variable | default | meaning |", "|---|---|---|", *rows, ""])
        )
    return "\n".join(parts)


def main(argv: list[str] | None = None) -> int:
    """Parse the arguments, write or check, return the exit code."""
    parser = argparse.ArgumentParser(description="Write docs/operations/configuration.md from .env.example.")
    parser.add_argument(
        "--check", action="store_true", help="write nothing; exit 1 if the page is out of date"
    )
    args = parser.parse_args(argv)
    try:
        page = render(parse(EXAMPLE.read_text(encoding="utf-8")))
    except ValueError as exc:
        print(exc, file=sys.stderr)
        return 1
    if args.check:
        if PAGE.exists() and PAGE.read_text(encoding="utf-8") == page:
            return 0
        print(
            f"{PAGE.relative_to(ROOT)} is out of date: run python3 ops/scripts/config_docs.py",
            file=sys.stderr,
        )
        return 1
    PAGE.write_text(page, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
