"""What a reference says: which type, which id.

Belongs here: reading https://hl7.org/fhir/R4/references.html as text. Does not: whether the lake holds what
it leads to (references.py).
"""

from __future__ import annotations

import re
from urllib.parse import quote

from lakehouse.domains.clinical.datatypes import Reference

ADDRESS = r"(?:^|/)([A-Z][A-Za-z]+)/([A-Za-z0-9.-]{1,64})(?:/_history/[A-Za-z0-9.-]{1,64})?$"
"""Of a reference by address: its type and its id."""
_ADDRESS = re.compile(ADDRESS)
URN = r"^urn:(?:uuid|oid):(.+)$"
"""Of a reference into a bundle: its id, where the bundle does not say another."""
_URN = re.compile(URN)
_CONDITIONAL = re.compile(r"([A-Z][A-Za-z]+)\?")
_TYPE = re.compile(r"[A-Z][A-Za-z]+")

ELSEWHERE = ""
"""What a bundle says of a reference to another server's resource: none of the cohort has that id."""
UNADDRESSED = "(no address)"
"""What stands for a reference that says in words alone what it means, or why it does not."""
Target = tuple[str | None, str | None]


def text_of(
    given: Reference | None, kind: str | None = None, *, words: str | None = UNADDRESSED
) -> str | None:
    """Return a reference as text: as it is stated; a logical one as the conditional one that means the same.

    `kind` is the type that it leads to where it states none, `words` what stands for one that says in words
    alone what it means. Return None for one that says nothing.
    """
    if given is None or given.reference is not None:
        return given.reference if given is not None else None
    if (own := given.identifier) is not None and own.value is not None:
        token = quote(f"{own.system or ''}|{own.value}", safe=":/|")
        return f"{_type(given.type) or kind or ''}?identifier={token}"
    told = (own, given.display, given.extension, given.reference_, given.type)
    return words if any(one is not None for one in told) else None


def _type(stated: str | None) -> str | None:
    """Return a stated type; None for what is none."""
    return stated if stated is not None and _TYPE.fullmatch(stated) else None


def address(reference: str | None, known: dict[str, str] | None = None, stated: str | None = None) -> Target:
    """Return type and id of what a reference means, as far as it says them.

    `known` has what its bundle says of it: `Type/id`, an id alone in rows of older versions, or `ELSEWHERE`.
    `stated` is Reference.type, which counts where the reference itself says none. A conditional reference
    (`Practitioner?identifier=…`) has a type and no id; one to a contained resource (`#a`) and one that is no
    reference have no id.
    """
    stated = _type(stated)
    if reference is None:
        return stated, None
    is_known = known is not None and reference in known
    if not is_known and (urn := _URN.fullmatch(reference)):
        return stated, urn[1]
    found = _ADDRESS.search(reference)
    if known and is_known:
        if known[reference] == ELSEWHERE:
            return (found[1] if found else stated), None
        kind, _, own = known[reference].rpartition("/")
        return kind or stated, own
    if "?" in reference:
        conditional = _CONDITIONAL.match(reference)
        return (conditional[1] if conditional else stated), None
    return (found[1], found[2]) if found else (stated, None)
