"""`make verify-data-layers`: read the lake, print what was found, fail unless all holds.

Belongs here: the command line, and the versions that Dagster last saw.
Does not: the checks (lakehouse.verify).

Exit codes: 0 all holds; 1 something does not, it is named with what to do; 2 the lake cannot be reached.
"""

from __future__ import annotations

import argparse
import os
import sys
from typing import TYPE_CHECKING

from lakehouse.errors import LakeError
from lakehouse.pipeline import open_lake
from lakehouse.registry import contracts
from lakehouse.verify import verify
from lakehouse.verify.report import as_json, as_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lakehouse.contracts import Contract


def main(argv: list[str] | None = None) -> int:
    """Parse the arguments, verify, return the exit code."""
    parser = argparse.ArgumentParser(
        prog="verify-data-layers",
        description="Check every table of the lake: present, declared, schema, rows, keys, files.",
        epilog="Exit codes: 0 all holds; 1 something does not; 2 the lake cannot be reached.",
    )
    parser.add_argument("--json", action="store_true", help="one JSON object, with a content hash per table")
    parser.add_argument(
        "--deep", action="store_true", help="also compare every byte with the checksums taken at the write"
    )
    options = parser.parse_args(argv)
    tables = contracts()
    try:
        result = verify(open_lake(), tables, materialised=materialised(tables), deep=options.deep)
    except LakeError as exc:
        print(f"✗ not verified: {exc}", file=sys.stderr)
        return 2
    print(as_json(result) if options.json else as_text(result))
    return 0 if result.ok else 1


def materialised(tables: Sequence[Contract]) -> dict[str, int]:
    """Return the version each table was last materialised at, as Dagster has it.

    From the running webserver (DAGSTER_URL), else from the instance at DAGSTER_HOME. Raises LakeError when
    neither can be read: then nobody can say what was written behind Dagster's back.
    """
    if os.environ.get("DAGSTER_URL"):
        return _from_webserver(tables)
    return _from_instance(tables)


def _from_webserver(tables: Sequence[Contract]) -> dict[str, int]:
    from dagster_client import Client, Unreachable
    from dagster_client.assets import materialised_versions

    client = Client(os.environ["DAGSTER_URL"].rstrip("/"))
    try:
        found = materialised_versions(client, [(table.layer, table.name) for table in tables])
    except Unreachable as exc:
        raise LakeError(
            f"asking Dagster for the last versions: {exc}. Is it up? `make status` tells."
        ) from None
    return {"/".join(key): version for key, version in found.items()}


def _from_instance(tables: Sequence[Contract]) -> dict[str, int]:
    import dagster as dg

    found = {}
    with dg.DagsterInstance.get() as instance:
        for table in tables:
            event = instance.get_latest_materialization_event(dg.AssetKey([table.layer, table.name]))
            seen = event.asset_materialization if event else None
            if seen is not None and "version" in seen.metadata:
                found[table.path] = int(seen.metadata["version"].value)  # type: ignore[arg-type]
    return found


if __name__ == "__main__":
    sys.exit(main())
