"""The domains: one subpackage each, found by being there.

Belongs here: discovery of what the subpackages declare. Does not: any domain's content.
A domain is a folder with `contracts.TABLES`, and where it has them `sources.SOURCES` and
`sample.sample_files()`. Adding the folder is all it takes.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from pkgutil import iter_modules
from typing import TYPE_CHECKING, Any

from lakehouse.errors import ContractError

if TYPE_CHECKING:
    from lakehouse.contracts.model import Contract
    from lakehouse.landing import Source


@cache
def contracts() -> tuple[Contract, ...]:
    """Return the tables of every domain, each domain's in dependency order; no two share a path."""
    tables: tuple[Contract, ...] = tuple(t for found in _declared("contracts", "TABLES") for t in found)
    _no_two("tables", [t.path for t in tables])
    return tables


@cache
def sources() -> tuple[Source, ...]:
    """Return the landing sources of every domain; no two share a folder."""
    found: tuple[Source, ...] = tuple(s for each in _declared("sources", "SOURCES") for s in each)
    _no_two("sources", [s.folder for s in found])
    return found


def sample_files() -> dict[str, bytes]:
    """Return the sample data of every domain: landing name -> bytes, equal on every machine."""
    files: dict[str, bytes] = {}
    for make in _declared("sample", "sample_files"):
        made = make()
        _no_two("sample files", [*files, *made])
        files |= made
    return files


def transform_of(table: Contract) -> Callable[..., Any]:
    """Return what computes `table`: the function of its name in its domain's `transforms`.

    Raises ContractError when there is none.
    """
    path = f"{__name__}.{table.domain}.transforms"
    found = getattr(import_module(path), table.name, None) if find_spec(path) is not None else None
    if not callable(found):
        raise ContractError(f"{path} has no function {table.name}; name the transform of {table} so")
    made: Callable[..., Any] = found
    return made


def _declared(module: str, name: str) -> list[Any]:
    """Return what each domain's `module` declares as `name`; a domain without that module has none."""
    found = []
    for domain in _domains():
        path = f"{__name__}.{domain}.{module}"
        if find_spec(path) is None:
            continue
        loaded = import_module(path)
        if not hasattr(loaded, name):
            raise ContractError(f"{path} declares no {name}; name them there, so that they are found")
        found.append(getattr(loaded, name))
    return found


def _domains() -> list[str]:
    """Return the domains' names. A folder that looks like one but cannot be imported is refused."""
    packages = {m.name for m in iter_modules(__path__) if m.ispkg}
    folders = {p.parent.name for root in __path__ for p in Path(root).glob("*/contracts.py")}
    if lost := sorted(folders - packages):
        raise ContractError(f"domain folders without an __init__.py are not found: {', '.join(lost)}; add it")
    return sorted(packages)


def _no_two(what: str, names: list[str]) -> None:
    twice = sorted({n for n in names if names.count(n) > 1})
    if twice:
        raise ContractError(f"two {what} of the domains share a name: {', '.join(twice)}; rename one")
