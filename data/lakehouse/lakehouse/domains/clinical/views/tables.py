"""Views as Gold tables, and over the resources of a lake.

Belongs here: the contract that follows from a view, and which resources it sees. Does not: reading or writing
tables, the view itself (definition.py).

A ViewDefinition that lies in the domain's folder, as `<name>.json`, is a table: `gold/<name of the view>`. It
sees each resource of `silver/fhir_index` once, by the version that the index holds, and none that quarantine
keeps.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from functools import cache, partial
from pathlib import Path

import msgspec
import polars as pl

from lakehouse.contracts.model import Column, Contract, Materialization, Type
from lakehouse.domains.clinical.views.compiling import Env
from lakehouse.domains.clinical.views.definition import View, ViewColumn, view_of
from lakehouse.domains.clinical.views.rows import Row, frame, rows_of, type_in_table
from lakehouse.domains.clinical.views.types import exact
from lakehouse.engine import xp
from lakehouse.errors import ContractError, LakeError, ViewError

FOLDER = Path(__file__).parents[1]
COHORT, RESOURCE, PLACE = "cohort", "_resource_id", "_resource_row"
_RELEASES = "released.json"  # the domain's released contracts (contracts/release.py)
_POINTER = ["_source", "_fingerprint", "_row"]
_VERSION = re.compile(r"(0|[1-9]\d*)(\.(0|[1-9]\d*)){2}")
Transform = Callable[..., xp.Frame]
_LINKS = msgspec.json.Decoder(dict[str, str])


@cache
def declared(folder: Path = FOLDER) -> Mapping[str, str]:
    """Return the text of each ViewDefinition below a folder, by the name of its table.

    Raises ContractError for a file that is no valid view, or whose names a table cannot have.
    """
    found: dict[str, str] = {}
    for path in sorted(folder.rglob("*.json")):
        if path.name == _RELEASES:
            continue
        try:
            text = path.read_text(encoding="utf-8")
            name = _table_name(view_of(text), path)
        except (LakeError, UnicodeDecodeError) as exc:
            why = exc if isinstance(exc, LakeError) else "it is no UTF-8"
            raise ContractError(f"{path.name} of the clinical domain is no table: {why}") from None
        if name in found:
            raise ContractError(f"{path.name} of the clinical domain: another view is named {name} too")
        found[name] = text
    return found


def _table_name(view: View, path: Path) -> str:
    name = view.name or path.stem
    for one in (name, *(column.name for column in view.columns)):
        if one != one.lower():
            raise ViewError(f"{one} is no name in a table: small letters, digits and _ alone")
    if COHORT in {column.name for column in view.columns}:
        raise ViewError(f"a column {COHORT} is in each table of the domain already; name yours otherwise")
    return name


def tables(raw: Contract, index: Contract, folder: Path = FOLDER) -> tuple[Contract, ...]:
    """Return the contracts of all views below a folder, made of Bronze and of the index of resources."""
    return tuple(table(name, view_of(text), raw, index) for name, text in declared(folder).items())


def table(name: str, view: View, raw: Contract, index: Contract) -> Contract:
    """Return the contract of a view, of the same version where that is a semantic one.

    Its key is the resource, and the place of a row among its rows.
    """
    version = view.about.get("version", "")
    what = view.about.get("title") or view.about.get("description") or f"One row of the view {name}"
    return Contract(
        layer="gold",
        name=name,
        domain=raw.domain,
        materialization=Materialization.FULL,
        description=(
            f"{' '.join(what.split()).rstrip('.')}: {view.resource} resources as a ViewDefinition has "
            "them."
        ),
        version=version if _VERSION.fullmatch(version) else "1.0.0",
        key=(COHORT, RESOURCE, PLACE),
        cluster_by=(COHORT,),
        sources=(raw, index),
        columns=(
            Column(name=COHORT, type=Type.STRING, nullable=False, sources=(COHORT,),
                   description=f"Cohort of the {view.resource}"),
            *(_column(one, view.resource) for one in view.columns),
            Column(name=RESOURCE, type=Type.STRING, nullable=False, sources=("resource_id",),
                   description=f"Logical id of the {view.resource}"),
            Column(name=PLACE, type=Type.INT64, nullable=False, sources=("resource",),
                   description="Place of the row among those of its resource, from 0"),
        ),
    )  # fmt: skip


def _column(column: ViewColumn, resource: str) -> Column:
    says = " ".join(column.description.split()) or f"`{column.path}` of {resource}"
    return Column(
        name=column.name,
        type=type_in_table(column),
        description=says,
        pii=column.is_personal,
        sources=("resource",),
    )


@cache
def transform_of(name: str) -> Transform:
    """Return what computes the table of a view. Raises KeyError where no view has that name."""
    return transform(name, declared()[name])


def transform(name: str, text: str) -> Transform:
    """Return what computes the table of a view that is given as JSON."""
    return xp.in_polars(partial(_computed, name, text))


def _computed(name: str, text: str, raw: pl.LazyFrame, index: pl.LazyFrame) -> pl.LazyFrame:
    view = view_of(text)
    try:
        owners, rows, places = over_lake(view, raw, index)
        made = frame(view, rows, as_table=True)
    except ViewError as exc:
        raise ViewError(f"view {name} does not fit a {view.resource} of the lake: {exc}") from None
    return pl.LazyFrame([
        pl.Series(COHORT, [cohort for cohort, _ in owners], pl.String),
        *made.get_columns(),
        pl.Series(RESOURCE, [id_ for _, id_ in owners], pl.String),
        pl.Series(PLACE, places, pl.Int64),
    ])  # fmt: skip


def over_lake(
    view: View, raw: pl.LazyFrame, index: pl.LazyFrame
) -> tuple[list[tuple[str, str]], list[Row], list[int]]:
    """Return the rows of a view over a lake, the cohort and resource of each, and its place among those.

    `raw` is bronze/raw_fhir_resources, `index` silver/fhir_index. Raises ViewError where a resource does not
    fit.
    """
    seen = newest(view.resource, raw, index)
    types = _types(seen, index) if view.has_references else {}
    produce = rows_of(view)
    owners: list[tuple[str, str]] = []
    rows: list[Row] = []
    places: list[int] = []
    for cohort, id_, links, text in seen.iter_rows():
        env = Env(links=_LINKS.decode(links) if links else {}, types_of=_looking(types, cohort))
        try:
            made = produce(exact(text), env)
        except (RecursionError, msgspec.MsgspecError):
            raise ViewError("a resource is nested too deeply, or is no JSON") from None
        owners += [(cohort, id_)] * len(made)
        rows += made
        places += range(len(made))
    return owners, rows, places


def newest(resource: str, raw: pl.LazyFrame, index: pl.LazyFrame) -> pl.DataFrame:
    """Return cohort, id, links and text of the resources of a type, each by the version the index holds.

    One whose latest entry deletes it is none.
    """
    live = (pl.col("resource_type") == resource) & ~pl.col("is_deleted").fill_null(False)
    held = index.filter(live).select(_POINTER)
    return (
        raw.filter(pl.col("resource_type") == resource)
        .join(held, on=_POINTER, how="semi")
        .select(COHORT, "resource_id", "links", "resource")
        .sort(COHORT, "resource_id")
        .collect(engine="streaming")
    )


Types = Mapping[tuple[str, str], tuple[str, ...]]


def _types(seen: pl.DataFrame, index: pl.LazyFrame) -> Types:
    """Return the types of each id of a cohort, where a reference may not state them: in `urn:` addresses."""
    if not seen["resource"].str.contains_any(["urn:uuid:", "urn:oid:"]).any():
        return {}
    known = (
        index.select(COHORT, "id", "resource_type")
        .group_by(COHORT, "id")
        .agg(pl.col("resource_type").unique().sort())
        .collect(engine="streaming")
    )
    return {(cohort, id_): tuple(types) for cohort, id_, types in known.iter_rows()}


def _looking(types: Types, cohort: str) -> Callable[[str], Iterable[str]]:
    return lambda id_: types.get((cohort, id_), ())
