"""Commands about runs and upkeep: runs, restore, diff, maintain.

Belongs here: what they ask the library and print. Does not: arguments (main.py).
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import asdict

from lakehouse import upkeep
from lakehouse.cli.main import FOUND, OK, WRONG
from lakehouse.cli.output import as_json, as_table, lake_of
from lakehouse.domains import contracts


def runs(options: argparse.Namespace) -> int:
    """List restore points, newest last, after pinning or unpinning one."""
    lake = lake_of(options)
    if options.pin:
        upkeep.pin(lake, options.pin, options.name)
    elif options.unpin:
        upkeep.unpin(lake, options.unpin)
    found = upkeep.points(lake)
    if options.json:
        as_json(found)
    else:
        rows = [{"run": p.run_id, "at": p.at, "tables": len(p.versions), "rows": p.rows, "pinned": p.pinned,
                 "name": p.name} for p in found]  # fmt: skip
        as_table(rows, "no run has been recorded yet; `make init-data-layers` records one")
    return OK


def restore(options: argparse.Namespace) -> int:
    """Bring every table back to a run. Asks first, unless told not to."""
    lake, tables = lake_of(options), contracts()
    planned = upkeep.restore_run(lake, options.run_id, tables, dry_run=True)
    changes = [r for r in planned if r.changed]
    if options.dry_run or not changes:
        _restored(options, planned, "would be" if options.dry_run else "are already")
        return OK
    if not options.yes:
        if not sys.stdin.isatty():
            print("✗ restoring changes tables; add --yes, or --dry-run to see which", file=sys.stderr)
            return WRONG
        _restored(options, planned, "would be")
        if input(f"bring {len(changes)} tables back? [y/N] ").strip().lower() != "y":
            print("nothing was changed")
            return FOUND
    _restored(options, upkeep.restore_run(lake, options.run_id, tables), "are")
    return OK


def _restored(options: argparse.Namespace, done: list[upkeep.Restored], verb: str) -> None:
    if options.json:
        as_json(done)
        return
    rows = [{"table": r.table, "version": r.version_before, "of the run": r.version_of_run, "rows": r.rows,
             "changes": r.changed} for r in done]  # fmt: skip
    as_table(rows, "no table is there")
    print(f"\n{sum(r.changed for r in done)} tables {verb} back at run {options.run_id}")


def diff(options: argparse.Namespace) -> int:
    """Count what changed from run a to run b."""
    found = upkeep.diff(lake_of(options), options.run_a, options.run_b, contracts())
    if options.json:
        as_json(found)
    else:
        as_table([asdict(d) for d in found], "neither run has a table")
    return OK


def maintain(options: argparse.Namespace) -> int:
    """Maintain every table, or those of one layer."""
    done = upkeep.maintain_all(lake_of(options), contracts(), layer=options.layer, orphans=options.orphans)
    if options.json:
        as_json([asdict(d) | {"reclaimed_bytes": d.reclaimed_bytes} for d in done])
        return OK
    rows = [
        {
            "table": d.table,
            "rows": d.rows,
            "files before": d.files_before,
            "after": d.files_after,
            "files removed": d.removed_files,
            "bytes reclaimed": d.reclaimed_bytes,
        }
        for d in done
    ]
    as_table(rows, "no table is there yet")
    return OK
