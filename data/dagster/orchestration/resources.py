"""The one resource: the lake of this process's environment.

Belongs here: handing the library to assets. Does not: settings (lakehouse.settings reads them).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import dagster as dg

if TYPE_CHECKING:
    from lakehouse.flow import Lake


class LakeResource(dg.ConfigurableResource):
    """Opens the lake when a step needs it, so that loading the definitions touches nothing."""

    def open(self) -> Lake:
        """Return the lake. Raises SettingsError when the environment does not say where it is."""
        from lakehouse.flow import open_lake

        return open_lake()
