"""Keys of resources, and of what references lead to: what views are joined by.

Belongs here: https://sql-on-fhir.org/ig/StructureDefinition-ViewDefinition.html, getResourceKey and
getReferenceKey. Does not: how they are called (functions.py).
A key is `Patient/123`: an id alone belongs to one type.
"""

from __future__ import annotations

import re
from typing import Any

from lakehouse.domains.clinical.views.compiling import Env


def resource_keys(found: list[Any]) -> list[Any]:
    return [
        f"{one['resourceType']}/{one['id']}"
        for one in found
        if type(one) is dict and isinstance(one.get("resourceType"), str) and isinstance(one.get("id"), str)
    ]


_ADDRESS = re.compile(r"(?:^|/)([A-Z][A-Za-z]+)/([A-Za-z0-9.-]{1,64})(?:/_history/[A-Za-z0-9.-]{1,64})?$")
_URN = re.compile(r"urn:(?:uuid|oid):(.+)")


def reference_key(reference: Any, wanted: str | None, env: Env) -> str | None:
    """Return the key of what a reference leads to; None where that is of another type, or unknown.

    An address says type and id. Of `urn:` the lake knows the id that it means, and the types that have it.
    """
    text = reference.get("reference") if type(reference) is dict else None
    if type(text) is not str or "?" in text:
        return None
    meant = env.links.get(text, text)
    if (found := _ADDRESS.search(meant)) is not None:
        return f"{found[1]}/{found[2]}" if wanted in (None, found[1]) else None
    urn = _URN.fullmatch(meant)
    id_ = urn[1] if urn else meant if meant is not text else None
    types = env.types_of(id_) if id_ is not None else ()
    stated = wanted or reference.get("type")
    fitting = [one for one in types if stated in (None, one)]
    return f"{fitting[0]}/{id_}" if len(fitting) == 1 else None
