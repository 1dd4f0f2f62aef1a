"""The running stack of the container tests: one per session, in a copy of the checkout, on its own ports."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from checkouts import copy_checkout, free_ports
from stacks import PORTS, Stack, image_names, remove


@pytest.fixture(scope="session")
def new_stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Stack]]:
    """Make copies of the checkout, not started; all of them are removed at the end of the session."""
    made: list[Stack] = []

    def make(copied: Callable[[Path], Path] = copy_checkout, **given: str) -> Stack:
        taken = {port for one in made for port in one.given.values()}
        free = [str(port) for port in free_ports(len(PORTS) * (len(made) + 2)) if str(port) not in taken]
        ports = dict(zip(PORTS, free, strict=False))
        stack = Stack(copied(tmp_path_factory.mktemp("odp")), {**image_names(), **ports, **given})
        made.append(stack)
        return stack

    yield make
    for stack in made:
        remove(stack)


@pytest.fixture(scope="session")
def stack(new_stack: Callable[..., Stack]) -> Stack:
    """The full profile: started, initialised, verified."""
    stack = new_stack()
    done = stack.make("start", "PROFILE=full")
    assert done.returncode == 0, done.stdout + done.stderr
    return stack
