"""The domains' assets, found by folder: a file `<domain>.py` here with assets in it is all it takes.

Belongs here: discovery. Does not: naming any domain.
"""

from __future__ import annotations

import importlib
import pkgutil
from typing import TypeVar

import dagster as dg

from orchestration.cohorts import Cohorts

T = TypeVar("T")


def assets() -> list[dg.AssetsDefinition]:
    """Return every asset defined at the top of a module of this package."""
    return _found(dg.AssetsDefinition)


def cohorts() -> list[Cohorts]:
    """Return every kind of cohort defined at the top of a module of this package."""
    return _found(Cohorts)


def _found(kind: type[T]) -> list[T]:
    modules = [importlib.import_module(f"{__name__}.{m.name}") for m in pkgutil.iter_modules(__path__)]
    return [value for module in modules for value in vars(module).values() if isinstance(value, kind)]
