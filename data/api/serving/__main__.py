"""`python -m serving`: the server, with the settings of the environment.

Exit codes: 0 ended as asked · 2 a setting is wrong.
"""

from __future__ import annotations

import os
import socket
import sys

import uvicorn

from lakehouse.errors import LakeError, SettingsError
from serving.app import make_app
from serving.connections import Connection
from serving.settings import ServingSettings

_GRACE_SECONDS = 10
_IDLE_SECONDS = 30


def main() -> int:
    """Serve until a signal ends it; return the exit code."""
    os.umask(0o077)
    try:
        settings = ServingSettings.from_env()
        app = make_app(settings)
        _check_host(settings)
    except LakeError as exc:
        print(f"✗ {exc}", file=sys.stderr)
        return 2
    uvicorn.run(
        app,
        host=settings.host,
        port=settings.port,
        http=Connection,
        ws="none",
        proxy_headers=False,  # whoever calls from this machine could say to be many addresses
        access_log=False,  # the journal has a line for each request, without what was asked for
        log_level="warning",
        server_header=False,
        timeout_graceful_shutdown=_GRACE_SECONDS,
        timeout_keep_alive=_IDLE_SECONDS,
    )
    return 0


def _check_host(settings: ServingSettings) -> None:
    """Raise SettingsError where this machine knows no such address to listen at."""
    try:
        socket.getaddrinfo(settings.host, settings.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError):
        raise SettingsError(
            f"API_HOST={settings.host} is no address: give 127.0.0.1, 0.0.0.0 or one of this machine"
        ) from None


if __name__ == "__main__":
    sys.exit(main())
