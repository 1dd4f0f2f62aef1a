#!/usr/bin/env python3
"""Writes docs/data-dictionary.md and docs/schemas/ from the contracts; `--check` compares.

Belongs here: where they go. Does not: their content (lakehouse.contracts.schema).
Exit codes: 0 written or up to date; 1 out of date. Run it with the environment's Python.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

DOCS = Path(__file__).resolve().parents[2] / "docs"
HEAD = """\
<!-- Generated from the contracts by ops/scripts/contract_docs.py: change those, then run it. -->
# Data dictionary

Every table with its columns, as the contracts say. The same as JSON Schema lies in [schemas](schemas): one
file per table for a row as JSON, and `*.landing.json` for a record that may be sent to a Bronze table.

"""


def files() -> dict[Path, str]:
    """Return every generated file with its text."""
    from lakehouse.contracts.schema import dictionary, json_schema, landing_schema
    from lakehouse.registry import contracts

    made = {DOCS / "data-dictionary.md": HEAD + dictionary(contracts())}
    for table in contracts():
        made[DOCS / "schemas" / f"{table.path}.json"] = _text(json_schema(table))
        if table.layer == "bronze":
            made[DOCS / "schemas" / f"{table.path}.landing.json"] = _text(landing_schema(table))
    return made


def _text(schema: dict[str, object]) -> str:
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


def main() -> int:
    """Write or check."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--check", action="store_true")
    made = files()
    there = {*DOCS.glob("schemas/*/*.json"), DOCS / "data-dictionary.md"}
    if parser.parse_args().check:
        stale = [p for p, text in made.items() if not p.exists() or p.read_text(encoding="utf-8") != text]
        stale += [p for p in there if p not in made]
        for path in stale:
            print(
                f"{path} is out of date: run .venv/bin/python ops/scripts/contract_docs.py", file=sys.stderr
            )
        return 1 if stale else 0
    for path in there - made.keys():
        path.unlink(missing_ok=True)
    for path, text in made.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
