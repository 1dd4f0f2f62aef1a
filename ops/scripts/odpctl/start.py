"""`make start`: preflight, secrets, pull, build, up, init, verify. Each phase is one line; the first
failure ends it.

Nothing is changed before the preflight has passed. A start of what already runs, unchanged, only looks and
says so.
"""

from __future__ import annotations

import time

from . import dotenv, preflight
from .api import Api
from .checkout import PROFILES, Checkout
from .compose import Compose
from .containers import Stack
from .data import Lake, not_landed
from .dev import Dev
from .diagnose import explain
from .embedded import Embedded
from .engine import Engine, probe
from .errors import NOT_READY, Failure
from .process import Done, Journal
from .terminal import Terminal

INIT_SAYS = {
    1: "a step of the run failed",
    2: "the orchestrator was not ready",
    3: "every table is written, but a check on its data failed; a later start goes on",
    4: "the run did not end in time",
}
VERIFY_SAYS = {1: "the lake has problems", 2: "the lake cannot be reached"}


def warnings(text: str) -> list[str]:
    """What verify warns of, each with what to do on the line that follows it."""
    lines = text.splitlines()
    pairs = zip(lines, [*lines[1:], ""], strict=True)
    return [f"{line[2:]}   ({after.strip(' →')})" for line, after in pairs if line.startswith("! ")]


def choose(asked: str, engine: Engine) -> tuple[str, str]:
    """The profile, and a sentence on why it is this one."""
    if asked and asked not in PROFILES:
        raise Failure(
            f"unknown profile {asked!r}; there are: {', '.join(PROFILES)}",
            command="make start PROFILE=full",
            exit_code=NOT_READY,
        )
    if asked:
        return asked, "as asked"
    if engine.usable:
        return "full", f"Docker Engine {engine.version} answers"
    return "embedded", f"no containers: {engine.reason}"


