"""The library's checks as Dagster's asset checks.

Belongs here: translating specifications and outcomes. Does not: which checks there are
(lakehouse.contracts.checks), or what they find (lakehouse.verify.outcomes).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import dagster as dg

from lakehouse.contracts import Contract
from lakehouse.contracts import checks as implied

if TYPE_CHECKING:
    from lakehouse.verify.outcomes import CheckOutcome


def key_of(table: Contract) -> dg.AssetKey:
    """Return the asset key of a table: its layer and its name."""
    return dg.AssetKey([table.layer, table.name])


def specs(table: Contract) -> list[dg.AssetCheckSpec]:
    """Return the checks that a contract implies."""
    return [
        dg.AssetCheckSpec(
            f"{table.name}_{spec.name}",
            asset=key_of(table),
            description=spec.description,
            blocking=spec.blocking,
        )
        for spec in implied.specs(table)
    ]


def results(table: Contract, found: Iterable[CheckOutcome]) -> list[dg.AssetCheckResult]:
    """Return what the checks of one materialisation found."""
    return [
        dg.AssetCheckResult(
            check_name=f"{table.name}_{one.name}",
            asset_key=key_of(table),
            passed=one.passed,
            severity=dg.AssetCheckSeverity.ERROR if one.blocks else dg.AssetCheckSeverity.WARN,
            description=one.description,
            metadata=dict(one.numbers),
        )
        for one in found
    ]


def blocks(result: dg.MaterializeResult) -> bool:
    """Return whether a check of the result keeps what is made of the table from being computed."""
    error = dg.AssetCheckSeverity.ERROR
    return any(not check.passed and check.severity is error for check in result.check_results or ())
