"""The one resource: the lake of this process's environment.

Belongs here: handing the library to assets, and what a run sets up and takes down. Does not: settings
(lakehouse.settings reads them).
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import dagster as dg

from lakehouse.dbt import close_early, open_early, the_project
from lakehouse.registry import models
from orchestration import checks

if TYPE_CHECKING:
    from lakehouse.landing import Landing
    from lakehouse.pipeline import Lake
    from lakehouse.settings import Settings


class LakeResource(dg.ConfigurableResource):
    """Opens the lake when a step needs it, so that loading the definitions touches nothing."""

    def setup_for_execution(self, context: dg.InitResourceContext) -> None:
        """Let dbt get ready beside the first steps of a run whose plan says that it will build."""
        chosen = (context.run.asset_selection if context.run else None) or ()
        if any(checks.key_of(table.contract) in chosen for table in models()):
            open_early(the_project())

    def teardown_after_execution(self, context: dg.InitResourceContext) -> None:  # noqa: ARG002
        """End a dbt that no step has asked for a build."""
        close_early()

    def open(self) -> Lake:
        """Return the lake: one for all steps of a process, with its clients and open tables.

        Raises SettingsError when the environment does not say where it is.
        """
        from lakehouse.settings import Settings

        return _opened(Settings.from_env())

    def own(self) -> Lake:
        """Return a lake that nobody else uses: for one thread of a step."""
        from lakehouse.pipeline import open_lake
        from lakehouse.settings import Settings

        return open_lake(Settings.from_env())

    def landing(self) -> Landing:
        """Return the landing place alone: a sensor that lists it every half minute needs no table format."""
        from lakehouse.landing import landing_of
        from lakehouse.settings import Settings

        return landing_of(Settings.from_env())


@lru_cache(maxsize=4)
def _opened(settings: Settings) -> Lake:
    from lakehouse.pipeline import open_lake

    return open_lake(settings)
