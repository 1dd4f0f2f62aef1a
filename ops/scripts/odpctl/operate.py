"""Everything that is done to a platform that exists: stop, status, logs, shell, credentials, clean, nuke.

Works without .env and for both kinds of profile: what runs is asked of the engine and of the processes
themselves.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import webbrowser
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from dagster_client import answers

from . import dotenv
from .api import Api
from .checkout import PLATFORMS, Checkout
from .compose import Compose
from .containers import exec_argv
from .data import Lake
from .dev import Dev
from .embedded import Embedded
from .engine import Engine, probe
from .errors import NOT_READY, REFUSED, Failure
from .process import run
from .start import Start, embedded_url
from .terminal import Terminal

NOTHING = "nothing has been started in this checkout"


@dataclass
class Platform:
    """One checkout's platform as it is now."""

    checkout: Checkout
    terminal: Terminal

    def __post_init__(self) -> None:
        self.compose = Compose(self.checkout)
        self.embedded = Embedded(self.checkout)
        self.dev = Dev(self.checkout, self.embedded.venv)
        self.api = Api(self.checkout, self.embedded, self.dev)
        self._engine: Engine | None = None

    @property
    def engine(self) -> Engine:
        """Asked once."""
        if self._engine is None:
            self._engine = probe()
        return self._engine

    def profile(self) -> str:
        """What runs, else what was started last, else ''."""
        last = str(self.checkout.state.get("profile") or "")
        if last == "embedded":
            return last
        running = (
            {one.service for one in self.compose.containers() if one.running} if self.engine.usable else set()
        )
        if "dagster" in running:
            return "distributed" if "spark" in running else "full"
        if running:
            return "dev" if self.dev.running else "minimal"
        return last

    def lake(self) -> Lake:
        """The data side of what runs; a Failure with the way out if nothing does."""
        profile = self.profile()
        if not profile or (profile == "embedded" and not self.embedded.made):
            raise Failure(NOTHING, command="make start", exit_code=NOT_READY)
        if profile != "embedded":
            self._need_containers()
        return Lake(self.checkout, self.compose, self.embedded, self.dev, profile)

    def _need_containers(self) -> None:
        if not self.engine.usable:
            raise Failure(
                f"the containers cannot be reached: {self.engine.reason}",
                command=self.engine.fix,
                exit_code=NOT_READY,
            )
        if not any(one.running for one in self.compose.containers()):
            raise Failure(
                f"no container of {self.compose.project} is running",
                command="make start",
                exit_code=NOT_READY,
            )

    def stop(self) -> None:
        """End all processes and containers; every byte of data stays."""
        with self.checkout.locked():
            ended = self._end_processes()
            if self.engine.usable and any(one.running for one in self.compose.containers()):
                self._compose_or_fail("stop")
                ended.append(f"the containers of {self.compose.project}")
        self.terminal.say(f"stopped: {', '.join(ended)}" if ended else "nothing was running")

    def _end_processes(self) -> list[str]:
        """The ones on the host; says which there were."""
        ends = {"the API": self.api.stop, "dagster dev": self.dev.stop, "the embedded UI": self.embedded.stop}
        return [name for name, end in ends.items() if end()]

    def restart(self) -> None:
        """Stop, then start the same profile."""
        profile = self.profile()
        self.stop()
        Start(self.checkout, self.terminal).run(profile)

    def clean(self) -> None:
        """Remove containers and networks; volumes, .env, .data and landing/ stay."""
        self.stop()
        with self.checkout.locked():
            if self.engine.usable:
                self._compose_or_fail("down", "--remove-orphans")
            self.checkout.state.put(stack=None)
        self.terminal.say(
            "clean: containers and networks are gone; volumes, .env, .data and landing/ are kept"
        )

    def nuke(self, *, force: bool) -> None:
        """Remove the data too: volumes, the image built here, .data, exports. Asks for the project's name."""
        name = self.compose.project if self.engine.usable else self.checkout.default_project
        if not force:
            self._confirm(name)
        with self.checkout.locked(), self.checkout.without_init():
            self._end_processes()
            if self.engine.usable:
                # Nothing is worth a graceful end any more.
                self._compose_or_fail("down", "--volumes", "--remove-orphans", "--timeout", "1")
                self._remove_leftovers()
            shutil.rmtree(self.checkout.data, ignore_errors=True)
            # copies of what was in the lake
            shutil.rmtree(self.checkout.root / "exports", ignore_errors=True)
        self.terminal.say(f"nuked {name}: containers, volumes, the image built here and .data are gone")
        self.terminal.say("kept: landing/ (your files), .env (your settings), .venv and .tools")

    def _confirm(self, name: str) -> None:
        self.terminal.say(
            f"This deletes all data of {name}: its volumes and {self.checkout.data}. It cannot be undone."
        )
        try:
            typed = input(f"Type {name} to go on: ")
        except EOFError:
            typed = ""
        if typed.strip() != name:
            raise Failure(
                "nothing was deleted: the name was not typed", command="make nuke FORCE=1", exit_code=REFUSED
            )

    def _remove_leftovers(self) -> None:
        """Volumes that no compose.yml names any more, and the image of this checkout alone."""
        for volume in self.compose.volumes():
            run(["docker", "volume", "rm", volume])
        for variable, name in (("ODP_IMAGE", "odp-platform"), ("ODP_API_IMAGE", "odp-api")):
            image = self.checkout.settings.get(variable, "")
            if image == f"{name}:{self.compose.project}":
                run(["docker", "image", "rm", image])

    def _compose_or_fail(self, *args: str) -> None:
        done = self.compose.run(*args, profile="*")
        if not done.ok:
            raise Failure(
                f"docker compose {args[0]} failed",
                details=[("what it printed", done.tail())],
                command="make ps",
            )

    def status(self, *, as_json: bool) -> int:
        """Health, ports, and when init and verify last ran. Exit 0 only if what was started is well."""
        report = self.report()
        if as_json:
            self.terminal.say(json.dumps(report, indent=1))
        else:
            self._print_report(report)
        return 0 if report["well"] else 1 if report["profile"] else NOT_READY

    def report(self) -> dict[str, Any]:
        """What `status --json` prints."""
        profile, state = self.profile(), self.checkout.state.read()
        services: dict[str, dict[str, Any]] = {}
        if profile and profile != "embedded" and self.engine.usable:
            for one in self.compose.containers():
                services[one.service] = {
                    "state": one.status,
                    "health": one.health,
                    "well": one.well,
                    "ports": list(one.ports),
                }
        if profile == "dev":
            services["dagster dev"] = self._process(bool(self.dev.running))
        if profile == "embedded":
            services["dagster ui"] = self._process(self.embedded.ui_answers())
        if profile in ("dev", "embedded"):
            services["api"] = self._process(self.api.answers(), "API_PORT")
        return {
            "profile": profile,
            "project": self.compose.project if profile and profile != "embedded" else None,
            "well": bool(services) and all(one["well"] for one in services.values()),
            "services": services,
            "urls": self._urls(profile) if services else {},
            "last_init": state.get("init"),
            "last_verify": state.get("verify"),
            "landing_waiting": self._waiting(profile),
        }

    def _process(self, alive: bool, port: str = "DAGSTER_PORT") -> dict[str, Any]:
        ports = [self.checkout.port(port)] if alive else []
        return {
            "state": "running" if alive else "stopped",
            "health": "healthy" if alive else "",
            "well": alive,
            "ports": ports,
        }

    def _urls(self, profile: str) -> dict[str, str]:
        if profile == "embedded":
            return {"dagster": embedded_url(self.checkout), "api": self.api.url(profile)}
        own = not self.checkout.external
        urls = (
            {"console": self.checkout.url("MINIO_CONSOLE_PORT"), "s3": self.checkout.url("MINIO_PORT")}
            if own
            else {}
        )
        if profile == "minimal":
            return urls
        return {"dagster": self.checkout.url("DAGSTER_PORT"), "api": self.api.url(profile), **urls}

    def _waiting(self, profile: str) -> int:
        if profile in ("", "minimal"):
            return 0
        return len(Lake(self.checkout, self.compose, self.embedded, self.dev, profile).waiting())

    def _print_report(self, report: dict[str, Any]) -> None:
        say = self.terminal.say
        if not report["profile"]:
            say(f"{NOTHING}: make start")
            return
        say(f"profile {report['profile']}" + (f", project {report['project']}" if report["project"] else ""))
        for name, one in report["services"].items():
            ports = f"  ports {', '.join(map(str, one['ports']))}" if one["ports"] else ""
            mark = self.terminal.paint("✓", 32) if one["well"] else self.terminal.paint("✗", 31)
            say(f"  {mark} {name:<15} {one['state']:<8} {one['health']:<9}{ports}".rstrip())
        if not report["services"]:
            say("  nothing is running: make start")
        for label in ("init", "verify"):
            last = report[f"last_{label}"]
            outcome = (
                "never"
                if not last
                else f"{last['at']}  " + ("ok" if last["exit"] == 0 else f"exit {last['exit']}")
            )
            say(f"last {label:<6} {outcome}")
        if report["landing_waiting"]:
            say(f"landing/ has {report['landing_waiting']} new file(s): make init-data-layers")

    def logs(self, service: str, *, follow: bool) -> int:
        """The last lines of every service, or of one."""
        profile = self.profile()
        if profile == "embedded" or service in ("dagster dev", "dagster-dev"):
            return self._host_logs(service, follow=follow)
        self._known_service(service)
        flags = ["--tail", "200", *(["--follow"] if follow else []), *([service] if service else [])]
        return subprocess.call(
            self.compose.argv("logs", *flags, profile="*"), cwd=self.checkout.root, env=self.compose.env
        )

    def _host_logs(self, service: str, *, follow: bool) -> int:
        files = sorted(
            {*self.checkout.logs.glob("*.log"), *self.checkout.data.glob("dagster*/*.log")},
            key=lambda path: path.stat().st_mtime,
        )
        if not files:
            raise Failure("there is no log yet", command="make start", exit_code=NOT_READY)
        names = {"": files[-1], **{path.stem: path for path in files}}
        if "dagster-dev" in names:
            names["dagster dev"] = names["dagster-dev"]
        for known in ("dagster", "dagster ui"):
            if "ui" in names:
                names[known] = names["ui"]
        if service not in names:
            raise Failure(
                f"no log {service!r}; there are: {', '.join(sorted(path.stem for path in files))}",
                command="make logs",
                exit_code=NOT_READY,
            )
        return subprocess.call(["tail", "-n", "200", *(["-f"] if follow else []), str(names[service])])

    def _known_service(self, service: str) -> None:
        names = [one.service for one in self.compose.containers()] if self.engine.usable else []
        if not names:
            raise Failure(
                NOTHING if not self.profile() else "there is no container to show",
                command="make start",
                exit_code=NOT_READY,
            )
        if service and service not in names:
            raise Failure(
                f"no service {service!r}; there are: {', '.join(names)}",
                command="make logs",
                exit_code=NOT_READY,
            )

    def ps(self) -> int:
        """Compose's own table."""
        if self.profile() == "embedded" or not self.engine.usable:
            return self.status(as_json=False)
        return subprocess.call(
            self.compose.argv("ps", "--all", profile="*"), cwd=self.checkout.root, env=self.compose.env
        )

    def shell(self) -> int:
        """A shell where the library, the lake's address and its keys are at hand."""
        lake = self.lake()
        if lake.in_containers:
            argv = exec_argv(self.compose, "bash", tty=sys.stdin.isatty())
            return subprocess.call(argv, cwd=self.checkout.root, env=self.compose.env)
        places = {"LAKE_URL": str(self.checkout.data / "lake"), "LANDING_URL": str(self.checkout.landing)}
        env = {**self.embedded.env, **places, "DAGSTER_HOME": str(self.checkout.data / "dagster")}
        return subprocess.call([os.environ.get("SHELL") or "/bin/sh"], cwd=self.checkout.root, env=env)

    def credentials(self) -> int:
        """The one place that prints secrets, and only when asked to."""
        values = dotenv.read(self.checkout.env_file)
        if not values:
            raise Failure(
                "there are no credentials: no .env yet (and the embedded profile needs none)",
                command="make start PROFILE=full",
                exit_code=NOT_READY,
            )
        for key in dotenv.SECRETS:
            self.terminal.say(f"{key:<24} {values.get(key, '(not set)')}")
        return 0

    def api_key(self, *args: str) -> int:
        """Make, list or revoke keys of the API, where it keeps them."""
        return self._in_api("serving.keys", *args)

    def share_profile(self, *args: str) -> int:
        """Print a Delta Sharing profile with a key of its own."""
        return self._in_api("serving.sharing.profile", *args)

    def _in_api(self, module: str, *args: str) -> int:
        profile = self.lake().profile
        if profile == "minimal":
            raise Failure(
                "profile minimal runs no API", command="make start PROFILE=full", exit_code=NOT_READY
            )
        if profile in PLATFORMS:
            argv = exec_argv(self.compose, "python", "-m", module, *args, service="api")
            return subprocess.call(argv, cwd=self.checkout.root, env=self.compose.env)
        argv = [str(self.embedded.venv.python), "-m", module, *args]
        return subprocess.call(argv, cwd=self.checkout.root, env=self.api.env(profile))

    def open_page(self, what: str) -> int:
        """Print the address of a page and open it where there is a screen."""
        profile = self.profile()
        if what == "console" and profile == "embedded":
            raise Failure(
                f"the embedded profile has no console: its lake is the folder {self.checkout.data / 'lake'}",
                command="make start PROFILE=full",
                exit_code=NOT_READY,
            )
        if what == "console":
            url = self.checkout.url("MINIO_CONSOLE_PORT")
        else:
            url = embedded_url(self.checkout) if profile == "embedded" else self.checkout.url("DAGSTER_PORT")
            if not (self.embedded.ui_answers() if profile == "embedded" else answers(url)):
                raise Failure(f"no Dagster answers at {url}", command="make start", exit_code=NOT_READY)
        self.terminal.say(url)
        if has_screen():
            quietly(lambda: webbrowser.open(url))
        return 0


def has_screen() -> bool:
    """A person at a graphical session, not a pipe, a CI job or an ssh login."""
    screen = sys.platform == "darwin" or os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    return (
        bool(screen)
        and sys.stdout.isatty()
        and not os.environ.get("CI")
        and not os.environ.get("SSH_CONNECTION")
    )


def quietly(action: Callable[[], object]) -> None:
    """Browsers chatter on stderr; keep it off the terminal."""
    saved = os.dup(2)
    try:
        with open(os.devnull, "w") as null:
            os.dup2(null.fileno(), 2)
            action()
    finally:
        os.dup2(saved, 2)
        os.close(saved)
