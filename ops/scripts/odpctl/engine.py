"""The Docker engine: is there one, may we use it, is it new enough? Each "no" is its own state with its own
fix.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass

from .process import run

MIN_ENGINE = (20, 10)
MIN_COMPOSE = (2, 26)
ANSWER_SECONDS = 15


@dataclass(frozen=True)
class Engine:
    """What was found. `reason` is empty when it can be used; then `fix` is empty too."""

    version: str = ""
    compose: str = ""
    reason: str = ""
    fix: str = ""

    @property
    def usable(self) -> bool:
        """Answers, and is new enough."""
        return not self.reason


def numbers(version: str) -> tuple[int, ...]:
    """`v2.26.1-4` → (2, 26)."""
    return tuple(int(part) for part in re.findall(r"\d+", version)[:2])


def dotted(version: tuple[int, ...]) -> str:
    """(2, 26) → `2.26`."""
    return ".".join(map(str, version))


def probe() -> Engine:
    """Ask the command, the daemon and the Compose plugin, in this order."""
    done = run(["docker", "version", "--format", "{{json .Server}}"], timeout=ANSWER_SECONDS)
    if not done.ok:
        return Engine(**_why_not(done.code, done.text))
    try:
        server = json.loads(done.text.strip().splitlines()[-1])["Version"]
    except (ValueError, KeyError, TypeError, IndexError):
        return Engine(
            reason=f"the docker command does not speak to Docker: {done.tail(1)}", fix="docker version"
        )
    if numbers(server) < MIN_ENGINE:
        return Engine(
            server,
            reason=f"Docker Engine {server} is older than {dotted(MIN_ENGINE)}",
            fix="upgrade Docker: https://docs.docker.com/engine/install/",
        )
    return _with_compose(server)


def _with_compose(server: str) -> Engine:
    done = run(["docker", "compose", "version", "--short"], timeout=ANSWER_SECONDS)
    compose = done.text.strip().splitlines()[-1] if done.ok and done.text.strip() else ""
    fix = "install the Compose plugin: https://docs.docker.com/compose/install/"
    if not numbers(compose):
        return Engine(server, reason="the Compose plugin of Docker is not installed", fix=fix)
    if numbers(compose) < MIN_COMPOSE:
        return Engine(server, compose, f"Docker Compose {compose} is older than {dotted(MIN_COMPOSE)}", fix)
    return Engine(server, compose)


def _why_not(code: int, text: str) -> dict[str, str]:
    lowered = text.lower()
    if code == 127:
        return {
            "reason": "Docker is not installed",
            "fix": "install it: https://docs.docker.com/engine/install/",
        }
    if code == 124:
        return {
            "reason": f"the Docker daemon does not answer within {ANSWER_SECONDS} s",
            "fix": "docker info",
        }
    if "permission denied" in lowered:
        return {
            "reason": "the Docker daemon runs, but this user may not use its socket",
            "fix": 'sudo usermod -aG docker "$USER"   (then log in again)',
        }
    if "cannot connect" in lowered or "is the docker daemon running" in lowered or "no such file" in lowered:
        return {
            "reason": "the Docker daemon is not running",
            "fix": "sudo systemctl start docker   (macOS: open -a Docker)",
        }
    last = text.strip().splitlines()[-1] if text.strip() else f"exit code {code}"
    return {"reason": f"docker does not answer: {last}", "fix": "docker info"}
