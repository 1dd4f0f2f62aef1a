"""The one resource: the lake of this process's environment.

Belongs here: handing the library to assets. Does not: settings (lakehouse.settings reads them).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import dagster as dg

if TYPE_CHECKING:
    from lakehouse.flow import Lake
    from lakehouse.landing import Landing


class LakeResource(dg.ConfigurableResource):
    """Opens the lake when a step needs it, so that loading the definitions touches nothing."""

    def open(self) -> Lake:
        """Return the lake. Raises SettingsError when the environment does not say where it is."""
        from lakehouse.flow import open_lake

        return open_lake()

    def landing(self) -> Landing:
        """Return the landing place alone: a sensor that lists it every half minute needs no table format."""
        from lakehouse.landing import landing_of
        from lakehouse.settings import Settings

        return landing_of(Settings.from_env())
