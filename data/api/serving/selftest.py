"""The server once, on a lake of one file, from landing to an answer: the build of the image runs it.

Belongs here: one use of what the image leaves out parts of. Does not: any claim about answers, which tests
make.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
from pathlib import Path
from typing import Any

from lakehouse.materialize import materialize
from lakehouse.pipeline import open_lake
from lakehouse.registry import sample_files, tables
from lakehouse.settings import Settings
from serving.app import make_app
from serving.settings import ServingSettings

_FORMATS = ("json", "csv", "arrow", "parquet")
_TABLE = "gold/pipeline_metrics"


def main() -> int:
    """Serve each format of one table; return the exit code."""
    with tempfile.TemporaryDirectory() as place:
        settings = Settings(lake_url=f"{place}/lake", landing_url=f"{place}/landing")
        lake = open_lake(settings)
        for name, body in sample_files().items():
            lake.landing.put(name, body)
        for table in tables():
            if table.contract.domain == "pipelines" and table.model is None:
                materialize(lake, table, checks=False)
        app = make_app(ServingSettings(lake=settings, state=Path(place, "api"), open_read=True))
        wrong = [form for form in _FORMATS if asyncio.run(_status(app, f"/data/{_TABLE}", form)) != 200]
    for form in wrong:
        print(f"✗ {_TABLE} as {form}", file=sys.stderr)
    return 1 if wrong else 0


async def _status(app: Any, path: str, form: str) -> int:
    found: list[int] = []

    messages = [{"type": "http.request", "body": b"", "more_body": False}]

    async def receive() -> dict[str, Any]:
        if not messages:
            await asyncio.Event().wait()  # who asked stays until the end
        return messages.pop()

    async def send(message: Any) -> None:
        if message["type"] == "http.response.start":
            found.append(message["status"])

    await app(
        {
            "type": "http", "http_version": "1.1", "method": "GET", "scheme": "http", "path": path,
            "raw_path": path.encode(), "query_string": f"format={form}".encode(), "root_path": "",
            "headers": [(b"host", b"localhost")], "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 80),
        },
        receive, send,
    )  # fmt: skip
    return found[0]


if __name__ == "__main__":
    sys.exit(main())
