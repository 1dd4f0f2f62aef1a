"""From raw text to a cause: what Compose, Docker, Postgres and the store print, and what it means for a
person.

One table of known failures, the specific before the general. A failure nobody knows is shown as it is.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from .compose import Compose, Container
from .errors import Failure
from .process import redact

LAST_LINES = 20
ANSI = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
NO_NETWORK = (
    r"temporary failure in name resolution|could not resolve host|name or service not known"
    r"|network is unreachable"
    r"|no such host|dns error|failed to lookup address|i/o timeout|tls handshake timeout|failed to fetch"
    r"|temporary failure resolving|connection timed out|error sending request|server misbehaving"
)


@dataclass(frozen=True)
class Cause:
    """A sentence and the one command that helps."""

    sentence: str
    command: str


@dataclass(frozen=True)
class Known:
    """A failure we can name: in which phases (empty: any), by which text, and what to say about it."""

    name: str
    phases: tuple[str, ...]
    pattern: str
    sentence: str
    command: str


KNOWN = (
    Known(
        "disk",
        (),
        r"no space left on device|\benospc\b|xminiostoragefull|reached its minimum free|disk quota exceeded",
        "the disk is full",
        "docker system df   (docker system prune frees what no container uses)",
    ),
    Known(
        "port",
        ("up",),
        r"(bind for|listen tcp\d?|exposing port \w+) [\d.\[\]:]*?:(?P<port>\d+)(:| failed| ->)",
        "port {port} ({variable}) is taken by another program",
        "{variable}=<free port> make start",
    ),
    Known(
        "secrets",
        (),
        r"password authentication failed for user|28p01",
        ".env does not match the volumes: Postgres was set up with another password",
        "put the .env back that made this stack   (or: make nuke, which deletes its data)",
    ),
    Known(
        "secrets",
        (),
        r"signaturedoesnotmatch|invalidaccesskeyid|request signature we calculated does not match",
        ".env does not match the volumes: the object store was set up with other keys",
        "put the .env back that made this stack   (or: make nuke, which deletes its data)",
    ),
    Known(
        "base image",
        ("build",),
        r"failed to (resolve source metadata|do request)|manifest unknown|pull access denied|toomanyrequests",
        "the base image of the build, PYTHON_IMAGE={PYTHON_IMAGE}, cannot be pulled",
        "PYTHON_IMAGE=<an image you can reach> make start",
    ),
    Known(
        "build network",
        ("build", "venv"),
        NO_NETWORK,
        "the {phase} needs a package index, and this machine reaches none (or its proxy is not set)",
        "curl -sSI https://pypi.org/simple/uv/   (then: make start)",
    ),
    Known(
        "socket",
        (),
        r"permission denied while trying to connect to the docker daemon",
        "this user may not use the Docker socket",
        'sudo usermod -aG docker "$USER"   (then log in again)',
    ),
    Known(
        "daemon",
        (),
        r"cannot connect to the docker daemon",
        "the Docker daemon has stopped",
        "sudo systemctl start docker   (then: make start)",
    ),
    Known(
        "env file",
        ("up",),
        r"bind source path does not exist: .*\.env|environment variable \"\w+\" required by",
        "the .env with the secrets is missing",
        "make start",
    ),
)


def recognise(text: str, phase: str, settings: Mapping[str, str]) -> Cause | None:
    """The first known failure whose words are in the text."""
    for known in KNOWN:
        match = (
            re.search(known.pattern, text, re.IGNORECASE)
            if not known.phases or phase in known.phases
            else None
        )
        if match:
            port = match.groupdict().get("port") or ""
            variable = next(
                (key for key, value in settings.items() if key.endswith("_PORT") and value == port),
                "its variable in .env",
            )
            words = {
                "PYTHON_IMAGE": "(default)",
                **settings,
                "port": port,
                "variable": variable,
                "phase": phase,
            }
            return Cause(known.sentence.format(**words), known.command.format(**words))
    return None


def of_container(one: Container) -> Cause | None:
    """What the engine itself knows about why a container is not well."""
    if one.oom_killed or one.exit_code == 137:
        return Cause(
            f"{one.service} was killed (exit 137): it ran out of memory"
            + ("" if one.oom_killed else ", or somebody killed it"),
            "docker stats --no-stream   (close something, or give Docker more memory; then: make start)",
        )
    if one.running and one.health == "unhealthy":
        return Cause(f"{one.service} runs but its health check fails", f"make logs SERVICE={one.service}")
    if one.running and one.health == "starting":
        return Cause(f"{one.service} was not healthy in time", f"make logs SERVICE={one.service}")
    if one.status == "created":
        return Cause(f"{one.service} was created but never started: something it waits for failed", "make ps")
    return None


def worst(containers: Sequence[Container]) -> Container | None:
    """The container to look at first: one that ended badly, before one that is ill, before one that never
    ran.
    """

    def rank(one: Container) -> int:
        if one.status in ("exited", "dead", "restarting") and one.exit_code:
            return 0
        return 1 if one.running else 2

    ill = sorted((one for one in containers if not one.well), key=rank)
    return ill[0] if ill else None


def named(output: str, project: str, containers: Sequence[Container]) -> Container | None:
    """The container Compose gave up on, where it has come round since."""
    match = re.search(rf"container {re.escape(project)}-(\S+)-\d+ (is unhealthy|exited)", output)
    return next((one for one in containers if match and one.service == match[1]), None)


def explain(phase: str, output: str, compose: Compose, *, services: Sequence[str] = ()) -> Failure:
    """A failed phase of the stack as one Failure: service, last lines, health, cause, one command."""
    checkout = compose.checkout
    containers = [one for one in compose.containers() if not services or one.service in services]
    ill = (worst(containers) or named(output, compose.project, containers)) if phase == "up" else None
    logs = compose.logs(ill.service, 200) if ill else ""
    details = []
    if ill:
        state = f"{ill.status}, exit code {ill.exit_code}" + (", out of memory" if ill.oom_killed else "")
        details.append((f"last lines of {ill.service} ({state})", _lines(logs, checkout.secrets)))
        if ill.health_output:
            details.append(
                (f"health check of {ill.service}", _lines(ill.health_output, checkout.secrets)[-5:])
            )
    details.append((f"what `{phase}` printed", _lines(output, checkout.secrets)))
    cause = recognise(f"{output}\n{logs}", phase, checkout.settings) or (of_container(ill) if ill else None)
    what = f"{phase} failed" + (f": service {ill.service} is not well" if ill else "")
    return Failure(
        what,
        cause=cause.sentence if cause else "not one of the known causes: the last lines above say more",
        command=cause.command if cause else (f"make logs SERVICE={ill.service}" if ill else "make doctor"),
        details=[(title, lines) for title, lines in details if lines],
    )


def _lines(text: str, secrets: Sequence[str]) -> list[str]:
    plain = (ANSI.sub("", line).rstrip() for line in redact(text, secrets).splitlines())
    return [line for line in plain if line.strip()][-LAST_LINES:]