class Start:
    """One run of the verb."""

    def __init__(self, checkout: Checkout, terminal: Terminal) -> None:
        self.terminal = terminal
        self._of(checkout)

    def _of(self, checkout: Checkout) -> None:
        self.checkout = checkout
        self.journal = Journal(checkout.logs, checkout.secrets)
        self.compose = Compose(checkout, self.journal)
        self.embedded = Embedded(checkout, self.journal)
        self.dev = Dev(checkout, self.embedded.venv)
        self.api = Api(checkout, self.embedded, self.dev)

    def run(self, asked: str) -> None:
        """Everything, or a Failure with the log of all that was printed."""
        engine = probe()
        profile, why = choose(asked, engine)
        self._of(self.checkout.of_profile(profile))
        self.terminal.say(f"profile {profile} ({why})")
        preflight.refuse([preflight.place(self.checkout)], profile)  # before the lock, which is a file there
        with self.checkout.locked():
            begin = time.monotonic()
            try:
                note = self._embedded(engine) if profile == "embedded" else self._containers(profile, engine)
            except Failure as failure:
                failure.log = failure.log or (self.journal.keep("start") if self.journal.blocks else None)
                raise
            self.terminal.say(f"{profile} is up in {time.monotonic() - begin:.1f} s: {note}")
        self._goodbye(profile)

    def _containers(self, profile: str, engine: Engine) -> str:
        self._preflight(profile, engine)
        stack = Stack(self.checkout, self.compose, profile)
        lake = Lake(self.checkout, self.compose, self.embedded, self.dev, profile)
        if self._already(lake) and stack.as_it_came_up() and self._host_runs(profile):
            return self._nothing_to_do(lake)
        self.checkout.state.put(profile=profile, stack=None)
        with self.terminal.phase("secrets") as phase:
            added = dotenv.complete(self.checkout.env_file, self.checkout.generated())
            self.journal.secrets[:] = self.checkout.secrets
            phase.note = f"{len(added)} values added to .env" if added else "unchanged"
        self.compose.__dict__.pop("project", None)  # .env may have named it just now
        with self.terminal.phase("pull") as phase:
            phase.note = ", ".join(stack.pull()) or "all images are here"
        with self.terminal.phase("build") as phase:
            stack.build(phase)
        self.embedded.stop()
        self.api.stop()
        if profile != "dev":
            self.dev.stop()
        with self.terminal.phase("up") as phase:
            stack.up(phase)
        if profile == "dev":
            self._dev_host()
        if profile == "minimal":
            stack.remember()
            return "bring your own code; no init, no verify"
        note = self._init_and_verify(lake)
        if profile == "dev":
            self._api(profile)
        stack.remember()
        return note

    def _host_runs(self, profile: str) -> bool:
        return profile != "dev" or (bool(self.dev.running) and self.api.answers())

    def _api(self, profile: str) -> None:
        with self.terminal.phase("api") as phase:
            self.api.start(profile)
            phase.note = self.api.url(profile)

    def _dev_host(self) -> None:
        with self.terminal.phase("venv"):
            self.embedded.venv.ensure()
        with self.terminal.phase("dagster dev") as phase:
            self.dev.start()
            phase.note = f"log in {self.dev.log.relative_to(self.checkout.root)}"

    def _embedded(self, engine: Engine) -> str:
        self._preflight("embedded", engine)
        lake = Lake(self.checkout, self.compose, self.embedded, self.dev, "embedded")
        code = self.checkout.inputs()
        if (
            self._already(lake)
            and self.checkout.state.get("installed") == code
            and self.embedded.made
            and self.embedded.ui_answers()
            and self.api.answers()
        ):
            return self._nothing_to_do(lake)
        self.checkout.state.put(profile="embedded", installed=None)
        self.dev.stop()
        self.api.stop()
        self.embedded.stop()  # a UI that is up shows the code it was started with
        with self.terminal.phase("venv"):
            self.embedded.venv.ensure()
        note = self._init_and_verify(lake)
        with self.terminal.phase("ui"):
            self._ui()
        self._api("embedded")
        self.checkout.state.put(installed=code)
        return note

    def _ui(self) -> None:
        done = self.embedded.run("ui-start")
        if not done.ok:
            raise self._failed("ui", "the Dagster UI did not come up", done)

    def _preflight(self, profile: str, engine: Engine) -> None:
        with self.terminal.phase("preflight") as phase:
            findings = preflight.check(self.checkout, profile, engine)
            preflight.refuse(findings, profile)
            phase.note = next((finding.text for finding in findings if finding.name == "docker"), "")
        for finding in findings:
            if finding.level == "warning":
                self.terminal.warn(f"{finding.text}   ({finding.fix})")

    def _init_and_verify(self, lake: Lake) -> str:
        for name, verb, says in (("init", lake.init, INIT_SAYS), ("verify", lake.verify, VERIFY_SAYS)):
            with self.terminal.phase(name):
                done = verb(quiet=True)
                if not done.ok:
                    what = says.get(done.code, f"exit code {done.code}")
                    raise self._failed(name, what, done, again=f"make {name}-data-layers")
            for line in not_landed(done.text):
                self.terminal.warn(line.removeprefix("✗ "))
        for warning in warnings(done.text):
            self.terminal.warn(warning)
        return next(iter(done.tail(1)), "verified").strip("✓ ")

    def _failed(self, phase: str, what: str, done: Done, *, again: str = "make status") -> Failure:
        failure = explain(phase, done.text, self.compose)
        failure.what = f"{phase}: {what}"
        if failure.command == "make doctor":
            failure.cause, failure.command = "", again
        return failure

    def _already(self, lake: Lake) -> bool:
        state = self.checkout.state.read()
        verified = lake.profile == "minimal" or state.get("verify", {}).get("exit") == 0
        return state.get("profile") == lake.profile and verified

    def _nothing_to_do(self, lake: Lake) -> str:
        if lake.profile == "minimal":
            return "it was up already"
        for warning in lake.held():
            self.terminal.warn(warning)
        waiting = lake.waiting()
        if waiting:
            self.terminal.warn(
                f"landing/ has {len(waiting)} file(s) that no init has seen   (make init-data-layers)"
            )
        return f"it was up already, nothing changed; last verified {self.checkout.state.get('verify')['at']}"

    def _goodbye(self, profile: str) -> None:
        say, checkout = self.terminal.say, self.checkout
        if profile != "minimal":
            url = embedded_url(checkout) if profile == "embedded" else checkout.url("DAGSTER_PORT")
            say(f"  Dagster   {url}")
            say(f"  API       {self.api.url(profile)}   (a key: make api-key)")
        if profile != "embedded" and not checkout.external:
            say(f"  Console   {checkout.url('MINIO_CONSOLE_PORT')}   (user and password: make credentials)")
            say(f"  S3        {checkout.url('MINIO_PORT')}")
            say(f"  Postgres  {checkout.url('POSTGRES_PORT').removeprefix('http://')}")
        say(f"next: {'make minio-console' if profile == 'minimal' else 'make dagster-ui'}")


def embedded_url(checkout: Checkout) -> str:
    """The embedded UI listens on this machine alone, whatever BIND_ADDRESS says."""
    return f"http://127.0.0.1:{checkout.port('DAGSTER_PORT')}"
