#!/usr/bin/env python3
"""Write data/dbt/manifest.json: what the lake has to know of the dbt project, without dbt when it is loaded.

usage: python ops/scripts/dbt_manifest.py [--check]     exit: 0 written, or up to date · 1 out of date
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from lakehouse.dbt import Project

ROOT = Path(__file__).resolve().parents[2]
PROJECT = ROOT / "data" / "dbt"


def main(argv: list[str] | None = None) -> int:
    """Parse the arguments, write or check, return the exit code."""
    parser = argparse.ArgumentParser(description="Write data/dbt/manifest.json from the dbt project.")
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 if it is out of date")
    args = parser.parse_args(argv)
    body, file = Project(PROJECT).extract(), PROJECT / "manifest.json"
    if args.check:
        if file.is_file() and file.read_bytes() == body:
            return 0
        told = f"{file.relative_to(ROOT)} is out of date: run python ops/scripts/dbt_manifest.py"
        print(told, file=sys.stderr)
        return 1
    file.write_bytes(body)
    return 0


if __name__ == "__main__":
    sys.exit(main())
