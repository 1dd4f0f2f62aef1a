#!/usr/bin/env python3
"""Records today's contracts as released; `--check` says which drifted from that without the right version.

Belongs here: the command. Does not: what a contract may change (lakehouse.contracts.release).
Exit codes: 0 recorded or in order; 1 a contract drifted. Run it with the environment's Python.
"""

from __future__ import annotations

import argparse
import sys


def main() -> int:
    """Check, then record unless only checking."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--check", action="store_true", help="record nothing")
    only_check = parser.parse_args().check
    from lakehouse.contracts.release import drifts, record
    from lakehouse.registry import contracts

    told = drifts(contracts())
    for line in told:
        print(f"✗ {line}", file=sys.stderr)
    if not told and not only_check:
        record(contracts())
    return 1 if told else 0


if __name__ == "__main__":
    sys.exit(main())
