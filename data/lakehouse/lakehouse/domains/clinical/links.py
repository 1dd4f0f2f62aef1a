"""What a reference says: which type, which id.

Belongs here: reading https://hl7.org/fhir/R4/references.html as text. Does not: whether the lake holds what
it leads to (references.py).
"""

from __future__ import annotations

import re

ADDRESS = r"(?:^|/)([A-Z][A-Za-z]+)/([A-Za-z0-9.-]{1,64})(?:/_history/[A-Za-z0-9.-]{1,64})?$"
"""Of a reference by address: its type and its id."""
_ADDRESS = re.compile(ADDRESS)
_URN = re.compile(r"urn:(?:uuid|oid):(.+)")
_CONDITIONAL = re.compile(r"([A-Z][A-Za-z]+)\?")
_TYPE = re.compile(r"[A-Z][A-Za-z]+")

Target = tuple[str | None, str | None]


def address(reference: str | None, known: dict[str, str] | None = None, stated: str | None = None) -> Target:
    """Return type and id of what a reference means, as far as it says them.

    `known` has what its bundle says of it: `Type/id`, or an id alone in rows of older versions. `stated` is
    Reference.type, which counts where the reference itself says none. A conditional reference
    (`Practitioner?identifier=…`) has a type and no id; one to a contained resource (`#a`) and one that is no
    reference have no id.
    """
    stated = stated if stated is not None and _TYPE.fullmatch(stated) else None
    if reference is None:
        return None, None
    if known and reference in known:
        kind, _, own = known[reference].rpartition("/")
        return kind or stated, own
    if urn := _URN.fullmatch(reference):
        return stated, urn[1]
    if "?" in reference:
        conditional = _CONDITIONAL.match(reference)
        return (conditional[1] if conditional else stated), None
    found = _ADDRESS.search(reference)
    return (found[1], found[2]) if found else (stated, None)
