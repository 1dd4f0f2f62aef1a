"""A table: its contract, where its rows come from, and how they are made.

Belongs here: the pairing of a contract with its inputs and its transform. Does not: what a contract says
(contracts/), which tables there are (registry.py), or making them (materialize.py).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from typing import TYPE_CHECKING, Any

from lakehouse.contracts.model import Contract
from lakehouse.engine.frames import as_transform, kinds
from lakehouse.errors import ContractError

if TYPE_CHECKING:
    from lakehouse.landing import Source
    from lakehouse.pipeline import Lake
    from lakehouse.pipeline.context import Transform


class Kind(StrEnum):
    """How a table's rows are made."""

    LANDING = "landing"  # files of landing bring them
    BATCH_MAP = "batch map"  # a transform maps each batch of new source rows, row by row
    DBT = "dbt"  # a model of the dbt project; all of one build are made together
    PYTHON = "python"  # a transform computes groups, or the whole table


@dataclass(frozen=True, kw_only=True)
class Table:
    """One table.

    `sources` are the landing folders of a Bronze table. `transform` computes any other one: it takes one
    frame per source of the contract, in that order, each of the kind its annotation names (engine/frames.py),
    and returns the table's frame. `model` is the id of a dbt model, whose SQL the transform then stands for.

    Raises ContractError when inputs and contract do not go together.
    """

    contract: Contract
    sources: tuple[Source, ...] = ()
    transform: Callable[..., Any] | None = None
    model: str | None = None

    def __post_init__(self) -> None:
        if bool(self.sources) == bool(self.transform):
            raise ContractError(f"{self.contract}: give it landing sources or a transform, and not both")
        if stray := [s.folder for s in self.sources if s.table.path != self.contract.path]:
            raise ContractError(f"{self.contract}: the source {stray[0]!r} feeds another table")
        if self.transform is not None:
            self._check_frames(self.transform)

    def _check_frames(self, transform: Callable[..., Any]) -> None:
        wanted = len(self.contract.sources)
        try:
            taken = len(kinds(transform, wanted))
        except TypeError as exc:
            raise ContractError(f"{self.contract}: {exc}") from None
        if taken != wanted:
            name = getattr(transform, "__name__", "its transform")
            raise ContractError(
                f"{self.contract}: {name} takes {taken} frames, the contract has {wanted} sources"
            )

    @property
    def path(self) -> str:
        """`<layer>/<name>`, as the contract has it."""
        return self.contract.path

    @property
    def kind(self) -> Kind:
        if self.transform is None:
            return Kind.LANDING
        if self.model is not None:
            return Kind.DBT
        return Kind.BATCH_MAP if self.contract.row_wise else Kind.PYTHON

    @cached_property
    def compute(self) -> Transform:
        """The transform as the library calls it: narwhals frames in, a narwhals frame out.

        Raises ContractError for a table of kind landing.
        """
        if self.transform is None:
            raise ContractError(f"{self.contract} is not computed: files of landing bring its rows")
        return as_transform(self.transform, self.contract)


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """A JSON document about some tables, written when all of them are up to date.

    It holds rows, versions and content hash of `tables`, and what `coverage` finds in the lake; it lies in
    the lake's own folder as `manifests/<file>.json`.
    """

    name: str
    file: str
    domain: str
    description: str
    tables: tuple[Contract, ...]
    coverage: Callable[[Lake], Mapping[str, Any]]

    @property
    def path(self) -> str:
        """`gold/<name>`: the asset key."""
        return f"gold/{self.name}"
