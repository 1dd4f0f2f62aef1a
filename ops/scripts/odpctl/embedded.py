"""The platform in one process, without containers. What it does is the orchestrator's; here only where and
as what.
"""

from __future__ import annotations

from pathlib import Path

from dagster_client import answers

from .checkout import CATALOG, ENGINE, ORCHESTRATOR, OUTPUTS, Checkout
from .errors import Failure
from .preflight import held_by_us
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
        foreign = ("LAKE_", "LANDING_", "S3_", "DAGSTER_", "AWS_", "DUCKLAKE_", "MART_", "EXPORTS_")
        terminal = ("COLUMNS", "LINES")  # what it starts has none, and ps would cut its lines to that width
        inherited = self.venv.env.items()
        kept = {key: value for key, value in inherited if not key.startswith(foreign) and key not in terminal}
        settings = self.checkout.settings
        names = ["ALERT_WEBHOOK_URL", "ODP_SAMPLE_DATA", "LAKE_FORMAT", *ORCHESTRATOR, *OUTPUTS, *ENGINE]
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
        """Return whether this checkout has an embedded lake."""
        return (self.checkout.data / "lake").is_dir() and self.venv.python.exists()

    def ui_answers(self) -> bool:
        """Return whether a Dagster UI of this very checkout answers on our port."""
        port = self.checkout.port("DAGSTER_PORT")
        return held_by_us(self.checkout, port) and answers(f"http://127.0.0.1:{port}")

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
