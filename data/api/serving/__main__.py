"""`python -m serving`: the server, with the settings of the environment.

Exit codes: 0 ended as asked · 2 a setting is wrong.
"""

from __future__ import annotations

import os
import sys

import uvicorn

from lakehouse.errors import LakeError
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


if __name__ == "__main__":
    sys.exit(main())
