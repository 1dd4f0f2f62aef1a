"""Numbers and switches that .env gives the orchestrator.

Belongs here: reading them. Does not: the lake's own settings (lakehouse.settings).
"""

from __future__ import annotations

import os

from lakehouse import settings
from lakehouse.errors import SettingsError


def switch(name: str, *, default: bool) -> bool:
    """Return the setting `name`, which is true or false. Raises SettingsError."""
    return settings.switch({name: os.environ.get(name, "").strip()}, name, default=default)


def whole_number(name: str, default: int) -> int:
    """Return the setting `name`, a whole number from 0. Raises SettingsError."""
    text = os.environ.get(name, "").strip()
    if not text:
        return default
    if not (text.isascii() and text.isdigit()):
        raise SettingsError(f"{name}={text} is no whole number from 0")
    return int(text)
