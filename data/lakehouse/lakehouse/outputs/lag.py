"""Which outputs are behind the lake, by what their last refresh wrote down.

Belongs here: telling it, for a plan. Does not: bringing them up.

A run that ends between Gold and its outputs, a restore, or a lake of before leaves them behind without any
table having something to do.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from lakehouse.contracts import Contract
from lakehouse.outputs.exports import exported
from lakehouse.outputs.mart import noted
from lakehouse.outputs.selection import Chosen, choose
from lakehouse.outputs.settings import OutputSettings
from lakehouse.pipeline import Lake


def behind(lake: Lake, tables: Sequence[Contract], settings: OutputSettings) -> dict[str, str]:
    """Return the outputs `exports` and `mart`, as far as they are behind, each with a table that is newer.

    Raises StorageUnavailable, SettingsError.
    """
    chosen = choose(lake, tables, pii=False)
    gone = isinstance(settings.mart, Path) and not settings.mart.exists()
    late = {
        "exports": _newer(chosen, exported(settings)),
        "mart": _newer(chosen, {} if gone else noted(lake, settings)),
    }
    return {output: path for output, path in late.items() if path is not None}


def _newer(chosen: Sequence[Chosen], known: Mapping[str, tuple[str, int]]) -> str | None:
    return next((o.table.path for o in chosen if known.get(o.table.path) != (o.identity, o.version)), None)
