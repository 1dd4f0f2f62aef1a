"""Commands about runs and maintenance: runs, restore, diff, upgrade, maintain.

Belongs here: calling the library and printing the result. Does not: arguments (commands.py).
"""

from __future__ import annotations

import sys
from dataclasses import asdict

from lakehouse import maintenance
from lakehouse.cli.base import Options
from lakehouse.cli.main import FOUND, OK, WRONG
from lakehouse.cli.output import as_json, as_table, lake_of
from lakehouse.cli.terminal import say
from lakehouse.registry import contracts, sources, transform_of


def runs(options: Options) -> int:
    """List restore points, newest last, after pinning or unpinning one."""
    lake = lake_of(options)
    if options.pin:
        maintenance.pin(lake, options.pin, options.name)
    elif options.unpin:
        maintenance.unpin(lake, options.unpin)
    found = maintenance.points(lake)
    if options.json:
        as_json(found)
    else:
        rows = [{"run": p.run_id, "at": p.at, "tables": len(p.versions), "rows": p.rows, "pinned": p.pinned,
                 "name": p.name} for p in found]  # fmt: skip
        as_table(rows, "no run has been recorded yet; `make init-data-layers` records one")
    return OK


def restore(options: Options) -> int:
    """Restore every table to the state in which a run left it. Asks first, unless --yes is given."""
    lake, tables = lake_of(options), contracts()
    planned = maintenance.restore_run(lake, options.run_id, tables, dry_run=True)
    changes = [r for r in planned if r.changed]
    if options.dry_run or not changes:
        _restored(options, planned, "would be" if options.dry_run else "are already")
        return OK
    if not options.yes:
        if not sys.stdin.isatty():
            say("✗ restoring changes tables; add --yes, or --dry-run to see which", error=True)
            return WRONG
        _restored(options, planned, "would be")
        if input(f"bring {len(changes)} tables back? [y/N] ").strip().lower() != "y":
            say("nothing was changed")
            return FOUND
    _restored(options, maintenance.restore_run(lake, options.run_id, tables), "are")
    return OK


def upgraded(options: Options) -> int:
    """Recompute the tables of an older version, after landing the files that version skipped."""
    dry = options.dry_run
    done = maintenance.upgrade(
        lake_of(options), contracts(), sources(), transform_of, dry_run=dry, info={"odp.by": "odp upgrade"}
    )
    if options.json:
        as_json(done)
    else:
        rows = [{"table": u.table, "rows before": u.rows_before, "rows": u.rows, "because": u.reason}
                for u in done]  # fmt: skip
        as_table(rows, "every table is of this version")
    for upgraded_table in done:
        if upgraded_table.waits_for:
            held = ", ".join(upgraded_table.waits_for)
            say(f"! {upgraded_table.table} was left as it is: too many rejects hold {held}", error=True)
    return FOUND if any(one.waits_for for one in done) else OK


def _restored(options: Options, done: list[maintenance.Restored], verb: str) -> None:
    if options.json:
        as_json(done)
        return
    rows = [{"table": r.table, "version": r.version_before, "of the run": r.version_of_run, "rows": r.rows,
             "changes": r.changed} for r in done]  # fmt: skip
    as_table(rows, "no table is there")
    say(f"\n{sum(r.changed for r in done)} tables {verb} back at run {options.run_id}")


def diff(options: Options) -> int:
    """Count what changed from run a to run b."""
    found = maintenance.diff(lake_of(options), options.run_a, options.run_b, contracts())
    if options.json:
        as_json(found)
    else:
        as_table([asdict(d) for d in found], "neither run has a table")
    return OK


def maintain(options: Options) -> int:
    """Maintain every table, or those of one layer."""
    done = maintenance.maintain_all(
        lake_of(options), contracts(), layer=options.layer, orphans=options.orphans
    )
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
