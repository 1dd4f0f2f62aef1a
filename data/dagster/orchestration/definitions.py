"""The code location: a table of contents. Nothing is computed, read or connected to here."""

from __future__ import annotations

import warnings
from typing import Any

import dagster as dg

warnings.filterwarnings("ignore", category=dg.BetaWarning)

from orchestration import maintenance, outputs  # noqa: E402
from orchestration.assets import assets  # noqa: E402
from orchestration.automation import SENSORS  # noqa: E402
from orchestration.jobs import JOBS  # noqa: E402
from orchestration.resources import LakeResource  # noqa: E402


def build_defs(**overrides: Any) -> dg.Definitions:
    """Return the definitions, with any argument of dg.Definitions replaced."""
    parts: dict[str, Any] = {
        "assets": [*assets(), *maintenance.ASSETS, *outputs.ASSETS],
        "jobs": [*JOBS, maintenance.maintain],
        "schedules": [maintenance.maintain_daily],
        "sensors": SENSORS,
        "resources": {"lake": LakeResource()},
        "executor": dg.in_process_executor,
    }
    return dg.Definitions(**{**parts, **overrides})


defs = build_defs()
