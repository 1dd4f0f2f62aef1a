"""The one resource: the lake of this process's environment.

Belongs here: handing the library to assets. Does not: settings (lakehouse.settings reads them).
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import dagster as dg

if TYPE_CHECKING:
    from lakehouse.landing import Landing
    from lakehouse.pipeline import Lake
    from lakehouse.settings import Settings


class LakeResource(dg.ConfigurableResource):
    """Opens the lake when a step needs it, so that loading the definitions touches nothing."""

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
