"""The Spark Connect server of PROFILE=distributed: Sail, with the lake's key and a bound on its memory.

Belongs here: the settings it is started with. Does not: a session with it (session.py).

    python -m lakehouse.engine.spark.server

It listens at CONNECT_HOST (127.0.0.1) and CONNECT_PORT (50051). It replaces this process.
Whoever reaches its port runs code in it: it belongs on a network of its own.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path

from lakehouse.errors import SettingsError
from lakehouse.process import memory_limit
from lakehouse.scratch import scratch_folder
from lakehouse.settings import Settings, port

PORT = 50051
_SHARE = 0.6  # of its memory, for what it sorts and joins; the rest is for the batches and Python at work


def environment(env: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of Sail for the lake of `env`, and empty its folder. Raises SettingsError."""
    lake = Settings.from_env({**env, "ODP_ENGINE": "polars"})
    scratch = scratch_folder(env) / f"connect-{_port(env)}"
    # Sail removes what it keeps for a session when that ends: never, where it was killed before.
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True, exist_ok=True)
    set_ = {
        "SAIL_MODE": "local",
        "SAIL_EXECUTION__CHECKPOINT__PATH": scratch.as_uri(),
        # Its own default is without bound.
        "SAIL_RUNTIME__MEMORY_POOL__TYPE": "greedy",
        "SAIL_RUNTIME__MEMORY_POOL__GREEDY__MAX_SIZE": str(int(memory_limit() * _SHARE)),
        "TMPDIR": str(scratch),  # what it spills
        # By a file's least and greatest value it says what a condition gives, and no NaN counts among these.
        "SAIL_EXECUTION__COLLECT_STATISTICS": "false",
        # The times of a lake are UTC.
        "TZ": "UTC",
    }
    if lake.on_s3:
        set_ |= {
            "AWS_ACCESS_KEY_ID": lake.s3_access_key or "",
            "AWS_SECRET_ACCESS_KEY": lake.s3_secret_key or "",
            "AWS_REGION": lake.s3_region,
        }
        if lake.s3_endpoint:
            set_["AWS_ENDPOINT"] = lake.s3_endpoint
            set_["AWS_ALLOW_HTTP"] = str(lake.s3_endpoint.startswith("http://")).lower()
    return {**env, **set_, **{name: text for name, text in env.items() if name.startswith("SAIL_")}}


def _port(env: Mapping[str, str]) -> int:
    return port({"CONNECT_PORT": str(PORT), **env}, "CONNECT_PORT")


def main() -> int:
    try:
        env, number = environment(os.environ), _port(os.environ)
    except SettingsError as exc:
        print(exc, file=sys.stderr)
        return 2
    sail = str(Path(sys.executable).with_name("sail"))
    host = os.environ.get("CONNECT_HOST", "127.0.0.1")
    return os.execve(sail, [sail, "spark", "server", "--ip", host, "--port", str(number)], env)  # noqa: S606


if __name__ == "__main__":
    sys.exit(main())
