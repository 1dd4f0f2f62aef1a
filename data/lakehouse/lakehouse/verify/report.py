"""The report of a verification: a table for people, JSON for machines.

Belongs here: formatting. Does not: checking.
"""

from __future__ import annotations

import json
from dataclasses import asdict

from lakehouse.contracts.encoding import size_text
from lakehouse.verify.checks import Verification

_LISTED = ("problems", "notes")  # listed for all tables together


def as_json(result: Verification) -> str:
    """Return {"ok", "tables": [...], "problems": [...], "warnings": [...], "notes": [...]} as text."""
    tables = [{k: v for k, v in asdict(t).items() if k not in _LISTED} for t in result.tables]
    document = {
        "ok": result.ok,
        "tables": tables,
        "problems": [asdict(p) for p in result.all_problems],
        "warnings": [asdict(w) for w in result.warnings],
        "notes": result.notes,
    }
    return json.dumps(document, indent=2)


def as_text(result: Verification) -> str:
    """Return a table with one line per lake table, then each problem and warning with what to do."""
    broken = {p.table for p in result.all_problems}
    lines = [f"{'table':<34} {'rows':>10} {'version':>8} {'size':>10}  content"]
    for t in result.tables:
        mark = "✗" if t.table in broken else "✓"
        size = size_text(t.size_bytes)
        line = f"{mark} {t.table:<32} {t.rows:>10,} {t.version:>8} {size:>10}  {t.content_hash[:12]}"
        lines.append(line.rstrip())
    for problem in result.all_problems:
        lines += ["", f"✗ {problem.table}: {problem.check}: {problem.message}", f"  → {problem.fix}"]
    for warning in result.warnings:
        lines += ["", f"! {warning.table}: {warning.check}: {warning.message}", f"  → {warning.fix}"]
    lines += [line for note in [*_unrecorded(result), *result.notes] for line in ("", f"· {note}")]
    lines += ["", _verdict(result)]
    return "\n".join(lines)


def _unrecorded(result: Verification) -> list[str]:
    unrecorded = [(t.table, t.files_without_checksum) for t in result.tables if t.files_without_checksum]
    if not unrecorded:
        return []
    named = ", ".join(f"{table} ({count})" for table, count in unrecorded[:5]) + (
        " …" if len(unrecorded) > 5 else ""
    )
    return [f"data files without a checksum yet: {named}; `odp maintain` records them"]


def _verdict(result: Verification) -> str:
    count = len(result.all_problems)
    if result.ok:
        return f"✓ verified: {len(result.tables)} tables, {sum(t.rows for t in result.tables):,} rows"
    return (
        f"✗ not verified: {count} problem{'s' if count != 1 else ''}"
        if count
        else "✗ not verified: no tables"
    )
