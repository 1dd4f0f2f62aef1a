"""Under which names this server is asked.

Belongs here: that middleware. Does not: which names there are (settings.py).

A page of another site may make its own name resolve to this machine; its requests name that site as Host.
"""

from __future__ import annotations

from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.types import Receive, Scope, Send

from serving.problems import Problem


class KnownHosts(TrustedHostMiddleware):
    """Refuses requests for other hosts, and those that do not name exactly one (RFC 9112, 3.2).

    Of two, who stands between could have looked at the other one.
    """

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and [name for name, _ in scope["headers"]].count(b"host") != 1:
            answer = Problem(400, "a request names one host").response()
            await answer(scope, receive, send)
            return
        await super().__call__(scope, receive, send)
