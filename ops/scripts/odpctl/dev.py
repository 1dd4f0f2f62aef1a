"""The dev profile's host side: `dagster dev` from .venv, in the background, on the lake in the containers.

Its runs read the code of the checkout: edit, press "Reload definitions" in the UI, materialise.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time

from dagster_client import answers

from .checkout import ENGINE, ORCHESTRATOR, OUTPUTS, Checkout
from .embedded import LOCAL
from .errors import Failure
from .process import command_line, end_group, private, read_pid, redact, write_pid
from .venv import Venv

EMBEDDED = "data/dagster/orchestration/embedded.yaml"
READY_SECONDS = 90


class Dev:
    """One `dagster dev` per checkout, remembered by pid and start time."""

    def __init__(self, checkout: Checkout, venv: Venv) -> None:
        self.checkout, self.venv = checkout, venv
        self.home = checkout.data / "dagster-dev"
        self.log = checkout.logs / "dagster-dev.log"
        self.pid_file = checkout.dev_pid

    @property
    def env(self) -> dict[str, str]:
        """The environment the containers have, with addresses as the host sees them."""
        settings = self.checkout.settings
        url = self.checkout.url("DAGSTER_PORT")
        return {
            **self.venv.env,
            "LAKE_URL": "s3://",
            "LANDING_URL": "s3://landing",
            "S3_ENDPOINT": self.checkout.url("MINIO_PORT"),
            "S3_ACCESS_KEY": settings.get("S3_PIPELINE_ACCESS_KEY", ""),
            "S3_SECRET_KEY": settings.get("S3_PIPELINE_SECRET_KEY", ""),
            "S3_REGION": settings.get("S3_REGION", "us-east-1"),
            "LAKE_FORMAT": settings["LAKE_FORMAT"],
            "DUCKLAKE_PG_HOST": "127.0.0.1",
            "DUCKLAKE_PG_PORT": str(self.checkout.port("POSTGRES_PORT")),
            "DUCKLAKE_PG_PASSWORD": settings.get("DUCKLAKE_PG_PASSWORD", ""),
            "MART_PG_HOST": "127.0.0.1",
            "MART_PG_PORT": str(self.checkout.port("POSTGRES_PORT")),
            "MART_PG_PASSWORD": settings.get("MART_PG_PASSWORD", ""),
            "DAGSTER_HOME": str(self.home),
            "DAGSTER_URL": url,
            "DAGSTER_PUBLIC_URL": url,
            "DAGSTER_DISABLE_TELEMETRY": "1",
            **{name: settings[name] for name in (*ORCHESTRATOR, *OUTPUTS, *ENGINE) if settings.get(name)},
            "DAGSTER_RUN_MAX_SECONDS": settings.get("DAGSTER_RUN_MAX_SECONDS") or "0",
            **LOCAL,
        }

    @property
    def running(self) -> int | None:
        """Its pid while it lives."""
        return read_pid(self.pid_file)

    def start(self) -> None:
        """Start it unless it runs, and wait until its UI answers."""
        port = self.checkout.port("DAGSTER_PORT")
        if not self.running:
            private(self.home)
            # SQLite, in this folder, as without containers.
            shutil.copyfile(self.checkout.root / EMBEDDED, self.home / "dagster.yaml")
            self._spawn(port)
        deadline = time.monotonic() + READY_SECONDS
        while not answers(f"http://127.0.0.1:{port}"):
            if not self.running or time.monotonic() > deadline:
                raise Failure(
                    "dagster dev did not come up" + ("" if self.running else ": it ended"),
                    details=[("last lines of dagster dev", self.last_lines())],
                    command=f"less {self.log}",
                )
            time.sleep(0.2)

    def _spawn(self, port: int) -> None:
        private(self.log.parent)
        with open(os.open(self.log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as log:
            child = subprocess.Popen(
                [
                    self.venv.tool("dagster"),
                    "dev",
                    "-m",
                    "orchestration.definitions",
                    "-h",
                    "127.0.0.1",
                    "-p",
                    str(port),
                ],
                cwd=self.checkout.root,
                env=self.env,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # it outlives this command, and ends as one group
            )
        write_pid(self.pid_file, child.pid)

    def stop(self) -> bool:
        """End it and all its children. True if it ran."""
        return end_group(self.pid_file, self.checkout.venv)

    def last_lines(self, count: int = 20) -> list[str]:
        """The end of its log, without secrets."""
        text = self.log.read_text(errors="replace") if self.log.exists() else ""
        return redact(text, self.checkout.secrets).splitlines()[-count:]

    def describe(self) -> str:
        """For `status`."""
        return f"pid {self.running} ({command_line(self.running)})" if self.running else "not running"
