"""The table of who read what, as printed after the tests and as shown in docs/lakehouse.md."""

from __future__ import annotations

from collections.abc import Iterable

from readers.engines import CANNOT, ENGINES, READS, WITHOUT_NESTED_NULLS
from readers.tables import CASES

Cell = tuple[str, str, str]  # (table, root, engine)
EVERY: tuple[Cell, ...] = tuple(
    (name, root, engine)
    for name in CASES
    for root, engine in READS
    if (engine, name) not in (*CANNOT, *WITHOUT_NESTED_NULLS)
)


def matrix(equal: Iterable[Cell]) -> str:
    """Return a Markdown table: where each engine gave back exactly what was written."""
    read = set(equal)
    head = ["table", *ENGINES]
    lines = [head, ["---"] * len(head)]
    for name, case in CASES.items():
        roots = ([root for root in ("folder", "s3") if (name, root, engine) in read] for engine in ENGINES)
        lines.append([f"{name}: {case.about}", *(", ".join(found) or "**no**" for found in roots)])
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
