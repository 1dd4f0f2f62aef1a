"""What a run of init has to cover, found out before Dagster is imported.

Belongs here: the library's plan with what Dagster knows, and the assets of a job that follow chosen tables.
Does not: the plan itself (lakehouse.pipeline.plan), or running anything. Importing this module imports
nothing of either.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lakehouse.contracts import Contract
    from lakehouse.pipeline import Lake
    from lakehouse.pipeline.plan import Plan

Key = tuple[str, ...]


def plan_of_lake(known: Collection[str] | None) -> Plan:
    """Return what there is to do in the lake of this environment. Raises LakeError."""
    from lakehouse.pipeline import open_lake
    from lakehouse.pipeline.plan import plan
    from lakehouse.quarantine import describe, held_tables
    from lakehouse.registry import contracts, sources, transform_or_none

    lake, tables = open_lake(), contracts()
    with lake.store.pinned_reads():  # one look at each table for all of these
        held = {table.path: describe(lake, table, hold) for table, hold in held_tables(lake, tables)}
        found = plan(lake, tables, sources(), known=known, held=held, transforms=transform_or_none)
        gold = [table for table in tables if table.layer == "gold"]
        if any(table.path in found.reasons for table in gold):
            return found  # outputs follow what they are made of
        return replace(found, reasons={**found.reasons, **_outputs(lake, gold)})


def _outputs(lake: Lake, gold: Sequence[Contract]) -> dict[str, str]:
    """Return the outputs to be made although no table has anything to do, with the reason: an earlier run
    has not come to them, or a restore has gone behind them. The report follows the others.
    """
    from lakehouse.outputs.lag import behind
    from lakehouse.outputs.settings import OutputSettings
    from lakehouse.settings import Settings

    late = behind(lake, gold, OutputSettings.from_env(Settings.from_env()))
    said = {f"outputs/{name}": f"{table} is of another version there" for name, table in late.items()}
    return {**said, "outputs/quality_report": "made with them"} if said else {}


def reasons_from_a_process() -> list[str]:
    """Return the tables that have something to do, found out by a process of its own.

    For one that lives long and plans seldom: the formats' libraries would stay in its memory. Raises
    LakeError.
    """
    from lakehouse.errors import LakeError

    argv = [sys.executable, "-m", "orchestration.planning"]
    done = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=False)  # noqa: S603
    said = json.loads(done.stdout or b"{}")
    if "tables" not in said:
        raise LakeError(said.get("error") or "planning what to run: the process gave no plan")
    return list(said["tables"])


def main() -> int:
    """Print the plan's tables, or why there is no plan, as JSON."""
    from lakehouse.errors import LakeError

    try:
        print(json.dumps({"tables": list(plan_of_lake(None).reasons)}))
    except LakeError as exc:
        print(json.dumps({"error": str(exc)}))
        return 1
    return 0


def import_library() -> None:
    """Import what a plan needs, for a thread beside one that waits. What is wrong, the plan itself tells."""
    from lakehouse.errors import LakeError
    from lakehouse.pipeline import plan  # noqa: F401
    from lakehouse.registry import contracts, sources
    from lakehouse.settings import Settings
    from lakehouse.store import backend

    with suppress(LakeError):
        backend(Settings.from_env().lake_format)
        contracts()
        sources()


def selection(
    paths: Iterable[str], tables: Collection[str], made_from: Mapping[Key, Collection[Key]]
) -> list[Key]:
    """Return the asset keys to run: the tables of a plan, and every asset of the job that is none of the
    library's tables and hangs on one of them, directly or not (a manifest, the restore point).

    `made_from` gives the assets of the job, each with those it depends on.
    """
    chosen = {tuple(path.split("/")) for path in paths}
    others = {key for key in made_from if "/".join(key) not in tables}
    fresh = True
    while fresh:
        found = {key for key in others - chosen if chosen & set(made_from[key])}
        chosen |= found
        fresh = bool(found)
    return sorted(chosen & made_from.keys())


if __name__ == "__main__":
    sys.exit(main())
