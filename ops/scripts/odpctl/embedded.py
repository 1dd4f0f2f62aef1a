"""The platform in one process, without containers. What it does is the orchestrator's; here only where and
as what.
"""

from __future__ import annotations

import http.client
from pathlib import Path

from .checkout import CATALOG, Checkout
from .errors import Failure
from .process import Done, Journal, run
from .venv import Venv

# Probes of this machine must not go through a company's proxy.
LOCAL = {"NO_PROXY": "127.0.0.1,localhost", "no_proxy": "127.0.0.1,localhost"}


class Embedded:
    """Runs `python -m orchestration.embedded …` of this checkout."""

    def __init__(self, checkout: Checkout, journal: Journal | None = None) -> None:
        self.checkout, self.journal = checkout, journal
        self.venv = Venv(checkout, journal)

    @property
    def env(self) -> dict[str, str]:
        """The venv's environment, without any address or key of another lake that a shell may carry."""
        foreign = ("LAKE_", "LANDING_", "S3_", "DAGSTER_", "AWS_", "DUCKLAKE_")
        terminal = ("COLUMNS", "LINES")  # what it starts has none, and ps would cut its lines to that width
        inherited = self.venv.env.items()
        kept = {key: value for key, value in inherited if not key.startswith(foreign) and key not in terminal}
        settings = self.checkout.settings
        names = ["ALERT_WEBHOOK_URL", "ODP_SAMPLE_DATA", "LAKE_FORMAT"]
        if settings["LAKE_FORMAT"] == "ducklake":
            names += [*CATALOG, "DUCKLAKE_PG_PASSWORD"]
        extra = {key: settings[key] for key in names if settings.get(key)}
        return {**kept, **extra, **LOCAL, "DAGSTER_PORT": str(self.checkout.port("DAGSTER_PORT"))}

    def argv(self, *args: str) -> list[str | Path]:
        """The command line of one of its verbs."""
        return [self.venv.python, "-m", "orchestration.embedded", *args]

    def run(self, *args: str) -> Done:
        """Run quietly; the journal keeps the output."""
        argv = self.argv(*args)
        done = run(argv, cwd=self.checkout.root, env=self.env)
        if self.journal:
            self.journal.add(f"{' '.join(map(str, argv))} → {done.code}", done.text)
        return done

    @property
    def made(self) -> bool:
        """Has this checkout an embedded lake?"""
        return (self.checkout.data / "lake").is_dir() and self.venv.python.exists()

    def ui_answers(self) -> bool:
        """Does a Dagster UI answer on our port?"""
        return dagster_answers("127.0.0.1", self.checkout.port("DAGSTER_PORT"))

    def stop(self) -> bool:
        """End the UI of this checkout. True if there was one."""
        if not self.venv.python.exists() or not self.checkout.ui_pid.exists():
            return False
        done = self.run("ui-stop")
        if not done.ok:
            raise Failure(
                "the embedded UI could not be stopped",
                details=[("what it printed", done.tail())],
                command="make status",
            )
        return True


def dagster_answers(host: str, port: int, *, timeout: float = 2.0) -> bool:
    """Dagster's own `/server_info`; whatever else listens there does not count."""
    connection = http.client.HTTPConnection(host, port, timeout=timeout)
    try:
        connection.request("GET", "/server_info")
        answer = connection.getresponse()
        return answer.status == 200 and b"dagster" in answer.read(4096)
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
