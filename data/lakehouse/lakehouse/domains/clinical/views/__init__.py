"""SQL on FHIR v2: views of resources as tables, defined in JSON (https://sql-on-fhir.org).

Belongs here: `run_view` over resources at hand. Does not: a lake's tables (tables.py), what a view may say
(definition.py), FHIRPath (syntax.py, compiling.py, functions.py).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import polars as pl

from lakehouse.domains.clinical.views.compiling import Env
from lakehouse.domains.clinical.views.definition import view_of
from lakehouse.domains.clinical.views.rows import frame, rows_of
from lakehouse.errors import ViewError

__all__ = ["run_view"]


def run_view(view: Mapping[str, Any] | str | bytes, resources: Iterable[Mapping[str, Any]]) -> pl.DataFrame:
    """Return the rows of one ViewDefinition (an object, or its JSON) over parsed resources.

    Columns stand in the order of the view, in the types of its FHIR types and `ansi/type` tags: boolean,
    Int64, Float64, text; a `collection` is a list. Dates and times are text unless a tag says otherwise,
    since FHIR's may be a year alone. A column whose type neither the view nor its path tells has that of its
    values.

    Raises ViewError where the view is invalid, or a resource does not fit it: several values without
    `collection`, a value of another type. Unsupported for FHIRPath beyond what is known. Neither quotes a
    resource.
    """
    checked = view_of(view)
    produce, env, rows = rows_of(checked), Env(), []
    try:
        for resource in resources:
            rows += produce(resource, env)
    except RecursionError:
        raise ViewError("a resource is nested too deeply") from None
    return frame(checked, rows)
