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
from lakehouse.contracts.checks import CheckSpec

if TYPE_CHECKING:
    from lakehouse.verify.outcomes import CheckOutcome


def key_of(table: Contract) -> dg.AssetKey:
    """Return the asset key of a table: its layer and its name."""
    return dg.AssetKey([table.layer, table.name])


def specs(table: Contract) -> list[dg.AssetCheckSpec]:
    """Return the checks that a contract implies."""
    return specs_of(key_of(table), implied.specs(table), prefix=f"{table.name}_")


def specs_of(key: dg.AssetKey, found: Iterable[CheckSpec], *, prefix: str = "") -> list[dg.AssetCheckSpec]:
    """Return checks of an asset."""
    return [
        dg.AssetCheckSpec(
            f"{prefix}{spec.name}", asset=key, description=spec.description, blocking=spec.blocking
        )
        for spec in found
    ]


def results(table: Contract, found: Iterable[CheckOutcome]) -> list[dg.AssetCheckResult]:
    """Return what the checks of one materialisation found."""
    return results_of(key_of(table), found, prefix=f"{table.name}_")


def results_of(
    key: dg.AssetKey, found: Iterable[CheckOutcome], *, prefix: str = ""
) -> list[dg.AssetCheckResult]:
    """Return what checks of an asset found."""
    return [
        dg.AssetCheckResult(
            check_name=f"{prefix}{one.name}",
            asset_key=key,
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
