"""Constants of a ViewDefinition.

Belongs here: their types and values, and how a document is read. Does not: the rest (definition.py).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from lakehouse.domains.clinical.views.compiling import ROW_INDEX
from lakehouse.domains.clinical.views.values import Temporal, temporal
from lakehouse.errors import ViewError

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*")


def listed(holder: Mapping[str, Any], key: str, where: str, *, least: int = 1) -> Sequence[Any]:
    """Return a list of the document; none is an empty one."""
    found = holder.get(key)
    if found is None and key not in holder:
        return ()
    if not isinstance(found, list | tuple) or len(found) < least:
        raise ViewError(f"{where}: `{key}` is no list" + (" with something in it" if least else ""))
    return found


def name_of(what: str, name: object) -> str:
    """Return a name of the document. Raises ViewError where SQL has no such names."""
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise ViewError(f"the name of {what} begins with a letter and has letters, digits and _ alone")
    return name


_MOMENTS = {"valueDate": "date", "valueDateTime": "dateTime", "valueInstant": "dateTime", "valueTime": "time"}
_NUMBERS = {"valueInteger": None, "valuePositiveInt": 1, "valueUnsignedInt": 0, "valueInteger64": None}
_TEXTS = {
    "valueBase64Binary", "valueCanonical", "valueCode", "valueId", "valueMarkdown", "valueOid",
    "valueString",
    "valueUri", "valueUrl", "valueUuid",
}  # fmt: skip


def constants_of(document: Mapping[str, Any]) -> dict[str, tuple[Any, str]]:
    """Return the constants by name, each as a value of FHIRPath and its FHIR type. Raises ViewError."""
    found: dict[str, tuple[Any, str]] = {}
    for i, one in enumerate(listed(document, "constant", "the view", least=0)):
        where = f"constant[{i}]"
        if not isinstance(one, Mapping):
            raise ViewError(f"{where} is no object")
        name = name_of(where, one.get("name"))
        if name in found or name == ROW_INDEX:
            raise ViewError(f"{where}: the name {name} is taken")
        keys = [key for key in one if key.startswith("value")]
        if len(keys) != 1:
            raise ViewError(f"{where} ({name}) has not exactly one value, as valueString")
        value = _constant(keys[0], one[keys[0]])
        if value is None:
            raise ViewError(
                f"{where} ({name}): {keys[0]} is no type of a constant, or its value is none of it"
            )
        found[name] = value, keys[0][5].lower() + keys[0][6:]
    return found


def _constant(key: str, value: Any) -> Any:
    if key in _MOMENTS:
        moment = temporal(value, _MOMENTS[key]) if isinstance(value, str) else None
        return moment if isinstance(moment, Temporal) and moment.kind == _MOMENTS[key] else None
    if key in _TEXTS:
        return value if isinstance(value, str) and value else None
    if key == "valueBoolean":
        return value if isinstance(value, bool) else None
    if isinstance(value, bool):
        return None
    if key == "valueDecimal":
        if isinstance(value, float):
            return Decimal(repr(value))
        return value if isinstance(value, int | Decimal) else None
    if key == "valueInteger64" and isinstance(value, str) and re.fullmatch(r"[+-]?\d+", value):
        value = int(value)
    if key not in _NUMBERS or not isinstance(value, int):
        return None
    least = _NUMBERS[key]
    return value if least is None or value >= least else None
