"""Who calls, and what they may.

Belongs here: the caller of a request, scopes, rate limits; `may("read")` is the dependency of a route. Does
not: making keys (keys.py).

A key comes as `Authorization: Bearer …`; the page keeps it in a cookie that scripts cannot read and other
sites cannot send.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from starlette.requests import HTTPConnection

from serving.keys import Keys
from serving.problems import Problem

COOKIE = "odp_key"
_ANYBODY = "anonymous"
_CHALLENGE = {"WWW-Authenticate": 'Bearer realm="odp"'}


@dataclass(frozen=True, kw_only=True)
class Caller:
    """Who calls: the id of a key, or `anonymous`."""

    id: str
    name: str = ""
    scopes: frozenset[str] = frozenset()

    def has(self, scope: str) -> bool:
        return scope in self.scopes


@dataclass(kw_only=True)
class Gate:
    """Tells callers by their key, and slows down who asks too often."""

    keys: Keys
    open_read: bool = False
    requests_per_minute: int = 6000
    _buckets: dict[str, tuple[float, float]] = field(default_factory=dict)

    def caller(self, connection: HTTPConnection) -> Caller:
        """Return who calls. Raises Problem 401 for a key that is none, 429 for one that asks too often."""
        text = _shown(connection)
        if text is None:
            return Caller(id=_ANYBODY, scopes=frozenset({"read"} if self.open_read else ()))
        key = self.keys.find(text)
        if key is None:
            raise Problem(401, "this key is unknown, revoked or expired", headers=_CHALLENGE)
        self._slow_down(key.id)
        return Caller(id=key.id, name=key.name, scopes=frozenset(key.scopes))

    def _slow_down(self, key: str) -> None:
        """Take one of the key's requests; they come back evenly over a minute."""
        rate = self.requests_per_minute / 60
        now = time.monotonic()
        left, since = self._buckets.get(key, (float(self.requests_per_minute), now))
        left = min(self.requests_per_minute, left + (now - since) * rate)
        if left < 1:
            wait = str(max(1, round((1 - left) / rate)))
            raise Problem(429, "this key has asked too often", headers={"Retry-After": wait})
        self._buckets[key] = (left - 1, now)


def may(*scopes: str) -> Callable[[HTTPConnection], Caller]:
    """Return the dependency of a route that needs all of `scopes`; it gives the caller."""

    def allowed(connection: HTTPConnection) -> Caller:
        caller: Caller = connection.app.state.gate.caller(connection)
        connection.state.caller = caller
        if missing := [scope for scope in scopes if not caller.has(scope)]:
            needs = f"this call needs a key with the scope {' and '.join(missing)}: `make api-key` makes one"
            if caller.id == _ANYBODY:
                raise Problem(401, needs, headers=_CHALLENGE)
            raise Problem(403, needs)
        return caller

    return allowed


def _shown(connection: HTTPConnection) -> str | None:
    header = connection.headers.get("authorization")
    if header is not None:
        scheme, _, text = header.partition(" ")
        if scheme.lower() != "bearer" or not text.strip():
            raise Problem(401, "give the key as `Authorization: Bearer <key>`", headers=_CHALLENGE)
        return text.strip()
    return connection.cookies.get(COOKIE)
