"""Init, verify and seed: the same words in every profile, run where the lake is. Their exit codes pass
through.
"""

from __future__ import annotations

import io
import os
import subprocess
import tarfile
import time
from pathlib import Path

from .checkout import Checkout, files_below
from .compose import Compose
from .containers import exec_argv
from .dev import Dev
from .embedded import Embedded
from .errors import NOT_READY, Failure
from .process import Argv, Done, run

# Of an upload: some files were refused, all others have landed (lakehouse/seed.py).
SOME_REFUSED = 3
_NOT_LANDED = "✗ not landed: "


class Lake:
    """The running platform of a checkout, as far as its data is concerned."""

    def __init__(
        self, checkout: Checkout, compose: Compose, embedded: Embedded, dev: Dev, profile: str
    ) -> None:
        self.checkout, self.compose, self.profile = checkout, compose, profile
        self.embedded, self.dev = embedded, dev

    @property
    def in_containers(self) -> bool:
        """Return whether the lake is in the object store."""
        return self.profile != "embedded"

    def init(self, *args: str, quiet: bool = False) -> Done:
        """Upload what was dropped in landing/, then one run of everything. Records when and how it ended."""
        argv, landed = self._command("init", *args), self.checkout.dropped()
        refused = ""
        if self.in_containers and self.checkout.landing.is_dir():
            done = self.upload()
            if done.code not in (0, SOME_REFUSED):
                return done
            refused = "".join(f"{line}\n" for line in not_landed(done.text))
        done = self._run(argv, quiet=quiet)
        done = Done(done.code, done.text + refused)
        if not landed and not self.in_containers:
            landed = self.checkout.dropped()  # the sample, put there by the init itself
        self.checkout.state.put(
            init={"at": now(), "exit": done.code}, landing=landed if done.code in (0, 3) else None
        )
        return done

    def verify(self, *args: str, quiet: bool = False) -> Done:
        """Read the lake itself and say whether it is sound. Records when and how it ended."""
        done = self._run(self._command("verify", *args), quiet=quiet)
        self.checkout.state.put(verify={"at": now(), "exit": done.code})
        return done

    def prune(self, *args: str) -> Done:
        """Remove old runs, their events and logs, where Dagster's storage is."""
        if self.profile == "minimal":
            raise Failure(
                "profile minimal runs no Dagster, so there is nothing to prune",
                command="make start PROFILE=full",
                exit_code=NOT_READY,
            )
        module = ("-m", "orchestration.retention")
        argv: dict[str, Argv] = {
            "embedded": self.embedded.argv("prune", *args),
            "dev": [self.dev.venv.python, *module, *args],
        }
        inside = exec_argv(self.compose, "python", *module, *args, service="dagster-code")
        return self._run(argv.get(self.profile, inside), quiet=False)

    def odp(self, *args: str, quiet: bool = False) -> Done:
        """The library's command line, on this platform's lake."""
        given = args[1:] if args[:1] == ("--",) else args
        if self.in_containers:
            return self._run(exec_argv(self.compose, "python", "-m", "lakehouse.cli", *given), quiet=quiet)
        argv: Argv = [self.embedded.venv.python, "-m", "lakehouse.cli", *given]
        if quiet:
            return run(argv, cwd=self.checkout.root, env=self._local_env())
        return Done(subprocess.call(argv, cwd=self.checkout.root, env=self._local_env()), "")

    def held(self) -> list[str]:
        """What holds tables back, by the lake itself; nothing where it cannot be asked."""
        done = self.odp("quarantine", "list", "--held", quiet=True)
        return [line[2:] for line in done.text.splitlines() if line.startswith("! ")] if done.ok else []

    def _local_env(self) -> dict[str, str]:
        return {
            **self.embedded.env,
            "LAKE_URL": str(self.checkout.data / "lake"),
            "LANDING_URL": str(self.checkout.landing),
        }

    def seed(self, *args: str) -> Done:
        """Put the sample files into landing."""
        wanted = args or ("sample",)
        if self.in_containers:
            return self._run(exec_argv(self.compose, "python", "-m", "lakehouse.seed", *wanted), quiet=False)
        argv: Argv = [self.embedded.venv.python, "-m", "lakehouse.seed", *wanted]
        return Done(subprocess.call(argv, cwd=self.checkout.root, env=self._local_env()), "")

    def upload(self) -> Done:
        """Stream landing/ as one tar into the landing bucket; what is there already stays as it is."""
        argv = exec_argv(self.compose, "python", "-m", "lakehouse.seed", "upload")
        with subprocess.Popen(
            argv,
            cwd=self.checkout.root,
            env=self.compose.env,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        ) as child:
            assert child.stdin is not None
            assert child.stdout is not None
            unread: list[str] = []
            try:
                unread = write_tar(self.checkout.landing, child.stdin)
                child.stdin.close()
            except BrokenPipeError:
                pass  # the other end has failed, and its output says why
            text = child.stdout.read().decode(errors="replace")
        text += "".join(f"{_NOT_LANDED}{why}\n" for why in unread)
        if self.compose.journal:
            self.compose.journal.add(f"upload of landing/ → {child.returncode}", text)
        return Done(child.returncode or (SOME_REFUSED if unread else 0), text)

    def waiting(self) -> list[str]:
        """Files in landing/ that no init has seen."""
        seen = self.checkout.state.get("landing") or {}
        return [
            name
            for name, mark in self.checkout.dropped().items()
            if mark[: len(seen.get(name) or mark)] != seen.get(name)  # older versions noted two numbers
        ]

    def _command(self, what: str, *args: str) -> Argv:
        """Where Dagster is, since both ask it: in this process, on the host, or in the containers."""
        if self.profile == "minimal":
            raise Failure(
                f"profile minimal runs no Dagster, so there is nothing to {what}",
                command="make start PROFILE=full",
                exit_code=NOT_READY,
            )
        if self.profile == "embedded":
            return self.embedded.argv(what, *args)
        module = {"init": "orchestration.launch", "verify": "orchestration.verify"}[what]
        if self.profile == "dev":
            return [self.dev.venv.python, "-m", module, *args]
        return exec_argv(self.compose, "python", "-m", module, *args)

    def _run(self, argv: Argv, *, quiet: bool) -> Done:
        hosts: dict[str, Embedded | Dev] = {"embedded": self.embedded, "dev": self.dev}
        env = hosts[self.profile].env if self.profile in hosts else self.compose.env
        if not quiet:
            return Done(subprocess.call([str(part) for part in argv], cwd=self.checkout.root, env=env), "")
        done = run(argv, cwd=self.checkout.root, env=env)
        if self.compose.journal:
            self.compose.journal.add(f"{' '.join(map(str, argv))} → {done.code}", done.text)
        return done


def not_landed(text: str) -> list[str]:
    """Return what an upload says of the files that it refused."""
    return [line for line in text.splitlines() if line.startswith(_NOT_LANDED)]


def write_tar(folder: Path, out: io.BufferedIOBase | io.RawIOBase | object) -> list[str]:
    """Every regular file below a folder, by its path inside it. Links may lead outside, and stay behind.

    Returns what cannot be read, by name and with the reason: it stays behind too, and stops no other.
    """
    found, faults = files_below(folder)
    with tarfile.open(fileobj=out, mode="w|", format=tarfile.PAX_FORMAT) as tar:  # type: ignore[call-overload]
        for path in (path for path, _ in found if not os.path.islink(path)):
            try:
                file = path.open("rb")
            except OSError as exc:
                faults.append(exc)
                continue
            with file:
                tar.addfile(tar.gettarinfo(arcname=path.relative_to(folder).as_posix(), fileobj=file), file)
    return [
        f"{os.path.relpath(exc.filename, folder)!r} cannot be read ({exc.strerror}); "
        "give this user the right to read it"
        for exc in faults
    ]


def now() -> str:
    """The time as people and JSON read it."""
    return time.strftime("%Y-%m-%dT%H:%M:%S%z")
