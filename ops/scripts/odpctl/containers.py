"""The platform in containers: images, up, what is running, and whether anything changed since it last came
up.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from .checkout import Checkout
from .compose import Compose, Container, fingerprint, image_id, services_down
from .diagnose import explain, recognise
from .errors import Failure
from .process import Done, run
from .terminal import Phase

# A first start on two slow cores takes a fifth of it.
UP_SECONDS = 300
# Two looks of the slowest health check.
RECOVERY_SECONDS = 90
IMAGE_VARIABLES = {"postgres": "POSTGRES_IMAGE", "minio": "MINIO_IMAGE"}
TOOLBOX = "toolbox"


class Stack:
    """The containers of one profile."""

    def __init__(self, checkout: Checkout, compose: Compose, profile: str) -> None:
        self.checkout, self.compose, self.profile = checkout, compose, profile
        self._config: dict[str, Any] = {}

    @property
    def config(self) -> dict[str, Any]:
        """compose.yml, resolved for this profile."""
        if not self._config:
            self._config = self.compose.config(self.profile)
            if not self._config:
                output = self.compose.run("config", "--quiet", profile=self.profile).text
                raise explain("config", output, self.compose)
        return self._config

    def as_it_came_up(self) -> bool:
        """Is everything healthy, and every container the very one, unrestarted and unchanged, of the last
        good start?
        """
        known = self.checkout.state.get("stack") or {}
        if known.get("profile") != self.profile:
            return False
        containers = self.compose.containers()
        return known == self._identity(containers) and not services_down(self.config, containers)

    def remember(self) -> None:
        """This is what a good start looks like."""
        self.checkout.state.put(stack=self._identity(self.compose.containers()))

    def _identity(self, containers: Sequence[Container]) -> dict[str, Any]:
        return {
            "profile": self.profile,
            "config": fingerprint([self.config, self.checkout.settings]),
            "inputs": self.checkout.inputs(),
            "containers": {one.id: one.started_at for one in containers if one.running},
        }

    def pull(self) -> list[str]:
        """Fetch the images we do not build and do not have. Returns their references."""
        services = self.config["services"]
        wanted = {
            service["image"]: name
            for name, service in services.items()
            if "build" not in service and "image" in service
        }
        built = {service.get("image") for service in services.values() if "build" in service}
        absent = {image: name for image, name in wanted.items() if image not in built and not image_id(image)}
        for image, service in absent.items():
            done = run(["docker", "pull", "--quiet", image])
            if self.compose.journal:
                self.compose.journal.add(f"docker pull {image} → {done.code}", done.text)
            if not done.ok:
                raise self._not_pulled(image, IMAGE_VARIABLES.get(service, "its image variable"), done.text)
        return sorted(absent)

    def _not_pulled(self, image: str, variable: str, text: str) -> Failure:
        other = recognise(text, "pull", self.checkout.settings)
        return Failure(
            f"image {image} cannot be pulled",
            cause=other.sentence
            if other
            else f"the registry did not give it; {variable} holds the whole reference and may name another",
            command=other.command
            if other
            else f"{variable}=<an image you can reach> make start   (or: docker load a saved one)",
            details=[("what docker pull printed", text.splitlines()[-5:])],
        )

    def build(self, phase: Phase) -> None:
        """Build our images unless those there were built from these very inputs."""
        built = {one["image"]: name for name, one in self.config["services"].items() if "build" in one}
        inputs, known = self.checkout.inputs(), self.checkout.state.get("images") or {}
        ids = {image: image_id(image) for image in built}
        if known.get("inputs") == inputs and all(ids[i] and ids[i] == known["ids"].get(i) for i in built):
            phase.note = "unchanged"
            return
        done = self.compose.run("build", "--progress", "plain", *built.values(), profile=self.profile)
        if not done.ok:
            raise explain("build", done.text, self.compose)
        ids = {**(known["ids"] if known.get("inputs") == inputs else {}), **{i: image_id(i) for i in built}}
        self.checkout.state.put(images={"inputs": inputs, "ids": ids})

    def up(self, phase: Phase) -> None:
        """Bring the profile up, wait until it is well, and stop what another profile left running."""
        wanted, before = set(self.config["services"]), self.compose.containers()
        extra = sorted({one.service for one in before if one.running} - wanted)
        if extra:
            self.compose.run("rm", "--stop", "--force", *extra, profile="*")
        recovering = any(one.running for one in before) and services_down(self.config, before)
        done = self._up()
        if not done.ok and recovering:
            # Compose gives up on a container that is ill, or falls ill, for want of one that was down; what
            # it lacks may only now come back.
            self._wait_well(RECOVERY_SECONDS)
            done = self._up()
        if not done.ok:
            raise explain("up", done.text, self.compose)
        down = services_down(self.config, self.compose.containers())
        if down and recovering:  # a check that began while something was away may end after Compose's look
            self._wait_well(RECOVERY_SECONDS)
            down = services_down(self.config, self.compose.containers())
        if down:
            raise explain("up", f"{done.text}\nnot well after up: {', '.join(down)}", self.compose)
        phase.note = f"{len(wanted)} services"

    def _up(self) -> Done:
        args = ["--detach", "--wait", "--wait-timeout", str(UP_SECONDS), "--no-build", "--remove-orphans"]
        return self.compose.run("up", *args, profile=self.profile, timeout=UP_SECONDS + 60)

    def _wait_well(self, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while services_down(self.config, self.compose.containers()) and time.monotonic() < deadline:
            time.sleep(0.5)


def exec_argv(compose: Compose, *args: str, tty: bool = False, service: str = TOOLBOX) -> list[str]:
    """A command inside a container: the toolbox, which every profile has, or another one."""
    return compose.argv("exec", *([] if tty else ["-T"]), service, *args, profile="*")
