"""The API where it runs on the host: in the profiles embedded and dev. In `full` it is a container.

Belongs here: its environment, starting and ending it. Does not: keys, or anything about its answers.
"""

from __future__ import annotations

import os
import subprocess
import time
import urllib.request

from .checkout import API, CATALOG, PLATFORMS, Checkout
from .dev import Dev
from .embedded import LOCAL, Embedded
from .errors import Failure
from .preflight import held_by_us
from .process import end_group, private, read_pid, redact, write_pid

READY_SECONDS = 60
_READS = ("LAKE_", "LANDING_", "S3_", "DUCKLAKE_")


class Api:
    """One `python -m serving` per checkout, remembered by pid and start time."""

    def __init__(self, checkout: Checkout, embedded: Embedded, dev: Dev) -> None:
        self.checkout, self.embedded, self.dev = checkout, embedded, dev
        self.state = checkout.data / "api"
        self.log = checkout.logs / "api.log"

    def url(self, profile: str) -> str:
        """The address a person opens. On the host it listens on this machine alone."""
        if profile in PLATFORMS:
            return self.checkout.url("API_PORT")
        return f"http://127.0.0.1:{self.checkout.port('API_PORT')}"

    def env(self, profile: str) -> dict[str, str]:
        """Its environment: the lake of the profile, and its own settings."""
        settings, url = self.checkout.settings, self.url(profile)
        if profile == "embedded":
            lake = {
                "LAKE_URL": str(self.checkout.data / "lake"),
                "LANDING_URL": str(self.checkout.landing),
                "LAKE_FORMAT": settings["LAKE_FORMAT"],
                **{name: settings[name] for name in (*CATALOG, "DUCKLAKE_PG_PASSWORD") if settings.get(name)},
            }
        else:
            lake = {
                **{name: text for name, text in self.dev.env.items() if name.startswith(_READS)},
                "S3_ACCESS_KEY": settings.get("S3_API_ACCESS_KEY", ""),
                "S3_SECRET_KEY": settings.get("S3_API_SECRET_KEY", ""),
                "S3_SERVING_ACCESS_KEY": settings.get("S3_SERVING_ACCESS_KEY", ""),
                "S3_SERVING_SECRET_KEY": settings.get("S3_SERVING_SECRET_KEY", ""),
                "API_S3_PUBLIC_ENDPOINT": self.checkout.url("MINIO_PORT"),
                "MINIO_CONSOLE_URL": self.checkout.url("MINIO_CONSOLE_PORT"),
            }
        dagster = f"http://127.0.0.1:{self.checkout.port('DAGSTER_PORT')}"
        foreign = (*_READS, "AWS_", "API_", "DAGSTER_", "MART_", "EXPORTS_")
        kept = {k: v for k, v in self.embedded.venv.env.items() if not k.startswith(foreign)}
        return {
            **kept,
            **lake,
            **LOCAL,
            "API_STATE": str(self.state),
            "API_PORT": str(self.checkout.port("API_PORT")),
            "API_PUBLIC_URL": url,
            "DAGSTER_URL": dagster,
            "DAGSTER_PUBLIC_URL": dagster,
            **{name: settings[name] for name in API if settings.get(name)},
        }

    def answers(self) -> bool:
        """Return whether an API of this very checkout answers on our port."""
        port = self.checkout.port("API_PORT")
        if read_pid(self.checkout.api_pid) is None or not held_by_us(self.checkout, port):
            return False
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(f"http://127.0.0.1:{port}/health", timeout=5) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    def start(self, profile: str) -> None:
        """Start it unless it runs, and wait until it answers."""
        if not read_pid(self.checkout.api_pid):
            self._spawn(profile)
        deadline = time.monotonic() + READY_SECONDS
        while not self.answers():
            if not read_pid(self.checkout.api_pid) or time.monotonic() > deadline:
                raise Failure(
                    "the API did not come up",
                    details=[("last lines of the API", self._last_lines())],
                    command=f"less {self.log}",
                )
            time.sleep(0.1)

    def _spawn(self, profile: str) -> None:
        private(self.log.parent)
        private(self.state)
        with open(os.open(self.log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as log:
            child = subprocess.Popen(
                [str(self.embedded.venv.python), "-m", "serving"],
                cwd=self.checkout.root,
                env=self.env(profile),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # it outlives this command, and ends as one group
            )
        write_pid(self.checkout.api_pid, child.pid)

    def stop(self) -> bool:
        """End it. True if it ran."""
        return end_group(self.checkout.api_pid, self.checkout.venv)

    def _last_lines(self, count: int = 20) -> list[str]:
        text = self.log.read_text(errors="replace") if self.log.exists() else ""
        return redact(text, self.checkout.secrets).splitlines()[-count:]
