"""Parse the dbt project once, so that what dbt keeps of it lies beside it: a step of building an image.

usage: python -m lakehouse.dbt     exit: 0 parsed · 1 there is no project, or dbt cannot parse it
"""

from __future__ import annotations

import sys

from lakehouse.dbt import project
from lakehouse.errors import ContractError


def main() -> int:
    """Parse, and print how many tables the project makes."""
    try:
        found = project()
        if found is None:
            print("there is no dbt project", file=sys.stderr)
            return 1
        found.extract()
    except ContractError as exc:
        print(exc, file=sys.stderr)
        return 1
    print(f"{found.root}: {sum(node.kind in ('model', 'snapshot') for node in found.nodes.values())} models")
    return 0


if __name__ == "__main__":
    sys.exit(main())
