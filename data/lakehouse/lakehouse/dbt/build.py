"""One build of the dbt project: in a DuckDB file of its own, over sources that do not move.

Belongs here: what dbt is asked for, and what it says of the result. Does not: where it runs (workplace.py),
which versions a build reads (refresh.py), or what comes of the tables.

dbt's own messages may quote values of rows, so none leaves this module: a failure is told by the names of the
models and tests, and where SQL does not compile by the engine's words about the SQL. The whole log lies
beside the file while the build runs; ODP_DBT_KEEP names a folder in which it stays.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from lakehouse.dbt.project import Node, Project
from lakehouse.dbt.tables import check_name
from lakehouse.dbt.workplace import Workplace
from lakehouse.errors import LakeError, UnexpectedError

_ABOUT_SQL = re.compile(r"(?:Binder|Catalog|Parser|Compilation|Dependency|Syntax) Error[^\n]*(?:\n[^\n]+)?")
_QUOTED = re.compile(r"'[^']*'")


class BuildFailed(LakeError):
    """A model or a test of the dbt project failed: nothing of that build reached the lake.

    `failed` maps the dbt ids of what failed to what may be said of it.
    """

    def __init__(self, text: str, failed: Mapping[str, str]) -> None:
        super().__init__(text)
        self.failed = dict(failed)


@dataclass(frozen=True, kw_only=True)
class Built:
    """What a passed build says: how many rows fail each test that ran, by its check, and seconds by node."""

    tested: Mapping[str, int]
    seconds: Mapping[str, float]


def build(of: Project, models: Collection[Node], at: Workplace) -> Built:
    """Build the models and all they are made of, with their tests, in the database of the copy there.

    Raises BuildFailed; UnexpectedError when dbt itself does not come to an end.
    """
    chosen = [f"+{one.name}" for one in sorted(models, key=lambda node: node.name)]
    code, said = at.build(["--exclude-resource-type", "unit_test", "--select", *chosen])
    of.keep_parsed(at.place)
    try:
        found = orjson.loads((at.place / "target" / "run_results.json").read_bytes())["results"]
    except (OSError, ValueError, KeyError):
        ended = (
            f"ended with {code} before it ran anything{_about_sql(said)}"
            if code >= 0
            else f"was killed (signal {-code}), as happens where memory is short: ODP_DBT_MEMORY bounds it"
        )
        raise UnexpectedError(
            f"dbt build of {of.root} {ended}. Nothing was written. ODP_DBT_KEEP=<folder> keeps dbt's own log."
        ) from None
    return _judged(of, found, code)


def _judged(of: Project, found: list[dict[str, Any]], status: int) -> Built:
    bad = {
        one["unique_id"]: _told(of, one)
        for one in found
        if one["status"] in ("error", "fail", "runtime error")
    }
    if bad or status:
        skipped = sum(one["status"] == "skipped" for one in found)
        first = "; ".join(list(bad.values())[:5]) or f"dbt ended with {status}"
        more = f"; {skipped} more did not run" if skipped else ""
        text = (
            f"the dbt build failed: {first}{more}. Gold stays as it was. Correct the model or the data; "
            "ODP_DBT_KEEP=<folder> keeps dbt's own log, which may show rows."
        )
        raise BuildFailed(text, bad)
    ran = [(of.nodes[one["unique_id"]], one) for one in found if one["status"] in ("pass", "warn")]
    return Built(
        tested={check_name(test): int(one.get("failures") or 0) for test, one in ran},
        seconds={one["unique_id"]: float(one["execution_time"]) for one in found},
    )


def _told(of: Project, one: Mapping[str, Any]) -> str:
    node = of.nodes.get(one["unique_id"])
    kind, name = (node.kind, node.name) if node else ("node", one["unique_id"])
    if one["status"] == "fail":
        return f"test {name}: {one.get('failures')} rows fail it"
    return f"{kind} {name}{_about_sql(str(one.get('message') or ''))}"


def _about_sql(text: str) -> str:
    """Return what a message says about SQL, which shows names but no value of a row."""
    found = _ABOUT_SQL.search(text)
    if found is None:
        kind = re.search(r"([A-Z][A-Za-z ]{2,30} Error)", text)
        return f": {kind[1]}" if kind else ""
    return ": " + " ".join(_QUOTED.sub("'…'", found[0]).split())[:300]
