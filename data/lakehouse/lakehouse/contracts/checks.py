"""The checks that a contract implies.

Belongs here: which they are, and which of them block. Does not: what they find (verify/outcomes.py), or rows'
own rules (rules.py).
"""

from __future__ import annotations

from lakehouse.contracts.model import CheckSpec, Contract, RowRule

__all__ = ["CheckSpec", "specs", "warning_rules"]


def specs(table: Contract) -> list[CheckSpec]:
    """Return the checks that a contract implies."""
    found = [
        CheckSpec(name="schema", description="The stored schema is exactly the contract's.", blocking=True)
    ]
    if table.key:
        shared = f"No two rows share ({', '.join(table.key)}); none is null."
        found.append(CheckSpec(name="key", description=shared, blocking=True))
    outside = "Nothing else wrote to the table or took files of it since the last run."
    found.append(CheckSpec(name="drift", description=outside))
    if table.layer == "bronze":
        found += [
            CheckSpec(name="files", description="Every landed file could be read and is known."),
            CheckSpec(
                name="unexpected_columns", description="New files hold no column that the table has not."
            ),
        ]
    if table.sources:
        found.append(
            CheckSpec(name="code", description="Every row is of today's transform, rules and contract.")
        )
    if table.row_wise:
        balance = "Rows read = written + merged + quarantined."
        most = f"At most {table.max_reject_ratio:.0%} of a run's rows were quarantined; the good ones stay."
        found += [
            CheckSpec(name="conservation", description=balance, blocking=True),
            CheckSpec(name="reject_share", description=most, blocking=True),
        ]
    found += table.tests
    return found + [CheckSpec(name=rule.name, description=rule.description) for rule in warning_rules(table)]


def warning_rules(table: Contract) -> list[RowRule]:
    """Return the rules that only warn."""
    return [rule for rule in table.rules if rule.severity == "warn"]
