"""dbt in a process of its own that is ready before its build is: a script, which imports nothing of ours.

Belongs here: importing dbt and parsing the project while the sources are still being made, which takes five
seconds of a CPU; then one build. Does not: which build (build.py).

usage: python waiting.py ARGUMENTS…      those of both `dbt parse` and `dbt build`
stdin: the further arguments of the build, as a JSON list; at its end without any, nothing is built
exit:  as dbt itself: 0 all passed, or nothing was asked for · 1 a node failed · 2 dbt came to no end
"""

from __future__ import annotations

import json
import sys

from dbt.cli.main import dbtRunner


def main(given: list[str]) -> int:
    """Parse, wait, build."""
    parsed = dbtRunner().invoke(["parse", *given])
    if not (asked := sys.stdin.read()):
        return 0
    # What cannot be parsed is parsed again, for the build to say why.
    manifest = parsed.result if parsed.success else None
    done = dbtRunner(manifest=manifest).invoke(["build", *given, *json.loads(asked)])  # type: ignore[arg-type]
    if done.exception is not None:
        print(done.exception)
        return 2
    return 0 if done.success else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
