"""What to do about a failed check, as precisely as the lake itself allows to say.

Belongs here: the text after the arrow. Does not: the checks (checks.py).
"""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from lakehouse.contracts import Contract
from lakehouse.errors import LakeError
from lakehouse.pipeline import Lake

INIT = "make init-data-layers"
SEED = f"put files into landing (`make seed`), then {INIT}"
REBUILD = "restore the table from a backup, or `make nuke` and start again"
SCHEMA = 'make odp ARGS="upgrade", or put the contract back'
FOREIGN = (
    "`odp restore --run` to a run before it, or for a computed table `odp refresh TABLE --full-refresh`; if "
    "it is to stand, `odp history TABLE --accept VERSION --why TEXT`"
)
_POINTS_LOOKED_AT = 50


def for_files(lake: Lake, table: Contract, names: Sequence[str]) -> str:
    """Return how to recover lost or altered data files of a table, the way that loses least first."""
    named = f"{lake.store.uri(table)}/{names[0]}"
    others = " and the others" if len(names) > 1 else ""
    ways = [f"put {named}{others} back from a backup"]
    if lake.store.reads_what_it_replaces:
        return (
            f"{ways[0]}; DuckLake reads what it takes out of a table, so without one only `make nuke` helps, "
            "and landing again"
        )
    if again := computed_anew(table):
        ways.append(f"`odp refresh {again} --full-refresh`, which recomputes it from its source")
    if run := last_whole_run(lake, table, set(names)):
        ways.append(f"`odp restore --run {run}`, the newest run whose version of it is complete")
    if len(ways) == 1:
        ways.append(f"move {lake.store.uri(table)} away, then {INIT}: what landing no longer holds is lost")
    return ", or ".join(ways)


def computed_anew(table: Contract) -> str | None:
    """Return the table whose full refresh writes every row of this one, if there is one."""
    if table.layer == "quarantine" and table.sources:
        return f"silver/{table.name}"
    return table.path if table.sources else None


def last_whole_run(lake: Lake, table: Contract, without: set[str]) -> str | None:
    """Return the newest run whose version of the table is complete and has none of these files."""
    from lakehouse.maintenance.points import points

    try:
        known = points(lake)[-_POINTS_LOOKED_AT:]
    except (LakeError, pl.exceptions.PolarsError, OSError):
        return None
    for point in reversed(known):
        version = point.versions.get(table.path)
        if version is not None and _is_complete(lake, table, version, without):
            return point.run_id
    return None


def _is_complete(lake: Lake, table: Contract, version: int, without: set[str]) -> bool:
    try:
        if without & set(lake.store.file_names(table, version=version)):
            return False
        lake.store.check_version(table, version)
    except LakeError:
        return False
    return True
