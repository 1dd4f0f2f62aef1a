"""What is shared: one share, a schema for each layer, the tables that are declared and written.

Belongs here: names, pages of names, and who may have a table. Does not: what is in a table.

Shared files are read as they are and cannot be masked, so that a table with personal columns is for keys that
may see those. Quarantine and the lake's own tables are never shared: they may quote anything.
"""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error as NotBase64
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from lakehouse.contracts import Contract
from lakehouse.registry import contracts
from serving.access import Caller
from serving.problems import Problem

SHARE = "odp"
LAYERS = ("bronze", "silver", "gold")
MOST_OF_A_PAGE = 500


@dataclass(frozen=True, kw_only=True)
class Page:
    """Which part of a list is asked for."""

    most: int | None = None
    token: str | None = None

    def of(self, listing: str, items: Sequence[tuple[str, dict[str, Any]]]) -> dict[str, Any]:
        """Return this page of `items`, each with what it is sorted by. Raises Problem 400.

        A token says after which item its page begins, so that one that comes or goes moves no other.
        """
        after = _opened(self.token, listing) if self.token else ""
        most = MOST_OF_A_PAGE if self.most is None else min(self.most, MOST_OF_A_PAGE)
        left = [item for item in sorted(items, key=lambda item: item[0]) if item[0] > after]
        page: dict[str, Any] = {"items": [what for _, what in left[:most]]}
        if len(left) > most:
            page["nextPageToken"] = _sealed(listing, left[most - 1][0] if most else after)
        return page


def check_share(share: str) -> None:
    """Raise Problem 404 unless there is such a share."""
    if share.lower() != SHARE:
        raise Problem(404, f"there is no such share; there is {SHARE}")


def schema_of(share: str, schema: str) -> str:
    """Return a schema's name as it is. Raises Problem 404."""
    check_share(share)
    if schema.lower() not in LAYERS:
        raise Problem(404, f"there is no such schema; there are {', '.join(LAYERS)}")
    return schema.lower()


def table_of(share: str, schema: str, table: str, caller: Caller) -> Contract:
    """Return a table's contract. Raises Problem 404, 403."""
    layer = schema_of(share, schema)
    found = next((t for t in contracts() if t.layer == layer and t.name.lower() == table.lower()), None)
    if found is None:
        raise Problem(
            404, f"no such table is shared; GET /delta-sharing/shares/{SHARE}/all-tables lists them"
        )
    if not may_have(found, caller):
        raise Problem(403, f"{found} has personal data: it is for keys with the scope pii")
    return found


def may_have(table: Contract, caller: Caller) -> bool:
    """Return whether a caller may have a table's files."""
    return caller.has("share") and (caller.has("pii") or not any(c.pii for c in table.columns))


def tables_for(caller: Caller, written: Sequence[str], layer: str | None = None) -> list[Contract]:
    """Return the tables that a caller may have, of a layer or of all; `written` are those that hold rows."""
    there = set(written)
    return [
        t
        for t in contracts()
        if t.layer in LAYERS and layer in (None, t.layer) and t.path in there and may_have(t, caller)
    ]


def described(table: Contract) -> tuple[str, dict[str, Any]]:
    """Return a table as an item of a list."""
    return table.path, {"name": table.name, "schema": table.layer, "share": SHARE}


def _sealed(listing: str, after: str) -> str:
    return urlsafe_b64encode(orjson.dumps([listing, after])).decode()


def _opened(token: str, listing: str) -> str:
    try:
        match orjson.loads(urlsafe_b64decode(token)):
            case [str(of), str(after)] if of == listing:
                return after
    except (ValueError, NotBase64):
        pass
    raise Problem(400, "this pageToken is not of this list: take nextPageToken as it came")
