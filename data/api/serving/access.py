"""Who calls, and what they may.

Belongs here: the caller of a request, scopes, rate limits; `may("read")` is the dependency of a route. Does
not: making keys (keys.py).

A key comes as `Authorization: Bearer …`; the page keeps it in a cookie that scripts cannot read and other
sites cannot send. Other ports of this machine are the same site to a browser, so a request that changes or
costs something and comes with the cookie must also say that it comes from a page of ours.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from starlette.requests import HTTPConnection

from serving.keys import DamagedKeys, Key, Keys
from serving.problems import Problem

COOKIE = "odp_key"
_ANYBODY = "anonymous"
_WRONG_PER_MINUTE = 30  # unknown keys of one address
_MOST_BUCKETS = 10_000
_SAFE_METHODS = ("GET", "HEAD", "OPTIONS")
_CHALLENGE = {"WWW-Authenticate": 'Bearer realm="odp"'}


@dataclass(frozen=True, kw_only=True)
class Caller:
    """Who calls: the id of a key, or `anonymous`."""

    id: str
    name: str = ""
    scopes: frozenset[str] = frozenset()

    def has(self, scope: str) -> bool:
        return scope in self.scopes


class _Buckets:
    """Tokens that come back evenly over a minute, `per_minute` for each name."""

    def __init__(self, per_minute: int) -> None:
        self._most = float(per_minute)
        self._lock = threading.Lock()
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, name: str) -> float:
        """Take a token. Return 0, or after how many seconds there will be one."""
        rate, now = self._most / 60, time.monotonic()
        with self._lock:
            left, since = self._left.pop(name, (self._most, now))
            left = min(self._most, left + (now - since) * rate)
            taken = left >= 1
            self._left[name] = (left - 1 if taken else left, now)
            while len(self._left) > _MOST_BUCKETS:
                self._left.popitem(last=False)
        return 0.0 if taken else (1 - left) / rate


@dataclass(kw_only=True)
class Gate:
    """Tells callers by their key, and slows down who asks too often."""

    keys: Keys
    open_read: bool = False
    requests_per_minute: int = 6000
    _of_keys: _Buckets = field(init=False)
    _wrong: _Buckets = field(default_factory=lambda: _Buckets(_WRONG_PER_MINUTE))

    def __post_init__(self) -> None:
        self._of_keys = _Buckets(self.requests_per_minute)

    def caller(self, connection: HTTPConnection) -> Caller:
        """Return who calls.

        Raises Problem 401 for a key that is none, 403 for a cookie that another site made the browser send,
        429 for who asks too often, 503 where the keys cannot be read.
        """
        text, is_cookie = _shown(connection)
        if text is None:
            return Caller(id=_ANYBODY, scopes=frozenset({"read"} if self.open_read else ()))
        if is_cookie and connection.scope.get("method") not in _SAFE_METHODS and not same_origin(connection):
            raise Problem(403, "a page of another site made this request; give the key as a header instead")
        return self.known(text, connection)

    def known(self, text: str, connection: HTTPConnection) -> Caller:
        """Return whose key `text` is. Raises Problem 401, 429, 503 (the keys cannot be read).

        An address that shows many unknown keys is slowed down; right keys from there go on, since behind a
        proxy or a container's network everybody has one address.
        """
        with _readable():
            key = self.keys.find(text)
        if key is None:
            address = connection.client.host if connection.client else ""
            _wait(self._wrong.take(address), "too many unknown keys came from this address")
            raise Problem(401, "this key is unknown, revoked or expired", headers=_CHALLENGE)
        _wait(self._of_keys.take(key.id), "this key has asked too often")
        return Caller(id=key.id, name=key.name, scopes=frozenset(key.scopes))

    def by_id(self, identity: str) -> Key | None:
        """Return the key of an id, also an expired one. Raises Problem 503."""
        with _readable():
            return self.keys.all().get(identity)


@contextmanager
def _readable() -> Iterator[None]:
    try:
        yield
    except DamagedKeys as exc:
        raise Problem(503, str(exc)) from None


def _wait(seconds: float, why: str) -> None:
    if seconds:
        raise Problem(429, why, headers={"Retry-After": str(max(1, round(seconds)))})


def same_origin(connection: HTTPConnection) -> bool:
    """Return whether a browser says that a page of this door made the request."""
    site = connection.headers.get("sec-fetch-site")
    if site is not None:  # not sent to plain http:// of another machine
        return site == "same-origin"
    here = f"{connection.url.scheme}://{connection.headers.get('host', '')}"
    return connection.headers.get("origin") in (here, connection.app.state.settings.public_url)


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


def _shown(connection: HTTPConnection) -> tuple[str | None, bool]:
    """Return the key that came, and whether it came as the page's cookie."""
    header = connection.headers.get("authorization")
    if header is not None:
        scheme, _, text = header.partition(" ")
        if scheme.lower() != "bearer" or not text.strip():
            raise Problem(401, "give the key as `Authorization: Bearer <key>`", headers=_CHALLENGE)
        return text.strip(), False
    return connection.cookies.get(COOKIE), True
