"""Every table there is: those of the library's domains, and those of users' own packages.

Belongs here: finding what domains declare. Does not: any domain's content, or a table's parts (table.py).

A domain is one module of `lakehouse.domains`: a file `<domain>.py`, or a folder with `tables.py`. It declares
`TABLES`, and where it has them `MANIFESTS`. Sample data comes from `sample_files()` of the file, or of the
folder's `sample.py`. A package of a user's own names such a module in the entry point group
`lakehouse.domains`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cache
from importlib import import_module
from importlib.metadata import entry_points
from importlib.util import find_spec
from pathlib import Path
from pkgutil import iter_modules
from typing import TYPE_CHECKING, Any

from lakehouse import dbt, domains
from lakehouse.errors import ContractError
from lakehouse.table import Kind, Manifest, Table

if TYPE_CHECKING:
    from types import ModuleType

    from lakehouse.contracts.model import Contract
    from lakehouse.landing import Source
    from lakehouse.pipeline.context import Transform

ENTRY_POINTS = "lakehouse.domains"


@cache
def tables() -> tuple[Table, ...]:
    """Return every table, each domain's in dependency order. Raises ContractError when two share a path."""
    found = tuple(table for module in _modules() for table in _declared(module, "TABLES", Table))
    if (of := dbt.project()) is not None:
        found += dbt.tables_of(of, {table.path: table.contract for table in found})
    _refuse_twice("tables", (table.path for table in found))
    return found


@cache
def manifests() -> tuple[Manifest, ...]:
    """Return the documents that domains write about their tables."""
    found = tuple(one for module in _modules() for one in getattr(module, "MANIFESTS", ()))
    _refuse_twice("manifests", (one.name for one in found))
    return found


@cache
def contracts() -> tuple[Contract, ...]:
    """Return the contracts of every table, in dependency order."""
    return tuple(table.contract for table in tables())


@cache
def sources() -> tuple[Source, ...]:
    """Return the landing sources of every table. Raises ContractError when two share a folder."""
    found = tuple(source for table in tables() for source in table.sources)
    _refuse_twice("sources", (source.folder for source in found))
    return found


def sample_files() -> dict[str, bytes]:
    """Return the sample data of every domain: landing name -> bytes, equal on every machine."""
    files: dict[str, bytes] = {}
    for module in _modules():
        make = _sample(module)
        made = make() if make is not None else {}
        _refuse_twice("sample files", [*files, *made])
        files |= made
    return files


def find(contract: Contract) -> Table:
    """Return the table of a contract's path. Raises ContractError when there is none."""
    if (table := _by_path().get(contract.path)) is None:
        raise ContractError(f"no table {contract} is declared; put it into the TABLES of its domain")
    return table


def models() -> tuple[Table, ...]:
    """Return the tables of the dbt project."""
    return tuple(table for table in tables() if table.kind is Kind.DBT)


def transform_of(contract: Contract) -> Transform:
    """Return what computes a table. Raises ContractError when nothing does."""
    return find(contract).compute


def transform_or_none(contract: Contract) -> Transform | None:
    """Return what computes a table; None where files of landing bring its rows, or nobody declares it."""
    table = _by_path().get(contract.path)
    return table.compute if table is not None and table.transform is not None else None


def clear() -> None:
    """Forget what was found: for a process in which a domain has come or changed."""
    for found in (tables, manifests, contracts, sources, _by_path, _modules):
        found.cache_clear()


@cache
def _by_path() -> dict[str, Table]:
    return {table.path: table for table in tables()}


@cache
def _modules() -> tuple[ModuleType, ...]:
    """Return each domain's module, the library's own first. A folder that cannot be imported is refused."""
    found = list(iter_modules(domains.__path__))
    packages = {m.name for m in found if m.ispkg}
    folders = {p.parent.name for root in domains.__path__ for p in Path(root).glob("*/tables.py")}
    if lost := sorted(folders - packages):
        raise ContractError(f"domain folders without an __init__.py are not found: {', '.join(lost)}; add it")
    paths = [f"{domains.__name__}.{m.name}{'.tables' if m.ispkg else ''}" for m in found]
    if missing := [path for path in paths if find_spec(path) is None]:
        raise ContractError(f"there is no {missing[0]}: declare the domain's TABLES there")
    points = sorted(entry_points(group=ENTRY_POINTS), key=lambda point: point.name)
    return (*(import_module(path) for path in sorted(paths)), *(point.load() for point in points))


def _declared(module: ModuleType, name: str, kind: type) -> tuple[Any, ...]:
    found = getattr(module, name, None)
    if not isinstance(found, tuple) or not all(isinstance(one, kind) for one in found):
        raise ContractError(f"{module.__name__} declares no {name}: a tuple of {kind.__name__} objects")
    return found


def _sample(module: ModuleType) -> Callable[[], dict[str, bytes]] | None:
    if hasattr(module, "sample_files"):
        own: Callable[[], dict[str, bytes]] = module.sample_files
        return own
    package, _, last = module.__name__.rpartition(".")
    if last != "tables" or find_spec(f"{package}.sample") is None:
        return None
    made: Callable[[], dict[str, bytes]] = import_module(f"{package}.sample").sample_files
    return made


def _refuse_twice(what: str, names: Iterable[str]) -> None:
    seen = list(names)
    if twice := sorted({name for name in seen if seen.count(name) > 1}):
        raise ContractError(f"two {what} of the domains share a name: {', '.join(twice)}; rename one")
