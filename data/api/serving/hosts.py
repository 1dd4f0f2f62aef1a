"""Under which names this server is asked.

Belongs here: that middleware. Does not: which names there are (settings.py).

A page of another site may make its own name resolve to this machine; its requests name that site as Host.
"""

from __future__ import annotations

from collections.abc import Sequence

from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serving.problems import Problem


class KnownHosts(TrustedHostMiddleware):
    """Refuses requests for other hosts, and those that do not name exactly one (RFC 9112, 3.2).

    Of two, who stands between could have looked at the other one.
    """

    def __init__(self, app: ASGIApp, allowed_hosts: Sequence[str]) -> None:
        super().__init__(self._known, allowed_hosts, www_redirect=False)
        self._inside = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and [name for name, _ in scope["headers"]].count(b"host") != 1:
            answer = Problem(400, "a request names one host").response()
            await answer(scope, receive, send)
            return

        async def sent(message: Message) -> None:
            if _is_known(scope):  # else Starlette refuses it, as plain text
                await send(message)

        await super().__call__(scope, receive, sent)
        if not _is_known(scope):
            said = (
                "the API is not to be reached under this name: API_HOSTS in .env has those under which it is"
            )
            await Problem(400, said).response()(scope, receive, send)

    async def _known(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope[_KNOWN] = True
        await self._inside(scope, receive, send)


_KNOWN = "odp.host_is_known"


def _is_known(scope: Scope) -> bool:
    return bool(scope.get(_KNOWN))
